//! The moves of paths. A move is stored as its difference, modulo 4, from the move before it.

use super::markov::{MarkovModel, MarkovMoves};

pub(super) const UPWARD: u8 = 0b00;
pub(super) const RIGHTWARD: u8 = 0b01;
pub(super) const DOWN: u8 = 0b10;
pub(super) const LEFTWARD: u8 = 0b11;

/// The moves of a slice. Padding after the last path are moves, too.
pub(super) struct Moves<'a> {
    differences: Differences<'a>,
    last: u8,
}

enum Differences<'a> {
    /// Two bits each, the lowest first.
    Packed {
        bytes: &'a [u8],
        at: usize,
    },
    Markov(MarkovMoves<'a>),
}

impl<'a> Moves<'a> {
    pub(super) fn new(bytes: &'a [u8], model: Option<&'a MarkovModel>) -> Self {
        let differences = match model {
            None => Differences::Packed { bytes, at: 0 },
            Some(model) => Differences::Markov(model.moves(bytes)),
        };
        Self {
            differences,
            last: 0,
        }
    }
}

impl Iterator for Moves<'_> {
    type Item = u8;

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let difference = match &mut self.differences {
            Differences::Packed { bytes, at } => {
                let byte = bytes.get(*at / 4)?;
                let difference = byte >> (*at % 4 * 2) & 3;
                *at += 1;
                difference
            }
            Differences::Markov(moves) => moves.next()?,
        };
        self.last = (self.last + difference) & 3;
        Some(self.last)
    }
}
