//! Reading a finished dataset, through zarrs: an independent path from the one that wrote the shards.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use zarrs::array::{
    Array, ArrayMetadata, ArrayShardedExt, ArrayToBytesCodecTraits, CodecChain, CodecOptions,
    ElementOwned,
};
use zarrs::filesystem::FilesystemStore;
use zarrs::metadata::v3::MetadataV3;

use super::metadata::zarr_error;
use super::output::PRIVATE;
use super::samples::{SampleReader, ShardFiles};
use super::{Codec, DatasetError, MANIFEST, Manifest, SCHEMA_VERSION, ShardReader};
use crate::data_type::DataType;

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
    folder: PathBuf,
    path: String,
}

/// One array of samples.
#[derive(Debug)]
pub struct SampleArray {
    array: Array<FilesystemStore>,
    inner: Inner,
    folder: PathBuf,
    name: String,
}

/// What the metadata says about the insides of shards.
#[derive(Debug)]
struct Inner {
    codecs: Vec<MetadataV3>,
    chain: CodecChain,
    shape: Vec<NonZeroU64>,
    shard_samples: u64,
}

impl Dataset {
    /// Opens the dataset in the folder `root`, which must have a manifest.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join(MANIFEST);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound && is_ours(root) => {
                return Err(DatasetError::NotSealed {
                    folder: root.to_owned(),
                });
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                let problem = match (root.is_dir(), root.exists()) {
                    (true, _) => "it has no manifest.json",
                    (false, true) => "it is a file, expected a folder",
                    (false, false) => "there is no such folder",
                };
                return Err(no_dataset(root, problem.to_owned()));
            }
            Err(e) => return Err(DatasetError::io("read", path)(e)),
        };
        let damaged = |problem| DatasetError::Damaged {
            path: path.clone(),
            problem,
        };
        let again = "`pointshard preprocess` again writes it anew";
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|e| match is_ours(root) {
                true => damaged(format!("{e}; {again}")),
                false => no_dataset(
                    root,
                    format!("its manifest.json is not one of pointshard's: {e}"),
                ),
            })?;
        if !(1..=SCHEMA_VERSION).contains(&manifest.schema_version) {
            return Err(damaged(format!(
                "its schema_version is {}, this program reads 1 to {SCHEMA_VERSION}",
                manifest.schema_version
            )));
        }
        let expected = manifest.expected_digest();
        if manifest.digest != expected {
            return Err(damaged(format!(
                "its digest is {:?}, its contents make {expected:?}: something in it has changed; {again}",
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
            folder,
            path,
        })
    }
}

/// Whether pointshard began an output in the folder.
fn is_ours(root: &Path) -> bool {
    root.join(PRIVATE).is_dir()
}

/// What to say of a folder that pointshard did not write, with the dataset above or below it, if there is one.
fn no_dataset(root: &Path, problem: String) -> DatasetError {
    let above = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let above = above.ancestors().skip(1).take(2).find(|a| is_ours(a));
    let below = || {
        let entries = std::fs::read_dir(root).ok()?;
        let mut ours: Vec<_> = entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| is_ours(p))
            .collect();
        ours.sort();
        ours.into_iter().next()
    };
    DatasetError::NoDataset {
        folder: root.to_owned(),
        problem,
        hint: above.map(Path::to_owned).or_else(below),
    }
}

impl SplitReader {
    /// The array of samples `name`.
    pub fn samples(&self, name: &str) -> Result<SampleArray, DatasetError> {
        let array = self.open(name)?;
        let path = format!("{}/{name}", self.path);
        let Some(inner) = sharding(&array) else {
            let problem = "it is not sharded, with one inner chunk per sample".into();
            return Err(zarr_error(&path, problem));
        };
        Ok(SampleArray {
            array,
            inner,
            folder: self.folder.join(name),
            name: path,
        })
    }

