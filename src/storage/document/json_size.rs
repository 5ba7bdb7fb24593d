//! Size limits of JSON before it is parsed: an estimate of the parsed document's memory, and the maximum length of
//! strings and numbers.

use std::io::Read;

/// Memory of one element or member in a parsed document, including the spare capacity of lists.
const VALUE_BYTES: u64 = 112;

/// Memory of a member in addition to its value: its name and its entry in a map.
const MEMBER_BYTES: u64 = 160;

/// Longest string or number in a streamed document, in bytes.
const MAX_TOKEN_BYTES: usize = 1 << 20;

/// Scanner that distinguishes JSON strings from structure.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Advances by `byte`. Returns whether it is a structural character, such as a comma or bracket.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        self.in_string = byte == b'"';
        matches!(byte, b',' | b':' | b'[' | b'{' | b']' | b'}')
    }
}

/// Estimates the memory of the JSON in `text` once it is parsed. The estimate is rather too high than too low.
pub(super) fn parsed_bytes(text: &[u8]) -> u64 {
    let mut scan = Scan::default();
    let mut bytes = text.len() as u64;
    for byte in text {
        if scan.step(*byte) {
            bytes += match byte {
                b',' | b'[' | b'{' => VALUE_BYTES,
                b':' => MEMBER_BYTES,
                _ => 0,
            };
        }
    }
    bytes
}

/// JSON that exceeds a size limit.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum TooLong {
    /// A string or number is too long.
    #[error(
        "it has a string or number up to byte {at} of more than {MAX_TOKEN_BYTES} bytes, the maximum length"
    )]
    Token {
        /// Its last byte that was read.
        at: u64,
    },
    /// The document is too long.
    #[error("it has more than {most} bytes, the maximum size")]
    All {
        /// The limit.
        most: u64,
    },
}

/// A reader of JSON that fails if a string, a number or the whole document is too long.
#[derive(Debug)]
pub(crate) struct Bounded<R> {
    inner: R,
    scan: Scan,
    /// Bytes of the current string or number.
    token_bytes: usize,
    read_bytes: u64,
    most_bytes: u64,
}

impl<R: Read> Bounded<R> {
    /// Reads `inner`, at most `most_bytes`.
    pub(crate) fn new(inner: R, most_bytes: u64) -> Self {
        Self {
            inner,
            scan: Scan::default(),
            token_bytes: 0,
            read_bytes: 0,
            most_bytes,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(into)?;
        for byte in &into[..n] {
            let is_structure = self.scan.step(*byte);
            let ends = !self.scan.in_string && (is_structure || byte.is_ascii_whitespace());
            self.token_bytes = if ends { 0 } else { self.token_bytes + 1 };
            self.read_bytes += 1;
            if self.token_bytes > MAX_TOKEN_BYTES {
                let at = self.read_bytes;
                return Err(std::io::Error::other(TooLong::Token { at }));
            }
        }
        let most = self.most_bytes;
        if self.read_bytes > most {
            Err(std::io::Error::other(TooLong::All { most }))
        } else {
            Ok(n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, most: u64) -> Result<usize, String> {
        let mut out = Vec::new();
        let found = Bounded::new(text.as_bytes(), most).read_to_end(&mut out);
        found.map_err(|e| e.to_string())
    }

    #[test]
    fn structural_characters_in_strings_are_ignored() {
        let plain = parsed_bytes(br#"{"a": "xxxxxxxx"}"#);
        assert_eq!(parsed_bytes(br#"{"a": "[,{:\"[["}"#), plain);
        assert_eq!(plain, 17 + VALUE_BYTES + MEMBER_BYTES);
    }

    #[test]
    fn a_string_number_or_document_over_its_limit_is_an_error() {
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        let most = u64::MAX;
        for text in [
            format!("[\"{long}\"]"),
            format!("[\"{}\"]", "\\\"".repeat(MAX_TOKEN_BYTES / 2 + 1)),
            format!("{{\"{long}\": 1}}"),
            format!("[{}]", "1".repeat(MAX_TOKEN_BYTES + 1)),
        ] {
            let e = read(&text, most).unwrap_err();
            assert!(
                e.contains("string or number") && e.contains("of more than 1048576 bytes"),
                "{e}"
            );
        }
        let fits = format!("[\"{}\", 1{}]", &long[3..], " ".repeat(3 * MAX_TOKEN_BYTES));
        assert_eq!(read(&fits, most), Ok(fits.len()));
        let e = read("[1, 2, 3]", 8).unwrap_err();
        assert!(e.contains("more than 8 bytes"), "{e}");
    }
}
