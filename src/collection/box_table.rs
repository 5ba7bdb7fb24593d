//! Boxes in a table: one per row, in columns with fixed names.
//!
//! The table is read as a stream; only its boxes are kept, within the memory budget. Every error names the file, the
//! line and the column.

use std::collections::HashMap;
use std::sync::Arc;

use ::csv::StringRecord;

use super::shared_box::{bounds, with_shared};
use super::{CollectionError, LayerGroup, TaggedBox};
use crate::config::{BoxTableConfig, nearest, no_volume};
use crate::points::{TableError, TableRecords, table_delimiter};
use crate::storage::{Location, Storage, StreamedDocument};

const EXPECTED: &str = "a table of boxes (CSV)";

const ADVICE: &str = "allow more with --memory, or split the table";

/// Memory that a text takes in addition to its bytes.
const TEXT_BYTES: usize = 40;

/// Columns that are named in a message.
const NAMED_COLUMNS: usize = 50;

/// Characters of a field that are shown in a message.
const SHOWN_CHARS: usize = 80;

/// A column: its name and its position.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Column {
    name: &'static str,
    position: usize,
}

/// The columns of a corner.
#[derive(Debug, PartialEq)]
enum Corner {
    /// One column with cells such as `[0, 0, 0]`.
    Cell(Column),
    /// A column for each of x, y, z.
    Numbers([Column; 3]),
}

/// The columns of a table of boxes.
#[derive(Debug, PartialEq)]
struct Columns {
    min: Corner,
    max: Corner,
    tags: Option<Column>,
    id: Option<Column>,
}

/// Reads the table: its name for messages, and its boxes.
pub(super) fn read(
    config: &BoxTableConfig,
    shared_tags: &[String],
    layers: &Arc<LayerGroup>,
    base: &Location,
    storage: &Storage,
) -> Result<(String, Vec<TaggedBox>), CollectionError> {
    let document = StreamedDocument::open(&base.resolve(&config.file)?, EXPECTED, storage)?;
    let file = document.object().to_owned();
    let mut records = TableRecords::open(&document, table_delimiter(config.delimiter, &file))?;
    let columns = Columns::find(records.header()).map_err(|problem| CollectionError::BoxTable {
        file: file.clone(),
        problem,
    })?;
    let unit_nm = config.unit.nm(config.resolution);
    let mut record = StringRecord::new();
    let mut boxes = Vec::new();
    let mut lines = HashMap::new();
    while let Some(line) = records.read(&mut record)? {
        let wrong = |problem: String| CollectionError::Row {
            file: file.clone(),
            row: format!("line {line}"),
            problem,
        };
        let row = columns.read_row(&record, boxes.len()).map_err(wrong)?;
        let texts: usize = row.tags.iter().map(|tag| tag.len() + TEXT_BYTES).sum();
        let bytes = size_of::<TaggedBox>() + 2 * (row.id.len() + TEXT_BYTES) + texts;
        // Half as much again for the plan's copy.
        let kept = storage.budget().keep(bytes as u64 * 3 / 2);
        kept.map_err(|over| {
            document.too_large(format!("its boxes take more than {over}"), ADVICE)
        })?;
        if let Some(first) = lines.insert(row.id.clone(), line) {
            let id = &row.id;
            return Err(wrong(format!(
                "the id {id:?} occurs twice, first on line {first}; expected one box per id"
            )));
        }
        let bounds = bounds(row.min, row.max, unit_nm)
            .ok_or_else(|| wrong("a corner is out of range".to_owned()))?;
        boxes.push(TaggedBox {
            id: row.id,
            tags: with_shared(shared_tags, row.tags.into_iter()),
            bounds,
            layers: Arc::clone(layers),
        });
    }
    if boxes.is_empty() {
        let problem = "it has a header and no row, expected one row per box".to_owned();
        return Err(CollectionError::BoxTable { file, problem });
    }
    Ok((file, boxes))
}

