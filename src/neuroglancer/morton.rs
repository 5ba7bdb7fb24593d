//! The compressed Morton code of a cell in a grid: its id in the sharded format.
//!
//! The bits of a cell's coordinates are interleaved from the lowest up, the first dimension first. A dimension has only
//! as many bits as its size needs, so a dimension of size 1 has none.

/// Computes compressed Morton codes of the cells of a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MortonGrid {
    shape: Vec<u64>,
    /// For each bit of the code, from the lowest: the dimension and the bit of its coordinate.
    bits: Vec<(u8, u8)>,
}

/// The grid has too many cells for 64-bit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grid that needs codes of {bits} bits, expected at most 64")]
pub(crate) struct TooManyCells {
    bits: u32,
}

impl MortonGrid {
    /// The grid with `shape` cells along each dimension. At most 255 dimensions.
    pub(crate) fn new(shape: &[u64]) -> Result<Self, TooManyCells> {
        let needed = |size: &u64| 64 - size.saturating_sub(1).leading_zeros();
        let bits: u32 = shape.iter().map(needed).sum();
        if bits > 64 {
            return Err(TooManyCells { bits });
        }
        let bits = (0..64).flat_map(|bit| {
            let takes_part = move |(_, size): &(usize, &u64)| bit < needed(size);
            let dimensions = shape.iter().enumerate().filter(takes_part);
            dimensions.map(move |(d, _)| (d as u8, bit as u8))
        });
        Ok(Self {
            shape: shape.to_owned(),
            bits: bits.collect(),
        })
    }

    /// The code of `cell`. `None` if it is outside the grid.
    pub(crate) fn code(&self, cell: &[u64]) -> Option<u64> {
        let inside = cell.len() == self.shape.len()
            && cell.iter().zip(&self.shape).all(|(i, size)| i < size);
        let bits = self.bits.iter().enumerate();
        inside.then(|| {
            bits.map(|(to, (d, from))| (cell[usize::from(*d)] >> from & 1) << to)
                .sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The algorithm in the specification.
    fn naive(shape: &[u64], cell: &[u64]) -> u64 {
        let (mut code, mut j) = (0, 0);
        for i in 0..63 {
            for dim in 0..shape.len() {
                if 1 << i < shape[dim] {
                    code |= (cell[dim] >> i & 1) << j;
                    j += 1;
                }
            }
        }
        code
    }

    #[test]
    fn a_dimension_of_size_1_has_no_bits() {
        let grid = MortonGrid::new(&[4, 1, 4]).unwrap();
        assert_eq!(grid.code(&[1, 0, 0]), Some(0b0001));
        assert_eq!(grid.code(&[0, 0, 1]), Some(0b0010));
        assert_eq!(grid.code(&[2, 0, 0]), Some(0b0100));
        assert_eq!(grid.code(&[3, 0, 3]), Some(0b1111));
        assert_eq!(MortonGrid::new(&[1, 1, 1]).unwrap().code(&[0; 3]), Some(0));
    }

    #[test]
    fn a_size_that_is_not_a_power_of_two_needs_the_bits_of_its_last_cell() {
        let grid = MortonGrid::new(&[5, 2, 1]).unwrap();
        assert_eq!(grid.code(&[4, 1, 0]), Some(0b1010));
        assert_eq!(grid.code(&[3, 1, 0]), Some(0b0111));
    }

    #[test]
    fn a_grid_can_have_any_number_of_dimensions() {
        assert_eq!(MortonGrid::new(&[]).unwrap().code(&[]), Some(0));
        let grid = MortonGrid::new(&[2; 5]).unwrap();
        assert_eq!(grid.code(&[1, 0, 1, 0, 1]), Some(0b10101));
        let whole = MortonGrid::new(&[u64::MAX]).unwrap();
        assert_eq!(whole.code(&[u64::MAX - 1]), Some(u64::MAX - 1));
    }

    #[test]
    fn cells_outside_the_grid_have_no_code_and_codes_have_at_most_64_bits() {
        let grid = MortonGrid::new(&[3, 3, 0]).unwrap();
        assert_eq!(grid.code(&[3, 0, 0]), None);
        assert_eq!(grid.code(&[0, 0, 0]), None);
        assert_eq!(grid.code(&[0, 0]), None);
        assert!(MortonGrid::new(&[1 << 22, 1 << 21, 1 << 21]).is_ok());
        let e = MortonGrid::new(&[1 << 22, 1 << 22, 1 << 21]).unwrap_err();
        assert_eq!(e.bits, 65);
    }

    proptest! {
        #[test]
        fn codes_equal_those_of_the_specification(
            (shape, cell) in prop::collection::vec((1u64..5000).prop_flat_map(|n| (Just(n), 0..n)), 1..6)
                .prop_map(|axes| axes.into_iter().unzip::<u64, u64, Vec<_>, Vec<_>>()),
        ) {
            prop_assume!(shape.iter().map(|n| n.ilog2() + 1).sum::<u32>() < 63);
            let code = MortonGrid::new(&shape).unwrap().code(&cell);
            prop_assert_eq!(code, Some(naive(&shape, &cell)));
        }
    }
}
