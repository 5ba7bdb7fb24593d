//! What the columns of a table mean, guessed from their names.

use super::content::Content;
use crate::config::{LengthUnit, PositionColumns, TableConfig};
use crate::geometry::{BoxNm, Resolution};
use crate::neuroglancer::GeometryKind;
use crate::points::{Anchor, PointSource, table_column_names};
use crate::storage::{Location, Storage};

/// Columns that are named in a message.
const NAMED_COLUMNS: usize = 50;

/// The columns of a position in three columns.
type Triple = [String; 3];

/// The kind of table that a header belongs to.
#[derive(Debug, PartialEq)]
enum Columns {
    Boxes,
    Points(PositionColumns),
    Lines {
        start: PositionColumns,
        end: PositionColumns,
    },
    Unknown,
}

/// The contents of the table at `location`. The unit is the one in which the annotations are inside `bounds`, which has
/// voxels of the given resolution.
pub(super) fn open(
    location: &Location,
    bounds: Option<(BoxNm, Resolution)>,
    storage: &Storage,
) -> Content {
    let header = match table_column_names(location, storage) {
        Ok(header) => header,
        Err(e) => return Content::Unusable(e.to_string()),
    };
    let (point, start, end, kind) = match columns(&header) {
        Columns::Boxes => return Content::BoxTable(location.clone()),
        Columns::Points(point) => (Some(point), None, None, GeometryKind::Point),
        Columns::Lines { start, end } => (None, Some(start), Some(end), GeometryKind::Line),
        Columns::Unknown => return Content::Unusable(no_positions(&header)),
    };
    let id = header
        .iter()
        .find(|name| name.eq_ignore_ascii_case("id"))
        .cloned();
    let mut config = TableConfig {
        file: String::new(),
        unit: LengthUnit::Nm,
        resolution: None,
        point,
        start,
        end,
        id,
        relationships: Vec::new(),
        properties: Default::default(),
        delimiter: None,
    };
    match extent_of(location, &mut config, storage) {
        Err(e) => Content::Unusable(e),
        Ok(extent) => {
            (config.unit, config.resolution) = unit(extent, bounds);
            Content::Table(config, kind)
        }
    }
}

/// The extent of the table's annotations. Ids that are not numbers are an error: the config then goes without them.
fn extent_of(
    location: &Location,
    config: &mut TableConfig,
    storage: &Storage,
) -> Result<Option<BoxNm>, String> {
    let read = extent(location, config, storage);
    if read.is_err() && config.id.is_some() {
        config.id = None;
        return extent(location, config, storage);
    }
    read
}

fn no_positions(header: &[String]) -> String {
    let names: Vec<&str> = header
        .iter()
        .map(String::as_str)
        .take(NAMED_COLUMNS)
        .collect();
    format!(
        "its columns ({}) name no positions, such as x, y, z",
        names.join(", ")
    )
}

/// The unit in which numbers with this extent are inside `bounds`; nm if that is unknown.
fn unit(
    extent: Option<BoxNm>,
    bounds: Option<(BoxNm, Resolution)>,
) -> (LengthUnit, Option<Resolution>) {
    let Some((extent, (bounds, resolution))) = extent.zip(bounds) else {
        return (LengthUnit::Nm, None);
    };
    let units = [
        (LengthUnit::Nm, None),
        (LengthUnit::Voxel, Some(resolution)),
        (LengthUnit::Um, None),
    ];
    let fits = |(unit, resolution): &(LengthUnit, Option<Resolution>)| {
        middle_is_inside(&extent, unit.nm(*resolution), &bounds)
    };
    units.into_iter().find(fits).unwrap_or_default()
}

fn extent(
    file: &Location,
    columns: &TableConfig,
    storage: &Storage,
) -> Result<Option<BoxNm>, String> {
    let source = PointSource::Table {
        file: file.clone(),
        columns: columns.clone(),
    };
    let layer = source.open(storage).map_err(|e| e.to_string())?;
    layer.extent(Anchor::Midpoint).map_err(|e| e.to_string())
}