    /// The array of samples `name`, to be read fast; its shards are opened among `files`.
    pub fn reader(
        &self,
        name: &str,
        files: &Arc<ShardFiles>,
    ) -> Result<SampleReader, DatasetError> {
        SampleReader::new(self.samples(name)?, Arc::clone(files))
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

    /// Name of the values' type, as the metadata says.
    pub fn data_type(&self) -> String {
        match self.array.metadata() {
            ArrayMetadata::V3(metadata) => metadata.data_type.name().to_owned(),
            ArrayMetadata::V2(_) => "that of a Zarr v2 array".to_owned(),
        }
    }

    /// Shape of an inner chunk, which is one sample.
    pub fn inner_chunk(&self) -> Vec<u64> {
        self.inner.shape.iter().map(|n| n.get()).collect()
    }

    /// Path of the array, relative to the dataset.
    pub(super) fn path(&self) -> &str {
        &self.name
    }

    /// Names of the dimensions, as far as the metadata says.
    pub(super) fn dimensions(&self) -> &[Option<String>] {
        self.array.dimension_names().as_deref().unwrap_or_default()
    }

    /// The codecs of an inner chunk, as the metadata says.
    pub(super) fn inner_codecs(&self) -> &[MetadataV3] {
        &self.inner.codecs
    }

    /// Whether the metadata says that samples are compressed by `codec`, and nothing else is done to them but what every
    /// array's are: what it says, and what it should say, where it does not.
    pub(crate) fn wrong_codec(&self, codec: Codec) -> Result<Option<String>, DatasetError> {
        let codecs = &self.inner.codecs;
        let bytes = codecs.iter().position(|c| c.name() == "bytes");
        let found = bytes.map_or(codecs.as_slice(), |at| &codecs[at + 1..]);
        let value_bytes = DataType::from_name(&self.data_type()).map_or(1, DataType::size_bytes);
        // A codec without options may be written as its name alone.
        let plain = |codecs: &[MetadataV3]| -> Value {
            let options = |c: &MetadataV3| json!(c.configuration()).as_object().cloned();
            let plain = |c: &MetadataV3| json!([c.name(), options(c).unwrap_or_default()]);
            codecs.iter().map(plain).collect()
        };
        let [found, expected] = [plain(found), plain(&codec.metadata(value_bytes)?)];
        let told = || format!("its codecs after `bytes` are {found}, expected {expected}");
        Ok((found != expected).then(told))
    }

    /// A value that is not stored, little-endian.
    pub(super) fn fill_value(&self) -> &[u8] {
        self.array.fill_value().as_ne_bytes()
    }

    /// Places for samples in a shard.
    pub(super) fn shard_samples(&self) -> u64 {
        self.inner.shard_samples
    }

    /// The file of the shard.
    pub(super) fn shard_path(&self, shard: u64) -> PathBuf {
        self.folder.join(format!("c/{shard}/0/0/0/0"))
    }

    /// Opens the shard that holds the sample `i`.
    pub fn open_shard_of(&self, i: u64) -> Result<ShardReader, DatasetError> {
        let shard = i / self.inner.shard_samples;
        ShardReader::open(&self.shard_path(shard), self.inner.shard_samples as usize)
    }

    /// The values of the sample `i` out of its shard, in C order `[channel, z, y, x]`, little-endian. Fails
    /// where the sample's checksum, compression or size is wrong.
    pub fn read_from(&self, shard: &ShardReader, i: u64) -> Result<Vec<u8>, DatasetError> {
        let place = (i % self.inner.shard_samples) as usize;
        match shard.encoded(place) {
            Err(e) => Err(self.sample_error(i, e.to_string())),
            Ok(Some(encoded)) => self.decode(encoded, i),
            Ok(None) => {
                let values = self.inner.shape.iter().map(|n| n.get() as usize);
                Ok(self.fill_value().repeat(values.product()))
            }
        }
    }

    /// The values of the sample `i` out of its inner chunk.
    pub(super) fn decode(&self, encoded: Vec<u8>, i: u64) -> Result<Vec<u8>, DatasetError> {
        let options = CodecOptions::default().with_concurrent_target(1);
        self.inner
            .chain
            .decode(
                Cow::Owned(encoded),
                &self.inner.shape,
                self.array.data_type(),
                self.array.fill_value(),
                &options,
            )
            .and_then(|values| Ok(values.into_fixed()?.into_owned()))
            .map_err(|e| self.sample_error(i, e.to_string()))
    }

    /// What is wrong with the sample `i`.
    pub(super) fn sample_error(&self, i: u64, problem: String) -> DatasetError {
        zarr_error(&format!("{} sample {i}", self.name), problem)
    }

    /// The values of the sample `i`, as [`SampleArray::read_from`] gives them.
    pub fn read(&self, i: u64) -> Result<Vec<u8>, DatasetError> {
        self.read_from(&self.open_shard_of(i)?, i)
    }
}

/// What the array's metadata says about the insides of its shards; `None` where it is not sharded as ours are.
///
/// zarrs' own ways to read one inner chunk are not used: partial decoding does not look at the CRC-32C, so that
/// a flipped bit would pass for data, and reading the encoded chunk panics where it is absent.
fn sharding(array: &Array<FilesystemStore>) -> Option<Inner> {
    let ArrayMetadata::V3(metadata) = array.metadata() else {
        return None;
    };
    let [sharding] = metadata.codecs.as_slice() else {
        return None;
    };
    let codecs = sharding.configuration()?.get("codecs")?.clone();
    let codecs: Vec<MetadataV3> = serde_json::from_value(codecs).ok()?;
    let shard = metadata.chunk_grid.configuration()?.get("chunk_shape")?;
    let shard_samples = shard
        .get(0)?
        .as_u64()
        .filter(|n| (1..=MAX_SHARD_SAMPLES).contains(n))?;
    Some(Inner {
        chain: CodecChain::from_metadata(&codecs).ok()?,
        codecs,
        shape: array.subchunk_shape()?,
        shard_samples,
    })
}

/// Most samples per shard that are believed: a guard against sizes that a damaged file claims.
const MAX_SHARD_SAMPLES: u64 = 1 << 28;
