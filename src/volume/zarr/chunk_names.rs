//! Detects chunks that are stored under other names than the metadata defines.
//!
//! If `dimension_separator` is `.` but the files are called `0/0/0`, all chunks seem to be missing and would read as the
//! fill value. Until the first chunk of an array is found, missing chunks are looked up under the other names too: for
//! up to 64 chunks in local files, and once on a server.

use std::sync::atomic::{AtomicU32, Ordering};

use super::array::ZarrArray;
use super::version::ZarrVersion;
use crate::storage::Store;
use crate::volume::VolumeError;

/// Number of missing chunks of a local array that are looked up under other names.
const LOCAL_TRIES: u32 = 64;

/// Checks whether chunks have the names that the metadata defines.
#[derive(Debug)]
pub(super) struct ChunkNameCheck {
    /// The array's metadata document.
    object: String,
    version: ZarrVersion,
    tries_left: AtomicU32,
}

/// A way to name chunks: the encoding and separator of v3.
type Naming = (&'static str, &'static str);

impl ChunkNameCheck {
    pub(super) fn new(object: &str, version: ZarrVersion, store: &dyn Store) -> Self {
        let tries = if store.is_remote() { 1 } else { LOCAL_TRIES };
        Self {
            object: object.to_owned(),
            version,
            tries_left: AtomicU32::new(tries),
        }
    }

    /// Stops the check, because a chunk was found under its name.
    pub(super) fn record_found(&self) {
        if self.tries_left.load(Ordering::Relaxed) > 0 {
            self.tries_left.store(0, Ordering::Relaxed);
        }
    }

    /// Looks up a missing block under the other names. Fails if it exists under one of them.
    pub(super) fn check_missing(
        &self,
        store: &dyn Store,
        array: &ZarrArray,
        block: &[u64],
    ) -> Result<(), VolumeError> {
        let next = |left: u32| left.checked_sub(1);
        let order = Ordering::Relaxed;
        if self.tries_left.fetch_update(order, order, next).is_err() {
            return Ok(());
        }
        let chunk = array.chunk_of(block);
        let stated = array.key(&chunk);
        let others = self.namings().iter().map(|naming| {
            let key = array.in_folder(&name(*naming, &chunk));
            (*naming, key)
        });
        let others = others.filter(|(_, key)| *key != stated);
        let most = if store.is_remote() { 1 } else { usize::MAX };
        for (naming, key) in others.take(most) {
            if store.size(&key)?.is_some() {
                return Err(self.name_error(
                    naming,
                    &store.describe(&stated),
                    &store.describe(&key),
                ));
            }
        }
        Ok(())
    }

    fn namings(&self) -> &'static [Naming] {
        match self.version {
            ZarrVersion::V2 => &[("v2", "."), ("v2", "/")],
            ZarrVersion::V3 => &[("default", "."), ("default", "/"), ("v2", "."), ("v2", "/")],
        }
    }

    fn name_error(&self, (encoding, separator): Naming, stated: &str, stored: &str) -> VolumeError {
        let (path, setting) = match self.version {
            ZarrVersion::V2 => (
                "dimension_separator",
                format!("\"dimension_separator\": \"{separator}\""),
            ),
            ZarrVersion::V3 => (
                "chunk_key_encoding",
                format!(
                    "\"chunk_key_encoding\": {{\"name\": \"{encoding}\", \"configuration\": {{\"separator\": \"{separator}\"}}}}"
                ),
            ),
        };
        VolumeError::InvalidMetadata {
            object: self.object.clone(),
            path: path.to_owned(),
            problem: format!(
                "found no chunk {stated}, but {stored} exists: set {setting} in this file"
            ),
        }
    }
}

fn name((encoding, separator): Naming, chunk: &[u64]) -> String {
    let indices: Vec<_> = chunk.iter().map(u64::to_string).collect();
    let indices = indices.join(separator);
    match encoding {
        "default" => format!("c{separator}{indices}"),
        _ => indices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specifications() {
        let names = [("v2", "."), ("v2", "/"), ("default", "."), ("default", "/")];
        assert_eq!(
            names.map(|n| name(n, &[1, 0, 23])),
            ["1.0.23", "1/0/23", "c.1.0.23", "c/1/0/23"]
        );
    }
}