impl From<TableError> for CollectionError {
    fn from(e: TableError) -> Self {
        match e {
            TableError::Document(e) => e.into(),
            TableError::Damaged { object, problem } => Self::BoxTable {
                file: object,
                problem,
            },
        }
    }
}

/// A row that was understood, in the table's unit.
#[derive(Debug, PartialEq)]
struct Row {
    id: String,
    min: [f64; 3],
    max: [f64; 3],
    tags: Vec<String>,
}

impl Columns {
    /// Finds the columns in `header`, or says what is wrong with it.
    fn find(header: &StringRecord) -> Result<Self, String> {
        Ok(Self {
            min: Corner::find(header, ["min", "min_x", "min_y", "min_z"])?,
            max: Corner::find(header, ["max", "max_x", "max_y", "max_z"])?,
            tags: column(header, "tags")?,
            id: column(header, "id")?,
        })
    }

    /// The row of `record`, the `number`th of the table, or what is wrong with it.
    fn read_row(&self, record: &StringRecord, number: usize) -> Result<Row, String> {
        let (min, max) = (self.min.read(record)?, self.max.read(record)?);
        if let Some(problem) = no_volume(min, max) {
            return Err(problem);
        }
        let id = match self.id.map(|column| column.text(record)) {
            Some("") => return Err("`id` is empty; expected the box's id".to_owned()),
            Some(id) => id.to_owned(),
            None => number.to_string(),
        };
        let tags = self.tags.map(|column| tags(column.text(record)));
        Ok(Row {
            id,
            min,
            max,
            tags: tags.unwrap_or_default(),
        })
    }
}

impl Corner {
    /// The columns of the corner that is called `cell` as one column, and `x`, `y`, `z` as three.
    fn find(header: &StringRecord, [cell, x, y, z]: [&'static str; 4]) -> Result<Self, String> {
        let names = [x, y, z];
        let single = column(header, cell)?;
        let mut numbers = [None; 3];
        for (found, name) in numbers.iter_mut().zip(names) {
            *found = column(header, name)?;
        }
        match (single, numbers) {
            (Some(column), [None, None, None]) => Ok(Self::Cell(column)),
            (None, [Some(x), Some(y), Some(z)]) => Ok(Self::Numbers([x, y, z])),
            (Some(_), _) => Err(format!(
                "it has the column `{cell}` and one of {}, expected `{cell}` or the three others",
                quoted(names)
            )),
            (None, [None, None, None]) => Err(format!(
                "it has no column `{cell}`, and no columns {}; its columns are {}{}",
                quoted(names),
                listed(header),
                hint(header, [cell, x, y, z])
            )),
            (None, _) => {
                let missing = names
                    .iter()
                    .zip(numbers)
                    .filter(|(_, found)| found.is_none());
                let missing: Vec<_> = missing.map(|(name, _)| format!("`{name}`")).collect();
                Err(format!(
                    "it has no column {}; its columns are {}",
                    missing.join(", "),
                    listed(header)
                ))
            }
        }
    }

    /// The corner in `record`, or what is wrong with it.
    fn read(&self, record: &StringRecord) -> Result<[f64; 3], String> {
        match self {
            Self::Cell(column) => {
                let text = column.text(record);
                vector(text).ok_or_else(|| {
                    column.wrong(text, "three numbers, such as [0, 0, 0] in quotation marks")
                })
            }
            Self::Numbers(columns) => {
                let mut corner = [0.0; 3];
                for (value, column) in corner.iter_mut().zip(columns) {
                    let text = column.text(record);
                    *value = number(text).ok_or_else(|| column.wrong(text, "a finite number"))?;
                }
                Ok(corner)
            }
        }
    }
}

impl Column {
    fn text(self, record: &StringRecord) -> &str {
        record.get(self.position).unwrap_or_default()
    }

