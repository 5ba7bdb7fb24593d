//! Claiming an output for a job.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::clearing::Clearing;
use super::earlier::EarlierOutput;
use super::{CLAIM, Output, PLAN, PLAN_COLUMNS, PRIVATE, WRITERS, Writer};
use crate::dataset::checksummed::{from_checksummed, to_checksummed};
use crate::dataset::{DatasetError, SCHEMA_VERSION, layout::group_path};
use crate::storage::{ListedObject, StorageError, WriterAccess, WriterGuard, is_temporary_name};

/// Largest claim that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 16 << 20;

/// The job that an output belongs to, and the names of what it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Version of the output.
    pub schema_version: u32,
    /// Digest of the config, without the places of its sources.
    pub config_digest: String,
    /// The groups, one per split.
    pub groups: Vec<String>,
    /// Names of the arrays.
    pub arrays: Vec<String>,
    /// What of an earlier output is still to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearing: Option<EarlierOutput>,
}

/// What is at a location.
#[derive(Clone, Debug)]
pub enum ClaimState {
    /// Nothing, or what a run leaves that ended before it claimed the output.
    New,
    /// An output of this version.
    Claimed(Claim),
    /// An output of an earlier version.
    Earlier {
        /// Its version.
        schema_version: u32,
        /// What is in it.
        output: EarlierOutput,
    },
}

/// The `plan.json` of schema version 2 and earlier.
#[derive(Deserialize)]
struct EarlierState {
    schema_version: u32,
    groups: Vec<String>,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    clearing: Vec<String>,
}

impl Claim {
    /// The claim of a job with these splits and arrays.
    pub fn new<'n>(
        config_digest: blake3::Hash,
        splits: impl Iterator<Item = &'n str>,
        arrays: impl Iterator<Item = &'n str>,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            config_digest: config_digest.to_string(),
            groups: splits.map(group_path).collect(),
            arrays: arrays.map(str::to_owned).collect(),
            clearing: None,
        }
    }

    /// Whether both belong to the same job.
    pub fn is_same_job(&self, other: &Self) -> bool {
        (self.schema_version, &self.config_digest) == (other.schema_version, &other.config_digest)
    }

    /// Everything that an output with this claim may hold.
    fn everything(&self) -> EarlierOutput {
        let earlier = self.clearing.clone().unwrap_or_default();
        EarlierOutput {
            groups: [&self.groups[..], &earlier.groups].concat(),
            members: [&self.arrays[..], &earlier.members].concat(),
        }
    }
}

impl Output {
    /// What is at the location.
    ///
    /// # Errors
    /// There are files of others, or the claim cannot be read.
    pub fn state(&self) -> Result<ClaimState, DatasetError> {
        if let Some(bytes) = self.read(CLAIM, MAX_BYTES)? {
            let claim: Claim = from_checksummed(&bytes).map_err(|e| self.damaged_claim(e))?;
            return Ok(match claim.schema_version {
                SCHEMA_VERSION => ClaimState::Claimed(claim),
                schema_version => ClaimState::Earlier {
                    schema_version,
                    output: claim.everything(),
                },
            });
        }
        if let Some(bytes) = self.read(PLAN, super::plan::MAX_BYTES)? {
            let earlier = serde_json::from_slice::<EarlierState>(&bytes);
            let earlier = earlier.map_err(|e| self.damaged(PLAN, e.to_string()))?;
            return Ok(ClaimState::Earlier {
                schema_version: earlier.schema_version,
                output: EarlierOutput {
                    groups: [earlier.groups, earlier.clearing].concat(),
                    members: earlier.members,
                },
            });
        }
        if self.is_empty().map_err(|e| self.not_a_folder(e))? {
            Ok(ClaimState::New)
        } else if self.size_bytes(CLAIM)?.is_some() {
            // Another process claimed it in between.
            self.state()
        } else {
            Err(DatasetError::NotAnOutput {
                output: self.name(),
            })
        }
    }

