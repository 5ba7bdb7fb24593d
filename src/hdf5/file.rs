//! An open HDF5 file: finds its datasets.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use hdf5_reader::error::Error as LibraryError;
use hdf5_reader::group::Group;
use hdf5_reader::{BlockCacheStorage, OpenOptions};
use serde_json::{Map, Value};

use super::attributes;
use super::dataset::Hdf5Dataset;
use super::error::Hdf5Error;
use super::object_reader::ObjectReader;
use super::stored_type::StoredType;
use crate::catch_panic::catch_library_panic;
use crate::storage::{Location, MemoryBudget, Storage, StorageError, Store};

/// The first bytes of every HDF5 file, or of the part after a user block.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Where the signature may be, after user blocks of MATLAB and others.
const SIGNATURE_OFFSETS: [u64; 4] = [0, 512, 1024, 2048];

/// The structure of a file is read in blocks of this size.
const BLOCK_BYTES: usize = 64 << 10;

/// Number of blocks of structure that are kept while a dataset is opened.
const KEPT_BLOCKS: usize = 256;

/// Largest object header. It contains attributes.
const MAX_HEADER_BYTES: usize = 16 << 20;

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
    let mut found = SIGNATURE;
    for offset in SIGNATURE_OFFSETS {
        if object.size_bytes() < offset + SIGNATURE.len() as u64 {
            break;
        }
        object.read_at(offset, &mut found)?;
        if found == SIGNATURE {
            return Ok(true);
        }
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
        let blocks =
            BlockCacheStorage::new(Arc::new(ObjectReader(opened)), BLOCK_BYTES, KEPT_BLOCKS);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_object_header_bytes(MAX_HEADER_BYTES)
            .with_max_read_bytes(storage.budget().keep_limit_bytes() as usize / 4);
        let parsed = call(&object, || {
            hdf5_reader::Hdf5File::from_storage_with_options(Arc::new(blocks), options)
        })?;
        Ok(Self {
            parsed,
            store,
            key,
            budget: storage.budget().clone(),
            object,
        })
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
        let found = call(&self.describe(path), || {
            match self.parsed.dataset(path).map_err(without_context) {
                Err(LibraryError::DatasetNotFound(_) | LibraryError::GroupNotFound(_)) => Ok(None),
                found => found.map(Some),
            }
        })?;
        Ok(found)
    }

    /// The strings of the dataset at `path`; `None` if there is no such dataset.
    pub fn strings(&self, path: &str) -> Result<Option<Vec<String>>, Hdf5Error> {
        match self.find(path)? {
            None => Ok(None),
            Some(found) => call(&self.describe(path), || found.read_strings()).map(Some),
        }
    }

    /// The attributes of the group at `path`; `None` if there is no such group.
    pub fn group_attributes(&self, path: &str) -> Result<Option<Map<String, Value>>, Hdf5Error> {
        call(&self.describe(path), || {
            match self.parsed.group(path).map_err(without_context) {
                Err(LibraryError::GroupNotFound(_)) => Ok(None),
                Err(e) => Err(e),
                Ok(group) => Ok(Some(attributes::as_json(group.attributes()?))),
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

    /// The paths of all volumes.
    pub fn volumes(&self) -> Result<Vec<String>, Hdf5Error> {
        let volumes = self.list()?.into_iter().filter(|d| d.is_volume);
        Ok(volumes.map(|d| d.path).collect())
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
        call(&self.object, || {
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
