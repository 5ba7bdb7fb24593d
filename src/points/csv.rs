//! Annotations in a table: one per row, columns named in the config.

use ::csv::{ReaderBuilder, StringRecord, Trim};

use super::table::Table;
use super::{PointsError, PropertySpec};
use crate::config::{CsvConfig, CsvUnit, nearest};
use crate::geometry::PointNm;
use crate::neuroglancer::GeometryKind;
use crate::storage::{DocumentError, Location, MAX_DOCUMENT_BYTES, looks_like_html};

const EXPECTED: &str = "a table of annotations (CSV)";

/// Reads the table in `file`.
pub(super) fn read(file: &Location, config: &CsvConfig) -> Result<Table, PointsError> {
    let object = file.to_string();
    let missing = || DocumentError::Missing {
        object: object.clone(),
        expected: EXPECTED,
    };
    let (folder, key) = file.split_file().ok_or_else(missing)?;
    let mut bytes = Vec::new();
    if !folder.open().read(&key, MAX_DOCUMENT_BYTES, &mut bytes)? {
        return Err(missing().into());
    }
    parse(&bytes, &object, config)
}

/// Understands `bytes`, the contents of the file `object`.
fn parse(bytes: &[u8], object: &str, config: &CsvConfig) -> Result<Table, PointsError> {
    if looks_like_html(bytes) {
        let page = DocumentError::Html {
            object: object.to_owned(),
            expected: EXPECTED,
        };
        return Err(page.into());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let is_tsv = [".tsv", ".tab"].iter().any(|end| object.ends_with(end));
    let default = if is_tsv { '\t' } else { ',' };
    let delimiter = config.delimiter.unwrap_or(default);
    let mut reader = ReaderBuilder::new()
        .delimiter(u8::try_from(delimiter).unwrap_or(b','))
        .trim(Trim::All)
        .from_reader(bytes);
    let broken = |e: ::csv::Error| PointsError::Table {
        object: object.to_owned(),
        problem: e.to_string(),
    };
    let columns = Columns::find(reader.headers().map_err(broken)?, config, object)?;
    let properties = columns.properties.iter().map(|(_, spec)| spec.clone());
    let row_name = (format!("{object}: line "), "");
    let mut table = Table::new(object.to_owned(), row_name, properties.collect());
    let mut record = StringRecord::new();
    let mut row = 0;
    while reader.read_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, |p| p.line());
        let fields = Fields {
            record: &record,
            object,
            line,
        };
        let id = match &columns.id {
            Some(column) => fields.id(column)?,
            None => row,
        };
        let first = fields.point(&columns.start, columns.unit_nm)?;
        let (kind, points) = match &columns.end {
            None => (GeometryKind::Point, [first; 2]),
            Some(end) => {
                let last = fields.point(end, columns.unit_nm)?;
                (GeometryKind::Line, [first, last])
            }
        };
        let points = &points[..kind.vectors().unwrap_or(1)];
        table.push(line, id, kind, points, |specs, values| {
            for ((column, _), spec) in columns.properties.iter().zip(specs) {
                let text = fields.text(column);
                spec.write(text, values)
                    .map_err(|expected| fields.wrong(column, expected))?;
            }
            Ok(())
        })?;
        row += 1;
    }
    table.finish()
}

/// A column: its name and its position.
struct Column {
    name: String,
    at: usize,
}

/// The columns that the config names.
struct Columns {
    id: Option<Column>,
    /// Of a point, the point.
    start: [Column; 3],
    end: Option<[Column; 3]>,
    unit_nm: [f64; 3],
    properties: Vec<(Column, PropertySpec)>,
}