    /// Claims the output for a job: a new or empty location, or one that the same job claimed. With `force`, existing output
    /// of pointshard is deleted.
    ///
    /// # Errors
    /// The location holds the output of another job or files that pointshard did not write, or another process writes to it.
    pub fn claim(mut self, claim: &Claim, force: bool) -> Result<Self, DatasetError> {
        let state = self.state()?;
        if matches!(state, ClaimState::New) {
            self.created_root |= self.sink()?.create_root()?;
        }
        match state {
            ClaimState::New => {
                let guard = self.register(WriterAccess::Shared)?;
                if self.create_claim(claim)? {
                    return Ok(self.claimed(claim, guard));
                }
                drop(guard);
                // Another process claimed it in between.
                self.claim(claim, force)
            }
            ClaimState::Claimed(found) if !force => self.join(claim, found),
            ClaimState::Earlier { schema_version, .. } if !force => {
                Err(self.earlier_version(schema_version))
            }
            ClaimState::Claimed(found) => self.clear(claim, found.everything()),
            ClaimState::Earlier { output, .. } => self.clear(claim, output),
        }
    }

    /// Gives up the claim of a job that ended before its plan was written, unless another process works under it: deletes
    /// what was written, and the folder if this process created it. Errors are ignored: a claim without a plan ends with its
    /// writers anyhow.
    pub fn release(mut self) {
        let Some(writer) = self.writer.take().and_then(Arc::into_inner) else {
            return;
        };
        let Writer { claim, guard, .. } = writer;
        drop(guard);
        let Ok(sink) = self.sink() else { return };
        let alone = sink.register_writer(WRITERS, WriterAccess::Exclusive);
        let Ok(Some(alone)) = alone else { return };
        let is_unplanned = matches!(self.size_bytes(PLAN), Ok(None));
        if is_unplanned && matches!(self.read(CLAIM, MAX_BYTES), Ok(Some(found)) if found == claim)
        {
            let mut keys = vec![CLAIM.to_owned(), WRITERS.to_owned()];
            let listed = self.store.list(PLAN_COLUMNS, &mut |object: ListedObject| {
                keys.push(object.key);
                ControlFlow::Continue(())
            });
            if listed.is_ok() {
                keys.iter().for_each(|key| drop(self.delete(key)));
            }
        }
        drop(alone);
        if self.created_root {
            sink.remove_empty_root();
        }
    }

    /// Writes the claim of the output's job again if it is damaged or missing.
    pub(crate) fn restore_claim(&self, claim: &Claim) -> Result<(), DatasetError> {
        let found = self.read(CLAIM, MAX_BYTES);
        let found = found.ok().flatten();
        let found = found.and_then(|bytes| from_checksummed::<Claim>(&bytes).ok());
        if found.as_ref() == Some(claim) {
            return Ok(());
        }
        self.write(CLAIM, &self.encode(claim)?)
    }

    /// Checks that the output could be deleted for another one.
    ///
    /// # Errors
    /// It holds files of others.
    pub fn check_clearing(&self) -> Result<(), DatasetError> {
        let everything = match self.state()? {
            ClaimState::New => return Ok(()),
            ClaimState::Claimed(claim) => claim.everything(),
            ClaimState::Earlier { output, .. } => output,
        };
        Clearing::of(self, &everything).map(|_| ())
    }

    /// Joins the job that claimed the output with `found`.
    fn join(self, claim: &Claim, found: Claim) -> Result<Self, DatasetError> {
        let is_planned = self.size_bytes(PLAN)?.is_some();
        if claim.is_same_job(&found) && found.clearing.is_none() {
            let guard = self.register(WriterAccess::Shared)?;
            // Another process may have overwritten it before this one was registered.
            return match self.state()? {
                ClaimState::Claimed(now) if now == found => Ok(self.claimed(claim, guard)),
                _ => {
                    drop(guard);
                    self.claim(claim, false)
                }
            };
        }
        if !claim.is_same_job(&found) && is_planned {
            return Err(self.other_job("its config differs".to_owned()));
        }
        // The process that claimed it without finishing a plan, or without finishing to delete an earlier output, is dead, or
        // it still works.
        match self
            .sink()?
            .register_writer(WRITERS, WriterAccess::Exclusive)?
        {
            None if claim.is_same_job(&found) => Err(self.busy()),
            None => Err(self.other_job(
                "another process has begun a job with another config there, and is still at work"
                    .to_owned(),
            )),
            Some(guard) => self.delete_all(claim, found.everything(), guard),
        }
    }

