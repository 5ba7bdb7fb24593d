//! Leaks: windows of different splits that share voxels. What a network was trained on must not be what it is validated on.
//!
//! Only boxes of two splits that are close to each other are compared, sample by sample. The windows are those of the column
//! `start_voxel`; arrays with a window of their own are not looked at.

use std::collections::BTreeSet;
use std::ops::Range;

use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree, RTreeObject};

use super::kind::{FindingKind, Severity};
use super::report::Finding;
use super::rows::BoxRows;
use crate::dataset::{ColumnReader, Dataset, DatasetError, Manifest};

/// The rows of the boxes of a split, in order.
pub(super) struct SplitRows<'m> {
    pub split: &'m str,
    pub boxes: Vec<BoxRows>,
}

type Corners = [[f64; 3]; 2];
type Indexed = GeomWithData<Rectangle<[f64; 3]>, usize>;

/// A split whose windows can be read.
struct Windows<'r> {
    rows: &'r SplitRows<'r>,
    start_voxel: ColumnReader<i64>,
    window_voxels: [u32; 3],
}

pub(super) fn check(dataset: &Dataset, splits: &[SplitRows<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, later) in splits.iter().enumerate() {
        for earlier in &splits[..i] {
            // A column that cannot be read is a finding of `columns`.
            findings.extend(between(dataset, earlier, later).ok().flatten());
        }
    }
    findings
}

/// The leak between two splits, if there is one.
fn between(
    dataset: &Dataset,
    earlier: &SplitRows<'_>,
    later: &SplitRows<'_>,
) -> Result<Option<Finding>, DatasetError> {
    let manifest = dataset.manifest();
    let open = |rows| Windows::open(dataset, rows);
    let (earlier, later) = (open(earlier)?, open(later)?);
    let (mut in_earlier, mut in_later) = (BTreeSet::new(), BTreeSet::new());
    let near = later.rows.boxes.iter().enumerate();
    let near = near.filter_map(|(n, of_box)| Some(indexed(later.reach(manifest, of_box)?, n)));
    let near = RTree::bulk_load(near.collect());
    for of_box in &earlier.rows.boxes {
        let Some(reach) = earlier.reach(manifest, of_box) else {
            continue;
        };
        let others = near.locate_in_envelope_intersecting(envelope(reach));
        let others = others.map(|other| &later.rows.boxes[other.data]);
        let others: Vec<_> = others
            .filter(|o| share_a_source(manifest, of_box, o))
            .collect();
        if others.is_empty() {
            continue;
        }
        let (first, windows) = (of_box.samples.start, earlier.corners(of_box)?);
        let windows = (0..).zip(windows).map(|(n, corners)| indexed(corners, n));
        let windows = RTree::bulk_load(windows.collect());
        for other in others {
            for (sample, corners) in other.samples.clone().zip(later.corners(other)?) {
                let overlapping = windows.locate_in_envelope_intersecting(envelope(corners));
                for window in overlapping {
                    if overlap(&corners, &[window.geom().lower(), window.geom().upper()]) {
                        in_earlier.insert(first + window.data as u64);
                        in_later.insert(sample);
                    }
                }
            }
        }
    }
    Ok((!in_later.is_empty()).then(|| {
        let (split, other) = (later.rows.split, earlier.rows.split);
        let message = format!(
            "the windows of these samples share voxels with windows of {other} ({} of its samples)",
            in_earlier.len()
        );
        let finding = Finding::new(FindingKind::Leak, &manifest.splits[split].path, message)
            .in_split(split)
            .in_samples(in_later.into_iter().collect());
        Finding {
            severity: severity(manifest),
            ..finding
        }
    }))
}

/// A job that allows leaks, or warns of them, has a right dataset with leaks.
fn severity(manifest: &Manifest) -> Severity {
    match manifest.config["leaks"].as_str() {
        Some("allow" | "warn") => Severity::Warning,
        _ => Severity::Error,
    }
}

impl<'r> Windows<'r> {
    fn open(dataset: &Dataset, rows: &'r SplitRows<'r>) -> Result<Self, DatasetError> {
        let reader = dataset.split(rows.split)?;
        Ok(Self {
            rows,
            start_voxel: reader.open_column("start_voxel", Some(3))?,
            window_voxels: dataset.manifest().window_voxels,
        })
    }

