//! An open HDF5 file: finds its datasets.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_reader::error::Error as LibraryError;
use hdf5_reader::group::Group;
use hdf5_reader::{ExternalLinkResolver, OpenOptions};
use serde_json::{Map, Value};

use super::attributes;
use super::dataset::Hdf5Dataset;
use super::error::Hdf5Error;
use super::object_reader::{MAX_READ_BYTES, ReadLimit, StructureReader};
use super::stored_type::StoredType;
use super::texts::Hdf5Texts;
use crate::catch_panic::catch_library_panic;
use crate::storage::{Location, MemoryBudget, Storage, StorageError, Store};

/// The first bytes of every HDF5 file, or of the part after a user block.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Size of the smallest user block, which MATLAB and others write before the signature. The sizes of larger ones are powers
/// of 2.
const LEAST_USER_BLOCK_BYTES: u64 = 512;

/// Largest object header. It contains attributes.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// Most bytes of structure that are read to open a dataset, or a quarter of the memory for documents if that is less.
const MAX_DATASET_BYTES: u64 = 64 << 20;

/// Most groups and datasets that are looked at to find volumes.
const MAX_LISTED: usize = 10_000;

/// Deepest group in which volumes are found.
const MAX_DEPTH: usize = 32;

/// Most datasets that a message names.
const NAMED_DATASETS: usize = 20;

/// An open file.
pub(crate) struct Hdf5File {
    pub(super) parsed: hdf5_reader::Hdf5File,
    pub(super) store: Arc<dyn Store>,
    /// Its key in the store.
    pub(super) key: String,
    pub(super) budget: MemoryBudget,
    object: String,
    reads: Arc<ReadLimit>,
    external_links: Arc<ExternalLinks>,
}

/// The links to other files that were met. They are not followed.
#[derive(Default)]
struct ExternalLinks(Mutex<Option<String>>);

impl ExternalLinks {
    fn take(&self) -> Option<String> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.take()
    }
}

impl ExternalLinkResolver for ExternalLinks {
    fn resolve_external_link(
        &self,
        file: &str,
    ) -> Result<Option<hdf5_reader::Hdf5File>, LibraryError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(file.to_owned());
        Ok(None)
    }
}

/// A dataset in a listing.
struct ListedDataset {
    path: String,
    is_volume: bool,
}

/// Ends of the names of HDF5 files.
const SUFFIXES: [&str; 6] = [".hdf", ".h5", ".hdf5", ".he5", ".mat", ".nwb"];

