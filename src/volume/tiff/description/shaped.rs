//! tifffile's description: JSON with the `shape` of the array, and perhaps its `axes`.

use serde_json::Value;

use super::{Description, PlaneGrid, Planes, READ_AS_SECTIONS};
use crate::volume::tiff::page::Page;

pub(super) fn is_shaped(text: &str) -> bool {
    text.starts_with('{') && text.contains("\"shape\"")
}

/// Parses the description of a file with `pages` pages like `page`.
pub(super) fn parse(
    text: &str,
    page: &Page,
    pages: u64,
    is_simple: bool,
) -> Result<Description, String> {
    let Ok(Value::Object(json)) = serde_json::from_str(text) else {
        return Ok(Description::default());
    };
    let shape = json.get("shape").and_then(Value::as_array);
    let shape = shape.map(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
    let Some(Some(shape)) = shape else {
        return Ok(Description::default());
    };
    let values = |dimensions: &[u64]| dimensions.iter().try_fold(1, |n: u64, d| n.checked_mul(*d));
    // The dimensions of pages are the first ones.
    let of_page = page.width * page.height * page.samples;
    let Some(rank) = (0..=shape.len()).find(|d| values(&shape[*d..]) == Some(of_page)) else {
        return Ok(Description::default());
    };
    // Of several such positions, the first: dimensions of length 1 change nothing.
    let leading = &shape[..rank];
    let stated = values(leading).unwrap_or(u64::MAX);
    let is_truncated = json.get("truncated") == Some(&Value::Bool(true));
    let raw_pages = (is_truncated && pages == 1 && stated > 1).then_some(stated);
    let long: Vec<usize> = (0..rank).filter(|d| leading[*d] > 1).collect();
    if is_simple || stated != raw_pages.unwrap_or(pages) || long.is_empty() {
        return Ok(Description {
            raw_pages,
            ..Description::default()
        });
    }
    let axes: Vec<char> = { json.get("axes") }
        .and_then(Value::as_str)
        .map(|axes| axes.to_ascii_uppercase().chars().collect())
        .unwrap_or_default();
    let name = |d: &usize| {
        if axes.len() == shape.len() {
            axes.get(*d).copied()
        } else {
            None
        }
    };
    let names: Vec<_> = long.iter().map(name).collect();
    let planes = match names[..] {
        // A single dimension without a name is z.
        [None | Some('Z' | 'Q' | 'I')] => Planes::Sections,
        [Some('C')] => Planes::Grid(PlaneGrid {
            sections: 1,
            channels: leading[long[0]],
            is_channel_fastest: true,
        }),
        [Some('Z'), Some('C')] => Planes::Grid(PlaneGrid {
            sections: leading[long[0]],
            channels: leading[long[1]],
            is_channel_fastest: true,
        }),
        [Some('C'), Some('Z')] => Planes::Grid(PlaneGrid {
            sections: leading[long[1]],
            channels: leading[long[0]],
            is_channel_fastest: false,
        }),
        _ => {
            let named: String = axes.iter().collect();
            return Err(format!(
                "its description states the shape {shape:?} with the axes {named:?}, in which pages are not only sections and channels: save it as OME-TIFF with the axes ZYX, CZYX or ZCYX; {READ_AS_SECTIONS}"
            ));
        }
    };
    Ok(Description {
        planes,
        raw_pages,
        ..Description::default()
    })
}