    fn wrong(self, text: &str, expected: &str) -> String {
        let found = match text {
            "" => "empty".to_owned(),
            text => format!("{:?}", text.chars().take(SHOWN_CHARS).collect::<String>()),
        };
        format!("`{}` is {found}; expected {expected}", self.name)
    }
}

/// The column called `name`, if there is one.
fn column(header: &StringRecord, name: &'static str) -> Result<Option<Column>, String> {
    let mut found = header.iter().enumerate().filter(|(_, n)| *n == name);
    let first = found.next();
    if found.next().is_some() {
        return Err(format!("it has two columns `{name}`, expected one"));
    }
    Ok(first.map(|(position, _)| Column { name, position }))
}

fn quoted(names: [&str; 3]) -> String {
    names.map(|name| format!("`{name}`")).join(", ")
}

fn listed(header: &StringRecord) -> String {
    let names: Vec<_> = header.iter().take(NAMED_COLUMNS).collect();
    names.join(", ")
}

/// The columns whose names are close to those expected, as a question.
fn hint(header: &StringRecord, expected: [&str; 4]) -> String {
    let close = header.iter().find_map(|name| {
        let name = name.to_ascii_lowercase();
        nearest(&name, expected).map(str::to_owned)
    });
    close.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// The three numbers of a cell: `[0, 0, 0]`, `(0, 0, 0)`, `0 0 0`.
fn vector(text: &str) -> Option<[f64; 3]> {
    let inner = without_brackets(text);
    let parts: Vec<&str> = inner
        .split(is_separator)
        .filter(|part| !part.is_empty())
        .collect();
    let [x, y, z] = parts[..] else {
        return None;
    };
    Some([number(x)?, number(y)?, number(z)?])
}

/// The tags of a cell: `train; hard`, `train hard`, or a list as Python and JSON write it, `['train', 'hard']`.
fn tags(text: &str) -> Vec<String> {
    let inner = without_brackets(text);
    let is_list = inner.len() < text.len();
    let mut tags: Vec<String> = Vec::new();
    for tag in inner.split(is_separator) {
        let tag = if is_list {
            tag.trim_matches(['"', '\''])
        } else {
            tag
        };
        if !tag.is_empty() && tags.iter().all(|known| known != tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | ';') || c.is_whitespace()
}

fn without_brackets(text: &str) -> &str {
    let text = text.trim();
    let inner = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    inner('[', ']').or_else(|| inner('(', ')')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str, storage: &Storage) -> Result<Vec<TaggedBox>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let base = Location::Local(folder.path().to_owned());
        let config = serde_json::json!({"csv": name, "layers": {"img": "img"}, "tags": ["all"]});
        let config: crate::config::BoxesConfig = serde_json::from_value(config).unwrap();
        let read = crate::collection::boxes::read(&config, "collection", &base, storage);
        read.map(|c| c.boxes).map_err(|e| {
            let shown = e.to_string();
            let folder = folder.path().display().to_string();
            shown.replace(&format!("{folder}/"), "")
        })
    }

    fn read_csv(text: &str) -> Result<Vec<TaggedBox>, String> {
        read_text("boxes.csv", text, &Storage::default())
    }

    #[test]
    fn corners_are_three_columns_or_one_cell_in_any_order() {
        let numbers = "min_x,min_y,min_z,max_x,max_y,max_z\n1,2,30,10,20,3\n";
        let expected = ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]);
        for text in [
            numbers,
            "max,min\n\"[1, 2, 3]\",\"(10.0, 20, 30)\"\n",
            "min,max\n[1. 20. 3.],10 2;30\n",
        ] {
            let boxes = read_csv(text).unwrap();
            let found = (boxes[0].bounds.min(), boxes[0].bounds.max());
            assert_eq!(found, expected, "{text}");
            assert_eq!(
                (boxes[0].id.as_str(), &boxes[0].tags[..]),
                ("0", &["all".to_owned()][..])
            );
        }
        let tabs = read_text(
            "boxes.tsv",
            &numbers.replace(',', "\t"),
            &Storage::default(),
        );
        assert_eq!(tabs.unwrap()[0].bounds.max(), expected.1);
    }

