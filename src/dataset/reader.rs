//! Reading a finished dataset, independently of the code that writes shards. Everything in the dataset is checked against the
//! manifest, and the manifest is checked first.

use std::sync::Arc;

use zarrs::array::ElementOwned;
use zarrs::metadata::v3::MetadataV3;

use super::column_reader::ColumnReader;
use super::decode::{max_encoded_bytes, zeros};
use super::metadata::zarr_error;
use super::not_a_dataset::{has_output, no_manifest, not_a_dataset, not_a_path};
use super::object::{damaged, open_object};
use super::samples::{SampleReader, ShardFiles};
use super::shard::EncodedError;
use super::stored::{StoredArray, comparable};
use super::{
    ArrayEntry, Codec, DatasetError, MANIFEST, Manifest, SCHEMA_VERSION, ShardReader, SplitEntry,
};
use crate::data_type::DataType;
use crate::storage::{Location, MAX_DOCUMENT_BYTES, OpenObject, Storage, StorageError, Store};

/// A finished dataset in a local folder or on a server. Its splits hold arrays of samples, `[sample, channel, z, y, x]` (or
/// `[sample, channel, x, y, z]`, by the config), and index columns; positions are in nm or voxels, in the order x, y, z.
#[derive(Clone, Debug)]
pub struct Dataset {
    location: Location,
    store: Arc<dyn Store>,
    manifest: Arc<Manifest>,
}

/// The arrays and columns of one split.
#[derive(Clone, Debug)]
pub struct SplitReader {
    store: Arc<dyn Store>,
    manifest: Arc<Manifest>,
    entry: SplitEntry,
}

/// One array of samples.
#[derive(Debug)]
pub struct SampleArray {
    store: Arc<dyn Store>,
    stored: StoredArray,
    /// Its path, relative to the dataset.
    path: String,
    data_type: DataType,
    shard_samples: u64,
}

/// Samples of a split that are accepted without a look at the sizes of its shards.
const UNCHECKED_SAMPLES: u64 = 1 << 22;

impl Dataset {
    /// Opens the dataset at `location`, a folder: a path, or a location that [`Location::parse`] returns for a URL.
    ///
    /// # Errors
    /// The folder is not a dataset, is not finished, or its manifest is damaged or not possible.
    pub fn open(location: impl Into<Location>, storage: &Storage) -> Result<Self, DatasetError> {
        let location = location.into();
        let store = storage.open(&location);
        let dataset = Self::open_unchecked(location, store, storage)?;
        match dataset.manifest.problems().first() {
            None => Ok(dataset),
            Some(problem) => Err(damaged(&*dataset.store, MANIFEST)(problem.to_string())),
        }
    }

