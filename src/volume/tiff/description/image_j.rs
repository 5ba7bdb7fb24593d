//! ImageJ's description: lines of `key=value`.
//!
//! Pages are ordered by channel, then section, then frame. The size of a pixel is in the tags XResolution and YResolution,
//! in pixels per `unit`. A stack of more than 4 GB has a single directory, and all its pages follow each other as raw values.

use super::{Description, PlaneGrid, Planes, READ_AS_SECTIONS, size_nm};

pub(super) fn is_image_j(text: &str) -> bool {
    text.starts_with("ImageJ=") || text.starts_with("SCIFIO=")
}

/// Parses the description of a file with `pages` pages.
pub(super) fn parse(
    text: &str,
    pixels_per_unit: [Option<f64>; 2],
    pages: u64,
    is_simple: bool,
) -> Result<Description, String> {
    let value = |wanted: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.trim())
    };
    let count = |key| value(key).and_then(|v| v.parse::<u64>().ok());
    let images = count("images");
    let raw_pages = images.filter(|images| pages == 1 && *images > 1);
    let pages = raw_pages.unwrap_or(pages);
    if let Some(images) = images.filter(|images| *images != pages) {
        return Err(format!(
            "its description states {images} images, but the file has {pages} page(s): it is truncated, or another program changed it"
        ));
    }
    let planes = if is_simple {
        Planes::Sections
    } else {
        let of = |key| count(key).unwrap_or(1);
        planes(of("channels"), count("slices"), of("frames"), pages)?
    };
    if planes != Planes::Sections && text.starts_with("SCIFIO=") {
        return Err(format!(
            "found several channels in a file of SCIFIO, whose order of pages is not supported: save it as OME-TIFF, or with ImageJ; {READ_AS_SECTIONS}"
        ));
    }
    let unit = value("unit").map(unescaped).unwrap_or_default();
    let pixel = |d: usize| size_nm(1.0 / pixels_per_unit[d]?, &unit);
    // Fiji writes a unit of its own for z if it differs.
    let unit_of_z = value("zunit").map(unescaped);
    let spacing = value("spacing").and_then(|v| v.parse::<f64>().ok());
    let z =
        spacing.and_then(|spacing| size_nm(spacing.abs(), unit_of_z.as_deref().unwrap_or(&unit)));
    Ok(Description {
        planes,
        voxel_nm: [pixel(0), pixel(1), z],
        raw_pages,
    })
}

fn planes(channels: u64, slices: Option<u64>, frames: u64, pages: u64) -> Result<Planes, String> {
    if frames > 1 {
        return Err(format!(
            "its description states {} section(s), {channels} channel(s) and {frames} frames of time, expected one frame: save one frame of it; {READ_AS_SECTIONS}",
            slices.unwrap_or(1)
        ));
    }
    if channels <= 1 {
        return Ok(Planes::Sections);
    }
    let sections = slices.unwrap_or(1);
    // tifffile calls the first dimension of an array of three channels, unless the axes are named.
    if sections == 1 {
        return Err(format!(
            "its description states a single section of {channels} channels, expected several sections: {READ_AS_SECTIONS}; write channels into files of their own"
        ));
    }
    let grid = PlaneGrid {
        sections,
        channels,
        is_channel_fastest: true,
    };
    if grid.pages() != Some(pages) {
        return Err(format!(
            "its description states {sections} section(s) and {channels} channel(s), but the file has {pages} page(s); {READ_AS_SECTIONS}"
        ));
    }
    Ok(Planes::Grid(grid))
}

/// The text with Java's escapes `\u00B5` replaced by their characters.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..4)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                out.push(character);
                out.push_str(&part[4..]);
            }
            None => {
                out.push_str("\\u");
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str, pages: u64) -> Result<Description, String> {
        parse(text, [Some(250.0), Some(125.0)], pages, false)
    }

    #[test]
    fn pages_are_ordered_by_channel_and_then_by_section() {
        let text = "ImageJ=1.54f\nimages=6\nchannels=2\nslices=3\nhyperstack=true\nunit=micron\nspacing=0.04\n";
        let found = parse_text(text, 6).unwrap();
        let grid = PlaneGrid {
            sections: 3,
            channels: 2,
            is_channel_fastest: true,
        };
        assert_eq!(found.planes, Planes::Grid(grid));
        assert_eq!(found.voxel_nm, [Some(4.0), Some(8.0), Some(40.0)]);
        assert_eq!(found.raw_pages, None);
        let e = parse_text(text, 5).unwrap_err();
        assert!(e.contains("6 images") && e.contains("5 page(s)"), "{e}");
        assert_eq!(parse_text(text, 1).unwrap().raw_pages, Some(6));
        let e = parse_text("ImageJ=1.5\nimages=6\nchannels=6\n", 6).unwrap_err();
        assert!(
            e.contains("a single section of 6 channels") && e.contains("zyx"),
            "{e}"
        );
        let e = parse_text(&text.replace("slices=3", "slices=2"), 6).unwrap_err();
        assert!(e.contains("2 section(s) and 2 channel(s)"), "{e}");
    }

    #[test]
    fn frames_are_an_error_unless_the_config_says_that_pages_are_sections() {
        let text = "ImageJ=1.54f\nimages=6\nframes=6\nunit=\\u00B5m\n";
        let e = parse_text(text, 6).unwrap_err();
        assert!(
            e.contains("6 frames") && e.contains("\"axes\": \"zyx\""),
            "{e}"
        );
        let found = parse(text, [Some(1000.0); 2], 6, true).unwrap();
        assert_eq!(found.planes, Planes::Sections);
        assert_eq!(found.voxel_nm, [Some(1.0), Some(1.0), None]);
    }

    #[test]
    fn units_that_are_no_lengths_state_no_voxel_size() {
        for unit in ["", "unit=pixel\n", "unit=\\u00\n", "unit=\\u00µ\n"] {
            let found = parse_text(&format!("ImageJ=1.5\n{unit}spacing=3\n"), 2).unwrap();
            assert_eq!(found.voxel_nm, [None; 3], "{unit}");
        }
    }
}
