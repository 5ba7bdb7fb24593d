//! Copies values between arrays with different orders of dimensions.

/// An array of values with any order of dimensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strided<'a> {
    /// Bytes of all values.
    pub values: &'a [u8],
    /// Bytes per value.
    pub value_bytes: usize,
    /// Distance between neighbours along channel, z, y and x, in values.
    pub strides: [usize; 4],
}

/// Strides of a C-order array, in values.
pub(super) fn c_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

/// Copies the first `extent` (channels, z, y, x) values of `from` to `to`, a C-order array with the shape `extent`.
pub(super) fn copy_strided(from: &Strided<'_>, extent: [usize; 4], to: &mut [u8]) {
    match from.value_bytes {
        1 => copy_values::<1>(from, extent, to),
        2 => copy_values::<2>(from, extent, to),
        4 => copy_values::<4>(from, extent, to),
        8 => copy_values::<8>(from, extent, to),
        _ => unreachable!("no data type has this size"),
    }
}

fn copy_values<const N: usize>(from: &Strided<'_>, extent: [usize; 4], to: &mut [u8]) {
    let (from_values, _) = from.values.as_chunks::<N>();
    let (to_values, _) = to.as_chunks_mut::<N>();
    let [channels, nz, ny, nx] = extent;
    let [sc, sz, sy, sx] = from.strides;
    if nx == 0 {
        return;
    }
    let mut rows = to_values.chunks_exact_mut(nx);
    for c in 0..channels {
        for z in 0..nz {
            for y in 0..ny {
                let Some(row) = rows.next() else { return };
                let first = c * sc + z * sz + y * sy;
                if sx == 1 {
                    row.copy_from_slice(&from_values[first..first + nx]);
                } else {
                    for (x, value) in row.iter_mut().enumerate() {
                        *value = from_values[first + x * sx];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_of_dimensions_gives_the_same_block(
            extent in prop::array::uniform4(1usize..5), padding in prop::array::uniform4(0usize..3),
            order in Just([0usize, 1, 2, 3]).prop_shuffle(), n in prop::sample::select(vec![1usize, 2, 4, 8]),
        ) {
            // Dimension d of the stored array is axis order[d] of (channel, z, y, x).
            let shape: Vec<usize> = order.iter().map(|a| extent[*a] + padding[*a]).collect();
            let stored = c_strides(&shape);
            let mut strides = [0; 4];
            for (d, a) in order.iter().enumerate() {
                strides[*a] = stored[d];
            }
            let values: Vec<u8> = (0..shape.iter().product::<usize>() as u64)
                .flat_map(|v| (v * 0x0101_0101_0101).to_le_bytes()[..n].to_vec()).collect();
            let mut to = vec![0; extent.iter().product::<usize>() * n];
            copy_strided(&Strided { values: &values, value_bytes: n, strides }, extent, &mut to);
            let mut out = to.chunks_exact(n);
            for c in 0..extent[0] {
                for z in 0..extent[1] {
                    for y in 0..extent[2] {
                        for x in 0..extent[3] {
                            let i: usize = [c, z, y, x].iter().zip(strides).map(|(i, s)| i * s).sum();
                            prop_assert_eq!(out.next().unwrap(), &values[i * n..(i + 1) * n]);
                        }
                    }
                }
            }
        }
    }
}
