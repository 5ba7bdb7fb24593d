//! What voxels read as that are not stored.

/// A voxel's value, little-endian; every channel's is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scalar([u8; 8]);

impl Scalar {
    /// Zero, in every type.
    pub const ZERO: Self = Self([0; 8]);

    /// The value whose bytes these are, little-endian; `None` where they are more than 8.
    pub fn from_le_bytes(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self(bytes))
    }

    /// The value that begins with these bytes, little-endian; those that its type does not have are 0.
    pub(crate) fn from_array(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The value that all of `values`, of `value_bytes` bytes each, are, bit by bit; `None` where they are not all the
    /// same, or none.
    pub(crate) fn of_all(value_bytes: usize, values: &[u8]) -> Option<Self> {
        let first = values.get(..value_bytes)?;
        // All are like the first where each is like its neighbour.
        let same = values[value_bytes..] == values[..values.len() - value_bytes];
        Self::from_le_bytes(first).filter(|_| same)
    }

    /// Whether it is the zero whose bytes are all 0: -0.0 is not.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 8]
    }

    /// Its bytes in a type of `value_bytes` (at most 8) bytes, little-endian.
    pub fn bytes(&self, value_bytes: usize) -> &[u8] {
        &self.0[..value_bytes]
    }

    /// Whether all of `values`, of `value_bytes` bytes each, are this one, bit by bit.
    pub fn is_all_of(&self, value_bytes: usize, values: &[u8]) -> bool {
        values.is_empty() || Self::of_all(value_bytes, values) == Some(*self)
    }

    /// Fills `out`, an array of values of `value_bytes` (at most 8) bytes each.
    pub fn fill(&self, value_bytes: usize, out: &mut [u8]) {
        if self.is_zero() {
            out.fill(0);
        } else {
            for value in out.chunks_exact_mut(value_bytes) {
                value.copy_from_slice(&self.0[..value_bytes]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_with_values_of_any_size() {
        let fill = Scalar::from_le_bytes(&258u16.to_le_bytes()).unwrap();
        let mut out = [9; 6];
        fill.fill(2, &mut out);
        assert_eq!(out, [2, 1, 2, 1, 2, 1]);
        Scalar::ZERO.fill(4, &mut out);
        assert_eq!(out, [0; 6]);
        assert!(Scalar::ZERO.is_all_of(4, &[0; 8]) && !Scalar::ZERO.is_all_of(4, &[0, 0, 0, 1]));
        assert!(fill.is_all_of(2, &[2, 1, 2, 1]) && !fill.is_all_of(2, &[2, 1, 1, 2]));
        assert_eq!(Scalar::of_all(2, &[2, 1, 2, 1]), Some(fill));
        assert_eq!(Scalar::of_all(2, &[2, 1, 2, 2]), None);
        assert_eq!(Scalar::of_all(2, &[]), None);
        assert!(fill.is_all_of(2, &[]));
        assert!(Scalar::from_le_bytes(&[0; 9]).is_none());
        assert!(
            !Scalar::from_le_bytes(&(-0.0f32).to_le_bytes())
                .unwrap()
                .is_zero()
        );
    }
}
