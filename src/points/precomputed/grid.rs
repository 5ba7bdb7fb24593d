//! The cells of a level of the spatial index, and which of them a box needs.
//!
//! Cells are counted from the lower bound in steps of `chunk_size`, in `f64` and in the layer's units. `grid_shape` is
//! not trusted, and the range of cells is slightly widened: one cell too many costs a look-up, one cell too few would
//! lose annotations.

use std::ops::RangeInclusive;

/// Cells along one dimension.
#[derive(Clone, Debug)]
struct GridAxis {
    lower: f64,
    /// Greater than 0; infinite if one cell contains everything.
    chunk: f64,
    /// Cells that may be stored.
    count: u64,
    /// The first cell that may be the writer's last cell, which contains everything beyond.
    earliest_last: u64,
}

/// The cells of one level.
#[derive(Clone, Debug)]
pub(super) struct CellGrid {
    axes: Vec<GridAxis>,
}

/// An invalid `chunk_size`.
#[derive(Debug, PartialEq)]
pub(super) struct WrongChunkSize {
    pub(super) found: String,
    pub(super) expected: String,
}

/// The range of a box along one dimension of the layer, in the layer's units.
#[derive(Clone, Copy, Debug)]
pub(super) struct DimensionRange {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl DimensionRange {
    /// A whole dimension.
    pub(super) const EVERYTHING: DimensionRange = DimensionRange {
        from: f64::NEG_INFINITY,
        to: f64::INFINITY,
    };
}

/// Limit of cells along one dimension.
const MAX_CELLS: f64 = (1u64 << 40) as f64;

impl CellGrid {
    /// The grid, and whether `declared`, the `grid_shape`, had to be corrected. All slices have the same length.
    pub(super) fn new(
        lower: &[f64],
        upper: &[f64],
        chunk: &[f64],
        declared: &[f64],
    ) -> Result<(Self, bool), WrongChunkSize> {
        let axes = (0..lower.len()).map(|d| {
            let extent = (upper[d] - lower[d]).max(0.0);
            let axis = GridAxis::new(lower[d], extent, chunk[d], declared[d]);
            axis.ok_or_else(|| WrongChunkSize {
                found: format!("{chunk:?}"),
                expected: format!(
                    "sizes greater than 0 that divide an extent of {extent} into at most 2^40 cells"
                ),
            })
        });
        let axes: Vec<(GridAxis, bool)> = axes.collect::<Result<_, _>>()?;
        let corrected = axes.iter().any(|(_, corrected)| *corrected);
        let axes: Vec<GridAxis> = axes.into_iter().map(|(axis, _)| axis).collect();
        // Cells are numbered in u64.
        let cells = axes
            .iter()
            .try_fold(1u64, |n, axis| n.checked_mul(axis.count));
        match cells {
            Some(_) => Ok((Self { axes }, corrected)),
            None => Err(WrongChunkSize {
                found: format!("{chunk:?}"),
                expected: "sizes that result in fewer than 2^64 cells".to_owned(),
            }),
        }
    }

    /// Cells along each dimension.
    pub(super) fn shape(&self) -> Vec<u64> {
        self.axes.iter().map(|axis| axis.count).collect()
    }

    /// The cells that may contain annotations of a box, along each dimension, and with `with_neighbours` the cells around
    /// them.
    pub(super) fn cells_of(
        &self,
        ranges: &[DimensionRange],
        with_neighbours: bool,
    ) -> Vec<RangeInclusive<u64>> {
        let one =
            |(axis, span): (&GridAxis, &DimensionRange)| axis.cells_of(*span, with_neighbours);
        self.axes.iter().zip(ranges).map(one).collect()
    }

    /// The number of a cell. The last dimension varies fastest.
    pub(super) fn number(&self, cell: &[u64]) -> u64 {
        let step =
            |n: u64, (axis, i): (&GridAxis, &u64)| n.wrapping_mul(axis.count).wrapping_add(*i);
        self.axes.iter().zip(cell).fold(0, step)
    }

