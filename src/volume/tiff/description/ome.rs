//! OME-TIFF's description: OME-XML.
//!
//! `Pixels` has the sizes, the order of planes and the size of a voxel. `TiffData` lists which page (IFD) has which planes;
//! without it, pages are in the order of planes. Schema: <https://www.openmicroscopy.org/Schemas/OME/2016-06>.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::{Description, PlaneGrid, Planes, READ_AS_SECTIONS, size_nm};

/// A page without a plane.
const NO_PAGE: u32 = u32::MAX;

pub(super) fn is_ome(text: &str) -> bool {
    text.starts_with('<') && text.trim_end().ends_with("OME>")
}

/// `Pixels` of the only image.
#[derive(Debug, Default)]
struct Pixels {
    order: String,
    sections: u64,
    channels: u64,
    frames: u64,
    voxel_nm: [Option<f64>; 3],
    planes: Vec<PlaneRun>,
}

/// `TiffData`: some planes in consecutive pages.
#[derive(Clone, Copy, Debug)]
struct PlaneRun {
    page: Option<u64>,
    section: u64,
    channel: u64,
    frame: u64,
    count: Option<u64>,
}

/// Parses the description of a file with `pages` pages, each of which has `samples` channels.
pub(super) fn parse(
    text: &str,
    samples: u64,
    pages: u64,
    is_simple: bool,
) -> Result<Description, String> {
    if is_simple {
        // Of files that belong together, each has the document of all.
        let pixels = read(text, false).unwrap_or_default();
        return Ok(Description {
            voxel_nm: pixels.voxel_nm,
            ..Description::default()
        });
    }
    let pixels = read(text, true)?;
    Ok(Description {
        planes: pixels.pages(samples, pages)?,
        voxel_nm: pixels.voxel_nm,
        raw_pages: None,
    })
}

/// The first image of the document. If `is_alone`, it must be the only one, with all planes in one file.
fn read(text: &str, is_alone: bool) -> Result<Pixels, String> {
    let mut reader = Reader::from_str(text);
    let mut found: Option<Pixels> = None;
    // The file that the planes of `TiffData` are in; `None` for this one.
    let mut files: Option<String> = None;
    let mut is_uuid = false;
    loop {
        let event = reader.read_event();
        let event = event.map_err(|e| format!("its OME-XML cannot be parsed: {e}"))?;
        match &event {
            Event::Start(element) | Event::Empty(element) => match element.local_name().as_ref() {
                b"Pixels" if found.is_some() && !is_alone => break,
                b"Pixels" if found.is_some() => {
                    return Err(
                            "its OME-XML has several images, expected one: save the image in a file of its own"
                                .to_owned(),
                        );
                }
                b"Pixels" => found = Some(pixels(element)?),
                b"TiffData" => {
                    if let Some(pixels) = &mut found {
                        pixels.planes.push(plane_run(element)?);
                    }
                }
                b"BinaryOnly" if is_alone => {
                    return Err(
                            "its OME-XML is in another file (BinaryOnly), which is not supported: convert it to one file, for example with `bfconvert`"
                                .to_owned(),
                        );
                }
                b"UUID" => is_uuid = matches!(event, Event::Start(_)),
                _ => {}
            },
            Event::Text(uuid) if is_uuid && found.is_some() => {
                let uuid = String::from_utf8_lossy(uuid).into_owned();
                if is_alone && files.get_or_insert_with(|| uuid.clone()) != &uuid {
                    return Err(
                        "its OME-XML lists planes in several files, which is not supported: convert them to one file, for example with `bfconvert`"
                            .to_owned(),
                    );
                }
            }
            Event::End(_) => is_uuid = false,
            Event::Eof => break,
            _ => {}
        }
    }
    found.ok_or_else(|| "its OME-XML has no image (Pixels)".to_owned())
}

/// An attribute of an element.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    let damaged = |problem: String| format!("its OME-XML cannot be parsed: {problem}");
    let found = element.try_get_attribute(name);
    let Some(found) = found.map_err(|e| damaged(e.to_string()))? else {
        return Ok(None);
    };
    let value = found
        .normalized_value(XmlVersion::Implicit1_0)
        .map_err(|e| damaged(e.to_string()))?;
    Ok(Some(value.into_owned()))
}

fn number(element: &BytesStart<'_>, name: &str) -> Result<Option<u64>, String> {
    let Some(text) = attribute(element, name)? else {
        return Ok(None);
    };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| {
        format!("its OME-XML has {name}=\"{text}\", expected a whole number from 0 on")
    })
}

