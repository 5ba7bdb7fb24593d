//! Tabular layers of zetta_utils (`build_volumetric_tabular_layer`): a table in one file per chunk of a volume.
//!
//! The layer's `info` has the grid. The file of a chunk is `data/START-END_START-END_START-END.ENCODING`, in voxels along x, y, z. Files of an
//! older chunk size may lie beside them.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::Value;

use crate::geometry::{BoxNm, PointNm, Resolution};
use crate::points::annotation::InBox;
use crate::points::error::PointsError;
use crate::points::merge::BoxIndex;
use crate::storage::{DocumentError, Location, MAX_METADATA_BYTES, Storage};

/// The type in the info.
const TYPE: &str = "volumetric_tabular";

/// Bits of a row's number in a chunk; the position of the chunk in the grid is above them.
pub(super) const ROW_BITS: u32 = 32;

/// A tabular layer.
#[derive(Debug)]
pub(super) struct TabularLayer {
    /// The files of chunks, by their position in the grid.
    pub chunks: Vec<TabularChunk>,
    /// A warning about files that are no chunks of the grid.
    pub warning: Option<String>,
}

/// The file of a chunk.
#[derive(Debug)]
pub(super) struct TabularChunk {
    pub file: Location,
    /// Position in the grid, x fastest.
    pub index: u64,
    /// The chunk and its neighbours: a row may be a little outside of its chunk.
    around: BoxNm,
}

#[derive(Deserialize)]
struct RawInfo {
    resolution: [f64; 3],
    voxel_offset: [i64; 3],
    size: [i64; 3],
    chunk_size: [i64; 3],
    #[serde(default = "parquet")]
    encoding: String,
}

fn parquet() -> String {
    "parquet".to_owned()
}

impl TabularLayer {
    /// The layer in the folder `folder`; `None` if the folder has no info of such a layer.
    pub fn open(folder: &Location, storage: &Storage) -> Result<Option<Self>, PointsError> {
        let info = folder.join("info");
        let object = info.to_string();
        let store = storage.open(folder);
        let mut bytes = Vec::new();
        let is_found = store.read("info", MAX_METADATA_BYTES, &mut bytes);
        if !is_found? {
            return Ok(None);
        }
        let wrong = |problem: String| PointsError::Table {
            object: object.clone(),
            problem,
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if value["type"] != TYPE {
            return Err(wrong(format!(
                "its `type` is {}, expected \"{TYPE}\" for a folder as `points.table.file`; for a table, name the file",
                value["type"]
            )));
        }
        let info: Result<RawInfo, _> = serde_path_to_error::deserialize(&value);
        let info = info.map_err(|e| wrong(format!("at `{}`: {}", e.path(), e.inner())))?;
        let grid = ChunkGrid::new(&info).ok_or_else(|| {
            wrong("its `resolution`, `voxel_offset`, `size` and `chunk_size` are no grid of chunks, expected numbers greater than 0, and fewer than 2^31 chunks".to_owned())
        })?;
        if !folder.can_be_listed() {
            return Err(wrong(
                "its server has no listings, expected a folder or a bucket (gs://, s3://)"
                    .to_owned(),
            ));
        }
        let (mut chunks, mut ignored) = (Vec::new(), Vec::new());
        let mut add = |key: &str| {
            let name = key.strip_prefix("data/").unwrap_or(key);
            match grid.chunk_of(name, &info.encoding) {
                Some((index, around)) => chunks.push(TabularChunk {
                    file: folder.join(key),
                    index,
                    around,
                }),
                None => ignored.push(name.to_owned()),
            }
        };
        store.list("data", &mut |object| {
            add(&object.key);
            ControlFlow::Continue(())
        })?;
        chunks.sort_unstable_by_key(|chunk| chunk.index);
        ignored.sort_unstable();
        let warning = ignored.first().map(|first| {
            format!(
                "{} file(s) in {} are no chunks of its info and were ignored, for example {first}",
                ignored.len(),
                folder.join("data"),
            )
        });
        Ok(Some(Self { chunks, warning }))
    }
}

impl TabularChunk {
    /// Whether rows of the chunk may be in one of the boxes. Nothing is known of the ends of lines.
    pub fn is_near(&self, boxes: &BoxIndex<'_>) -> bool {
        boxes.in_box() == InBox::ByBounds || boxes.is_near(self.around.min(), self.around.max())
    }
}

/// The chunks of a layer.
struct ChunkGrid {
    resolution: Resolution,
    offset: [i64; 3],
    size: [i64; 3],
    chunk: [i64; 3],
}

impl ChunkGrid {
    fn new(info: &RawInfo) -> Option<Self> {
        let is_valid = |v: &i64| (1..=1 << 40).contains(v);
        let offsets = info
            .voxel_offset
            .iter()
            .all(|v| v.unsigned_abs() <= 1 << 40);
        let sizes = info.size.iter().chain(&info.chunk_size).all(is_valid);
        let along =
            (0..3).map(|d| (info.size[d] as u128).div_ceil(info.chunk_size[d].max(1) as u128));
        // The position of a chunk and the number of a row are one number.
        let is_few = sizes && along.product::<u128>() < 1 << (63 - ROW_BITS);
        Some(Self {
            resolution: Resolution::new(info.resolution)?,
            offset: info.voxel_offset,
            size: info.size,
            chunk: info.chunk_size,
        })
        .filter(|_| is_few && offsets)
    }

