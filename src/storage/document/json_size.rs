//! How large JSON is: what a text takes when it is parsed, and how long its parts are, known before any of it is
//! parsed.

use std::io::Read;

/// Memory of one element or member in a parsed document, the growth of lists included.
const VALUE_BYTES: u64 = 112;

/// What a member takes beside its value: its name, and its place in a table.
const MEMBER_BYTES: u64 = 160;

/// Longest text or number in a document that is read as a stream, in bytes.
const MAX_TOKEN_BYTES: usize = 1 << 20;

/// Where in a JSON text a byte is: enough to tell texts from structure.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    in_text: bool,
    escaped: bool,
}

impl Scan {
    /// Goes on by `byte`; whether it is structure: neither part of a text nor of a number or word, nor blank.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return false;
        }
        self.in_text = byte == b'"';
        matches!(byte, b',' | b':' | b'[' | b'{' | b']' | b'}')
    }
}

/// About how much memory the JSON in `text` takes once it is parsed; rather too much than too little.
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

/// A text of which parts are longer than a parser should keep.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum TooLong {
    /// One text or number.
    #[error(
        "it has a text or number of more than {MAX_TOKEN_BYTES} bytes, up to byte {at}, and no more are read"
    )]
    Token {
        /// Its last byte that was read.
        at: u64,
    },
    /// All.
    #[error("it has more than {most} bytes, the most that are read")]
    All {
        /// The limit.
        most: u64,
    },
}

/// JSON that is passed on as it is read, as long as no text or number in it, nor all of it, is too long.
#[derive(Debug)]
pub(crate) struct Bounded<R> {
    inner: R,
    scan: Scan,
    /// Bytes of the text or number that is being read.
    token_bytes: usize,
    read_bytes: u64,
    most_bytes: u64,
}

impl<R: Read> Bounded<R> {
    /// What `inner` holds, up to `most_bytes`.
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
            let ends = !self.scan.in_text && (is_structure || byte.is_ascii_whitespace());
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
    fn structure_in_texts_is_no_structure() {
        let plain = parsed_bytes(br#"{"a": "xxxxxxxx"}"#);
        assert_eq!(parsed_bytes(br#"{"a": "[,{:\"[["}"#), plain);
        assert_eq!(plain, 17 + VALUE_BYTES + MEMBER_BYTES);
    }

    #[test]
    fn a_long_text_or_number_or_document_is_refused() {
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
                e.contains("text or number of more than 1048576 bytes"),
                "{e}"
            );
        }
        let fits = format!("[\"{}\", 1{}]", &long[3..], " ".repeat(3 * MAX_TOKEN_BYTES));
        assert_eq!(read(&fits, most), Ok(fits.len()));
        let e = read("[1, 2, 3]", 8).unwrap_err();
        assert!(e.contains("more than 8 bytes"), "{e}");
    }
}
