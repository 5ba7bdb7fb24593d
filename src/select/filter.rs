//! What only the volumes can say about samples, asked before anything is laid out: whether windows leave their volume,
//! which object is at a point, how much of a window is not 0. Samples that the config does not want are dropped and
//! counted, so that arrays have no holes, and nothing depends on threads or tasks.

use super::object_chunks::ChunksAtPoints;
use super::pass::{map_windows, probe};
use crate::config::{MissingObject, ObjectAt, ObjectPoint, Outside, Transform};
use crate::data_type::Scalar;
use crate::extract::{ExtractError, Sources, WindowRequest};
use crate::geometry::{PointNm, Resolution, VoxelBox};
use crate::plan::{DropReason, Plan, PlannedSplit, Sample};
use crate::voxels::Region;

/// Asks the volumes what the config wants to know of samples, and drops those that it does not want.
pub fn filter_by_voxels(
    plan: &mut Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<(), ExtractError> {
    if plan.config.outside == Outside::Drop {
        let inside: Vec<Vec<bool>> = plan
            .splits
            .iter()
            .map(|s| {
                s.samples
                    .iter()
                    .map(|s| stays_inside(plan, sources, s))
                    .collect()
            })
            .collect();
        plan.retain(DropReason::WindowLeavesVolume, |split, i, _| {
            inside[split][i]
        });
    }
    let arrays: Vec<_> = plan.config.arrays.values().cloned().collect();
    for (array, config) in arrays.iter().enumerate() {
        if let Transform::ObjectAt(at) = &config.transform {
            find_objects(plan, sources, memory_bytes, array, at)?;
        }
    }
    for (array, config) in arrays.iter().enumerate() {
        if let Some(least) = config.min_nonzero_fraction {
            let enough = nonzero_fractions(plan, sources, memory_bytes, array)?;
            plan.retain(DropReason::TooLittleNonzero, |split, i, _| {
                enough[split][i] >= least
            });
        }
    }
    Ok(())
}

/// Whether no window of the sample leaves the volume that it is cut out of.
fn stays_inside(plan: &Plan, sources: &Sources, sample: &Sample) -> bool {
    (0..plan.arrays.len()).all(|array| {
        let source = plan.source_of(array, sample);
        let bounds = sources.volumes[source].meta().grid.bounds();
        let window = plan.window_of(array, sample);
        let (of_window, of_volume) = (plan.resolution_of(sample), &plan.sources[source].resolution);
        (0..3).all(|d| {
            let scale = of_window.nm()[d] / of_volume.nm()[d];
            // Far below a voxel, far above what is lost in computing.
            let slack = 1e-6;
            window.start[d] as f64 * scale >= bounds.start[d] as f64 - slack
                && window.end[d] as f64 * scale <= bounds.end[d] as f64 + slack
        })
    })
}

/// Finds each sample's object of the array.
fn find_objects(
    plan: &mut Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
    at: &ObjectAt,
) -> Result<(), ExtractError> {
    let place = |split: &PlannedSplit, i: usize| {
        let sample = &split.samples[i];
        let point = match at.point {
            ObjectPoint::Anchor => sample.center_nm,
            ObjectPoint::Start => split.ends[i][0],
            ObjectPoint::End => split.ends[i][1],
        };
        let source = plan.source_of(array, sample);
        (point, plan.sources[source].resolution)
    };
    let chunks = ChunksAtPoints::new(sources);
    let found = probe(
        plan,
        sources,
        memory_bytes,
        |split, i| {
            let (point, resolution) = place(split, i);
            let around = around(&point, &resolution, at.radius_nm);
            (plan.source_of(array, &split.samples[i]), around)
        },
        |cutter, split, i, scratch| {
            let (point, resolution) = place(split, i);
            let Some(around) = around(&point, &resolution, at.radius_nm) else {
                return Ok(0);
            };
            let sample = &split.samples[i];
            let source = plan.source_of(array, sample);
            let meta = sources.volumes[source].meta();
            let region = Region {
                covers: &around,
                channels: meta.channels as usize,
                value_bytes: meta.data_type.size_bytes(),
            };
            let mut voxels = std::mem::take(&mut scratch.window);
            voxels.resize(region.bytes(), 0);
            let zero = Scalar::ZERO;
            let mut missing = None;
            let read = cutter.read_box(
                source,
                &region,
                zero,
                None,
                &mut voxels,
                scratch,
                &mut |key| missing = missing.into_iter().chain([key]).min(),
            );
            let wanted = WindowRequest {
                array,
                sample,
                object: 0,
            };
            let read = read.map_err(|e| cutter.failed(e, wanted, source))?;
            let id = |value: &[u8]| sources.object_of(array, value);
            let nearest = match read.other_values {
                true => nearest_object(&voxels, &region, &point, &resolution, at.radius_nm, id),
                false => 0,
            };
            scratch.window = voxels;
            chunks.note(source, read.stored, missing, nearest);
            Ok(nearest)
        },
    )?;
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

/// The voxels within `radius_nm` of the point, the one that holds it included; `None` where voxels are out of range.
fn around(point: &PointNm, resolution: &Resolution, radius_nm: f64) -> Option<VoxelBox> {
    let corner = |sign: f64| {
        let moved = PointNm(point.0.map(|v| v + sign * radius_nm));
        resolution.voxel_of(&moved)
    };
    let (start, last) = (corner(-1.0)?, corner(1.0)?);
    Some(VoxelBox {
        start,
        end: last.map(|v| v + 1),
    })
}

/// The id at the point's voxel or, where that is background, at the nearest voxel (by its centre) within `radius_nm` that
/// is not: the first in z, y, x of several. 0 where there is none.
fn nearest_object(
    voxels: &[u8],
    region: &Region<'_>,
    point: &PointNm,
    resolution: &Resolution,
    radius_nm: f64,
    id: impl Fn(&[u8]) -> u64,
) -> u64 {
    let own = resolution.voxel_of(point);
    let mut nearest = (f64::INFINITY, 0);
    // Of several channels, the first counts.
    let mut values = voxels.chunks_exact(region.value_bytes);
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
                let away = |d: usize, v: i64| (v as f64 + 0.5) * resolution.nm()[d] - point.0[d];
                let squares = [away(0, x), away(1, y), away(2, z)].map(|a| a * a);
                let distance = squares.iter().sum::<f64>().sqrt();
                // Equal distances differ by what is lost in computing them.
                if distance <= radius_nm && distance < nearest.0 - 1e-6 {
                    nearest = (distance, found);
                }
            }
        }
    }
    nearest.1
}

/// For each sample the share of the array's values that is not 0.
fn nonzero_fractions(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
    array: usize,
) -> Result<Vec<Vec<f64>>, ExtractError> {
    let data_type = sources.array(array).data_type();
    map_windows(plan, sources, memory_bytes, array, |window| {
        let values = window.len() / data_type.size_bytes();
        data_type.count_nonzero(window) as f64 / values as f64
    })
}