    #[test]
    fn tags_are_separated_by_commas_semicolons_and_blanks() {
        let text = "id,tags,note,min,max\na,\"train, hard\",x,0 0 0,1 1 1\nb,val;hard val,,0 0 0,1 1 1\n\
                    c,\"['train', 'x']\",,0 0 0,1 1 1\nd,,,0 0 0,1 1 1\n";
        let boxes = read_csv(text).unwrap();
        let found: Vec<_> = boxes
            .iter()
            .map(|b| (b.id.as_str(), b.tags.join("+")))
            .collect();
        let expected = [
            ("a", "all+train+hard"),
            ("b", "all+val+hard"),
            ("c", "all+train+x"),
            ("d", "all"),
        ];
        assert_eq!(found, expected.map(|(id, tags)| (id, tags.to_owned())));
    }

    #[test]
    fn an_error_names_the_file_the_line_and_the_column() {
        let header = "id,min_x,min_y,min_z,max_x,max_y,max_z";
        let table = |row: &str| format!("{header}\na,0,0,0,1,1,1\n{row}\n");
        for (text, expected) in [
            (
                table("b,0,zero,0,1,1,1"),
                "boxes.csv: line 3: `min_y` is \"zero\"; expected a finite number",
            ),
            (
                table("b,0,,0,1,1,1"),
                "boxes.csv: line 3: `min_y` is empty; expected a finite number",
            ),
            (
                table("b,0,0,0,1,nan,1"),
                "boxes.csv: line 3: `max_y` is \"nan\"; expected a finite number",
            ),
            (
                table("b,0,0,2,1,1,2"),
                "boxes.csv: line 3: `min` and `max` are both 2 along z, expected a box with a volume",
            ),
            (
                table("a,0,0,0,1,1,1"),
                "boxes.csv: line 3: the id \"a\" occurs twice, first on line 2; expected one box per id",
            ),
            (
                table(",0,0,0,1,1,1"),
                "boxes.csv: line 3: `id` is empty; expected the box's id",
            ),
            (
                table("b,0,0"),
                "boxes.csv is not a table of boxes: line 3: the row has 3 fields, expected 7 as in the header",
            ),
            (
                "min,max\n1 2,3 4 5\n".to_owned(),
                "boxes.csv: line 2: `min` is \"1 2\"; expected three numbers, such as [0, 0, 0] in quotation marks",
            ),
            (
                "Min,max\n".to_owned(),
                "boxes.csv is not a table of boxes: it has no column `min`, and no columns `min_x`, `min_y`, `min_z`; its columns are Min, max; did you mean `min`?",
            ),
            (
                "min_x,min_y,max\n".to_owned(),
                "boxes.csv is not a table of boxes: it has no column `min_z`; its columns are min_x, min_y, max",
            ),
            (
                "min,min_x,max\n".to_owned(),
                "boxes.csv is not a table of boxes: it has the column `min` and one of `min_x`, `min_y`, `min_z`, expected `min` or the three others",
            ),
            (
                "min,min,max\n".to_owned(),
                "boxes.csv is not a table of boxes: it has two columns `min`, expected one",
            ),
            (
                format!("{header}\n"),
                "boxes.csv is not a table of boxes: it has a header and no row, expected one row per box",
            ),
        ] {
            assert_eq!(read_csv(&text).unwrap_err(), expected);
        }
    }

    #[test]
    fn boxes_that_do_not_fit_into_memory_are_an_error() {
        let row = |i: usize| format!("{i},0 0 0,1 1 1,{}\n", "t".repeat(300));
        let rows: String = (0..60_000).map(row).collect();
        let e = read_text(
            "boxes.csv",
            &format!("id,min,max,tags\n{rows}"),
            &Storage::default().for_job(0),
        );
        let e = e.unwrap_err();
        assert!(
            e.contains("boxes.csv is too large") && e.contains("--memory"),
            "{e}"
        );
    }
}
