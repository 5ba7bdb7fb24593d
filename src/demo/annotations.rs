//! Writes points or lines in Neuroglancer's precomputed form: an `info`, a file per id, and one spatial level.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::DemoError;
use super::files::{create_dir, write, write_json};
use super::volume_shape::{OFFSET, RESOLUTION_NM, SHAPE};

/// Voxels of a cell of the spatial index. CloudVolume's reader (12.15) omits the last cell of an axis unless the cell ends at
/// the upper bound, and fails if a cell is empty. Therefore whole cells cover the volume, and each has annotations.
const CELL: [usize; 3] = [194, 186, 29];

/// A point (one position) or a line (two).
pub(super) struct Annotation {
    pub(super) id: u64,
    /// In voxels of the world, not of the volume.
    pub(super) positions: Vec<[f32; 3]>,
    pub(super) confidence: f32,
    pub(super) size: u32,
    pub(super) kind: u8,
}

/// Labels of [`Annotation::kind`].
const KINDS: [&str; 3] = ["small", "medium", "large"];

impl Annotation {
    /// Geometry and properties as both indexes store them: positions, then properties in the order of decreasing alignment,
    /// padded to four bytes. `size` is first because neuroglancer's Python reader (2.41.2) aligns uint32 to three bytes
    /// and reads it correctly only at the start.
    fn record(&self) -> Vec<u8> {
        let coordinates = self.positions.iter().flatten();
        let mut bytes: Vec<u8> = coordinates.flat_map(|v| v.to_le_bytes()).collect();
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.confidence.to_le_bytes());
        bytes.extend([self.kind, 0, 0, 0]);
        bytes
    }

    /// Whether the annotation touches the closed box of voxels from `low` to `high`.
    fn touches(&self, low: [f64; 3], high: [f64; 3]) -> bool {
        let a = self.positions[0].map(f64::from);
        let b = self.positions[self.positions.len() - 1].map(f64::from);
        // The part of the segment from a to b between the faces of every axis.
        let (mut enter, mut leave) = (0.0f64, 1.0f64);
        for d in 0..3 {
            let length = b[d] - a[d];
            if length == 0.0 {
                if a[d] < low[d] || a[d] > high[d] {
                    return false;
                }
            } else {
                let (t0, t1) = ((low[d] - a[d]) / length, (high[d] - a[d]) / length);
                enter = enter.max(t0.min(t1));
                leave = leave.min(t0.max(t1));
            }
        }
        enter <= leave
    }
}

/// Writes the layer into the folder `dir`; `kind` is `POINT` or `LINE`.
pub(super) fn write_layer(
    dir: &Path,
    kind: &str,
    annotations: &[Annotation],
) -> Result<(), DemoError> {
    let by_id = dir.join("by_id");
    create_dir(&by_id)?;
    for annotation in annotations {
        write(&by_id.join(annotation.id.to_string()), &annotation.record())?;
    }
    let spatial = dir.join("spatial0");
    create_dir(&spatial)?;
    let cells = cells(annotations);
    for ([x, y, z], members) in &cells {
        write(&spatial.join(format!("{x}_{y}_{z}")), &cell_file(members))?;
    }
    let limit = cells.values().map(Vec::len).max().unwrap_or(1);
    write_json(&dir.join("info"), &info(kind, limit))
}

fn info(kind: &str, limit: usize) -> serde_json::Value {
    let [x, y, z] = RESOLUTION_NM.map(|nm| json!([nm / 1e9, "m"]));
    let upper_bound = [0, 1, 2].map(|d| OFFSET[d] + SHAPE[d]);
    json!({
        "@type": "neuroglancer_annotations_v1",
        "dimensions": {"x": x, "y": y, "z": z},
        "lower_bound": OFFSET,
        "upper_bound": upper_bound,
        "annotation_type": kind,
        "properties": [
            {"id": "size", "type": "uint32", "description": "voxels of the density"},
            {"id": "confidence", "type": "float32", "description": "how sure the detector is, 0 to 1"},
            {"id": "kind", "type": "uint8", "enum_values": [0, 1, 2], "enum_labels": KINDS},
        ],
        "relationships": [],
        "by_id": {"key": "by_id"},
        "spatial": [{
            "key": "spatial0",
            "grid_shape": grid(),
            "chunk_size": CELL,
            "limit": limit,
        }],
    })
}

fn grid() -> [usize; 3] {
    [0, 1, 2].map(|d| SHAPE[d].div_ceil(CELL[d]))
}

/// The cells that are not empty, and the annotations that touch each.
fn cells(annotations: &[Annotation]) -> BTreeMap<[usize; 3], Vec<&Annotation>> {
    let grid = grid();
    let mut cells: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for z in 0..grid[2] {
        for y in 0..grid[1] {
            for x in 0..grid[0] {
                let cell = [x, y, z];
                let low = [0, 1, 2].map(|d| (OFFSET[d] + cell[d] * CELL[d]) as f64);
                let high = [0, 1, 2].map(|d| low[d] + CELL[d] as f64);
                let members = annotations.iter().filter(|a| a.touches(low, high));
                let members: Vec<_> = members.collect();
                if !members.is_empty() {
                    cells.insert(cell, members);
                }
            }
        }
    }
    cells
}

/// A cell's file: the count, all records, then all ids.
fn cell_file(members: &[&Annotation]) -> Vec<u8> {
    let mut bytes = (members.len() as u64).to_le_bytes().to_vec();
    for annotation in members {
        bytes.extend(annotation.record());
    }
    for annotation in members {
        bytes.extend(annotation.id.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(a: [f32; 3], b: [f32; 3]) -> Annotation {
        let offset = |p: [f32; 3]| [0, 1, 2].map(|d| OFFSET[d] as f32 + p[d]);
        Annotation {
            id: u64::MAX,
            positions: vec![offset(a), offset(b)],
            confidence: 0.5,
            size: 7,
            kind: 2,
        }
    }

    #[test]
    fn a_line_is_listed_in_every_cell_it_touches_and_in_no_other() {
        let across = line([190.0, 10.0, 5.0], [200.0, 10.0, 5.0]);
        let listed: Vec<_> = cells(&[across]).into_keys().collect();
        assert_eq!(listed, [[0, 0, 0], [1, 0, 0]]);
        // From cell 0,0 to 1,1 by way of 1,0: the corner cell 0,1 is not touched.
        let diagonal = line([188.0, 176.0, 5.0], [202.0, 195.0, 5.0]);
        let listed: Vec<_> = cells(&[diagonal]).into_keys().collect();
        assert_eq!(listed, [[0, 0, 0], [1, 0, 0], [1, 1, 0]]);
    }

    #[test]
    fn a_record_is_the_positions_and_then_the_properties_padded_to_four_bytes() {
        let record = line([0.0; 3], [1.0; 3]).record();
        assert_eq!(record.len(), 24 + 4 + 4 + 1 + 3);
        assert_eq!(record[24..28], [7, 0, 0, 0]);
        assert_eq!(record[28..32], 0.5f32.to_le_bytes());
        assert_eq!(record[32..], [2, 0, 0, 0]);
    }

    #[test]
    fn whole_cells_cover_the_volume() {
        for d in 0..3 {
            assert_eq!(grid()[d] * CELL[d], SHAPE[d]);
            assert!(grid()[d] > 1);
        }
    }
}
