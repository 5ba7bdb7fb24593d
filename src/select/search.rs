//! Finding the object of a sample: the id at a point, or near it.

use super::object_chunks::ChunksAtPoints;
use super::window::window_request;
use crate::config::{ArrayConfig, ObjectPoint, ObjectSearch, Transform};
use crate::data_type::Scalar;
use crate::extract::{BoxRequest, CutScratch, ExtractError, Sources, WindowCutter};
use crate::geometry::{PointNm, Resolution, VoxelBox};
use crate::plan::{Plan, PlannedSplit};
use crate::volume::VolumeMeta;
use crate::voxels::Region;

/// Where an object is looked up.
pub(super) struct Search<'p> {
    array: usize,
    split: &'p PlannedSplit,
    /// Position of the sample in its split.
    i: usize,
    source: usize,
    point: PointNm,
    /// Of the source.
    resolution: Resolution,
    radius_nm: f64,
}

impl<'p> Search<'p> {
    /// The search for the object of the `i`th sample of a split.
    pub fn new(
        plan: &Plan,
        array: usize,
        at: ObjectPoint,
        radius_nm: f64,
        split: &'p PlannedSplit,
        i: usize,
    ) -> Self {
        let sample = &split.samples[i];
        let source = plan.source_of(array, sample);
        Self {
            array,
            split,
            i,
            source,
            point: match at {
                ObjectPoint::Anchor => sample.center_nm,
                ObjectPoint::Start => split.ends[i][0],
                ObjectPoint::End => split.ends[i][1],
            },
            resolution: plan.sources[source].resolution,
            radius_nm,
        }
    }

    /// The volume, by its position in the plan.
    pub fn source(&self) -> usize {
        self.source
    }

    /// The voxels within the radius, including the one that holds the point; `None` where voxels are out of range.
    pub fn voxels(&self) -> Option<VoxelBox> {
        let corner = |sign: f64| {
            let moved = PointNm(self.point.0.map(|v| v + sign * self.radius_nm));
            self.resolution.voxel_of(&moved)
        };
        let (start, last) = (corner(-1.0)?, corner(1.0)?);
        Some(VoxelBox {
            start,
            end: last.map(|v| v + 1),
        })
    }

    /// Reads the voxels and returns the nearest object, 0 for none. Notes which chunks are stored.
    pub fn run(
        &self,
        cutter: &WindowCutter<'_>,
        scratch: &mut CutScratch,
        chunks: &ChunksAtPoints,
    ) -> Result<u64, ExtractError> {
        let Some(voxels) = self.voxels() else {
            return Ok(0);
        };
        let (array, source) = (self.array, self.source);
        let meta = cutter.sources.volumes[source].meta();
        let region = Region {
            covers: &voxels,
            channels: meta.channels as usize,
            value_bytes: meta.data_type.size_bytes(),
        };
        let request = BoxRequest {
            source,
            out: &region,
            fill_value: Scalar::ZERO,
            conversion: None,
        };
        let mut values = std::mem::take(&mut scratch.window);
        values.resize(region.bytes(), 0);
        let mut missing = None;
        let contents = cutter.read_box(&request, &mut values, scratch, &mut |key| {
            missing = missing.into_iter().chain([key]).min();
        });
        let of_sample = window_request(array, self.split, self.i, &[]);
        let contents = contents.map_err(|e| cutter.failed(e, of_sample, source))?;
        let nearest = if contents.other_values {
            self.nearest_object(&values, &region, |value| {
                cutter.sources.object_of(array, value)
            })
        } else {
            0
        };
        scratch.window = values;
        chunks.note(source, contents.stored, missing, nearest);
        Ok(nearest)
    }

    /// The id at the point's voxel or, where that is background, at the nearest voxel (by its centre) within the radius that
    /// is not: the first one in z, y, x if several are equally near. 0 where there is none.
    fn nearest_object(&self, values: &[u8], region: &Region<'_>, id: impl Fn(&[u8]) -> u64) -> u64 {
        let own = self.resolution.voxel_of(&self.point);
        let mut nearest = (f64::INFINITY, 0);
        // Of several channels, the first counts.
        let mut values = values.chunks_exact(region.value_bytes);
        for z in region.covers.start[2]..region.covers.end[2] {
            for y in region.covers.start[1]..region.covers.end[1] {
                for x in region.covers.start[0]..region.covers.end[0] {
                    let found = values.next().map_or(0, &id);
                    if found == 0 {
                        continue;
                    }
                    if own == Some([x, y, z]) {
                        return found;
                    }
                    let distance = self.distance_nm([x, y, z]);
                    // Rounding makes equal distances differ.
                    if distance <= self.radius_nm && distance < nearest.0 - 1e-6 {
                        nearest = (distance, found);
                    }
                }
            }
        }
        nearest.1
    }

    /// From the point to the centre of the voxel.
    fn distance_nm(&self, voxel: [i64; 3]) -> f64 {
        let along = |d: usize| (voxel[d] as f64 + 0.5) * self.resolution.nm()[d] - self.point.0[d];
        let squares = [along(0), along(1), along(2)].map(|a| a * a);
        squares.iter().sum::<f64>().sqrt()
    }
}

/// Most bytes that a thread needs for the voxels around a point where an object is looked up.
pub(super) fn search_bytes(plan: &Plan, sources: &Sources) -> u64 {
    let of_array = |(array, config): (usize, &ArrayConfig)| {
        let Transform::ObjectAt(at) = &config.transform else {
            return 0;
        };
        let ObjectSearch::AtPoint { radius_nm, .. } = at.search() else {
            return 0;
        };
        let searched = plan.arrays[array].source_of_group.iter();
        let around = searched.map(|s| bytes_around(radius_nm, sources.volumes[*s].meta()));
        around.max().unwrap_or(0)
    };
    let arrays = plan.config.arrays.values().enumerate();
    arrays.map(of_array).max().unwrap_or(0)
}

/// Most bytes of the voxels within `radius_nm` of a point: more than any memory has for a radius that is large.
fn bytes_around(radius_nm: f64, meta: &VolumeMeta) -> u64 {
    // The voxel that holds the point, those on either side, and one for rounding.
    let along = |nm: f64| (2.0 * radius_nm / nm) as u64 + 2;
    let value = u64::from(meta.channels) * meta.data_type.size_bytes() as u64;
    let voxels = meta.resolution.nm().into_iter().map(along);
    voxels.fold(value, u64::saturating_mul)
}
