//! A volume that a viewer state transforms: scaled, translated by whole voxels, or with its axes in another order.
//!
//! Voxels are not resampled; only the resolution, the offset and the axis names change. A source's `transform` refers to
//! the source's own dimensions as Neuroglancer defines them (`model_space`). Windows are cut on whole voxels, so a
//! translation by a fraction of a voxel is an error.

use std::sync::Arc;

use super::model_space::{self, ModelSpace};
use super::open_format::{list_resolutions, open_untransformed};
use super::strided::{Strided, copy_strided};
use super::{BlockGrid, BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::LayerConfig;
use crate::geometry::{
    AXES, MAX_VOXEL, PlacedAxis, Resolution, SourceTransform, VoxelBox, is_unmoved,
};
use crate::storage::{SourceUrl, Storage};

/// Tolerance for whole voxels, for rounding errors of decimal numbers.
const TOLERANCE_VOXELS: f64 = 1e-3;

/// A volume with a transform applied.
#[derive(Debug)]
pub(super) struct TransformedVolume {
    inner: Arc<dyn Volume>,
    meta: VolumeMeta,
    /// For each of x, y, z the axis of `inner` along it.
    axes: [usize; 3],
    digest: blake3::Hash,
}

/// How x, y, z correspond to the axes of the source.
struct AxisMapping {
    inner: [usize; 3],
    /// Size of a voxel relative to the source's metadata.
    factor: [f64; 3],
    offset_nm: [f64; 3],
}

/// Opens the volume at `source` with its `transform`.
pub(super) fn open(
    source: &SourceUrl,
    transform: &SourceTransform,
    wanted: &Resolution,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let unmoved = SourceUrl {
        transform: None,
        ..source.clone()
    };
    let resolutions = |layer: &LayerConfig| {
        list_resolutions(|none| open_untransformed(&unmoved, none, layer, storage))
    };
    let mut space = model_space::read(&unmoved, layer, resolutions, storage)?;
    let placed = match (transform.place(&space.dimensions), space.unscaled.take()) {
        (Ok(placed), _) => placed,
        (Err(_), Some(unscaled)) => return Err(unscaled),
        (Err(e), None) => return Err(e.into()),
    };
    if is_unmoved(&placed, &space.dimensions) {
        return open_untransformed(&unmoved, wanted, layer, storage);
    }
    if layer.voxel_offset.is_some() {
        let found = "set, and the config's `layers` also sets `voxel_offset` for the layer";
        return Err(transform.wrong("", found, "one of the two").into());
    }
    let axes = AxisMapping::new(&space, &placed);
    let is_scaled = axes.factor.iter().any(|factor| (factor - 1.0).abs() > 1e-5);
    if let Some(resolution) = layer.resolution.filter(|_| is_scaled) {
        let found =
            format!("set, and the config's `layers` sets a different `resolution`, {resolution},");
        return Err(transform.wrong("", found, "one of the two").into());
    }
    let layer = layer_for_source(&space, &placed, layer, &axes);
    let wanted_of_source = axes.to_source(wanted);
    let inner = open_untransformed(&unmoved, &wanted_of_source, &layer, storage)
        .map_err(|e| axes.convert_error(e, transform, wanted))?;
    TransformedVolume::new(inner, &axes, space.begins_at_zero, transform)
        .map(|v| Arc::new(v) as Arc<dyn Volume>)
}

/// The layer's settings, completed by what the transform defines and the source does not.
fn layer_for_source(
    space: &ModelSpace,
    placed: &[PlacedAxis; 3],
    layer: &LayerConfig,
    axes: &AxisMapping,
) -> LayerConfig {
    let mut layer = layer.clone();
    if !space.is_named {
        layer.axes = Some(model_space::axis_letters(
            space.dimensions.len(),
            &placed.map(|p| p.dimension),
        ));
    }
    let is_scaled = placed
        .iter()
        .all(|axis| space.dimensions[axis.dimension].unit_nm.is_some());
    if !is_scaled {
        let mut nm = [0.0; 3];
        for (axis, inner) in placed.iter().zip(axes.inner) {
            nm[inner] = axis.unit_nm;
        }
        layer.resolution = Resolution::new(nm);
        // Offsets in the source's attributes are in its own resolution, so they are not used.
        layer.voxel_offset = Some([0; 3]);
    }
    layer
}

impl AxisMapping {
    fn new(space: &ModelSpace, placed: &[PlacedAxis; 3]) -> Self {
        let inner = |i: usize| {
            let name = &space.dimensions[placed[i].dimension].name;
            let named = AXES.iter().position(|axis| name.eq_ignore_ascii_case(axis));
            // A dimension without a name gets the name of the axis along it.
            named.filter(|_| space.is_named).unwrap_or(i)
        };
        let factor = |axis: PlacedAxis| {
            let own = space.dimensions[axis.dimension].unit_nm;
            own.map_or(1.0, |own| axis.unit_nm / own)
        };
        Self {
            inner: std::array::from_fn(inner),
            factor: placed.map(factor),
            offset_nm: placed.map(|axis| axis.offset_nm),
        }
    }

    /// The resolution of the source for voxels of `wanted` after the transform.
    fn to_source(&self, wanted: &Resolution) -> Resolution {
        let mut nm = [f64::MIN_POSITIVE; 3];
        for (i, inner) in self.inner.into_iter().enumerate() {
            nm[inner] = (wanted.nm()[i] / self.factor[i]).max(f64::MIN_POSITIVE);
        }
        Resolution::new(nm).unwrap_or(*wanted)
    }

    /// The resolution after the transform for a `resolution` of the source.
    fn transformed_resolution(&self, resolution: &Resolution) -> Option<Resolution> {
        let nm = resolution.nm();
        Resolution::new(std::array::from_fn(|i| nm[self.inner[i]] * self.factor[i]))
    }

    /// Converts the resolutions in an error to those after the transform.
    fn convert_error(
        &self,
        e: VolumeError,
        transform: &SourceTransform,
        wanted: &Resolution,
    ) -> VolumeError {
        match e {
            VolumeError::NoScale {
                object, available, ..
            } => VolumeError::NoScale {
                object: format!("{object}, scaled by {},", transform.describe()),
                wanted: *wanted,
                available: available
                    .iter()
                    .filter_map(|r| self.transformed_resolution(r))
                    .collect(),
                // It would be that before the transform.
                config_may_set: false,
            },
            other => other,
        }
    }
}

impl TransformedVolume {
    fn new(
        inner: Arc<dyn Volume>,
        axes: &AxisMapping,
        begins_at_zero: bool,
        transform: &SourceTransform,
    ) -> Result<Self, VolumeError> {
        let own = inner.meta();
        let out_of_range = || {
            transform.wrong(
                "",
                "a transform that moves the layer out of range",
                "smaller numbers",
            )
        };
        let resolution = axes
            .transformed_resolution(&own.resolution)
            .ok_or_else(out_of_range)?;
        let (bounds, shape) = (own.grid.bounds(), own.grid.bounds().shape());
        let mut start = [0; 3];
        for (i, inner) in axes.inner.into_iter().enumerate() {
            let voxels = axes.offset_nm[i] / resolution.nm()[i];
            let whole = voxels.round();
            if (voxels - whole).abs() > TOLERANCE_VOXELS {
                let found = format!(
                    "a transform that moves the layer by {voxels} voxels along {}",
                    AXES[i]
                );
                let expected = format!(
                    "a translation by whole voxels of the scale in use, {resolution}: windows are cut on whole voxels"
                );
                return Err(transform.wrong("matrix", found, expected).into());
            }
            let own_start = if begins_at_zero {
                0
            } else {
                bounds.start[inner]
            };
            if whole.abs() > MAX_VOXEL as f64 / 2.0 || own_start.abs() > MAX_VOXEL / 2 {
                return Err(out_of_range().into());
            }
            start[i] = own_start + whole as i64;
        }
        let bounds = VoxelBox {
            start,
            end: std::array::from_fn(|i| start[i] + shape[axes.inner[i]] as i64),
        };
        let block = own.grid.block_shape();
        let block = axes.inner.map(|inner| block[inner]);
        let grid = BlockGrid::new(bounds, block).ok_or_else(out_of_range)?;
        let parts = serde_json::json!([inner.digest().to_string(), axes.inner, resolution, start]);
        Ok(Self {
            meta: VolumeMeta {
                resolution,
                grid,
                ..own.clone()
            },
            axes: axes.inner,
            digest: blake3::hash(parts.to_string().as_bytes()),
            inner,
        })
    }

    fn is_permuted(&self) -> bool {
        self.axes != [0, 1, 2]
    }

    /// The block of the source for `block`.
    fn to_source(&self, block: BlockIndex) -> BlockIndex {
        let mut of_source = [0; 3];
        for (inner, index) in self.axes.into_iter().zip(block) {
            of_source[inner] = index;
        }
        of_source
    }

    /// The block for `block` of the source.
    fn transformed_block(&self, block: BlockIndex) -> BlockIndex {
        self.axes.map(|inner| block[inner])
    }
}

impl Volume for TransformedVolume {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.inner.describe_block(self.to_source(block))
    }

    fn redirected_to(&self) -> Option<String> {
        self.inner.redirected_to()
    }

    fn is_image(&self) -> bool {
        self.inner.is_image()
    }

    fn decoding_bytes(&self) -> u64 {
        let copy_bytes = if self.is_permuted() {
            self.meta().largest_block_bytes()
        } else {
            0
        };
        copy_bytes + self.inner.decoding_bytes()
    }

    fn round_trips(&self) -> usize {
        self.inner.round_trips()
    }

    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        let inner = self.inner.chunk_groups()?;
        if !self.is_permuted() {
            return Some(inner);
        }
        Some(Box::new(TransformedGroups {
            volume: self,
            inner,
        }))
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.digest
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        self.inner.fetch(self.to_source(block), encoded)
    }

    fn prefetch(&self, block: BlockIndex) {
        self.inner.prefetch(self.to_source(block));
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let of_source = self.to_source(block);
        if !self.is_permuted() {
            return self.inner.decode(of_source, encoded, values);
        }
        let mut decoded = std::mem::take(&mut encoded.decoded);
        let result = self.inner.decode(of_source, encoded, &mut decoded);
        if result.is_ok() {
            self.rearrange(block, &decoded, values);
        }
        encoded.decoded = decoded;
        result
    }
}

