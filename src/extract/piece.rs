//! A piece of a shard while a thread cuts and encodes it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::window::CutScratch;
use crate::data_type::DataType;
use crate::dataset::{ArrayLayout, DatasetError, EncodedSamples, SampleEncoder, SampleEncoding};
use crate::voxels::Statistics;

/// A thread's buffers, reused from window to window.
pub(super) struct PieceScratch {
    pub cut: CutScratch,
    encoder: SampleEncoder,
}

/// Consecutive samples, encoded, and what their values are.
pub(super) struct EncodedPiece {
    pub samples: EncodedSamples,
    /// For each sample the number of values that are not 0.
    pub nonzero: Vec<u64>,
    pub statistics: Statistics,
}

/// Pieces that are written, whose memory is used again.
#[derive(Default)]
pub(super) struct SparePieces(Mutex<Vec<EncodedPiece>>);

impl PieceScratch {
    pub fn new() -> Result<Self, DatasetError> {
        Ok(Self {
            cut: CutScratch::default(),
            encoder: SampleEncoder::new()?,
        })
    }
}

impl EncodedPiece {
    /// Adds the window that was cut last, and counts its values. `is_unwritten` where it is all zeros, which were not written
    /// to it.
    pub fn add_window(
        &mut self,
        scratch: &mut PieceScratch,
        is_unwritten: bool,
        array: &ArrayLayout,
        encoding: &SampleEncoding,
    ) -> Result<(), DatasetError> {
        let PieceScratch { cut, encoder } = scratch;
        let (window, value_bytes) = (&cut.window[..], array.data_type.size_bytes());
        let nonzero = if is_unwritten {
            0
        } else {
            array.data_type.count_nonzero(window)
        };
        // By the bytes, not by the count: -0.0 counts as zero, but is not equal to the fill value.
        let is_fill = is_unwritten || array.fill_value.is_all_of(value_bytes, window);
        let values = (!is_fill).then_some(window);
        self.samples.push(values, encoding, encoder)?;
        match nonzero {
            0 if is_fill => {
                let values = (window.len() / value_bytes) as u64;
                self.statistics.observe_zeros(values);
            }
            _ => self.statistics.observe(window, Some(nonzero)),
        }
        self.nonzero.push(nonzero);
        Ok(())
    }
}

impl SparePieces {
    /// A piece without samples, for values of this type.
    pub fn take(&self, data_type: DataType) -> EncodedPiece {
        let spare = self.lock().pop();
        let (mut samples, mut nonzero) = spare
            .map(|piece| (piece.samples, piece.nonzero))
            .unwrap_or_default();
        samples.clear();
        nonzero.clear();
        EncodedPiece {
            samples,
            nonzero,
            statistics: Statistics::new(data_type),
        }
    }

    /// Keeps the memory of a piece.
    pub fn keep(&self, piece: EncodedPiece) {
        self.lock().push(piece);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EncodedPiece>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
