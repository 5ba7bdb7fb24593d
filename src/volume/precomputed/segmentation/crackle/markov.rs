//! Moves that a Markov model predicts from those before them.

use super::super::reader::Reader;

/// The number of orders of four moves.
const ORDERS: usize = 24;

/// For each sequence of `order` moves, the moves that may follow, the most frequent first.
#[derive(Debug)]
pub(super) struct MarkovModel {
    order: u32,
    /// By sequence, with the last move in the highest bits: four moves of two bits, the first in the lowest.
    rows: Vec<u8>,
}

impl MarkovModel {
    /// Takes the model of this order: 5 bits for each sequence, the number of an order of the moves.
    pub(super) fn parse(reader: &mut Reader<'_>, order: u32) -> Result<Self, String> {
        let rows = 1usize << (2 * order);
        let bytes = (5 * rows).div_ceil(8);
        let packed = reader.take(bytes as u64, 1, "Markov model")?;
        let orders: [u8; ORDERS] = std::array::from_fn(order_of_moves);
        let row = |i: usize| {
            let (byte, shift) = (5 * i / 8, 5 * i % 8);
            let low = packed.get(byte).copied().unwrap_or(0);
            let high = packed.get(byte + 1).copied().unwrap_or(0);
            let number = u16::from_le_bytes([low, high]) >> shift & 31;
            orders.get(usize::from(number)).copied()
        };
        let rows: Option<Vec<u8>> = (0..rows).map(row).collect();
        let rows = rows
            .ok_or("its Markov model has an order of moves that does not exist: it is damaged")?;
        Ok(Self { order, rows })
    }

    /// The differences of moves in `bytes`.
    pub(super) fn moves<'a>(&'a self, bytes: &'a [u8]) -> MarkovMoves<'a> {
        MarkovMoves {
            model: self,
            bytes,
            bit: 0,
            sequence: 0,
        }
    }
}

/// The order of the four moves with this number, in lexicographic order.
fn order_of_moves(number: usize) -> u8 {
    let mut left = vec![0u8, 1, 2, 3];
    let chosen = [number / 6, number % 6 / 2, number % 2, 0].map(|at| left.remove(at));
    chosen
        .iter()
        .rev()
        .fold(0, |order, chosen| order << 2 | chosen)
}

/// Moves in the order of their frequency: bits 0, 10, 110 and 111, the first bit lowest. The first move has two bits.
pub(super) struct MarkovMoves<'a> {
    model: &'a MarkovModel,
    bytes: &'a [u8],
    bit: usize,
    sequence: usize,
}

impl Iterator for MarkovMoves<'_> {
    type Item = u8;

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let low = *self.bytes.get(self.bit / 8)?;
        let high = self.bytes.get(self.bit / 8 + 1).copied().unwrap_or(0);
        let bits = u16::from_le_bytes([low, high]) >> (self.bit % 8);
        let chosen = if self.bit == 0 {
            self.bit = 2;
            bits as u8 & 3
        } else {
            let rank = (bits.trailing_ones() as usize).min(3);
            self.bit += (rank + 1).min(3);
            let row = self.model.rows.get(self.sequence).copied().unwrap_or(0);
            row >> (2 * rank) & 3
        };
        let newest = usize::from(chosen) << (2 * (self.model.order - 1));
        self.sequence = self.sequence >> 2 | newest;
        Some(chosen)
    }
}