fn pixels(element: &BytesStart<'_>) -> Result<Pixels, String> {
    let size = |name| Ok::<_, String>(number(element, name)?.unwrap_or(1));
    let mut voxel_nm = [None; 3];
    for (nm, axis) in voxel_nm.iter_mut().zip(["X", "Y", "Z"]) {
        let name = format!("PhysicalSize{axis}");
        let unit = attribute(element, &format!("{name}Unit"))?;
        let value = attribute(element, &name)?;
        let value = value.and_then(|text| text.trim().parse::<f64>().ok());
        // The default of the schema.
        *nm = value.and_then(|value| size_nm(value, unit.as_deref().unwrap_or("µm")));
    }
    Ok(Pixels {
        order: attribute(element, "DimensionOrder")?.unwrap_or_else(|| "XYZCT".to_owned()),
        sections: size("SizeZ")?,
        channels: size("SizeC")?,
        frames: size("SizeT")?,
        voxel_nm,
        planes: Vec::new(),
    })
}

fn plane_run(element: &BytesStart<'_>) -> Result<PlaneRun, String> {
    let first = |name| Ok::<_, String>(number(element, name)?.unwrap_or(0));
    Ok(PlaneRun {
        page: number(element, "IFD")?,
        section: first("FirstZ")?,
        channel: first("FirstC")?,
        frame: first("FirstT")?,
        count: number(element, "PlaneCount")?,
    })
}

impl Pixels {
    /// Which page is which section and channel.
    fn pages(&self, samples: u64, pages: u64) -> Result<Planes, String> {
        let (sections, frames) = (self.sections, self.frames);
        if frames != 1 {
            return Err(format!(
                "its OME-XML states {sections} section(s), {} channel(s) and {frames} frames of time, expected one frame: save one frame of it; {READ_AS_SECTIONS}",
                self.channels
            ));
        }
        let channels = self.channels / samples;
        let planes = sections.checked_mul(channels);
        if !self.channels.is_multiple_of(samples) || planes.is_none_or(|n| n == 0 || n > pages) {
            return Err(format!(
                "its OME-XML states {sections} section(s) and {} channel(s), but the file has {pages} page(s) with {samples} channel(s) each; {READ_AS_SECTIONS}",
                self.channels
            ));
        }
        let position = |axis| self.order.find(axis);
        let is_channel_fastest = position('C') < position('Z');
        let grid = PlaneGrid {
            sections,
            channels,
            is_channel_fastest,
        };
        let is_regular = match self.planes[..] {
            [] => true,
            [run] => {
                run.page.unwrap_or(0) == 0
                    && run.section == 0
                    && run.channel == 0
                    && run.count.is_none_or(|n| Some(n) == planes)
            }
            _ => false,
        };
        // A run with a page and no count has one plane.
        let has_all = !matches!(
            self.planes[..],
            [PlaneRun {
                page: Some(_),
                count: None,
                ..
            }]
        );
        if is_regular && (has_all || planes == Some(1)) {
            return Ok(Planes::Grid(grid));
        }
        self.list(&grid, pages)
    }