    /// The cell with this number.
    pub(super) fn cell(&self, mut number: u64) -> Vec<u64> {
        let mut cell = vec![0; self.axes.len()];
        for (i, axis) in cell.iter_mut().zip(&self.axes).rev() {
            *i = number % axis.count;
            number /= axis.count;
        }
        cell
    }
}

impl GridAxis {
    /// The cells along a dimension, and whether `declared` had to be corrected. `None` if the chunk size is invalid.
    fn new(lower: f64, extent: f64, chunk: f64, declared: f64) -> Option<(Self, bool)> {
        // If all annotations are on one section, the extent and the cell size may be 0.
        let one_cell = chunk <= 0.0 && extent == 0.0;
        let chunk = if one_cell { f64::INFINITY } else { chunk };
        let covered = extent / chunk;
        if chunk <= 0.0 || covered > MAX_CELLS {
            return None;
        }
        // `chunk_size` is often the extent divided by the number of cells, rounded.
        let fitting = (covered * (1.0 - 1e-6)).ceil().max(1.0);
        // One more cell may contain annotations exactly on the upper bound.
        let count = declared.clamp(fitting, fitting + 1.0);
        let axis = Self {
            lower,
            chunk,
            count: count as u64,
            earliest_last: declared.clamp(1.0, fitting) as u64 - 1,
        };
        Some((axis, declared != fitting))
    }

