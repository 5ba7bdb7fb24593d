//! The records of a block of text, and their fields.
//!
//! The rules are those of the crate `csv`: fields may be between quotation marks, of which two in a row are one; records end at the end of
//! a line (`\n`, `\r\n` or `\r`); empty lines are ignored; blanks around a field do not belong to it.

use memchr::memchr3;

use super::text_blocks::{MAX_RECORD_BYTES, RecordProblem, TextBlock, closing_quote, line_ends};

/// A record of a block.
#[derive(Debug, Default)]
pub(super) struct TextRecord {
    fields: Vec<Field>,
    /// The texts of fields that differ from those in the block.
    unescaped: String,
    /// The line on which it starts.
    line: u64,
    /// The position after it, and its line.
    at: usize,
    at_line: u64,
}

/// Where the text of a field is.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: usize,
    end: usize,
    is_unescaped: bool,
}

impl TextRecord {
    /// The position before the first record of `block`.
    pub fn before(block: &TextBlock) -> Self {
        let mut record = Self::default();
        record.rewind(block);
        record
    }

    /// Goes to the position before the first record of `block`.
    pub fn rewind(&mut self, block: &TextBlock) {
        self.at = 0;
        self.at_line = block.first_line;
    }

    /// Reads the next record of `block`. Returns `false` at its end.
    pub fn read(&mut self, block: &TextBlock, delimiter: u8) -> Result<bool, RecordProblem> {
        let bytes = block.text.as_bytes();
        self.fields.clear();
        self.unescaped.clear();
        self.skip_line_ends(bytes);
        self.line = self.at_line;
        let start = self.at;
        if start == bytes.len() {
            if block.is_damaged {
                return Err(self.not_utf8(1));
            }
            return Ok(false);
        }
        loop {
            let field = match bytes.get(self.at) {
                Some(b'"') => self.quoted_field(&block.text, delimiter),
                _ => {
                    let start = self.at;
                    self.at = end_of_field(bytes, start, delimiter);
                    Field {
                        start,
                        end: self.at,
                        is_unescaped: false,
                    }
                }
            };
            self.fields.push(field);
            if bytes.get(self.at) != Some(&delimiter) {
                break;
            }
            self.at += 1;
        }
        if self.at == bytes.len() && block.is_damaged {
            return Err(self.not_utf8(self.fields.len()));
        }
        if self.at - start > MAX_RECORD_BYTES {
            return Err(RecordProblem::TooLong { line: self.line });
        }
        Ok(true)
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The line on which it starts.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The position in the block after it, and the line there.
    pub fn end(&self) -> (usize, u64) {
        (self.at, self.at_line)
    }

    /// The text of a field, without blanks around it; empty if there is no such field.
    pub fn field<'t>(&'t self, block: &'t TextBlock, position: usize) -> &'t str {
        let text = self.fields.get(position).and_then(|field| {
            let text = if field.is_unescaped {
                &self.unescaped
            } else {
                &block.text
            };
            text.get(field.start..field.end)
        });
        text.unwrap_or_default().trim()
    }

    /// The texts of all fields.
    pub fn fields<'t>(&'t self, block: &'t TextBlock) -> impl Iterator<Item = &'t str> {
        (0..self.fields.len()).map(|position| self.field(block, position))
    }

    fn not_utf8(&self, field: usize) -> RecordProblem {
        RecordProblem::NotUtf8 {
            line: self.line,
            field,
        }
    }

    fn skip_line_ends(&mut self, bytes: &[u8]) {
        while let Some(end @ (b'\r' | b'\n')) = bytes.get(self.at) {
            let is_pair = *end == b'\r' && bytes.get(self.at + 1) == Some(&b'\n');
            self.at += 1 + usize::from(is_pair);
            self.at_line += 1;
        }
    }

    /// The field that begins with the quotation mark at the current position.
    fn quoted_field(&mut self, text: &str, delimiter: u8) -> Field {
        let bytes = text.as_bytes();
        let start = self.at + 1;
        let closing = closing_quote(bytes, start).unwrap_or(bytes.len());
        let quoted = &text[start..closing];
        self.at_line += line_ends(quoted.as_bytes());
        let after = (closing + 1).min(bytes.len());
        self.at = end_of_field(bytes, after, delimiter);
        if self.at == after && !quoted.contains('"') {
            return Field {
                start,
                end: closing,
                is_unescaped: false,
            };
        }
        let start = self.unescaped.len();
        self.unescaped.push_str(&quoted.replace("\"\"", "\""));
        self.unescaped.push_str(&text[after..self.at]);
        Field {
            start,
            end: self.unescaped.len(),
            is_unescaped: true,
        }
    }
}

/// The end of a field without quotation marks: the next delimiter or end of a line.
fn end_of_field(bytes: &[u8], start: usize, delimiter: u8) -> usize {
    let rest = &bytes[start..];
    memchr3(delimiter, b'\n', b'\r', rest).map_or(bytes.len(), |at| start + at)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use ::csv::{ReaderBuilder, StringRecord, Trim};
    use proptest::prelude::*;

    use super::super::text_blocks::{BlockError, TextBlocks};
    use super::*;

    /// Returns a few bytes per read, as a network may.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(into.len()).min(self.1);
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    /// Every record, and the line on which it starts, of blocks with about this number of bytes.
    fn records(text: &[u8], block_bytes: usize) -> Result<Vec<(u64, Vec<String>)>, RecordProblem> {
        let mut blocks = TextBlocks::with_block_bytes(Slow(text, 3), b',', block_bytes);
        let mut found = Vec::new();
        while let Some(block) = blocks.next() {
            let block = block.map_err(|e| match e {
                BlockError::Record(problem) => problem,
                BlockError::Read(e) => panic!("{e}"),
            })?;
            let mut record = TextRecord::before(&block);
            while record.read(&block, b',')? {
                let fields = record.fields(&block).map(str::to_owned).collect();
                found.push((record.line(), fields));
            }
        }
        Ok(found)
    }

    fn lines(text: &str) -> Vec<u64> {
        let records = records(text.as_bytes(), 4).unwrap();
        records.into_iter().map(|(line, _)| line).collect()
    }

    /// The records that the crate `csv` finds.
    fn records_of_csv(text: &str) -> Vec<Vec<String>> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
        let (mut found, mut record) = (Vec::new(), StringRecord::new());
        while reader.read_record(&mut record).unwrap() {
            found.push(record.iter().map(str::to_owned).collect());
        }
        found
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
    fn a_record_that_does_not_end_is_an_error_with_its_line() {
        let long = |bytes: usize| format!("a,b\n\n1,\"{}", "x\n".repeat(bytes / 2));
        for block_bytes in [1 << 10, 1 << 18, 1 << 22] {
            let found = records(long(4 * MAX_RECORD_BYTES).as_bytes(), block_bytes);
            assert_eq!(found, Err(RecordProblem::TooLong { line: 3 }));
            let text = long(MAX_RECORD_BYTES - 4) + "\"\n5,6\n";
            let found = records(text.as_bytes(), block_bytes).unwrap();
            assert_eq!(found[2].1, ["5", "6"]);
            let text = long(MAX_RECORD_BYTES - 2) + "\"\n5,6\n";
            let found = records(text.as_bytes(), block_bytes);
            assert_eq!(found, Err(RecordProblem::TooLong { line: 3 }));
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_an_error_with_line_and_field() {
        for (text, line, field) in [
            (&b"a,b\n\n1,\"x\ny\",z\xff\n3,4"[..], 3, 3),
            (b"a,b\n\xff,1\n", 2, 1),
            (b"a,\xc3", 1, 2),
            (b"a,b\nc,\xc3\x28\nd", 2, 2),
        ] {
            for block_bytes in [4, 1 << 18] {
                let found = records(text, block_bytes);
                assert_eq!(found, Err(RecordProblem::NotUtf8 { line, field }));
            }
        }
    }

    proptest! {
        /// Records are those of the crate `csv`, wherever blocks end, and each is on its line.
        #[test]
        fn records_are_those_of_the_crate_csv(
            text in "([ab,\"\r\né ]|\"[ab,\r\n\"]{0,4}\"){0,30}",
            block_bytes in 1..40usize,
        ) {
            let found = records(text.as_bytes(), block_bytes).unwrap();
            let normal = text.replace("\r\n", "\n").replace('\r', "\n");
            for (line, fields) in &found {
                let on_line = normal.split('\n').nth(*line as usize - 1).unwrap();
                let begin: String = fields[0].chars().take_while(|c| c.is_alphabetic()).collect();
                let on_line = on_line.trim_start();
                prop_assert!(on_line.trim_start_matches(['"', ' ']).starts_with(&begin) || on_line.starts_with('"'));
            }
            let found: Vec<Vec<String>> = found.into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(found, records_of_csv(&text));
        }
    }
}
