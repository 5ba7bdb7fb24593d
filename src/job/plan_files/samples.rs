//! The columns of a stored plan become the samples of its splits.

use bytemuck::Pod;

use crate::dataset::{Column, DatasetError};
use crate::geometry::{MAX_VOXEL, PointNm};
use crate::job::index_columns::IndexColumn;
use crate::plan::{FinishedPlan, PlannedBox, Sample};

/// Reads the columns of one split into a plan.
pub(super) struct SplitReader<'a> {
    plan: &'a mut FinishedPlan,
    split: usize,
    /// The number of samples that the header states.
    samples: u64,
    /// By array.
    inside_fractions: Vec<Vec<f32>>,
}

impl<'a> SplitReader<'a> {
    pub(super) fn new(plan: &'a mut FinishedPlan, split: usize, samples: u64) -> Self {
        Self {
            inside_fractions: vec![Vec::new(); plan.table.arrays.len()],
            plan,
            split,
            samples,
        }
    }

    /// For each array the fractions of its windows that are inside of the volume.
    pub(super) fn finish(self) -> Vec<Vec<f32>> {
        self.inside_fractions
    }

    /// Reads a column. Columns come in the order of [`IndexColumn::all`]: those that follow from others come after them.
    /// `read` returns a file and its name for messages.
    pub(super) fn read_column(
        &mut self,
        column: IndexColumn,
        mut read: impl FnMut(&str) -> Result<(Vec<u8>, String), DatasetError>,
    ) -> Result<(), DatasetError> {
        let name = column.name(self.plan);
        // Without values yet, or with those that the stored ones must be equal to.
        let expected = column.column(self.plan, self.split);
        let mut path = String::new();
        let values = expected.read_values(self.samples, |key| {
            let (bytes, file) = read(&format!("{name}/{key}"))?;
            if path.is_empty() {
                path.clone_from(&file);
            }
            Ok((bytes, file))
        })?;
        self.take(column, values, &expected)
            .map_err(|problem| DatasetError::Damaged { path, problem })
    }

    /// Takes the values of a column.
    fn take(
        &mut self,
        column: IndexColumn,
        values: Vec<u8>,
        expected: &Column,
    ) -> Result<(), String> {
        let table = &mut self.plan.table;
        let split = &mut table.splits[self.split];
        let samples = &mut split.samples;
        match column {
            IndexColumn::AnnotationId => {
                let ids = numbers::<u64>(&values).into_iter();
                *samples = ids.map(sample_of).collect();
            }
            IndexColumn::Box => {
                for (sample, number) in samples.iter_mut().zip(numbers::<u32>(&values)) {
                    check_box(&table.boxes, number, self.split)?;
                    sample.box_index = number;
                }
            }
            IndexColumn::CenterNm => {
                for (sample, center) in samples.iter_mut().zip(numbers::<[f64; 3]>(&values)) {
                    sample.center_nm = PointNm(center);
                }
            }
            IndexColumn::StartVoxel => {
                for (sample, start) in samples.iter_mut().zip(numbers::<[i64; 3]>(&values)) {
                    if start.iter().any(|v| v.unsigned_abs() > MAX_VOXEL as u64) {
                        return Err(format!(
                            "found {start:?}, expected at most {MAX_VOXEL} either way"
                        ));
                    }
                    sample.start_voxel = start;
                }
            }
            IndexColumn::ResolutionNm | IndexColumn::OwnStartVoxel(_) => {
                if expected.values.bytes() != values {
                    return Err("its values do not follow from the other columns".to_owned());
                }
            }
            IndexColumn::ObjectId(array) => split.objects[array] = numbers(&values),
            IndexColumn::InsideFraction(array) => {
                let fractions = numbers::<f32>(&values);
                let is_fraction = |f: &&f32| !(0.0..=1.0).contains(*f);
                if let Some(found) = fractions.iter().find(is_fraction) {
                    return Err(format!("found {found}, expected a fraction from 0 to 1"));
                }
                self.inside_fractions[array] = fractions;
            }
            IndexColumn::Property(i) => split.properties[i] = values,
        }
        Ok(())
    }
}

/// The values of a column, whose bytes need not be aligned.
fn numbers<T: Pod>(bytes: &[u8]) -> Vec<T> {
    let values = bytes.chunks_exact(size_of::<T>());
    values.map(bytemuck::pod_read_unaligned).collect()
}

/// A sample whose other columns are still to be read.
fn sample_of(annotation_id: u64) -> Sample {
    Sample {
        annotation_id,
        center_nm: PointNm([0.0; 3]),
        start_voxel: [0; 3],
        box_index: 0,
    }
}

/// Fails unless there is a box at the position `number`, and it belongs to the split.
fn check_box(boxes: &[PlannedBox], number: u32, split: usize) -> Result<(), String> {
    let found = boxes.get(number as usize);
    if found.is_some_and(|b| b.split == Some(split)) {
        Ok(())
    } else {
        Err(format!(
            "found the box {number}, expected the position of a box of the split in the list of {} boxes",
            boxes.len()
        ))
    }
}
