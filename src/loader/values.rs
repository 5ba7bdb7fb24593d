//! Values of a batch as bytes or float32, and mutable slices of them.

use std::ops::Range;

/// Values of a batch in the smallest type that holds them; the type is the same for all batches of a loader.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Images: 0 to 255 stand for 0 to 1. Masks: 0 or 1.
    U8(Vec<u8>),
    /// The values themselves.
    F32(Vec<f32>),
}

/// Types of [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    U8,
    F32,
}

impl Values {
    /// Number of values.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Changes type and length. The old values may remain: the caller overwrites all of them.
    pub(super) fn prepare(&mut self, value_type: ValueType, n: usize) {
        match (value_type, self) {
            (ValueType::U8, Self::U8(values)) => resize(values, n, 0),
            (ValueType::F32, Self::F32(values)) => resize(values, n, 0.0),
            (ValueType::U8, other) => *other = Self::U8(vec![0; n]),
            (ValueType::F32, other) => *other = Self::F32(vec![0.0; n]),
        }
    }

    pub(super) fn buffer(&mut self) -> Buffer<'_> {
        match self {
            Self::U8(values) => Buffer::U8(values),
            Self::F32(values) => Buffer::F32(values),
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::U8(Vec::new())
    }
}

/// A mutable slice of [`Values`].
#[derive(Debug, PartialEq)]
pub(super) enum Buffer<'b> {
    U8(&'b mut [u8]),
    F32(&'b mut [f32]),
}

impl<'b> Buffer<'b> {
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Splits off the first `n` values.
    pub fn split_off(&mut self, n: usize) -> Self {
        match self {
            Self::U8(values) => Self::U8(values.split_off_mut(..n).unwrap_or_default()),
            Self::F32(values) => Self::F32(values.split_off_mut(..n).unwrap_or_default()),
        }
    }

    /// Part number `i` of parts of `n` values.
    pub fn part(&mut self, i: usize, n: usize) -> Buffer<'_> {
        self.range(i * n..(i + 1) * n)
    }

    /// A part of the values.
    pub fn range(&mut self, range: Range<usize>) -> Buffer<'_> {
        match self {
            Self::U8(values) => Buffer::U8(&mut values[range]),
            Self::F32(values) => Buffer::F32(&mut values[range]),
        }
    }

    /// The slice, if it is one of bytes.
    pub fn bytes(self) -> Option<&'b mut [u8]> {
        match self {
            Self::U8(values) => Some(values),
            Self::F32(_) => None,
        }
    }
}

/// Changes the length of `values`. The old values may remain: the caller overwrites all of them.
pub(super) fn resize<T: Copy>(values: &mut Vec<T>, n: usize, zero: T) {
    if values.capacity() < n {
        // The system returns zeroed memory: this clears nothing twice.
        *values = vec![zero; n];
    } else {
        values.resize(n, zero);
    }
}