    /// The position in the grid of the chunk with this file name, and the box of the chunk and its neighbours; `None` for other
    /// files.
    fn chunk_of(&self, name: &str, encoding: &str) -> Option<(u64, BoxNm)> {
        let ranges = name.strip_suffix(encoding)?.strip_suffix('.')?;
        let ranges: Option<Vec<_>> = ranges.split('_').map(range).collect();
        let ranges: [[i64; 2]; 3] = ranges?.try_into().ok()?;
        let mut index = 0;
        for d in (0..3).rev() {
            let [start, end] = ranges[d];
            let from_first = start - self.offset[d];
            let whole = start + self.chunk[d];
            let last = self.offset[d] + self.size[d];
            let is_chunk = from_first >= 0
                && from_first < self.size[d]
                && from_first % self.chunk[d] == 0
                && (end == whole || end == whole.min(last));
            if !is_chunk {
                return None;
            }
            let along = (self.size[d] as u64).div_ceil(self.chunk[d] as u64);
            index = index * along + (from_first / self.chunk[d]) as u64;
        }
        let nm = self.resolution.nm();
        let corner = |i: usize, further: i64| {
            PointNm(std::array::from_fn(|d| {
                (ranges[d][i] + further * self.chunk[d]) as f64 * nm[d]
            }))
        };
        Some((index, BoxNm::from_corners(corner(0, -1), corner(1, 1))?))
    }
}

/// `START-END`, of which both may be negative.
fn range(text: &str) -> Option<[i64; 2]> {
    let after_sign = usize::from(text.starts_with('-'));
    let dash = after_sign + text.get(after_sign..)?.find('-')?;
    let (start, end) = (&text[..dash], &text[dash + 1..]);
    Some([start.parse().ok()?, end.parse().ok()?])
}

/// The error of a layer without files.
pub(super) fn without_chunks(folder: &Location) -> PointsError {
    DocumentError::Missing {
        object: folder.join("data").to_string(),
        expected: "the files of a tabular layer's chunks",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_chunks_are_those_of_the_grid() {
        let grid = ChunkGrid {
            resolution: Resolution::new([8.0, 8.0, 40.0]).unwrap(),
            offset: [-100, 50, 0],
            size: [250, 100, 60],
            chunk: [100, 100, 30],
        };
        let index = |name: &str| grid.chunk_of(name, "csv").map(|(index, _)| index);
        assert_eq!(index("-100-0_50-150_0-30.csv"), Some(0));
        assert_eq!(index("0-100_50-150_30-60.csv"), Some(4));
        // At the end of the volume, chunks are whole or clipped.
        assert_eq!(index("100-150_50-150_0-30.csv"), Some(2));
        assert_eq!(index("100-200_50-150_0-30.csv"), Some(2));
        for other in [
            "-100--50_50-150_0-30.csv",
            "-50-50_50-150_0-30.csv",
            "-100-0_50-150_0-30.parquet",
            "-100-0_50-150.csv",
            "-100-0_50-150_0-30_0-1.csv",
            "-100-0_50-150_60-90.csv",
            "200-300_50-150_0-30.csv",
            "notes.csv",
            "",
        ] {
            assert_eq!(index(other), None, "{other}");
        }
        let (_, around) = grid.chunk_of("0-100_50-150_30-60.csv", "csv").unwrap();
        assert_eq!(around.min(), [-800.0, -400.0, 0.0]);
        assert_eq!(around.max(), [1600.0, 2000.0, 3600.0]);
    }
}
