//! The format of a table, by its first bytes: names are not reliable.

/// The format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableFormat {
    /// Text with delimiters, compressed or not.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Arrow's IPC file format, which is Feather version 2.
    Arrow,
    /// JSON: a list of one object per row.
    Json,
}

impl TableFormat {
    /// The format of the table that begins with these bytes. The error says what it is instead, and what to do.
    pub fn of(beginning: &[u8]) -> Result<Self, &'static str> {
        let begins = |magic: &[u8]| beginning.starts_with(magic);
        if begins(b"PAR1") {
            Ok(Self::Parquet)
        } else if begins(b"ARROW1") {
            Ok(Self::Arrow)
        } else if begins(b"FEA1") {
            Err(
                "it has the format Feather version 1; write it with version 2, the default of pandas and pyarrow, or as Parquet",
            )
        } else if begins(b"PARE") {
            Err("it is an encrypted Parquet file; decrypt it first")
        } else if is_list_of_objects(beginning) {
            Ok(Self::Json)
        } else if beginning.trim_ascii_start().starts_with(b"{\"") {
            Err(
                "it is a JSON object, or JSON Lines; write a list of one object per row, as pandas does with orient=\"records\" and without lines=True",
            )
        } else {
            Ok(Self::Csv)
        }
    }
}

/// Whether the text begins as a JSON list of objects, or as an empty one.
fn is_list_of_objects(text: &[u8]) -> bool {
    let list = text.trim_ascii_start().strip_prefix(b"[");
    let first = list.and_then(|list| list.trim_ascii_start().first());
    matches!(first, Some(b'{' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        assert_eq!(TableFormat::of(b"PAR1\x15\x04"), Ok(TableFormat::Parquet));
        assert_eq!(TableFormat::of(b"ARROW1\0\0"), Ok(TableFormat::Arrow));
        for text in [&b"[{\"id\":1}]"[..], b" [\n {", b"[ ]\n"] {
            assert_eq!(TableFormat::of(text), Ok(TableFormat::Json));
        }
        for text in [&b"id,x,y,z\n"[..], b"[x,y]\n", b"PAR", b"", b"\x1f\x8b\x08"] {
            assert_eq!(TableFormat::of(text), Ok(TableFormat::Csv));
        }
        assert!(TableFormat::of(b"FEA1").unwrap_err().contains("version 2"));
        let lines = TableFormat::of(b"{\"id\":1}\n{\"id\":2}\n").unwrap_err();
        assert!(lines.contains("JSON Lines"));
        assert!(TableFormat::of(b"PARE").unwrap_err().contains("encrypted"));
    }
}
