//! The blocks of a table as text: each ends with a record, so that blocks can be parsed independently.
//!
//! The rules of quotation marks are those of [`TextRecord`](super::text_record::TextRecord): a field that begins with one goes on to the
//! closing one, over ends of lines. Elsewhere they have no meaning.

use std::io::Read;

use memchr::{memchr, memrchr2};

/// Bytes of a block. One with a longer record is longer.
const BLOCK_BYTES: usize = 256 << 10;

/// Longest record, in bytes.
pub(super) const MAX_RECORD_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Consecutive records.
#[derive(Debug, Default)]
pub(super) struct TextBlock {
    pub text: String,
    /// The line on which the text starts, from 1, as an editor counts.
    pub first_line: u64,
    /// Whether bytes that are not UTF-8 follow the text.
    pub is_damaged: bool,
}

impl TextBlock {
    /// The text from the position `at` on, which is on `line`; `None` if nothing follows.
    pub fn after(mut self, (at, line): (usize, u64)) -> Option<Self> {
        self.text.drain(..at);
        self.first_line = line;
        (!self.text.is_empty() || self.is_damaged).then_some(self)
    }
}

/// Why a record cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecordProblem {
    TooLong { line: u64 },
    NotUtf8 { line: u64, field: usize },
}

/// Why there is no next block.
#[derive(Debug)]
pub(super) enum BlockError {
    Read(std::io::Error),
    Record(RecordProblem),
}

/// Reads blocks.
pub(super) struct TextBlocks<R> {
    reader: R,
    delimiter: u8,
    block_bytes: usize,
    /// What was read after the last block.
    rest: Vec<u8>,
    /// The line on which it starts.
    line: u64,
    is_start: bool,
    end: Option<std::io::Result<()>>,
}

impl<R: Read> TextBlocks<R> {
    pub fn new(reader: R, delimiter: u8) -> Self {
        Self::with_block_bytes(reader, delimiter, BLOCK_BYTES)
    }

    pub(super) fn with_block_bytes(reader: R, delimiter: u8, block_bytes: usize) -> Self {
        Self {
            reader,
            delimiter,
            block_bytes,
            rest: Vec::new(),
            line: 1,
            is_start: true,
            end: None,
        }
    }

    /// The next block; `None` at the end of the table. After an error, there is no further block.
    pub fn next(&mut self) -> Option<Result<TextBlock, BlockError>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut wanted = self.block_bytes;
        loop {
            self.fill(&mut bytes, wanted);
            if self.end.is_some() {
                if bytes.is_empty() {
                    let end = self.end.replace(Ok(()))?;
                    return end.err().map(|e| Err(BlockError::Read(e)));
                }
                let length = match &self.end {
                    Some(Ok(())) => bytes.len(),
                    // What follows the last complete record is not read.
                    _ => end_of_records(&bytes, self.delimiter),
                };
                bytes.truncate(length);
                if length == 0 {
                    return self.next();
                }
                return Some(Ok(self.block(bytes)));
            }
            let length = end_of_records(&bytes, self.delimiter);
            if length > 0 {
                self.rest = Vec::with_capacity(self.block_bytes);
                self.rest.extend_from_slice(&bytes[length..]);
                bytes.truncate(length);
                return Some(Ok(self.block(bytes)));
            }
            if bytes.len() > MAX_RECORD_BYTES {
                self.end = Some(Ok(()));
                let line = self.line;
                return Some(Err(BlockError::Record(RecordProblem::TooLong { line })));
            }
            wanted = (bytes.len() * 2).max(self.block_bytes);
        }
    }

    fn block(&mut self, bytes: Vec<u8>) -> TextBlock {
        let first_line = self.line;
        self.line += line_ends(&bytes);
        match String::from_utf8(bytes) {
            Ok(text) => TextBlock {
                text,
                first_line,
                is_damaged: false,
            },
            Err(e) => {
                let valid = e.utf8_error().valid_up_to();
                let mut bytes = e.into_bytes();
                bytes.truncate(valid);
                TextBlock {
                    text: String::from_utf8(bytes).unwrap_or_default(),
                    first_line,
                    is_damaged: true,
                }
            }
        }
    }

    /// Reads until there are `wanted` bytes, or to the end.
    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) {
        let mut filled = bytes.len();
        bytes.resize(wanted.max(filled), 0);
        while filled < wanted && self.end.is_none() {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => self.end = Some(Err(e)),
            }
        }
        bytes.truncate(filled);
        if std::mem::take(&mut self.is_start) && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
    }
}

/// The number of ends of lines, as an editor counts: `\r\n` is one.
pub(super) fn line_ends(bytes: &[u8]) -> u64 {
    let mut count = bytecount::count(bytes, b'\n') as u64;
    let mut rest = bytes;
    while let Some(at) = memchr(b'\r', rest) {
        rest = &rest[at + 1..];
        count += u64::from(rest.first() != Some(&b'\n'));
    }
    count
}

/// The position after the last record of `bytes` that is complete, and after the end of its line. `bytes` start between records, and more
/// bytes may follow.
fn end_of_records(bytes: &[u8], delimiter: u8) -> usize {
    let mut end = 0;
    // Between quotation marks there are no ends of records.
    let mut outside = 0;
    let mut from = 0;
    while let Some(quote) = memchr(b'"', &bytes[from..]).map(|at| from + at) {
        let opens = quote == 0
            || matches!(bytes[quote - 1], b'\r' | b'\n')
            || bytes[quote - 1] == delimiter;
        if !opens {
            from = quote + 1;
            continue;
        }
        end = end_of_lines(bytes, outside..quote).unwrap_or(end);
        match closing_quote(bytes, quote + 1) {
            // A quotation mark may follow, and then it does not close the field.
            Some(closing) if closing + 1 < bytes.len() => {
                outside = closing + 1;
                from = closing + 1;
            }
            _ => return end,
        }
    }
    end_of_lines(bytes, outside..bytes.len()).unwrap_or(end)
}

/// The position after the last end of a line in `range` of `bytes`. A `\r` at the end of `bytes` may be followed by `\n`.
fn end_of_lines(bytes: &[u8], range: std::ops::Range<usize>) -> Option<usize> {
    let last = memrchr2(b'\n', b'\r', &bytes[range.clone()])?;
    let at = range.start + last;
    if bytes[at] == b'\r' && at + 1 == bytes.len() {
        return memrchr2(b'\n', b'\r', &bytes[range.start..at]).map(|at| range.start + at + 1);
    }
    Some(at + 1)
}

/// The position of the quotation mark that closes a field, from `from` on: the first one that no other one follows.
pub(super) fn closing_quote(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let quote = from + memchr(b'"', bytes.get(from..)?)?;
        if bytes.get(quote + 1) != Some(&b'"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}
