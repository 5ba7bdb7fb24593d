//! What the columns of a table mean, guessed from their names.

use csv::StringRecord;

use super::layer::Content;
use crate::config::{CsvConfig, LengthUnit};
use crate::geometry::{BoxNm, Resolution};
use crate::neuroglancer::GeometryKind;
use crate::points::{Anchor, PointSource, TableRecords, table_delimiter};
use crate::storage::{Location, Storage, StreamedDocument};

const EXPECTED: &str = "a table (CSV)";

/// The columns of a position.
type Triple = [String; 3];

/// What a header says of its table.
#[derive(Debug, PartialEq)]
enum Columns {
    Boxes,
    Points(Triple),
    Lines { start: Triple, end: Triple },
    Unknown,
}

/// What the table at `location` holds. Its unit is the one in which its annotations lie in `bounds`.
pub(super) fn open(
    location: &Location,
    bounds: Option<(BoxNm, Resolution)>,
    storage: &Storage,
) -> Content {
    let header = match header(location, storage) {
        Ok(header) => header,
        Err(e) => return Content::Unusable(e),
    };
    let (point, start, end, kind) = match columns(&header) {
        Columns::Boxes => return Content::BoxTable(location.clone()),
        Columns::Points(point) => (Some(point), None, None, GeometryKind::Point),
        Columns::Lines { start, end } => (None, Some(start), Some(end), GeometryKind::Line),
        Columns::Unknown => {
            let names: Vec<&str> = header.iter().take(50).collect();
            return Content::Unusable(format!(
                "its columns ({}) name no positions, such as x, y, z",
                names.join(", ")
            ));
        }
    };
    let id = header.iter().find(|name| name.eq_ignore_ascii_case("id"));
    let table = |unit, resolution, id: Option<&str>| CsvConfig {
        file: String::new(),
        unit,
        resolution,
        point: point.clone(),
        start: start.clone(),
        end: end.clone(),
        id: id.map(str::to_owned),
        properties: Default::default(),
        delimiter: None,
    };
    let finest = bounds.map(|(_, resolution)| resolution);
    let units = [
        (LengthUnit::Nm, None),
        (LengthUnit::Voxel, finest),
        (LengthUnit::Um, None),
    ];
    for (unit, resolution) in units {
        if unit == LengthUnit::Voxel && resolution.is_none() {
            continue;
        }
        let columns = table(unit, resolution, id);
        match (extent(location, &columns, storage), bounds) {
            (Ok(Some(extent)), Some((bounds, _))) if middle_is_inside(&extent, &bounds) => {
                return Content::Table(columns, kind);
            }
            (Ok(_), Some(_)) => {}
            (Ok(_), None) => return Content::Table(columns, kind),
            // Ids that are no numbers keep the table from being read.
            (Err(_), _) if id.is_some() => {
                let columns = table(unit, resolution, None);
                if let Ok(Some(extent)) = extent_inside(location, &columns, bounds, storage)
                    && extent
                {
                    return Content::Table(columns, kind);
                }
            }
            (Err(e), _) => return Content::Unusable(e),
        }
    }
    Content::Table(table(LengthUnit::Nm, None, id), kind)
}

fn extent_inside(
    location: &Location,
    columns: &CsvConfig,
    bounds: Option<(BoxNm, Resolution)>,
    storage: &Storage,
) -> Result<Option<bool>, String> {
    let extent = extent(location, columns, storage)?;
    let is_inside = |extent| bounds.is_none_or(|(bounds, _)| middle_is_inside(&extent, &bounds));
    Ok(extent.map(is_inside))
}

fn header(location: &Location, storage: &Storage) -> Result<StringRecord, String> {
    let document = StreamedDocument::open(location, EXPECTED, storage);
    let document = document.map_err(|e| e.to_string())?;
    let delimiter = table_delimiter(None, document.object());
    let records = TableRecords::open(&document, delimiter);
    let records = records.map_err(|e| crate::points::PointsError::from(e).to_string())?;
    Ok(records.header().clone())
}

fn extent(
    file: &Location,
    columns: &CsvConfig,
    storage: &Storage,
) -> Result<Option<BoxNm>, String> {
    let source = PointSource::Csv {
        file: file.clone(),
        columns: columns.clone(),
    };
    let layer = source.open(storage).map_err(|e| e.to_string())?;
    layer.extent(Anchor::Midpoint).map_err(|e| e.to_string())
}