    /// Where windows of the box can be, in nm.
    fn reach(&self, manifest: &Manifest, of_box: &BoxRows) -> Option<Corners> {
        let b = manifest.boxes.get(of_box.index as usize)?;
        // A window is centred on a point of the box. One that is snapped to voxels may be one voxel further away.
        let window_nm =
            |a: usize| (f64::from(self.window_voxels[a]) + 1.0) * of_box.resolution_nm[a];
        let low = |a: usize| b.min_nm[a].min(b.max_nm[a]) - window_nm(a);
        let high = |a: usize| b.min_nm[a].max(b.max_nm[a]) + window_nm(a);
        Some([[0, 1, 2].map(low), [0, 1, 2].map(high)])
    }

    /// The windows of the samples of the box, in nm.
    fn corners(&self, of_box: &BoxRows) -> Result<Vec<Corners>, DatasetError> {
        let Range { start, end } = of_box.samples;
        let starts = self.start_voxel.rows(start..end)?;
        let starts = starts.as_chunks::<3>().0.iter();
        let corners = |start: &[i64; 3]| {
            let at = |a: usize, voxels: f64| (start[a] as f64 + voxels) * of_box.resolution_nm[a];
            let size = self.window_voxels.map(f64::from);
            [
                [0, 1, 2].map(|a| at(a, 0.0)),
                [0, 1, 2].map(|a| at(a, size[a])),
            ]
        };
        Ok(starts.map(corners).collect())
    }
}

/// Whether some array is cut from the same volume in both boxes. Before version 3 of the manifest that is not known.
fn share_a_source(manifest: &Manifest, a: &BoxRows, b: &BoxRows) -> bool {
    let sources = |rows: &BoxRows| {
        let group = manifest.boxes.get(rows.index as usize)?.group?;
        Some(&manifest.groups.get(group)?.sources)
    };
    let (Some(a), Some(b)) = (sources(a), sources(b)) else {
        return true;
    };
    a.values()
        .any(|source| b.values().any(|other| source == other))
}

fn indexed([low, high]: Corners, data: usize) -> Indexed {
    GeomWithData::new(Rectangle::from_corners(low, high), data)
}

fn envelope([low, high]: Corners) -> AABB<[f64; 3]> {
    Rectangle::from_corners(low, high).envelope()
}

/// Whether the insides of the cuboids overlap: cuboids that only touch share no voxel.
fn overlap(a: &Corners, b: &Corners) -> bool {
    (0..3).all(|axis| a[0][axis] < b[1][axis] && b[0][axis] < a[1][axis])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn boxes_of_different_volumes_share_no_voxels() {
        let group = |img: usize, seg: usize| json!({"resolution_nm": [8, 8, 8], "sources": {"img": img, "seg": seg}});
        let of_box = |group: usize| {
            json!({
                "id": group.to_string(), "tags": [], "split": "train", "group": group, "min_nm": [0, 0, 0], "max_nm": [8, 8, 8],
                "annotations": 0, "samples": 0, "dropped": {},
            })
        };
        let manifest = json!({
            "schema_version": 3, "plan_digest": "", "config": {}, "collection": "", "window_voxels": [4, 4, 4],
            "sources": [], "splits": {}, "arrays": {}, "shards": [], "files": [], "warnings": [], "digest": "",
            "groups": [group(0, 1), group(2, 3), group(2, 1)], "boxes": [of_box(0), of_box(1), of_box(2)],
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let rows = |index| BoxRows {
            index,
            resolution_nm: [8.0; 3],
            samples: 0..1,
        };
        let share = |a, b| share_a_source(&manifest, &rows(a), &rows(b));
        assert!(share(0, 0) && share(0, 2) && share(1, 2));
        assert!(!share(0, 1) && !share(1, 0));
        // A box that the manifest does not have may be anywhere.
        assert!(share(0, 9));
    }

    #[test]
    fn cuboids_that_touch_do_not_overlap() {
        let cuboid = |x: f64| [[x, 0.0, 0.0], [x + 2.0, 2.0, 2.0]];
        assert!(overlap(&cuboid(0.0), &cuboid(1.9)) && overlap(&cuboid(1.9), &cuboid(0.0)));
        assert!(!overlap(&cuboid(0.0), &cuboid(2.0)) && !overlap(&cuboid(2.0), &cuboid(0.0)));
    }
}
