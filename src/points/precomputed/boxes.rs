//! All boxes of a precomputed layer of boxes, with their corners.

use rayon::prelude::*;

use super::cells::free_if_large;
use super::index::CellTask;
use super::layer::PrecomputedLayer;
use super::record::geometry_digest;
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::points::annotation::AnnotatedBox;
use crate::points::error::PointsError;
use crate::points::merge::GeometryConflict;
use crate::storage::Keeper;

/// A coordinate beyond any layer.
const FAR_NM: f64 = 1e300;

impl PrecomputedLayer {
    /// All boxes of the layer, by ascending id.
    pub(in crate::points) fn boxes(&self) -> Result<Vec<AnnotatedBox>, PointsError> {
        if self.info.kind != GeometryKind::Box {
            return Err(PointsError::Info {
                object: self.object.clone(),
                field: "annotation_type".to_owned(),
                found: format!("{:?}", self.info.kind.name()),
                expected: format!("{:?}, for a layer of boxes", GeometryKind::Box.name()),
            });
        }
        let everywhere = BoxNm::from_corners(PointNm([-FAR_NM; 3]), PointNm([FAR_NM; 3]));
        let cell_tasks = self.cell_tasks(&everywhere.into_iter().collect::<Vec<_>>())?;
        let read = cell_tasks
            .par_iter()
            .enumerate()
            .map_init(Vec::new, |buffer, (i, task)| self.corners(i, *task, buffer))
            .collect::<Result<Vec<_>, _>>()?;
        let mut found: Vec<StoredBox> = read.into_iter().flatten().collect();
        found.sort_by_key(|f| (f.annotated.id, f.cell));
        let conflict = found.windows(2).find_map(|pair| match pair {
            [a, b] if a.annotated.id == b.annotated.id && a.digest != b.digest => {
                Some(GeometryConflict {
                    id: a.annotated.id,
                    batches: [a.cell, b.cell],
                })
            }
            _ => None,
        });
        if let Some(conflict) = conflict {
            return Err(self.conflict(&cell_tasks, conflict));
        }
        let mut boxes: Vec<AnnotatedBox> = found.into_iter().map(|f| f.annotated).collect();
        boxes.dedup_by_key(|b| b.id);
        Ok(boxes)
    }

    /// The boxes in the cell of `task`, which has the position `i` in the list of tasks.
    fn corners(
        &self,
        i: usize,
        task: CellTask,
        buffer: &mut Vec<u8>,
    ) -> Result<Vec<StoredBox>, PointsError> {
        let mut found = Vec::new();
        let Some(_lease) = task.read(self.storage.budget(), buffer)? else {
            return Ok(found);
        };
        // Twice, because they are copied while they are sorted and converted to boxes of the collection.
        let bytes = 2 * (size_of::<StoredBox>() + self.info.property_bytes);
        let mut keeper = Keeper::new(self.storage.budget());
        let read = self.layout.read(buffer, &|| task.object(), |record| {
            if !keeper.keep(bytes as u64) {
                return;
            }
            let mut points = self.layout.points(record.geometry);
            if let (Some(a), Some(b)) = (points.next(), points.next()) {
                found.push(StoredBox {
                    annotated: AnnotatedBox {
                        id: record.id,
                        corners: [a, b],
                        properties: record.properties.into(),
                    },
                    digest: geometry_digest(record.geometry),
                    cell: i,
                });
            }
        });
        free_if_large(buffer);
        read?;
        keeper.finish().map_err(|over| self.too_large(1, over))?;
        Ok(found)
    }
}

/// A stored box, the digest of its geometry, and the position of its cell.
struct StoredBox {
    annotated: AnnotatedBox,
    digest: u64,
    cell: usize,
}