impl Columns {
    fn find(header: &StringRecord, config: &CsvConfig, object: &str) -> Result<Self, PointsError> {
        let wrong = |problem: String| PointsError::Columns {
            object: object.to_owned(),
            problem,
        };
        let column = |name: &String| {
            let mut places = (0..).zip(header).filter(|(_, column)| column == name);
            match (places.next(), places.next()) {
                (Some((at, _)), None) => Ok(Column {
                    name: name.clone(),
                    at,
                }),
                (Some(_), Some(_)) => Err(wrong(format!(
                    "two columns are called `{name}`, expected one"
                ))),
                (None, _) => {
                    let hint = nearest(name, header.iter())
                        .map(|hint| format!("; did you mean `{hint}`?"))
                        .unwrap_or_default();
                    let known: Vec<&str> = header.iter().take(50).collect();
                    Err(wrong(format!(
                        "no column is called `{name}`, the columns are {}{hint}",
                        known.join(", ")
                    )))
                }
            }
        };
        let three = |names: &[String; 3]| -> Result<[Column; 3], PointsError> {
            let [x, y, z] = names;
            Ok([column(x)?, column(y)?, column(z)?])
        };
        let start = config.point.as_ref().or(config.start.as_ref());
        let Some(start) = start else {
            return Err(wrong("the config names no columns of positions".to_owned()));
        };
        let properties = config.properties.iter().map(|(name, kind)| {
            if let Some(expected) = PropertySpec::wrong_id(name) {
                return Err(wrong(format!(
                    "the column {name:?} cannot be a property; expected {expected}"
                )));
            }
            Ok((column(name)?, PropertySpec::new(name.clone(), *kind)))
        });
        Ok(Self {
            id: config.id.as_ref().map(column).transpose()?,
            start: three(start)?,
            end: config.end.as_ref().map(three).transpose()?,
            unit_nm: match config.unit {
                CsvUnit::Nm => [1.0; 3],
                CsvUnit::Um => [1000.0; 3],
                CsvUnit::Voxel => config.resolution.map_or([1.0; 3], |r| r.nm()),
            },
            properties: properties.collect::<Result<_, _>>()?,
        })
    }
}

/// The fields of one row.
struct Fields<'r> {
    record: &'r StringRecord,
    object: &'r str,
    line: u64,
}

