//! Finding the object of each sample: the id at a point, or near it.

use super::object_chunks::ChunksAtPoints;
use super::pass::{VoxelPass, window_request};
use crate::config::{MissingObject, ObjectAt, ObjectPoint};
use crate::data_type::Scalar;
use crate::extract::{BoxRequest, CutScratch, ExtractError, Sources, WindowCutter};
use crate::geometry::{PointNm, Resolution, VoxelBox};
use crate::plan::{DropReason, Plan, PlannedSplit};
use crate::voxels::Region;

/// Finds each sample's object of the array, and drops samples without one if the config says so.
pub(super) fn find_objects(
    plan: &mut Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
    at: &ObjectAt,
) -> Result<(), ExtractError> {
    let (found, chunks) = look_up(plan, sources, memory_bytes, array, at)?;
    let warnings = chunks.warnings(plan, sources, array, at.missing)?;
    plan.warnings.extend(warnings);
    let without = found.iter().flatten().filter(|id| **id == 0).count();
    for (split, found) in plan.splits.iter_mut().zip(&found) {
        split.objects[array].clone_from(found);
    }
    match at.missing {
        MissingObject::Drop => {
            plan.retain(DropReason::NoObject, |split, i, _| found[split][i] != 0)
        }
        MissingObject::Keep if without > 0 => plan.warnings.push(format!(
            "{without} sample(s) have no object in `{}`: their masks are empty",
            plan.arrays[array].name
        )),
        MissingObject::Keep => {}
    }
    Ok(())
}

/// The object of each sample by split, 0 for none; and which chunks at the points are stored.
fn look_up(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
    at: &ObjectAt,
) -> Result<(Vec<Vec<u64>>, ChunksAtPoints), ExtractError> {
    let chunks = ChunksAtPoints::new(sources);
    let pass = VoxelPass {
        plan,
        sources,
        memory_bytes,
    };
    let found = pass.map_samples(
        |split, i| {
            let source = plan.source_of(array, &split.samples[i]);
            let search = Search::new(plan, array, at, split, i);
            (source, search.voxels())
        },
        |cutter, split, i, scratch| {
            let search = Search::new(plan, array, at, split, i);
            match search.voxels() {
                Some(voxels) => search.run(cutter, array, split, i, &voxels, scratch, &chunks),
                None => Ok(0),
            }
        },
    )?;
    Ok((found, chunks))
}

/// Where an object is looked up.
struct Search {
    point: PointNm,
    /// Of the source.
    resolution: Resolution,
    radius_nm: f64,
}

impl Search {
    /// The search for the object of the `i`th sample of a split.
    fn new(plan: &Plan, array: usize, at: &ObjectAt, split: &PlannedSplit, i: usize) -> Self {
        let sample = &split.samples[i];
        Self {
            point: match at.point {
                ObjectPoint::Anchor => sample.center_nm,
                ObjectPoint::Start => split.ends[i][0],
                ObjectPoint::End => split.ends[i][1],
            },
            resolution: plan.sources[plan.source_of(array, sample)].resolution,
            radius_nm: at.radius_nm,
        }
    }

    /// The voxels within the radius, including the one that holds the point; `None` where voxels are out of range.
    fn voxels(&self) -> Option<VoxelBox> {
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

    /// Reads the voxels and returns the nearest object, 0 for none.
    #[allow(clippy::too_many_arguments, reason = "the query of a pass has four")]
    fn run(
        &self,
        cutter: &WindowCutter<'_>,
        array: usize,
        split: &PlannedSplit,
        i: usize,
        voxels: &VoxelBox,
        scratch: &mut CutScratch,
        chunks: &ChunksAtPoints,
    ) -> Result<u64, ExtractError> {
        let source = cutter.plan.source_of(array, &split.samples[i]);
        let meta = cutter.sources.volumes[source].meta();
        let region = Region {
            covers: voxels,
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
        let contents =
            contents.map_err(|e| cutter.failed(e, window_request(array, split, i), source))?;
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
