//! Nearest: the value of the voxel that holds the centre.

use super::stage::Stage;

/// Computes the voxels of `stage`, in the layout of [`Stage`].
pub(crate) fn run<const N: usize>(stage: &Stage, channels: usize, source: &[u8], out: &mut [u8]) {
    let ((source, _), (out, _)) = (source.as_chunks::<N>(), out.as_chunks_mut::<N>());
    let x = &stage.axes[0];
    for row in stage.rows(channels) {
        for (from, _) in stage.source_rows(&row) {
            let from = &source[from];
            for (to, span) in out[row.out.clone()].iter_mut().zip(&x.spans) {
                *to = from[span.first];
            }
        }
    }
}