impl Fields<'_> {
    fn text(&self, column: &Column) -> &str {
        self.record.get(column.at).unwrap_or_default()
    }

    fn id(&self, column: &Column) -> Result<u64, PointsError> {
        let id = self.text(column).parse();
        id.map_err(|_| self.wrong(column, "a whole number from 0 to 18446744073709551615"))
    }

    fn point(&self, columns: &[Column; 3], unit_nm: [f64; 3]) -> Result<PointNm, PointsError> {
        let mut point = [0.0; 3];
        for (d, column) in columns.iter().enumerate() {
            let number: f64 = self
                .text(column)
                .parse()
                .map_err(|_| self.wrong(column, "a number"))?;
            point[d] = number * unit_nm[d];
        }
        Ok(PointNm(point))
    }

    fn wrong(&self, column: &Column, expected: impl Into<String>) -> PointsError {
        PointsError::Row {
            object: format!("{}: line {}", self.object, self.line),
            field: column.name.clone(),
            found: match self.text(column) {
                "" => "empty".to_owned(),
                text => format!("{:?}", text.chars().take(80).collect::<String>()),
            },
            expected: expected.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::geometry::BoxNm;
    use crate::points::{Anchor, PointsInBoxes};

    fn config(change: impl FnOnce(&mut Value)) -> CsvConfig {
        let mut config =
            json!({"file": "t.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"});
        change(&mut config);
        serde_json::from_value(config).unwrap()
    }

    fn all(text: &str, config: &CsvConfig) -> Result<PointsInBoxes, PointsError> {
        let all = BoxNm::from_corners(PointNm([-1e12; 3]), PointNm([1e12; 3])).unwrap();
        parse(text.as_bytes(), &config.file, config)?.read_boxes(&[all], Anchor::Midpoint)
    }

    fn error_of(text: &str, config: &CsvConfig) -> String {
        all(text, config).unwrap_err().to_string()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let text = "\u{feff}note, z,id,y,x\n\"a, b\",3,18446744073709551615,2,1\n,6,9007199254740993,5,4.5\n";
        let found = all(text, &config(|_| ())).unwrap();
        let rows: Vec<_> = found.per_box[0]
            .iter()
            .map(|a| (a.id, a.anchor.0))
            .collect();
        assert_eq!(
            rows,
            [
                (9_007_199_254_740_993, [4.5, 5.0, 6.0]),
                (u64::MAX, [1.0, 2.0, 3.0])
            ]
        );
    }

    #[test]
    fn a_table_on_a_server_is_read_and_a_page_is_refused() {
        use crate::storage::loopback::{reply, serve};
        let server = serve(|_, request| match request.first.as_str() {
            "GET /t.tsv HTTP/1.1" => reply("200 OK", "", b"x\ty\tz\tid\n1\t2\t3\t4\n"),
            _ => reply("200 OK", "", b" <HTML>log in"),
        });
        let here = Location::Local("".into());
        let of = |name: &str| {
            let place = here.resolve(&format!("{}/{name}", server.url)).unwrap();
            read(&place, &config(|_| ()))
        };
        assert!(of("t.tsv").is_ok());
        let e = of("t.csv").err().unwrap().to_string();
        assert!(e.contains("/t.csv is an HTML page"), "{e}");
    }

    #[test]
    fn units_are_those_that_the_config_states() {
        let of = |change: fn(&mut Value)| all("x,y,z,id\n1,2,3,0\n", &config(change)).unwrap();
        let um = of(|c| c["unit"] = json!("um"));
        assert_eq!(um.per_box[0][0].anchor.0, [1000.0, 2000.0, 3000.0]);
        let voxel = of(|c| {
            c["unit"] = json!("voxel");
            c["resolution"] = json!([4, 4, 40]);
        });
        assert_eq!(voxel.per_box[0][0].anchor.0, [4.0, 8.0, 120.0]);
    }

    #[test]
    fn rows_without_an_id_column_are_numbered_and_lines_have_two_ends() {
        let text = "ax;ay;az;bx;by;bz\n0;0;0;2;2;2\n\n1;1;1;3;3;3\n";
        let lines = config(|c| {
            *c = json!({"file": "t.csv", "unit": "nm", "start": ["ax", "ay", "az"],
                "end": ["bx", "by", "bz"], "delimiter": ";"});
        });
        let found = all(text, &lines).unwrap();
        let [first, second] = &found.per_box[0][..] else {
            panic!()
        };
        assert_eq!((first.id, second.id), (0, 1));
        assert_eq!(second.anchor.0, [2.0; 3]);
        assert_eq!(second.ends, [PointNm([1.0; 3]), PointNm([3.0; 3])]);
    }

    #[test]
    fn properties_are_kept_and_a_bad_one_is_named() {
        let with = config(|c| c["properties"] = json!({"n": "uint8", "score": "float32"}));
        let text = "id\tx\ty\tz\tscore\tn\n1\t0\t0\t0\t0.5\t7.0\n";
        let tsv = CsvConfig {
            file: "t.tsv".to_owned(),
            ..with.clone()
        };
        let table = parse(text.as_bytes(), "t.tsv", &tsv).unwrap();
        assert_eq!(table.properties().len(), 2);
        let found = all(text, &tsv).unwrap();
        let values = |i: usize| table.properties()[i].bytes(&found.per_box[0][0].properties);
        assert_eq!(
            (values(0), values(1)),
            (&[7][..], &0.5f32.to_le_bytes()[..])
        );
        let e = error_of("id,x,y,z,score,n\n1,0,0,0,1,0\n2,0,0,0,1,256\n", &with);
        assert!(e.contains("t.csv: line 3: `n` is \"256\""), "{e}");
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_column() {
        let c = config(|_| ());
        let e = error_of("id,x,y,z\n1,0,0,0\n2,0,a,0\n", &c);
        assert!(
            e.contains("t.csv: line 3: `y` is \"a\"; expected a number"),
            "{e}"
        );
        let e = error_of("id,x,y,z\n1,0,,0\n", &c);
        assert!(e.contains("line 2: `y` is empty"), "{e}");
        for id in ["1.0", "-1", "18446744073709551616", "a"] {
            let e = error_of(&format!("id,x,y,z\n{id},0,0,0\n"), &c);
            assert!(e.contains("line 2: `id`") && e.contains(id), "{e}");
        }
        let e = error_of("id,X,y,z\n", &c);
        assert!(e.contains("`x`") && e.contains("id, X, y, z"), "{e}");
        let e = error_of("id,x,x,y,z\n", &c);
        assert!(e.contains("two columns are called `x`"), "{e}");
        let e = error_of("id,x,y,z\n1,2,3\n", &c);
        assert!(e.contains("t.csv") && e.contains("line: 2"), "{e}");
        let e = error_of("", &c);
        assert!(e.contains("no column"), "{e}");
        let e = error_of("id,x,y,z\n7,0,0,0\n7,1,0,0\n", &c);
        assert!(e.contains("line 2") && e.contains("line 3"), "{e}");
        assert!(parse(b"id,x,y,z\n1,\xff,0,0\n", "t.csv", &c).is_err());
    }

    proptest! {
        #[test]
        fn no_table_makes_the_parser_panic(text in "(id|x|y|z|,|;|\"|\n|[0-9]|nan|.){0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let c = config(|_| ());
            let _ = all(&text, &c);
            let _ = all(&format!("id,x,y,z\n{text}"), &c);
            let _ = parse(&bytes, "t.csv", &c);
        }
    }
}
