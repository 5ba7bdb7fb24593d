//! HDF5 datasets, as CREMI, h5py, gunpowder, ilastik and others write them.
//!
//! A block is one chunk, or several if the channels are spread over several chunks. A dataset without chunks has blocks of
//! whole rows. Dimensions are listed from the slowest to the fastest; three without names are z, y, x. The position
//! comes from the attributes of the dataset (`spatial_attributes`): CREMI's `resolution` and `offset`, in nm.

use super::array_description::ArrayDescription;
use super::axes::ArrayAxes;
use super::format_dimensions::FormatDimensions;
use super::spatial_attributes::{
    AttributesDocument, DimensionNames, DimensionOrder, NAME_KEYS, SpatialArray, dimension_names,
};
use super::strided::{Strided, c_strides, copy_strided};
use super::{BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::hdf5::{Hdf5Dataset, Hdf5Error, Hdf5File, StoredRange, is_unsupported};
use crate::storage::{Extent, SourceUrl, Storage, Store, read_run, runs};

/// HDF5's attribute with the names of dimensions.
const DIMENSION_LABELS: &str = "DIMENSION_LABELS";

/// An open dataset.
#[derive(Debug)]
pub(super) struct Hdf5Volume {
    dataset: Hdf5Dataset,
    axes: ArrayAxes,
    meta: VolumeMeta,
}

impl Hdf5Volume {
    /// Opens the dataset at `source`, or the only volume of the file there. Its resolution must be `wanted`.
    pub(super) fn open(
        source: &SourceUrl,
        wanted: &Resolution,
        layer: &LayerConfig,
        storage: &Storage,
    ) -> Result<Self, VolumeError> {
        let dataset = open_dataset(source, storage)?;
        let shape = dataset.shape();
        let array = spatial_array(&dataset);
        let position =
            array.position(layer, labels(&dataset, layer)?, default_names(shape.len()))?;
        let resolution = position.resolution.ok_or_else(|| VolumeError::Incomplete {
            object: dataset.object().to_owned(),
            missing: "has no attribute `resolution` with its voxel size".into(),
            example: "{ \"resolution\": [4, 4, 40], \"voxel_offset\": [0, 0, 0] }".into(),
        })?;
        if !resolution.matches(wanted) {
            return Err(VolumeError::NoScale {
                object: dataset.object().to_owned(),
                wanted: *wanted,
                available: vec![resolution],
                config_may_set: true,
            });
        }
        let axes = position.axes;
        let description = ArrayDescription {
            data_type: dataset.data_type(),
            fill_value: dataset.fill_value(),
            channels: axes.channel_of(shape, 1),
            size: axes.xyz_of(shape),
            block: axes.xyz_of(dataset.block_shape()),
            resolution,
            voxel_offset: position.first_voxel,
        };
        let meta = description.meta();
        let meta = meta.map_err(|problem| VolumeError::InvalidMetadata {
            object: dataset.object().to_owned(),
            path: "shape".to_owned(),
            problem,
        })?;
        Ok(Self {
            dataset,
            axes,
            meta,
        })
    }

    /// Number of stored parts of a block: one for each chunk along the channels.
    fn parts(&self) -> u64 {
        self.axes
            .parts(self.meta.channels, self.dataset.block_shape())
    }

    /// Indices of a part of a block, for all dimensions.
    fn part_indices(&self, block: BlockIndex, part: u64) -> Vec<u64> {
        self.axes
            .array_indices(self.dataset.shape().len(), block, part)
    }

    fn describe_part(&self, indices: &[u64]) -> String {
        let block = self.dataset.block_shape();
        let first: Vec<u64> = indices.iter().zip(block).map(|(i, n)| i * n).collect();
        format!("{}, at {first:?}", self.dataset.object())
    }

    fn damaged(&self, indices: &[u64], problem: String) -> VolumeError {
        VolumeError::Chunk {
            object: self.describe_part(indices),
            problem,
        }
    }

    /// The range of a stored block of a single part; `None` if the block is missing, in memory or damaged.
    fn extent(&self, block: BlockIndex) -> Option<Extent> {
        match self.dataset.find(&self.part_indices(block, 0)) {
            Ok(Some(StoredRange::File(extent))) => Some(extent),
            _ => None,
        }
    }
}

/// Opens the dataset at `source`, or the only volume of the file there.
fn open_dataset(source: &SourceUrl, storage: &Storage) -> Result<Hdf5Dataset, VolumeError> {
    match &source.inside {
        Some(inside) => {
            let file = Hdf5File::open(&inside.file, storage)?;
            Ok(file.dataset(&inside.path)?)
        }
        None => {
            let file = Hdf5File::open(&source.location, storage)?;
            let path = file.only_volume()?;
            Ok(file.dataset(&path)?)
        }
    }
}

fn spatial_array(dataset: &Hdf5Dataset) -> SpatialArray<'_> {
    SpatialArray {
        own: AttributesDocument {
            object: dataset.object(),
            attributes: dataset.attributes(),
        },
        parent: None,
        order: DimensionOrder::C,
        shape: dataset.shape(),
    }
}