    /// As [`Dataset::open`], through the given store of the location, and without a look at [`Manifest::problems`]. Read only
    /// files before there are none.
    pub(crate) fn open_unchecked(
        location: Location,
        store: Arc<dyn Store>,
        storage: &Storage,
    ) -> Result<Self, DatasetError> {
        let mut bytes = Vec::new();
        let read = store.read(MANIFEST, MAX_DOCUMENT_BYTES, &mut bytes);
        let is_read = read.map_err(|e| not_a_path(&location, storage, e))?;
        if !is_read {
            let folder = location.to_string();
            return Err(if has_output(&*store) {
                DatasetError::NotSealed { folder }
            } else {
                no_manifest(&location, storage)
            });
        }
        let damaged = damaged(&*store, MANIFEST);
        let again = "run `pointshard preprocess` again to rewrite it";
        let (manifest, expected) = Manifest::parse(&bytes).map_err(|e| {
            if has_output(&*store) {
                damaged(format!("{e}; {again}"))
            } else {
                let problem = format!("its manifest.json is not one of pointshard's: {e}");
                not_a_dataset(&location, storage, problem)
            }
        })?;
        if !(1..=SCHEMA_VERSION).contains(&manifest.schema_version) {
            return Err(damaged(format!(
                "its schema_version is {}, this program reads 1 to {SCHEMA_VERSION}",
                manifest.schema_version
            )));
        }
        if manifest.digest != expected {
            return Err(damaged(format!(
                "its digest is {:?}, but the digest of its contents is {expected:?}: something in it has changed; {again}",
                manifest.digest
            )));
        }
        Ok(Self {
            location,
            store,
            manifest: Arc::new(manifest),
        })
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Its objects.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The contents of the dataset.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The split `name`, which must be one of the manifest's.
    pub fn split(&self, name: &str) -> Result<SplitReader, DatasetError> {
        let entry = self.manifest.splits.get(name);
        let entry = entry
            .ok_or_else(|| zarr_error(name, "the manifest lists no such split".into()))?
            .clone();
        if entry.samples > self.possible_samples(name, entry.samples) {
            return Err(damaged(&*self.store, MANIFEST)(format!(
                "at `splits.{name}.samples`: found {}, more than the existing shards can hold",
                entry.samples
            )));
        }
        Ok(SplitReader {
            store: Arc::clone(&self.store),
            manifest: Arc::clone(&self.manifest),
            entry,
        })
    }

    /// How many of the `claimed` samples the split can have: each takes 16 bytes in the index of a shard.
    fn possible_samples(&self, split: &str, claimed: u64) -> u64 {
        let mut possible = UNCHECKED_SAMPLES;
        let mut shards = self.manifest.shards.iter().filter(|s| s.split == split);
        while possible < claimed
            && let Some(shard) = shards.next()
        {
            let size = self.store.size(&shard.path).ok().flatten();
            possible = possible.saturating_add(size.unwrap_or(0) / 16);
        }
        possible
    }
}

impl SplitReader {
    /// The array of samples `name`, which must be one of the manifest's.
    pub fn samples(&self, name: &str) -> Result<SampleArray, DatasetError> {
        let path = format!("{}/{name}", self.entry.path);
        let entry: &ArrayEntry = self
            .manifest
            .arrays
            .get(name)
            .ok_or_else(|| zarr_error(&path, "the manifest lists no such array".into()))?;
        Ok(SampleArray {
            stored: StoredArray::samples(&*self.store, &path, &self.entry, entry)?,
            store: Arc::clone(&self.store),
            path,
            data_type: entry.data_type,
            shard_samples: self.entry.shard_samples,
        })
    }

    /// A fast reader of the array of samples `name`; `files` keeps its shards open.
    pub fn reader(
        &self,
        name: &str,
        files: &Arc<ShardFiles>,
    ) -> Result<SampleReader, DatasetError> {
        SampleReader::new(self.samples(name)?, Arc::clone(files))
    }

    /// All values of the column `name`, rows one after the other.
    pub fn column<T: ElementOwned + Clone>(&self, name: &str) -> Result<Vec<T>, DatasetError> {
        self.open_column(name, None)?.rows(0..self.entry.samples)
    }

    /// The column `name`, which has a row of `width` values per sample, to be read in parts. `None` accepts every width.
    pub(crate) fn open_column<T: ElementOwned + Clone>(
        &self,
        name: &str,
        width: Option<u64>,
    ) -> Result<ColumnReader<T>, DatasetError> {
        let folder = format!("{}/{name}", self.entry.path);
        ColumnReader::open(Arc::clone(&self.store), folder, self.entry.samples, width)
    }

    /// Checks that the column `name` can be read.
    pub(crate) fn check_column(&self, name: &str) -> Result<(), DatasetError> {
        let folder = format!("{}/{name}", self.entry.path);
        let stored = StoredArray::column(&*self.store, &folder, self.entry.samples)?;
        let mut chunks = 0..stored.chunks();
        chunks.try_for_each(|chunk| {
            stored
                .column_chunk(&*self.store, &folder, chunk)
                .map(|_| ())
        })
    }
}

impl SampleArray {
    /// Shape: sample, channel, z, y, x (or x, y, z).
    pub fn shape(&self) -> &[u64] {
        &self.stored.metadata.shape
    }

    /// Type of the values.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Shape of an inner chunk, which is one sample.
    pub fn inner_chunk(&self) -> Vec<u64> {
        self.stored.chunk.iter().map(|n| n.get()).collect()
    }

    /// Path of the array, relative to the dataset.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Names of the dimensions in the metadata.
    pub(super) fn dimensions(&self) -> &[Option<String>] {
        let names = self.stored.metadata.dimension_names.as_deref();
        names.unwrap_or_default()
    }

    /// The codecs of an inner chunk in the metadata.
    pub(super) fn inner_codecs(&self) -> &[MetadataV3] {
        &self.stored.codecs
    }

