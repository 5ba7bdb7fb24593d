//! Reading a finished dataset, through zarrs: an independent path from the one that wrote the shards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zarrs::array::{
    Array, ArrayShardedExt, ArrayShardedReadableExt, ArrayShardedReadableExtCache, CodecOptions,
    ElementOwned,
};
use zarrs::filesystem::FilesystemStore;

use super::metadata::zarr_error;
use super::{DatasetError, MANIFEST, Manifest, SCHEMA_VERSION};

/// A finished dataset.
#[derive(Clone, Debug)]
pub struct Dataset {
    root: PathBuf,
    manifest: Manifest,
}

/// The arrays and columns of one split.
#[derive(Clone, Debug)]
pub struct SplitReader {
    store: Arc<FilesystemStore>,
    path: String,
}

/// One array of samples.
pub struct SampleArray {
    array: Array<FilesystemStore>,
    cache: ArrayShardedReadableExtCache,
    name: String,
}

impl Dataset {
    /// Opens the dataset in the folder `root`, which must have a manifest.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join(MANIFEST);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(DatasetError::NotSealed {
                    folder: root.to_owned(),
                });
            }
            Err(e) => return Err(DatasetError::io("read", path)(e)),
        };
        let damaged = |problem| DatasetError::Damaged {
            path: path.clone(),
            problem,
        };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if manifest.schema_version != SCHEMA_VERSION {
            return Err(damaged(format!(
                "its schema_version is {}, this program reads {SCHEMA_VERSION}",
                manifest.schema_version
            )));
        }
        let expected = manifest.expected_digest();
        if manifest.digest != expected {
            return Err(damaged(format!(
                "its digest is {:?}, its contents make {expected:?}: something in it has changed",
                manifest.digest
            )));
        }
        Ok(Self {
            root: root.to_owned(),
            manifest,
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the dataset consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The split `name`, which must be one of the manifest's.
    pub fn split(&self, name: &str) -> Result<SplitReader, DatasetError> {
        let path = self
            .manifest
            .splits
            .get(name)
            .map(|s| s.path.clone())
            .ok_or_else(|| zarr_error(name, "the manifest lists no such split".into()))?;
        let folder = self.root.join(&path);
        let store = FilesystemStore::new(&folder)
            .map_err(|e| zarr_error(&folder.display().to_string(), e.to_string()))?;
        Ok(SplitReader {
            store: Arc::new(store),
            path,
        })
    }
}

impl SplitReader {
    /// The array of samples `name`.
    pub fn samples(&self, name: &str) -> Result<SampleArray, DatasetError> {
        let array = self.open(name)?;
        let cache = ArrayShardedReadableExtCache::new(&array);
        Ok(SampleArray {
            array,
            cache,
            name: format!("{}/{name}", self.path),
        })
    }

    /// All values of the column `name`, rows one after the other.
    pub fn column<T: ElementOwned>(&self, name: &str) -> Result<Vec<T>, DatasetError> {
        let array = self.open(name)?;
        array
            .retrieve_array_subset(&array.subset_all())
            .map_err(|e| zarr_error(&format!("{}/{name}", self.path), e.to_string()))
    }

    /// Shape of the array or column `name`.
    pub fn shape(&self, name: &str) -> Result<Vec<u64>, DatasetError> {
        Ok(self.open(name)?.shape().to_vec())
    }

    fn open(&self, name: &str) -> Result<Array<FilesystemStore>, DatasetError> {
        Array::open(Arc::clone(&self.store), &format!("/{name}"))
            .map_err(|e| zarr_error(&format!("{}/{name}", self.path), e.to_string()))
    }
}

impl SampleArray {
    /// Shape: sample, channel, z, y, x.
    pub fn shape(&self) -> &[u64] {
        self.array.shape()
    }

    /// Name of the values' type.
    pub fn data_type(&self) -> String {
        self.array.data_type().to_string()
    }

    /// Shape of an inner chunk, which is one sample.
    pub fn inner_chunk(&self) -> Option<Vec<u64>> {
        let shape = self.array.subchunk_shape()?;
        Some(shape.iter().map(|n| n.get()).collect())
    }

    /// The values of the sample `i` in C order `[channel, z, y, x]`, little-endian. Fails where the sample's
    /// checksum, compression or size is wrong.
    pub fn read(&self, i: u64) -> Result<Vec<u8>, DatasetError> {
        let options = CodecOptions::default().with_concurrent_target(1);
        let bytes: zarrs::array::ArrayBytes<'static> = self
            .array
            .retrieve_subchunk_opt(&self.cache, &[i, 0, 0, 0, 0], &options)
            .map_err(|e| zarr_error(&format!("{} sample {i}", self.name), e.to_string()))?;
        bytes
            .into_fixed()
            .map(|b| b.into_owned())
            .map_err(|e| zarr_error(&self.name, e.to_string()))
    }
}
