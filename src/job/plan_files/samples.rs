//! The columns of a stored plan become the samples of its splits.

use bytemuck::Pod;

use crate::dataset::{DatasetError, PLAN_FILE};
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
        let mut read = |key: &str| read(&format!("{name}/{key}"));
        let is_derived = matches!(
            column,
            IndexColumn::ResolutionNm | IndexColumn::OwnStartVoxel(_)
        );
        if is_derived {
            let expected = column.column(self.plan, self.split);
            return expected.read(self.samples, &mut read, |rows, values| {
                if expected.values.rows(rows) == values {
                    Ok(())
                } else {
                    Err("its values do not follow from the other columns".to_owned())
                }
            });
        }
        // The type of the column: its values are not known yet.
        let of_type = column.column(self.plan, self.split).without_values();
        of_type.read(self.samples, &mut read, |rows, values| {
            self.take(column, rows.start, values)
        })
    }

    /// Takes values of a column, of the samples from `first` on.
    fn take(&mut self, column: IndexColumn, first: usize, values: &[u8]) -> Result<(), String> {
        let all = self.samples;
        let table = &mut self.plan.table;
        let split = &mut table.splits[self.split];
        let samples = split.samples.get_mut(first..).unwrap_or_default();
        match column {
            IndexColumn::AnnotationId => {
                append(&mut split.samples, numbers(values).map(sample_of), all)?;
            }
            IndexColumn::Box => {
                for (sample, number) in samples.iter_mut().zip(numbers::<u32>(values)) {
                    check_box(&table.boxes, number, self.split)?;
                    sample.box_index = number;
                }
            }
            IndexColumn::CenterNm => {
                for (sample, center) in samples.iter_mut().zip(numbers::<[f64; 3]>(values)) {
                    sample.center_nm = PointNm(center);
                }
            }
            IndexColumn::StartNm => {
                let starts = numbers::<[f64; 3]>(values);
                append(&mut split.ends, starts.map(|p| [PointNm(p); 2]), all)?;
            }
            IndexColumn::EndNm => {
                let ends = split.ends.get_mut(first..).unwrap_or_default();
                for ([_, end], point) in ends.iter_mut().zip(numbers::<[f64; 3]>(values)) {
                    *end = PointNm(point);
                }
            }
            IndexColumn::StartVoxel => {
                for (sample, start) in samples.iter_mut().zip(numbers::<[i64; 3]>(values)) {
                    if start.iter().any(|v| v.unsigned_abs() > MAX_VOXEL as u64) {
                        return Err(format!(
                            "found {start:?}, expected at most {MAX_VOXEL} either way"
                        ));
                    }
                    sample.start_voxel = start;
                }
            }
            // They follow from the other columns.
            IndexColumn::ResolutionNm | IndexColumn::OwnStartVoxel(_) => {}
            IndexColumn::ObjectId(array) => {
                append(split.objects[array].one_each_mut(), numbers(values), all)?;
            }
            IndexColumn::ObjectIds(array) => {
                let Some(counts) = table.arrays[array].objects else {
                    return Ok(());
                };
                let objects = &mut split.objects[array];
                for row in values.chunks_exact(counts.most_per_sample * size_of::<u64>()) {
                    objects.push(numbers(row));
                }
                // Their memory was counted by the header.
                let found = objects.ids();
                if found > counts.all {
                    let expected = counts.all;
                    return Err(format!(
                        "found {found} ids or more, expected {expected} from {PLAN_FILE}"
                    ));
                }
            }
            IndexColumn::InsideFraction(array) => {
                let is_fraction = |f: &f32| !(0.0..=1.0).contains(f);
                if let Some(found) = numbers::<f32>(values).find(is_fraction) {
                    return Err(format!("found {found}, expected a fraction from 0 to 1"));
                }
                append(&mut self.inside_fractions[array], numbers(values), all)?;
            }
            IndexColumn::Property(i) => split.properties[i].extend_from_slice(values),
        }
        Ok(())
    }
}

/// Adds values to a list, which gets memory for `all` at first: a list that grows would take up to twice as much.
fn append<T>(list: &mut Vec<T>, values: impl Iterator<Item = T>, all: u64) -> Result<(), String> {
    if list.is_empty() {
        let reserved = list.try_reserve_exact(usize::try_from(all).unwrap_or(usize::MAX));
        reserved.map_err(|e| format!("no memory for the {all} samples of {PLAN_FILE}: {e}"))?;
    }
    list.extend(values);
    Ok(())
}

/// The values of a column, whose bytes need not be aligned.
fn numbers<T: Pod>(bytes: &[u8]) -> impl Iterator<Item = T> {
    let values = bytes.chunks_exact(size_of::<T>());
    values.map(bytemuck::pod_read_unaligned)
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