    fn cells_of(&self, span: DimensionRange, with_neighbours: bool) -> RangeInclusive<u64> {
        // Positions are float32, and some writers compute cells in float32: an annotation next to the border of two
        // cells may be in either.
        let slack = |p: f64| 2.5e-7 * (p.abs() + self.lower.abs()) / self.chunk;
        let margin = if with_neighbours { 1.0 } else { 0.0 };
        let from = (span.from - self.lower) / self.chunk - slack(span.from) - margin;
        let to = (span.to - self.lower) / self.chunk + slack(span.to) + margin;
        // The conversion saturates, so that negative numbers become 0. A NaN, from infinities, must not exclude a cell.
        let from = if from.is_nan() {
            0
        } else {
            from.floor() as u64
        };
        let to = if to.is_nan() {
            u64::MAX
        } else {
            to.floor() as u64
        };
        from.min(self.earliest_last)..=to.min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis(lower: f64, upper: f64, chunk: f64, declared: f64) -> (CellGrid, bool) {
        CellGrid::new(&[lower], &[upper], &[chunk], &[declared]).unwrap()
    }

    fn cells(grid: &CellGrid, from: f64, to: f64, with_neighbours: bool) -> (u64, u64) {
        let range = grid
            .cells_of(&[DimensionRange { from, to }], with_neighbours)
            .remove(0);
        (*range.start(), *range.end())
    }

    #[test]
    fn cells_start_at_the_lower_bound_and_may_have_fractional_sizes() {
        let (grid, corrected) = axis(1000.5, 1000.5 + 3.0 * 13136.00390625, 13136.00390625, 3.0);
        assert!(!corrected);
        assert_eq!(cells(&grid, 1001.0, 1100.0, false), (0, 0));
        assert_eq!(cells(&grid, 14136.4, 14136.6, false), (0, 1));
        assert_eq!(cells(&grid, 30000.0, 35000.0, false), (2, 2));
    }

    #[test]
    fn the_last_cell_includes_the_upper_bound_and_everything_beyond() {
        let (grid, _) = axis(0.0, 40.0, 10.0, 4.0);
        assert_eq!(cells(&grid, 40.0, 41.0, false), (3, 3));
        assert_eq!(cells(&grid, 70.0, 80.0, false), (3, 3));
        assert_eq!(cells(&grid, -80.0, -70.0, false), (0, 0));
    }

    #[test]
    fn neighbouring_cells_are_included_if_annotations_have_an_extent() {
        let (grid, _) = axis(0.0, 100.0, 10.0, 10.0);
        assert_eq!(cells(&grid, 42.0, 48.0, false), (4, 4));
        assert_eq!(cells(&grid, 42.0, 48.0, true), (3, 5));
        assert_eq!(cells(&grid, 2.0, 98.0, true), (0, 9));
    }

    #[test]
    fn a_wrong_grid_shape_hides_no_cell() {
        // Too small: the writer's last cell may be its own or the true one.
        let (grid, corrected) = axis(0.0, 40.0, 10.0, 2.0);
        assert!(corrected);
        assert_eq!(cells(&grid, 32.0, 38.0, false), (1, 3));
        // 0 or negative: the shape follows from the bounds.
        for declared in [0.0, -3.0] {
            let (grid, corrected) = axis(0.0, 40.0, 10.0, declared);
            assert!(corrected);
            assert_eq!(grid.shape(), [4]);
            assert_eq!(cells(&grid, 12.0, 18.0, false), (0, 1));
        }
        // Too large: at most one more cell, for the upper bound.
        let (grid, corrected) = axis(0.0, 40.0, 10.0, 1e18);
        assert!(corrected);
        assert_eq!(cells(&grid, 12.0, 1e30, false), (1, 4));
    }

    #[test]
    fn annotations_on_a_single_section_may_have_one_cell_of_size_0() {
        let (grid, corrected) = axis(7.0, 7.0, 0.0, 1.0);
        assert!(!corrected);
        assert_eq!(cells(&grid, 7.0, 8.0, true), (0, 0));
    }

    #[test]
    fn invalid_chunk_sizes_are_errors() {
        for chunk in [0.0, -1.0, 1e-300] {
            assert!(CellGrid::new(&[0.0], &[9.0], &[chunk], &[1.0]).is_err());
        }
        let tiny = [1e-9; 3];
        assert!(CellGrid::new(&[0.0; 3], &[9.0; 3], &tiny, &[1.0; 3]).is_err());
    }

    #[test]
    fn boxes_with_extreme_coordinates_only_need_existing_cells() {
        let (grid, _) = axis(-1e300, 1e300, 1e300, 2.0);
        for (from, to) in [
            (-f64::MAX, f64::MAX),
            (f64::MAX, f64::MAX),
            (-f64::MAX, -f64::MAX),
        ] {
            assert!(cells(&grid, from, to, true).1 <= 1);
        }
        assert_eq!(
            cells(&grid, f64::NEG_INFINITY, f64::INFINITY, false),
            (0, 1)
        );
        let (one, _) = axis(7.0, 7.0, 0.0, 1.0);
        assert_eq!(cells(&one, f64::NEG_INFINITY, f64::INFINITY, true), (0, 0));
    }

    proptest! {
        #[test]
        fn a_cell_is_recovered_from_its_number(
            counts in prop::array::uniform3(1u32..50), picks in prop::array::uniform3(any::<u32>()),
        ) {
            let upper = counts.map(f64::from);
            let (grid, _) = CellGrid::new(&[0.0; 3], &upper, &[1.0; 3], &upper).unwrap();
            let cell: Vec<u64> = (0..3).map(|d| u64::from(picks[d] % counts[d])).collect();
            prop_assert_eq!(grid.cell(grid.number(&cell)), cell);
        }

        /// The writer computes the cell in float64 or in float32.
        #[test]
        fn the_cells_of_a_box_include_the_cell_that_the_writer_chose_for_a_point(
            lower in -1e5f32..1e5, chunk in 0.5f32..5000.0, count in 1u32..200, at in 0.0f64..=1.0,
            before in 0.0f64..100.0, after in 1e-9f64..100.0,
        ) {
            let upper = f64::from(lower) + f64::from(chunk) * f64::from(count);
            let (grid, _) = axis(lower.into(), upper, chunk.into(), count.into());
            let p = (f64::from(lower) + at * (upper - f64::from(lower))) as f32;
            let wide = (f64::from(p) - f64::from(lower)) / f64::from(chunk);
            let narrow = (p - lower) / chunk;
            let (first, last) = cells(&grid, f64::from(p) - before, f64::from(p) + after, false);
            for cell in [wide.floor() as u64, narrow.floor() as u64] {
                let cell = cell.min(u64::from(count) - 1);
                prop_assert!((first..=last).contains(&cell), "cell {} not in {}..={}", cell, first, last);
            }
        }
    }
}