/// Whether the middle of `extent` lies in `bounds`.
fn middle_is_inside(extent: &BoxNm, bounds: &BoxNm) -> bool {
    (0..3).all(|d| {
        let middle = (extent.min()[d] + extent.max()[d]) / 2.0;
        bounds.min()[d] <= middle && middle <= bounds.max()[d]
    })
}

/// What a header says of its table.
fn columns(header: &StringRecord) -> Columns {
    let has = |name: &str| header.iter().any(|column| column == name);
    if ["min", "max"].iter().all(|name| has(name))
        || ["min_x", "max_x"].iter().all(|name| has(name))
    {
        return Columns::Boxes;
    }
    let triples: Vec<Triple> = header
        .iter()
        .filter_map(|name| triple(name, header))
        .collect();
    let find = |words: &[&str]| {
        let fits = |triple: &&Triple| {
            let name = triple[0].to_lowercase();
            words.iter().any(|word| name.contains(word))
        };
        triples.iter().find(fits).cloned()
    };
    let start = find(&["pre_", "_pre", "start", "pointa", "point_a"]);
    let end = find(&["post_", "_post", "end", "pointb", "point_b"]);
    match (start, end) {
        (Some(start), Some(end)) if start != end => Columns::Lines { start, end },
        _ => {
            let plain = triples.iter().find(|t| t[0].len() == 1).cloned();
            let centre = || find(&["ctr", "cent", "pos"]);
            let point = plain.or_else(centre).or(triples.first().cloned());
            point.map_or(Columns::Unknown, Columns::Points)
        }
    }
}

/// The columns of y and z that go with `name`, if that is one of x: `x`, `pre_x`, `x_nm`, `X`.
fn triple(name: &str, header: &StringRecord) -> Option<Triple> {
    let parts: Vec<&str> = name.split(['_', ' ', '.']).collect();
    let is_separate = parts.iter().any(|part| part.eq_ignore_ascii_case("x"));
    let at = match is_separate {
        true => {
            let mut start = 0;
            parts.iter().find_map(|part| {
                let found = part.eq_ignore_ascii_case("x").then_some(start);
                start += part.len() + 1;
                found
            })?
        }
        false => name.to_ascii_lowercase().strip_suffix('x')?.len(),
    };
    let with = |axis: char| {
        let is_large = name[at..].starts_with('X');
        let axis = if is_large {
            axis.to_ascii_uppercase()
        } else {
            axis
        };
        let other = format!("{}{axis}{}", &name[..at], &name[at + 1..]);
        header
            .iter()
            .find(|column| *column == other)
            .map(str::to_owned)
    };
    Some([name.to_owned(), with('y')?, with('z')?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &[&str]) -> Columns {
        columns(&StringRecord::from(header.to_vec()))
    }

    fn three(names: [&str; 3]) -> Triple {
        names.map(str::to_owned)
    }

    #[test]
    fn columns_are_recognised_by_their_names() {
        for header in [&["min", "max", "tags"][..], &["min_x", "max_x", "min_y"]] {
            assert_eq!(of(header), Columns::Boxes);
        }
        for (header, expected) in [
            (&["id", "x", "y", "z"][..], ["x", "y", "z"]),
            (&["z_nm", "y_nm", "x_nm"], ["x_nm", "y_nm", "z_nm"]),
            (&["CtrX", "CtrY", "CtrZ"], ["CtrX", "CtrY", "CtrZ"]),
            (
                &["bbox_x", "bbox_y", "bbox_z", "ctr_x", "ctr_y", "ctr_z"],
                ["ctr_x", "ctr_y", "ctr_z"],
            ),
        ] {
            assert_eq!(of(header), Columns::Points(three(expected)), "{header:?}");
        }
        let lines = of(&["post_x", "post_y", "post_z", "pre_x", "pre_y", "pre_z"]);
        let expected = Columns::Lines {
            start: three(["pre_x", "pre_y", "pre_z"]),
            end: three(["post_x", "post_y", "post_z"]),
        };
        assert_eq!(lines, expected);
        for header in [&["a", "index"][..], &["x", "y"], &["ä", "äx"]] {
            assert_eq!(of(header), Columns::Unknown, "{header:?}");
        }
    }
}