impl TransformedVolume {
    /// Copies the values of a source block into the order of the transformed axes.
    fn rearrange(&self, block: BlockIndex, decoded: &[u8], values: &mut Vec<u8>) {
        let shape = self
            .inner
            .meta()
            .grid
            .block_box(self.to_source(block))
            .shape();
        let [x, y, z] = shape.map(|n| n as usize);
        let strides = [1, x, x * y];
        let [sx, sy, sz] = self.axes.map(|inner| strides[inner]);
        let from = Strided {
            values: decoded,
            value_bytes: self.meta.data_type.size_bytes(),
            strides: [x * y * z, sz, sy, sx],
        };
        let region = self.meta.grid.block_box(block);
        let [nx, ny, nz] = region.shape().map(|n| n as usize);
        values.resize(self.meta.block_bytes(&region), 0);
        copy_strided(&from, [self.meta.channels as usize, nz, ny, nx], values);
    }
}

/// Chunk groups of a source with permuted axes.
struct TransformedGroups<'v> {
    volume: &'v TransformedVolume,
    inner: Box<dyn ChunkGroups + 'v>,
}

impl ChunkGroups for TransformedGroups<'_> {
    fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        self.inner.group_key(self.volume.to_source(block))
    }

    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let of_source: Vec<_> = blocks.iter().map(|b| self.volume.to_source(*b)).collect();
        let runs = self.inner.runs(&of_source).into_iter();
        let here = |run: Vec<BlockIndex>| {
            run.into_iter()
                .map(|b| self.volume.transformed_block(b))
                .collect()
        };
        runs.map(here).collect()
    }

    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError> {
        let of_source: Vec<_> = run.iter().map(|b| self.volume.to_source(*b)).collect();
        self.inner.fetch_run(&of_source, encoded)
    }
}
