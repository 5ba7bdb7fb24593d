//! The order of samples inside a box: along a Morton curve over cells of the size of one window.

use crate::geometry::WindowSize;

/// Sort key of a window that starts at `start`, in a box whose first window starts at `origin`.
///
/// Windows that are close in space are mostly close along the curve, so that the source chunks that they share are
/// needed at nearly the same time.
pub(super) fn spatial_key(start: [i64; 3], origin: [i64; 3], window: &WindowSize) -> u64 {
    let [x, y, z] = std::array::from_fn(|d| {
        let cell = (start[d] - origin[d]).max(0) as u64 / u64::from(window.voxels()[d]);
        interleave(cell.min((1 << 21) - 1))
    });
    x | y << 1 | z << 2
}

/// Inserts two zero bits after each of the low 21 bits of `v`.
fn interleave(v: u64) -> u64 {
    let v = (v | v << 32) & 0x1f_0000_0000_ffff;
    let v = (v | v << 16) & 0x1f_0000_ff00_00ff;
    let v = (v | v << 8) & 0x100f_00f0_0f00_f00f;
    let v = (v | v << 4) & 0x10c3_0c30_c30c_30c3;
    (v | v << 2) & 0x1249_2492_4924_9249
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bit_i_moves_to_bit_3i(v in 0u64..1 << 21) {
            let expected = (0..21).map(|i| (v >> i & 1) << (3 * i)).sum::<u64>();
            prop_assert_eq!(interleave(v), expected);
        }

        #[test]
        fn windows_in_the_same_cell_have_the_same_key(p in prop::array::uniform3(0i64..1000), w in prop::array::uniform3(1u32..70)) {
            let window = WindowSize::new(w).unwrap();
            let cell = |q: [i64; 3]| std::array::from_fn::<_, 3, _>(|d| q[d] / i64::from(w[d]));
            let corner = std::array::from_fn(|d| cell(p)[d] * i64::from(w[d]));
            prop_assert_eq!(spatial_key(p, [0; 3], &window), spatial_key(corner, [0; 3], &window));
        }
    }
}
