//! The sizes of the parts of an upload.

/// The size of the first part, and of the steps in which parts grow: 8 MiB. Buckets require 5 MiB.
const STEP_BYTES: usize = 8 << 20;

/// The number of parts of one size. Then the 10,000 parts that buckets allow hold 6 TiB, more than an object may have.
const PARTS_PER_STEP: usize = 64;

/// How large parts are. An object is buffered until it is larger than a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartSize {
    step_bytes: usize,
}

impl Default for PartSize {
    fn default() -> Self {
        Self {
            step_bytes: STEP_BYTES,
        }
    }
}

impl PartSize {
    /// Parts that grow in steps of `step_bytes`.
    #[cfg(test)]
    pub(super) fn in_steps_of(step_bytes: usize) -> Self {
        Self { step_bytes }
    }

    /// The size of the part with this index.
    pub(super) fn of_part(self, index: usize) -> usize {
        self.step_bytes.saturating_mul(1 + index / PARTS_PER_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_are_enough_for_the_largest_object() {
        let size = PartSize::default();
        let total: usize = (0..10_000).map(|index| size.of_part(index)).sum();
        assert!(total >= 5 << 40, "{total}");
        // A shard of 500 MiB needs one buffer of 8 MiB. Buckets limit a part to 5 GiB.
        assert_eq!((size.of_part(0), size.of_part(62)), (8 << 20, 8 << 20));
        assert!(size.of_part(9_999) < 5 << 30);
    }
}