    /// The page of each plane.
    fn list(&self, grid: &PlaneGrid, pages: u64) -> Result<Planes, String> {
        let total = grid.pages().unwrap_or(u64::MAX);
        let mut listed = vec![NO_PAGE; total.min(pages) as usize];
        for run in &self.planes {
            let out_of_range = || {
                format!(
                    "its OME-XML lists the page {} for section {} and channel {}, but the file has {pages} page(s), and the image {} section(s) and {} channel(s)",
                    run.page.unwrap_or(0),
                    run.section,
                    run.channel,
                    grid.sections,
                    grid.channels
                )
            };
            if run.section >= grid.sections || run.channel >= grid.channels || run.frame != 0 {
                return Err(out_of_range());
            }
            let first = if grid.is_channel_fastest {
                run.section * grid.channels + run.channel
            } else {
                run.channel * grid.sections + run.section
            };
            let count = run.count.unwrap_or(match run.page {
                Some(_) => 1,
                None => total - first,
            });
            let page = run.page.unwrap_or(0);
            if count > total - first || page.checked_add(count).is_none_or(|end| end > pages) {
                return Err(out_of_range());
            }
            for k in 0..count {
                let plane = first + k;
                let (section, channel) = if grid.is_channel_fastest {
                    (plane / grid.channels, plane % grid.channels)
                } else {
                    (plane % grid.sections, plane / grid.sections)
                };
                listed[(channel * grid.sections + section) as usize] = (page + k) as u32;
            }
        }
        match listed.iter().position(|page| *page == NO_PAGE) {
            None => Ok(Planes::Listed {
                channels: grid.channels,
                pages: listed,
            }),
            Some(missing) => Err(format!(
                "its OME-XML lists no page for section {} of channel {}: the file is incomplete",
                missing as u64 % grid.sections,
                missing as u64 / grid.sections
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(pixels: &str, data: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><OME UUID="urn:uuid:1"><Image><Pixels DimensionOrder="XYCZT" {pixels}>{data}</Pixels></Image></OME>"#
        )
    }

    fn parse_of(pixels: &str, data: &str, pages: u64) -> Result<Description, String> {
        parse(&document(pixels, data), 1, pages, false)
    }

    const SIZES: &str = r#"SizeX="9" SizeY="8" SizeZ="2" SizeC="2" SizeT="1""#;

    #[test]
    fn planes_without_a_list_are_in_the_order_of_dimensions() {
        let grid = |is_channel_fastest| {
            Planes::Grid(PlaneGrid {
                sections: 2,
                channels: 2,
                is_channel_fastest,
            })
        };
        for data in ["", "<TiffData/>", r#"<TiffData IFD="0" PlaneCount="4"/>"#] {
            assert_eq!(
                parse_of(SIZES, data, 4).unwrap().planes,
                grid(true),
                "{data}"
            );
        }
        let text = document(SIZES, "").replace("XYCZT", "XYZCT");
        assert_eq!(parse(&text, 1, 4, false).unwrap().planes, grid(false));
        let e = parse_of(SIZES, "", 3).unwrap_err();
        assert!(
            e.contains("2 section(s) and 2 channel(s)") && e.contains("3 page(s)"),
            "{e}"
        );
        assert_eq!(parse(&text, 1, 3, true).unwrap().planes, Planes::Sections);
        // Channels in one page.
        let found = parse(&text, 2, 2, false).unwrap().planes;
        assert!(
            matches!(found, Planes::Grid(PlaneGrid { channels: 1, .. })),
            "{found:?}"
        );
    }

    #[test]
    fn a_list_of_planes_says_which_page_is_which() {
        let data = r#"<TiffData IFD="3" FirstZ="0" FirstC="0"/><TiffData IFD="1" FirstZ="1" FirstC="0" PlaneCount="2"><UUID FileName="a">urn:uuid:1</UUID></TiffData>
            <TiffData IFD="0" FirstZ="0" FirstC="1" PlaneCount="1"><UUID FileName="a">urn:uuid:1</UUID></TiffData>"#;
        let found = parse_of(SIZES, data, 4).unwrap().planes;
        let expected = Planes::Listed {
            channels: 2,
            pages: vec![3, 1, 0, 2],
        };
        assert_eq!(found, expected);
        let other = data.replacen("urn:uuid:1", "urn:uuid:2", 1);
        assert!(
            parse_of(SIZES, &other, 4)
                .unwrap_err()
                .contains("several files")
        );
        for (wrong, expected) in [
            (
                r#"<TiffData IFD="0"/>"#,
                "no page for section 1 of channel 0",
            ),
            (r#"<TiffData IFD="4"/>"#, "the page 4"),
            (r#"<TiffData IFD="1" PlaneCount="4"/>"#, "the page 1"),
            (
                r#"<TiffData IFD="18446744073709551615" PlaneCount="4"/>"#,
                "the page",
            ),
            (r#"<TiffData FirstZ="2"/>"#, "section 2"),
            (
                r#"<TiffData FirstC="1" FirstZ="1" PlaneCount="2"/>"#,
                "section 1",
            ),
            (r#"<TiffData IFD="-1"/>"#, "IFD=\"-1\""),
        ] {
            let e = parse_of(SIZES, wrong, 4).unwrap_err();
            assert!(e.contains(expected), "{wrong}: {e}");
        }
    }

    #[test]
    fn voxel_sizes_have_units_and_are_in_micrometres_without() {
        let sizes = format!(
            r#"{SIZES} PhysicalSizeX="0.004" PhysicalSizeY="46" PhysicalSizeYUnit="Å" PhysicalSizeZ="3" PhysicalSizeZUnit="pixel""#
        );
        let found = parse_of(&sizes, "", 4).unwrap().voxel_nm;
        assert_eq!(found, [Some(4.0), Some(4.6), None]);
    }

    #[test]
    fn several_images_frames_and_damaged_documents_are_errors() {
        let several = document(SIZES, "").replace("</OME>", "<Image><Pixels/></Image></OME>");
        assert!(
            parse(&several, 1, 4, false)
                .unwrap_err()
                .contains("several images")
        );
        let frames = SIZES.replace(r#"SizeT="1""#, r#"SizeT="7""#);
        assert!(parse_of(&frames, "", 28).unwrap_err().contains("7 frames"));
        for damaged in [
            "<OME><a></b></OME>",
            "<OME></OME>",
            "<OME><Pixels SizeZ=\"&x;\"/></OME>",
            "<OME><Pixels SizeZ=2/></OME>",
        ] {
            assert!(parse(damaged, 1, 4, false).is_err(), "{damaged}");
        }
        let binary = r#"<OME><BinaryOnly MetadataFile="a.ome" UUID="u"/></OME>"#;
        assert!(
            parse(binary, 1, 4, false)
                .unwrap_err()
                .contains("BinaryOnly")
        );
    }
}