/// Whether the middle of `extent`, in units of `unit_nm`, is inside `bounds`.
fn middle_is_inside(extent: &BoxNm, unit_nm: [f64; 3], bounds: &BoxNm) -> bool {
    (0..3).all(|d| {
        let middle = (extent.min()[d] + extent.max()[d]) / 2.0 * unit_nm[d];
        bounds.min()[d] <= middle && middle <= bounds.max()[d]
    })
}

/// The kind of table that a header belongs to.
fn columns(header: &[String]) -> Columns {
    let has = |name: &str| header.iter().any(|column| column == name);
    if ["min", "max"].iter().all(|name| has(name))
        || ["min_x", "max_x"].iter().all(|name| has(name))
    {
        return Columns::Boxes;
    }
    let triples = header.iter().filter_map(|name| triple(name, header));
    let triples = triples.map(PositionColumns::Three);
    // CAVE's tables have lists: `pre_pt_position`.
    let lists = header
        .iter()
        .filter(|name| name.to_lowercase().ends_with("position"));
    let lists = lists.map(|name| PositionColumns::List(name.clone()));
    let positions: Vec<PositionColumns> = triples.chain(lists).collect();
    let find = |words: &[&str]| {
        let fits = |position: &&PositionColumns| {
            let name = first_name(position).to_lowercase();
            words.iter().any(|word| name.contains(word))
        };
        positions.iter().find(fits).cloned()
    };
    let start = find(&["pre_", "_pre", "start", "pointa", "point_a"]);
    let end = find(&["post_", "_post", "end", "pointb", "point_b"]);
    match (start, end) {
        (Some(start), Some(end)) if start != end => Columns::Lines { start, end },
        _ => {
            let plain = positions.iter().find(|p| first_name(p).len() == 1);
            let centre = || find(&["ctr", "cent", "pos"]);
            let point = plain.cloned().or_else(centre);
            let point = point.or_else(|| positions.first().cloned());
            point.map_or(Columns::Unknown, Columns::Points)
        }
    }
}

fn first_name(position: &PositionColumns) -> &str {
    match position {
        PositionColumns::Three([x, ..]) => x,
        PositionColumns::List(name) => name,
    }
}

/// The columns of y and z that go with `name`, if that is one of x: `x`, `pre_x`, `x_nm`, `X`.
fn triple(name: &str, header: &[String]) -> Option<Triple> {
    let parts: Vec<&str> = name.split(['_', ' ', '.']).collect();
    let is_separate = parts.iter().any(|part| part.eq_ignore_ascii_case("x"));
    let at = if is_separate {
        let mut start = 0;
        parts.iter().find_map(|part| {
            let found = part.eq_ignore_ascii_case("x").then_some(start);
            start += part.len() + 1;
            found
        })?
    } else {
        name.to_ascii_lowercase().strip_suffix('x')?.len()
    };
    let with = |axis: char| {
        let is_large = name[at..].starts_with('X');
        let axis = if is_large {
            axis.to_ascii_uppercase()
        } else {
            axis
        };
        let other = format!("{}{axis}{}", &name[..at], &name[at + 1..]);
        header.contains(&other).then_some(other)
    };
    Some([name.to_owned(), with('y')?, with('z')?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &[&str]) -> Columns {
        let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
        columns(&header)
    }

    fn three(names: [&str; 3]) -> PositionColumns {
        PositionColumns::Three(names.map(str::to_owned))
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
        let list = |name: &str| PositionColumns::List(name.to_owned());
        let of_cave = of(&[
            "id",
            "pre_pt_position",
            "post_pt_position",
            "ctr_pt_position",
        ]);
        let expected = Columns::Lines {
            start: list("pre_pt_position"),
            end: list("post_pt_position"),
        };
        assert_eq!(of_cave, expected);
        let nuclei = of(&["id", "volume", "pt_position", "pt_root_id"]);
        assert_eq!(nuclei, Columns::Points(list("pt_position")));
        for header in [&["a", "index"][..], &["x", "y"], &["ä", "äx"]] {
            assert_eq!(of(header), Columns::Unknown, "{header:?}");
        }
    }
}
