//! Reading a finished dataset, independently of the code that writes shards. Everything in the dataset is checked against the
//! manifest, and the manifest is checked first.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zarrs::array::{ArrayBytes, ElementOwned};
use zarrs::metadata::v3::MetadataV3;

use super::decode::{max_encoded_bytes, zeros};
use super::metadata::zarr_error;
use super::output::PRIVATE;
use super::samples::{SampleReader, ShardFiles};
use super::stored::{StoredArray, comparable};
use super::{
    ArrayEntry, Codec, DatasetError, MANIFEST, Manifest, SCHEMA_VERSION, ShardReader, SplitEntry,
};
use crate::data_type::DataType;
use crate::storage::{MAX_DOCUMENT_BYTES, read_regular};

/// A finished dataset in a folder. Its splits hold arrays of samples, `[sample, channel, z, y, x]` (or `[sample, channel, x,
/// y, z]`, by the config), and index columns; positions are in nm or voxels, in the order x, y, z.
#[derive(Clone, Debug)]
pub struct Dataset {
    root: PathBuf,
    manifest: Arc<Manifest>,
}

/// The arrays and columns of one split.
#[derive(Clone, Debug)]
pub struct SplitReader {
    manifest: Arc<Manifest>,
    entry: SplitEntry,
    folder: PathBuf,
}

/// One array of samples.
#[derive(Debug)]
pub struct SampleArray {
    stored: StoredArray,
    folder: PathBuf,
    name: String,
    data_type: DataType,
    shard_samples: u64,
}

/// Samples of a split that are accepted without a look at the sizes of its shards.
const UNCHECKED_SAMPLES: u64 = 1 << 22;

impl Dataset {
    /// Opens the dataset in the folder `root`.
    ///
    /// # Errors
    /// The folder is not a dataset, is not finished, or its manifest is damaged or not possible.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let dataset = Self::open_to_check(root)?;
        match dataset.manifest.problems().first() {
            None => Ok(dataset),
            Some(problem) => Err(DatasetError::Damaged {
                path: root.join(MANIFEST).display().to_string(),
                problem: problem.to_string(),
            }),
        }
    }

    /// As [`Dataset::open`], but without a look at [`Manifest::problems`]. Read only files before there are none.
    pub(crate) fn open_to_check(root: &Path) -> Result<Self, DatasetError> {
        let path = root.join(MANIFEST);
        let bytes = match read_regular(&path, MAX_DOCUMENT_BYTES) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound && has_output(root) => {
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
                return Err(not_a_dataset(root, problem.to_owned()));
            }
            Err(e) => return Err(DatasetError::io("read", path)(e)),
        };
        let damaged = |problem| DatasetError::Damaged {
            path: path.display().to_string(),
            problem,
        };
        let again = "run `pointshard preprocess` again to rewrite it";
        let (manifest, expected) = Manifest::parse(&bytes).map_err(|e| {
            if has_output(root) {
                damaged(format!("{e}; {again}"))
            } else {
                not_a_dataset(
                    root,
                    format!("its manifest.json is not one of pointshard's: {e}"),
                )
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
            root: root.to_owned(),
            manifest: Arc::new(manifest),
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
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
            return Err(DatasetError::Damaged {
                path: self.root.join(MANIFEST).display().to_string(),
                problem: format!(
                    "at `splits.{name}.samples`: found {}, more than the existing shards can hold",
                    entry.samples
                ),
            });
        }
        Ok(SplitReader {
            manifest: Arc::clone(&self.manifest),
            folder: self.root.join(&entry.path),
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
            let size = std::fs::metadata(self.root.join(&shard.path)).map_or(0, |m| m.len());
            possible = possible.saturating_add(size / 16);
        }
        possible
    }
}

/// Whether pointshard began an output in the folder.
fn has_output(root: &Path) -> bool {
    root.join(PRIVATE).is_dir()
}

/// The error for a folder that pointshard did not write, with the dataset above or below it, if there is one.
fn not_a_dataset(root: &Path, problem: String) -> DatasetError {
    let above = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let above = above.ancestors().skip(1).take(2).find(|a| has_output(a));
    let below = || {
        let entries = std::fs::read_dir(root).ok()?;
        let mut ours: Vec<_> = entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| has_output(p))
            .collect();
        ours.sort();
        ours.into_iter().next()
    };
    DatasetError::NotADataset {
        folder: root.to_owned(),
        problem,
        hint: above.map(Path::to_owned).or_else(below),
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
        let folder = self.folder.join(name);
        Ok(SampleArray {
            stored: StoredArray::samples(&folder, &self.entry, entry)?,
            folder,
            name: path,
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
    pub fn column<T: ElementOwned>(&self, name: &str) -> Result<Vec<T>, DatasetError> {
        let folder = self.folder.join(name);
        let stored = StoredArray::column(&folder, self.entry.samples)?;
        let values = ArrayBytes::new_flen(stored.column_values(&folder)?);
        T::from_array_bytes(stored.array.data_type(), values).map_err(|e| {
            let problem = format!("{e}: expected another data_type");
            zarr_error(&format!("{}/{name}", self.entry.path), problem)
        })
    }

    /// Checks that the column `name` can be read.
    pub(crate) fn check_column(&self, name: &str) -> Result<(), DatasetError> {
        let folder = self.folder.join(name);
        let stored = StoredArray::column(&folder, self.entry.samples)?;
        stored.column_values(&folder).map(|_| ())
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
        &self.name
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
    pub(super) fn shard_samples(&self) -> u64 {
        self.shard_samples
    }

    /// The file of the shard.
    pub(super) fn shard_path(&self, shard: u64) -> PathBuf {
        self.folder.join(format!("c/{shard}/0/0/0/0"))
    }

    /// Opens the shard that holds the sample `i`.
    pub fn open_shard_of(&self, i: u64) -> Result<ShardReader, DatasetError> {
        let shard = i / self.shard_samples;
        ShardReader::open(&self.shard_path(shard), self.shard_samples as usize)
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
            Err(e) => Err(self.sample_error(i, e.to_string())),
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
        zarr_error(&format!("{} sample {i}", self.name), problem)
    }

    /// The values of the sample `i`, as [`SampleArray::read_from`] returns them.
    pub fn read(&self, i: u64) -> Result<Vec<u8>, DatasetError> {
        self.read_from(&self.open_shard_of(i)?, i)
    }
}