    /// What is wrong with the codecs in the metadata, if anything: samples must be compressed with `codec` only.
    pub(crate) fn codec_problem(&self, codec: Codec) -> Result<Option<String>, DatasetError> {
        let codecs = &self.stored.codecs;
        let bytes = codecs.iter().position(|c| c.name() == "bytes");
        let found = bytes.map_or(codecs.as_slice(), |at| &codecs[at + 1..]);
        let expected = codec.metadata(self.data_type.size_bytes())?;
        let [found, expected] = [comparable(found), comparable(&expected)];
        let problem = || format!("its codecs after `bytes` are {found}, expected {expected}");
        Ok((found != expected).then(problem))
    }

    /// The fill value, little-endian.
    pub(crate) fn fill_value(&self) -> &[u8] {
        self.stored.array.fill_value().as_ne_bytes()
    }

    /// Most samples in a shard.
    pub(crate) fn shard_samples(&self) -> u64 {
        self.shard_samples
    }

    /// The key of the shard.
    pub(super) fn shard_key(&self, shard: u64) -> String {
        format!("{}/{}", self.path, self.stored.chunk_key(shard))
    }

    /// The objects of the dataset.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Opens the shard that holds the sample `i`.
    pub fn open_shard_of(&self, i: u64) -> Result<ShardReader, DatasetError> {
        let key = self.shard_key(i / self.shard_samples);
        let object = open_object(&*self.store, &key)?;
        self.read_shard(object, &key)
    }

    /// The shard in the open object `object`, whose key is `key`.
    pub(crate) fn read_shard(
        &self,
        object: Arc<dyn OpenObject>,
        key: &str,
    ) -> Result<ShardReader, DatasetError> {
        let describe = || self.store.describe(key);
        ShardReader::open(object, describe, self.shard_samples as usize)
    }

    /// The values of the sample `i` from its shard, in C order `[channel, z, y, x]`, little-endian.
    ///
    /// # Errors
    /// The sample's checksum, compression or size is wrong.
    pub fn read_from(&self, shard: &ShardReader, i: u64) -> Result<Vec<u8>, DatasetError> {
        if let Some(values) = self.stored_values(shard, i)? {
            return Ok(values);
        }
        let mut values = zeros(self.stored.chunk_bytes).map_err(|e| self.sample_error(i, e))?;
        let fill_value = self.fill_value();
        for value in values.chunks_exact_mut(fill_value.len().max(1)) {
            value.copy_from_slice(fill_value);
        }
        Ok(values)
    }

    /// As [`SampleArray::read_from`]; `None` where the sample is not stored, so that all of it is the fill value.
    pub(crate) fn stored_values(
        &self,
        shard: &ShardReader,
        i: u64,
    ) -> Result<Option<Vec<u8>>, DatasetError> {
        let place = (i % self.shard_samples) as usize;
        let most = max_encoded_bytes(self.stored.chunk_bytes as u64);
        match shard.encoded(place, most) {
            Err(EncodedError::Size(problem)) => Err(self.sample_error(i, problem)),
            Err(EncodedError::Read(e)) => Err(self.read_error(i, e)),
            Ok(Some(encoded)) => self.decode(encoded, i).map(Some),
            Ok(None) => Ok(None),
        }
    }

    /// The values of the sample `i` from its inner chunk.
    pub(super) fn decode(&self, encoded: Vec<u8>, i: u64) -> Result<Vec<u8>, DatasetError> {
        let values = self.stored.decode(encoded);
        values.map_err(|problem| self.sample_error(i, problem))
    }

    /// What is wrong with the sample `i`.
    pub(super) fn sample_error(&self, i: u64, problem: String) -> DatasetError {
        zarr_error(&format!("{} sample {i}", self.path), problem)
    }

    /// The error if the bytes of the sample `i` cannot be read.
    pub(super) fn read_error(&self, i: u64, source: StorageError) -> DatasetError {
        DatasetError::Sample {
            sample: format!("{} sample {i}", self.path),
            source,
        }
    }

    /// The values of the sample `i`, as [`SampleArray::read_from`] returns them.
    pub fn read(&self, i: u64) -> Result<Vec<u8>, DatasetError> {
        self.read_from(&self.open_shard_of(i)?, i)
    }
}
