//! Reads the parts of a stream, one after the other. The length of each comes from the stream, so it is checked first.

/// A stream and the position of the next part.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    all_bytes: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            all_bytes: bytes.len(),
            rest: bytes,
        }
    }

    /// The bytes after the parts that were taken.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `count` items of `item_bytes` bytes each. `what` names them in the error.
    pub(super) fn take(
        &mut self,
        count: u64,
        item_bytes: usize,
        what: &str,
    ) -> Result<&'a [u8], String> {
        let bytes = u128::from(count) * item_bytes as u128;
        let taken = usize::try_from(bytes)
            .ok()
            .and_then(|n| self.rest.split_at_checked(n));
        let Some((part, rest)) = taken else {
            let end = (self.all_bytes - self.rest.len()) as u128 + bytes;
            return Err(format!(
                "its {what} end at byte {end}, but it has {} bytes: it is truncated or damaged",
                self.all_bytes
            ));
        };
        self.rest = rest;
        Ok(part)
    }

    /// Takes a number of `bytes` bytes.
    pub(super) fn number(&mut self, bytes: usize, what: &str) -> Result<u64, String> {
        self.take(1, bytes, what).map(number)
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(format!("it has {n} bytes after its end, expected none")),
        }
    }
}

/// A little-endian number of up to 8 bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take(8).rev();
    digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
}