/// The names of the dimensions in HDF5's own attribute. If the config does not name them, an attribute with names that
/// cannot be read is an error.
fn labels(dataset: &Hdf5Dataset, layer: &LayerConfig) -> Result<Vec<DimensionNames>, VolumeError> {
    let attributes = dataset.attributes();
    let invalid = |key: &str, problem: String| VolumeError::InvalidMetadata {
        object: dataset.object().to_owned(),
        path: key.to_owned(),
        problem: format!("{problem}: set `axes` in the config's `layers`"),
    };
    if layer.axes.is_none() {
        for key in [DIMENSION_LABELS].iter().chain(&NAME_KEYS) {
            if let Some(value) = attributes.get(*key).filter(|value| is_unsupported(value)) {
                let problem = format!("found {value}, expected a list of names");
                return Err(invalid(key, problem));
            }
        }
    }
    let labels = attributes.get(DIMENSION_LABELS);
    let Some(labels) = labels.and_then(|labels| labels.as_array()) else {
        return Ok(Vec::new());
    };
    let names = labels.iter().map(|label| label.as_str().map(str::to_owned));
    let names = names.collect::<Option<Vec<_>>>().unwrap_or_default();
    // h5py labels all dimensions at once; those without a name have empty labels.
    let unnamed = names.iter().filter(|name| name.is_empty()).count();
    if unnamed == names.len() {
        return Ok(Vec::new());
    }
    if unnamed > 0 && layer.axes.is_none() {
        let problem = format!("found the labels {names:?}, expected one for each dimension");
        return Err(invalid(DIMENSION_LABELS, problem));
    }
    Ok(vec![DimensionNames {
        path: DIMENSION_LABELS.to_owned(),
        names,
    }])
}

/// The names of dimensions without names: CREMI, gunpowder, daisy and h5py's users write z, y, x.
fn default_names(rank: usize) -> Option<Vec<String>> {
    (rank == 3).then(|| ["z", "y", "x"].map(str::to_owned).to_vec())
}

