//! Boxes of a precomputed layer with their corners, all of them: for who wants the boxes, not their centres.

use rayon::prelude::*;

use super::cells::free_if_large;
use super::{Conflict, GeometryKind, Layer, PointsError, Task, geometry_digest};
use crate::geometry::{BoxNm, PointNm};
use crate::points::AnnotatedBox;
use crate::storage::Keeper;

/// Farther than any layer reaches.
const FAR_NM: f64 = 1e300;

impl Layer {
    /// Every box of the layer once, by ascending id.
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
        let tasks = self.tasks(&everywhere.into_iter().collect::<Vec<_>>())?;
        let read = tasks
            .par_iter()
            .enumerate()
            .map_init(Vec::new, |buffer, (i, task)| self.corners(i, *task, buffer))
            .collect::<Result<Vec<_>, _>>()?;
        let mut found: Vec<Found> = read.into_iter().flatten().collect();
        found.sort_by_key(|f| (f.annotated.id, f.cell));
        let conflict = found.windows(2).find_map(|pair| match pair {
            [a, b] if a.annotated.id == b.annotated.id && a.digest != b.digest => Some(Conflict {
                id: a.annotated.id,
                batches: [a.cell, b.cell],
            }),
            _ => None,
        });
        if let Some(conflict) = conflict {
            return Err(self.conflict(&tasks, conflict));
        }
        let mut boxes: Vec<AnnotatedBox> = found.into_iter().map(|f| f.annotated).collect();
        boxes.dedup_by_key(|b| b.id);
        Ok(boxes)
    }

    /// The boxes in the cell of `task`, the `i`th one.
    fn corners(
        &self,
        i: usize,
        task: Task,
        buffer: &mut Vec<u8>,
    ) -> Result<Vec<Found>, PointsError> {
        let mut found = Vec::new();
        let Some(_lease) = task.read(&self.budget, buffer)? else {
            return Ok(found);
        };
        // They are there once more while they are sorted, and become boxes of the collection.
        let bytes = 2 * (size_of::<Found>() + self.info.property_bytes);
        let mut keeper = Keeper::new(&self.budget);
        let read = self.layout.read(buffer, &|| task.object(), |record| {
            if !keeper.keep(bytes as u64) {
                return;
            }
            let mut points = self.layout.points(record.geometry);
            if let (Some(a), Some(b)) = (points.next(), points.next()) {
                found.push(Found {
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
        keeper.finish().map_err(|over| self.over(1, over))?;
        Ok(found)
    }
}

/// A box and where it was found.
struct Found {
    annotated: AnnotatedBox,
    digest: u64,
    cell: usize,
}