    /// Deletes everything of pointshard for `claim`.
    fn clear(self, claim: &Claim, everything: EarlierOutput) -> Result<Self, DatasetError> {
        match self
            .sink()?
            .register_writer(WRITERS, WriterAccess::Exclusive)?
        {
            None => Err(self.busy()),
            Some(guard) => self.delete_all(claim, everything, guard),
        }
    }

    fn delete_all(
        self,
        claim: &Claim,
        everything: EarlierOutput,
        guard: WriterGuard,
    ) -> Result<Self, DatasetError> {
        let clearing = Clearing::of(&self, &everything)?;
        let deleting = Claim {
            clearing: Some(clearing.listed()),
            ..claim.clone()
        };
        self.unseal()?;
        self.write(CLAIM, &self.encode(&deleting)?)?;
        clearing.delete(&self)?;
        self.write(CLAIM, &self.encode(claim)?)?;
        drop(guard);
        let guard = self.register(WriterAccess::Shared)?;
        Ok(self.claimed(claim, guard))
    }

    fn other_job(&self, what: String) -> DatasetError {
        DatasetError::OtherPlan {
            output: self.name(),
            what,
        }
    }

    /// The error for an output of an earlier version.
    pub fn earlier_version(&self, schema_version: u32) -> DatasetError {
        self.other_job(format!(
            "it was written by another version of pointshard (output version {schema_version}, this version writes {SCHEMA_VERSION})"
        ))
    }

    fn busy(&self) -> DatasetError {
        DatasetError::Busy {
            output: self.name(),
        }
    }

    fn damaged_claim(&self, problem: String) -> DatasetError {
        let output = self.name();
        self.damaged(CLAIM, format!("{problem}; delete {output} to start again"))
    }

    /// The error, if a part of the location is a file.
    fn not_a_folder(&self, error: DatasetError) -> DatasetError {
        match &error {
            DatasetError::Storage(StorageError::List { source, .. })
                if source.kind() == ErrorKind::NotADirectory =>
            {
                DatasetError::NotAFolder {
                    folder: self.name(),
                }
            }
            _ => error,
        }
    }

    fn register(&self, access: WriterAccess) -> Result<WriterGuard, DatasetError> {
        let guard = self.sink()?.register_writer(WRITERS, access)?;
        guard.ok_or_else(|| self.busy())
    }

    fn create_claim(&self, claim: &Claim) -> Result<bool, DatasetError> {
        Ok(self.sink()?.create_new(CLAIM, &self.encode(claim)?)?)
    }

    fn encode(&self, claim: &Claim) -> Result<Vec<u8>, DatasetError> {
        to_checksummed(claim).map_err(|e| self.damaged(CLAIM, e.to_string()))
    }

    fn claimed(self, claim: &Claim, guard: WriterGuard) -> Self {
        let bytes = self.encode(claim).unwrap_or_default();
        Self {
            writer: Some(Arc::new(Writer {
                claim: bytes,
                checked: Mutex::new(Instant::now()),
                guard,
            })),
            ..self
        }
    }

    /// Whether the location holds nothing but what a run leaves that ends before it claims the output.
    fn is_empty(&self) -> Result<bool, DatasetError> {
        let mut is_empty = true;
        self.store.list("", &mut |object: ListedObject| {
            let is_ours = object.key == WRITERS
                || object
                    .key
                    .strip_prefix(WRITERS)
                    .is_some_and(|k| k.starts_with('/'))
                || object
                    .key
                    .strip_prefix(PRIVATE)
                    .is_some_and(|k| k.strip_prefix('/').is_some_and(is_temporary_name));
            is_empty = is_ours && object.size_bytes.is_some();
            if is_empty {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(is_empty)
    }
}
