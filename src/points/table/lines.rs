//! The lines on which the records of a table start.
//!
//! The CSV reader counts `\n` before a record, which differs from the line in an editor if lines are blank or end in
//! `\r\n` or `\r`. [`LineCounter`] sits between the file and the CSV reader: it finds the starts of records by the same
//! rules, and counts lines as editors do. It also rejects records that are longer than any row of annotations.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest record, in bytes.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 20;

/// A record of more than [`MAX_RECORD_BYTES`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "line {line}: the row that starts here has more than {MAX_RECORD_BYTES} bytes; check for an unclosed quotation mark, \
     and that the file is a table"
)]
pub(super) struct RecordTooLong {
    line: u64,
}

/// The state after the previous byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParserState {
    /// Between records.
    Between,
    /// At the start of a field.
    FieldStart,
    /// In a field without quotation marks, or after the closing one.
    Plain,
    /// Between quotation marks.
    Quoted,
    /// At a quotation mark inside quotation marks: it closes the field unless another one follows.
    QuoteInQuoted,
}

/// The lines of the records that were read from the file and not taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordLines(Arc<Mutex<VecDeque<u64>>>);

impl RecordLines {
    /// Takes the line on which the next record starts.
    pub(super) fn next(&self) -> u64 {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        starts.pop_front().unwrap_or_default()
    }
}

/// Reads a table unchanged, and notes the line on which each record starts.
pub(super) struct LineCounter<R> {
    inner: R,
    delimiter: u8,
    state: ParserState,
    /// The line of the next byte, from 1.
    line: u64,
    after_carriage_return: bool,
    record_line: u64,
    record_bytes: u64,
    starts: RecordLines,
}

impl<R: Read> LineCounter<R> {
    pub(super) fn new(inner: R, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            state: ParserState::Between,
            line: 1,
            after_carriage_return: false,
            record_line: 0,
            record_bytes: 0,
            starts: RecordLines::default(),
        }
    }

    pub(super) fn starts(&self) -> RecordLines {
        self.starts.clone()
    }

    /// Processes `byte`. Returns whether a record starts with it.
    fn step(&mut self, byte: u8) -> bool {
        let is_end = matches!(byte, b'\r' | b'\n');
        let starts_record = self.state == ParserState::Between && !is_end;
        self.state = match self.state {
            ParserState::Quoted if byte == b'"' => ParserState::QuoteInQuoted,
            ParserState::Quoted => ParserState::Quoted,
            ParserState::QuoteInQuoted if byte == b'"' => ParserState::Quoted,
            _ if is_end => ParserState::Between,
            _ if byte == self.delimiter => ParserState::FieldStart,
            ParserState::Between | ParserState::FieldStart if byte == b'"' => ParserState::Quoted,
            _ => ParserState::Plain,
        };
        if starts_record {
            (self.record_line, self.record_bytes) = (self.line, 0);
        }
        self.record_bytes += 1;
        // `\r\n` ends only one line.
        let ends_line = byte == b'\r' || byte == b'\n' && !self.after_carriage_return;
        self.line += u64::from(ends_line);
        self.after_carriage_return = byte == b'\r';
        starts_record
    }
}

impl<R: Read> Read for LineCounter<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(into)?;
        let starts = Arc::clone(&self.starts.0);
        let mut starts = starts.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in &into[..n] {
            if self.step(*byte) {
                starts.push_back(self.record_line);
            }
            if self.state != ParserState::Between && self.record_bytes > MAX_RECORD_BYTES {
                let line = self.record_line;
                return Err(std::io::Error::other(RecordTooLong { line }));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use ::csv::{ReaderBuilder, StringRecord};
    use proptest::prelude::*;

    use super::*;

    /// Every record, and the line on which it starts.
    fn records(text: &str) -> Vec<(u64, Vec<String>)> {
        let lines = LineCounter::new(text.as_bytes(), b',');
        let starts = lines.starts();
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(7)
            .from_reader(lines);
        let (mut found, mut record) = (Vec::new(), StringRecord::new());
        while reader.read_record(&mut record).unwrap() {
            let fields = record.iter().map(str::to_owned).collect();
            found.push((starts.next(), fields));
        }
        assert_eq!(starts.next(), 0, "a start without a record in {text:?}");
        found
    }

    fn lines(text: &str) -> Vec<u64> {
        records(text).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn lines_are_counted_as_in_an_editor() {
        for (text, expected) in [
            ("a\nb\nc", vec![1, 2, 3]),
            ("a\r\nb\r\nc\r\n", vec![1, 2, 3]),
            ("a\rb\rc\r", vec![1, 2, 3]),
            ("a\n\nb\n\n\nc", vec![1, 3, 6]),
            ("a\r\n\r\nb\r\n", vec![1, 3]),
            ("\n\r\na", vec![3]),
            ("a,\"x\ny\"\nb", vec![1, 3]),
            ("a,\"x\r\ny\r\n\"\r\nb", vec![1, 4]),
            ("\"\"\"\n\",a\nb", vec![1, 3]),
            ("a\"b\nc", vec![1, 2]),
            ("\"a\"b\nc", vec![1, 2]),
            ("a\n\rb", vec![1, 3]),
            ("", vec![]),
            ("\n\n", vec![]),
        ] {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_record_that_does_not_end_is_an_error() {
        let mut text = "a,b\n1,\"".to_owned();
        text.push_str(&"x\n".repeat(MAX_RECORD_BYTES as usize));
        let mut out = Vec::new();
        let e = LineCounter::new(text.as_bytes(), b',')
            .read_to_end(&mut out)
            .unwrap_err();
        assert!(e.to_string().contains("line 2: the row"), "{e}");
        assert!(out.len() < 3 * MAX_RECORD_BYTES as usize);
    }

    proptest! {
        /// The rules are the CSV reader's: there is a line for every record, and the record's text is on that line.
        #[test]
        fn every_record_has_its_line(text in "[ab,\"\r\n]{0,40}") {
            let normal = text.replace("\r\n", "\n").replace('\r', "\n");
            for (line, fields) in records(&text) {
                let on_line = normal.split('\n').nth(line as usize - 1).unwrap();
                let begin: String = fields[0].chars().take_while(|c| c.is_ascii_lowercase()).collect();
                prop_assert!(on_line.trim_start_matches('"').starts_with(&begin) || on_line.starts_with('"'));
            }
        }
    }
}