/// Reads the dimensions of the dataset at `source`.
pub(super) fn model_space(
    source: &SourceUrl,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<FormatDimensions, VolumeError> {
    let dataset = open_dataset(source, storage)?;
    let rank = dataset.shape().len();
    let names = dimension_names(&spatial_array(&dataset), layer, labels(&dataset, layer)?)?;
    let names = names.or_else(|| default_names(rank));
    Ok(FormatDimensions {
        is_named: names.is_some(),
        names: names.unwrap_or_else(|| (0..rank).map(|d| format!("d{d}")).collect()),
        begins_at_zero: false,
        factors: [1.0; 3],
    })
}

impl Volume for Hdf5Volume {
    fn describe(&self) -> String {
        self.dataset.object().to_owned()
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.describe_part(&self.part_indices(block, 0))
    }

    fn decoding_bytes(&self) -> u64 {
        // A stored block may be larger than a decoded one: a chunk may extend past the dataset, and filters may add bytes.
        let stored = self
            .parts()
            .saturating_mul(self.dataset.stored_limit_bytes());
        let counted = self.meta.largest_block_bytes();
        stored
            .saturating_sub(counted)
            .saturating_add(self.dataset.decoding_bytes())
    }

    fn round_trips(&self) -> usize {
        self.dataset.store().round_trips()
    }

    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        // The parts of a block with several parts are read one by one.
        (self.parts() == 1).then(|| Box::new(ChunksOfFile(self)) as Box<dyn ChunkGroups>)
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.dataset.digest()
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        encoded.read_parts(self.parts(), |part, into| {
            let indices = self.part_indices(block, part);
            let found = self.dataset.find(&indices);
            match found.map_err(|problem| self.damaged(&indices, problem))? {
                None => {
                    into.clear();
                    Ok(false)
                }
                Some(StoredRange::Memory(bytes)) => {
                    into.clear();
                    into.extend_from_slice(bytes);
                    Ok(true)
                }
                Some(StoredRange::File(extent)) => {
                    let store = self.dataset.store();
                    require_file(
                        store,
                        &extent,
                        store.read_range(&extent.key, extent.bytes.clone(), into)?,
                    )
                }
            }
        })
    }

    fn prefetch(&self, block: BlockIndex) {
        for part in 0..self.parts() {
            let found = self.dataset.find(&self.part_indices(block, part));
            if let Ok(Some(StoredRange::File(extent))) = found {
                self.dataset
                    .store()
                    .prefetch(&extent.key, Some(extent.bytes));
            }
        }
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let meta = &self.meta;
        let region = meta.grid.block_box(block);
        let [nx, ny, nz] = region.shape().map(|n| n as usize);
        let value_bytes = meta.data_type.size_bytes();
        let chunk = self.dataset.block_shape();
        let chunk: Vec<usize> = chunk.iter().map(|n| *n as usize).collect();
        let strides = c_strides(&chunk);
        let [sx, sy, sz] = self.axes.xyz_of(&strides);
        let sc = self.axes.channel_of(&strides, 0);
        let per_part = self.axes.channel_of(&chunk, 1);
        values.resize(meta.block_bytes(&region), 0);
        let plane_bytes = nx * ny * nz * value_bytes;
        let of_parts = values.chunks_mut(per_part * plane_bytes);
        for (part, (to, bytes)) in of_parts.zip(encoded.parts()).enumerate() {
            let channels = to.len() / plane_bytes;
            let Some(bytes) = bytes else {
                meta.fill_value.fill(value_bytes, to);
                continue;
            };
            let indices = self.part_indices(block, part as u64);
            let decoded = self.dataset.decode(&indices, bytes);
            let decoded = decoded.map_err(|problem| self.damaged(&indices, problem))?;
            let from = Strided {
                values: &decoded,
                value_bytes,
                strides: [sc, sz, sy, sx],
            };
            copy_strided(&from, [channels, nz, ny, nx], to);
            self.dataset.swap_bytes(to);
        }
        Ok(())
    }
}

/// A file that was opened and does not exist any more is an error, not a missing chunk.
fn require_file(store: &dyn Store, extent: &Extent, exists: bool) -> Result<bool, VolumeError> {
    if !exists {
        let object = store.describe(&extent.key);
        return Err(Hdf5Error::Missing { object }.into());
    }
    Ok(true)
}

/// The chunks of a file, all of which are found with one index.
struct ChunksOfFile<'v>(&'v Hdf5Volume);

impl ChunkGroups for ChunksOfFile<'_> {
    fn group_key(&self, _: BlockIndex) -> [u64; 2] {
        [0, 0]
    }

    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let find = |block: &BlockIndex| (*block, self.0.extent(*block));
        runs(blocks.iter().map(find).collect())
    }

    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError> {
        let extents = run.iter().map(|block| self.0.extent(*block));
        let Some(extents) = extents.collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        let mut into: Vec<_> = encoded.iter_mut().map(|e| &mut e.bytes).collect();
        let store = self.0.dataset.store();
        let exists = read_run(store, &extents, &mut into)?;
        if let Some(first) = extents.first() {
            require_file(store, first, exists)?;
        }
        for e in encoded {
            e.set_single_part();
        }
        Ok(true)
    }
}
