//! Masks: 1 where any voxel is greater than 0.

use super::stage::Stage;
use crate::data_type::{DataType, Scalar, with_type};
use crate::voxels::cast::Cast;

/// Computes the voxels of `stage`, in the layout of [`Stage`].
pub(crate) fn run(
    stage: &Stage,
    data_type: DataType,
    channels: usize,
    source: &[u8],
    out: &mut [u8],
) {
    with_type!(data_type, T => {
        let positive = |v| T::from_le_bytes(v) > T::default();
        let (one, _): (T, bool) = 1u8.cast();
        let values = [T::default(), one].map(T::to_le_bytes);
        any_in(stage, channels, source, out, positive, values);
    });
}

/// Along y and z whole rows at a time, then along x. `values` are 0 and 1.
fn any_in<const N: usize>(
    stage: &Stage,
    channels: usize,
    source: &[u8],
    out: &mut [u8],
    positive: impl Fn([u8; N]) -> bool,
    values: [[u8; N]; 2],
) {
    let ((source, _), (out, _)) = (source.as_chunks::<N>(), out.as_chunks_mut::<N>());
    let x = &stage.axes[0];
    let mut found = vec![false; (x.source.end - x.source.start) as usize];
    for row in stage.rows(channels) {
        found.fill(false);
        for (from, _) in stage.source_rows(&row) {
            for (found, v) in found.iter_mut().zip(&source[from]) {
                *found |= positive(*v);
            }
        }
        for (to, span) in out[row.out].iter_mut().zip(&x.spans) {
            let covered = &found[span.first..span.first + span.weights.len()];
            *to = values[usize::from(covered.contains(&true))];
        }
    }
}

/// The result of `any` for a value of this type.
pub(crate) fn of_value(value: Scalar, data_type: DataType) -> Scalar {
    let bytes = value.bytes(data_type.size_bytes());
    let one = with_type!(data_type, T => {
        let (one, _): (T, bool) = 1u8.cast();
        let positive = bytes.try_into().is_ok_and(|v| T::from_le_bytes(v) > T::default());
        positive.then(|| one.to_le_bytes().to_vec())
    });
    one.and_then(|bytes| Scalar::from_le_bytes(&bytes))
        .unwrap_or_default()
}