/// Whether `name` looks like the name of an HDF5 file.
pub(crate) fn may_be_hdf5(name: &str) -> bool {
    let name = name.split('?').next().unwrap_or(name).to_lowercase();
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether the object `key` of `store` is an HDF5 file.
pub(crate) fn is_hdf5(store: &dyn Store, key: &str) -> Result<bool, Hdf5Error> {
    let object = match store.open_object(key) {
        Err(StorageError::Read { source, .. }) if source.kind() == ErrorKind::IsADirectory => None,
        opened => opened?,
    };
    let Some(object) = object else {
        return Ok(false);
    };
    let mut found = [0; SIGNATURE.len()];
    let mut offset = 0;
    while object.size_bytes() >= offset + SIGNATURE.len() as u64 {
        object.read_at(offset, &mut found)?;
        if found == SIGNATURE {
            return Ok(true);
        }
        offset = (2 * offset).max(LEAST_USER_BLOCK_BYTES);
    }
    Ok(false)
}

impl Hdf5File {
    /// Opens the file at `location`.
    pub fn open(location: &Location, storage: &Storage) -> Result<Self, Hdf5Error> {
        let object = location.to_string();
        let missing = || Hdf5Error::Missing {
            object: object.clone(),
        };
        let (folder, key) = location.split_file().ok_or_else(missing)?;
        let store = storage.open(&folder);
        let opened = store.open_object(&key)?.ok_or_else(missing)?;
        let reads = Arc::new(ReadLimit::default());
        let max_read_bytes = MAX_READ_BYTES.min(storage.budget().keep_limit_bytes() / 2);
        let structure = StructureReader::new(opened, max_read_bytes, Arc::clone(&reads));
        let external_links = Arc::new(ExternalLinks::default());
        let resolver: Arc<dyn ExternalLinkResolver> = external_links.clone();
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_object_header_bytes(MAX_HEADER_BYTES)
            .with_external_link_resolver(resolver);
        let parsed = call(&object, || {
            hdf5_reader::Hdf5File::from_storage_with_options(Arc::new(structure), options)
        })?;
        Ok(Self {
            parsed,
            store,
            key,
            budget: storage.budget().clone(),
            object,
            reads,
            external_links,
        })
    }

    /// Calls the library about `object`, which may read as much structure as a dataset may have.
    pub(super) fn call_limited<T>(
        &self,
        object: &str,
        work: impl FnOnce() -> Result<T, LibraryError>,
    ) -> Result<T, Hdf5Error> {
        let limit = self.budget.keep_limit_bytes() / 2;
        self.call_within(object, limit.min(MAX_DATASET_BYTES), work)
    }

    /// Calls the library about `object`, which may read `limit_bytes` of structure.
    fn call_within<T>(
        &self,
        object: &str,
        limit_bytes: u64,
        work: impl FnOnce() -> Result<T, LibraryError>,
    ) -> Result<T, Hdf5Error> {
        self.reads.set(limit_bytes);
        let result = call(object, work);
        self.reads.set(u64::MAX);
        result
    }

    /// Its path or URL.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The name of an object in the file for messages, in the form of a source.
    pub fn describe(&self, path: &str) -> String {
        format!("{}|hdf5:/{}", self.object, path.trim_matches('/'))
    }

    /// Opens the dataset at `path`, if there is one.
    pub fn optional_dataset(&self, path: &str) -> Result<Option<Hdf5Dataset>, Hdf5Error> {
        let found = self.find(path)?;
        found
            .map(|found| Hdf5Dataset::new(self, path, &found))
            .transpose()
    }

    /// Opens the dataset at `path`.
    pub fn dataset(&self, path: &str) -> Result<Hdf5Dataset, Hdf5Error> {
        self.optional_dataset(path)?
            .ok_or_else(|| self.no_dataset(path))
    }

    /// The dataset at `path`, if there is one.
    fn find(&self, path: &str) -> Result<Option<hdf5_reader::Dataset>, Hdf5Error> {
        let object = self.describe(path);
        self.external_links.take();
        let found = self.call_limited(&object, || {
            match self.parsed.dataset(path).map_err(without_context) {
                Err(LibraryError::DatasetNotFound(_) | LibraryError::GroupNotFound(_)) => Ok(None),
                found => found.map(Some),
            }
        })?;
        match (found, self.external_links.take()) {
            (None, Some(file)) => Err(Hdf5Error::ExternalLink { object, file }),
            (found, _) => Ok(found),
        }
    }

    /// The texts of the dataset at `path`; `None` if there is no such dataset.
    pub fn texts(&self, path: &str) -> Result<Option<Hdf5Texts>, Hdf5Error> {
        let found = self.find(path)?;
        found
            .map(|found| Hdf5Texts::new(self, path, found))
            .transpose()
    }

    /// The attributes of the group at `path`; `None` if there is no such group.
    pub fn group_attributes(&self, path: &str) -> Result<Option<Map<String, Value>>, Hdf5Error> {
        self.call_limited(&self.describe(path), || {
            match self.parsed.group(path).map_err(without_context) {
                Err(LibraryError::GroupNotFound(_)) => Ok(None),
                Err(e) => Err(e),
                Ok(group) => {
                    let resolve =
                        |reference: &[u8]| group.resolve_vlen_reference_bytes(reference, 1);
                    Ok(Some(attributes::as_json(group.raw_attributes()?, &resolve)))
                }
            }
        })
    }

    /// The path of the file's only volume: its only dataset of numbers with 3 or 4 dimensions.
    pub fn only_volume(&self) -> Result<String, Hdf5Error> {
        let volumes = self.list()?.into_iter().filter(|d| d.is_volume);
        let mut paths: Vec<_> = volumes.map(|d| d.path).collect();
        match paths.len() {
            1 => Ok(paths.remove(0)),
            0 => Err(Hdf5Error::NoVolume {
                file: self.object.clone(),
            }),
            _ => Err(Hdf5Error::SeveralVolumes {
                file: self.object.clone(),
                choices: self.choices(&paths),
            }),
        }
    }

    /// The paths of all volumes that can be read, and the errors of the others.
    pub fn volumes(&self) -> Result<(Vec<String>, Vec<Hdf5Error>), Hdf5Error> {
        let (mut paths, mut errors) = (Vec::new(), Vec::new());
        for volume in self.list()?.into_iter().filter(|d| d.is_volume) {
            match self.dataset(&volume.path) {
                Ok(_) => paths.push(volume.path),
                Err(e) if e.is_of_dataset() => errors.push(e),
                Err(e) => return Err(e),
            }
        }
        Ok((paths, errors))
    }

    fn no_dataset(&self, path: &str) -> Hdf5Error {
        let all: Vec<_> = self.list().unwrap_or_default();
        let volumes: Vec<_> = all.iter().filter(|d| d.is_volume).collect();
        let named = if volumes.is_empty() {
            all.iter().collect()
        } else {
            volumes
        };
        let named: Vec<_> = named.into_iter().map(|d| d.path.clone()).collect();
        Hdf5Error::NoDataset {
            file: self.object.clone(),
            path: format!("/{}", path.trim_matches('/')),
            known: if named.is_empty() {
                String::new()
            } else {
                format!("; expected one of {}", self.choices(&named))
            },
        }
    }

    /// Datasets as sources, for messages.
    fn choices(&self, paths: &[String]) -> String {
        let named = paths.iter().take(NAMED_DATASETS);
        let mut named: Vec<_> = named
            .map(|path| format!("`{}`", self.describe(path)))
            .collect();
        if paths.len() > NAMED_DATASETS {
            named.push("...".to_owned());
        }
        named.join(", ")
    }

    /// All datasets, in the order of their paths.
    fn list(&self) -> Result<Vec<ListedDataset>, Hdf5Error> {
        self.call_within(&self.object, self.budget.keep_limit_bytes(), || {
            let mut found = Vec::new();
            let root = self.parsed.root_group()?;
            let mut groups = vec![(root, String::new(), 0)];
            // Groups may contain each other.
            let mut seen: HashSet<u64> = groups.iter().map(|(g, _, _)| g.address()).collect();
            let mut listed = 0;
            while let Some((group, path, depth)) = groups.pop() {
                let (subgroups, datasets) = group.member_names()?;
                for name in datasets {
                    found.push(listed_dataset(&group, &path, &name)?);
                }
                for name in subgroups {
                    let subgroup = group.group(&name)?;
                    if depth < MAX_DEPTH && seen.insert(subgroup.address()) {
                        groups.push((subgroup, format!("{path}/{name}"), depth + 1));
                    }
                }
                // Of several links to a group, the first one in the order of paths names it.
                groups.sort_by(|(_, a, _), (_, b, _)| b.cmp(a));
                listed = seen.len() + found.len();
                if listed > MAX_LISTED {
                    break;
                }
            }
            if listed > MAX_LISTED {
                return Err(LibraryError::ResourceLimit(format!(
                    "found more than {MAX_LISTED} groups and datasets; name the dataset in the source"
                )));
            }
            found.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        })
    }
}

fn listed_dataset(group: &Group, folder: &str, name: &str) -> Result<ListedDataset, LibraryError> {
    // A dataset that cannot be opened, for example a virtual one, is an error only if it is used.
    let is_volume = group.dataset(name).is_ok_and(|dataset| {
        matches!(dataset.ndim(), 3 | 4) && StoredType::of(dataset.dtype()).is_some()
    });
    Ok(ListedDataset {
        path: format!("{folder}/{name}"),
        is_volume,
    })
}

/// Calls the library. Its errors, and its panics, are errors about `object`.
pub(super) fn call<T>(
    object: &str,
    work: impl FnOnce() -> Result<T, LibraryError>,
) -> Result<T, Hdf5Error> {
    let damaged = |problem| Hdf5Error::Damaged {
        object: object.to_owned(),
        problem,
    };
    catch_library_panic(
        "hdf5-reader",
        || work().map_err(|e| Hdf5Error::of_library(object, e)),
        damaged,
    )
}

fn without_context(error: LibraryError) -> LibraryError {
    match error {
        LibraryError::Context { source, .. } => without_context(*source),
        other => other,
    }
}
