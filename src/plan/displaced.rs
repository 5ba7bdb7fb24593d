//! What lies where nothing should: layers that no window touches, annotations that lie in no box.
//!
//! Both say where each of the two lies, in nm and in voxels, and which slip explains it, where arithmetic
//! suggests one ([`slip`]), with the config key that sets it right ([`keys`]).

mod keys;
mod slip;

use std::fmt;

use crate::config::Config;
use crate::fault::{Fault, FaultKind};
use crate::geometry::{BoxNm, PointNm, Resolution, VoxelBox};
use crate::points::PointSource;

use super::VolumeSource;
use keys::Keys;
use slip::Place;

pub(crate) use slip::Window;

/// A layer that none of the windows touches that are cut out of it.
#[derive(Clone, Debug)]
pub struct Displaced {
    layer: String,
    location: String,
    lies: Extent,
    windows: u64,
    windows_lie: Extent,
    boxes: Vec<String>,
    likely: Option<String>,
}

/// Layers that no window touches: one at least.
#[derive(Clone, Debug)]
pub struct DisplacedLayers(pub Vec<Displaced>);

/// The windows that should touch a layer.
#[derive(Debug)]
pub(crate) struct WindowsOfLayer<'a> {
    /// How many there are.
    pub(crate) count: u64,
    /// Where they lie, or many of them evenly chosen: one at least.
    pub(crate) windows: Vec<Window>,
    /// The ids of the boxes of their samples.
    pub(crate) boxes: Vec<&'a str>,
    /// Whether windows of the same samples touch another layer, so that their positions are right.
    pub(crate) touch_others: bool,
}

/// A box in nm, and the voxels of one resolution that cover it.
#[derive(Clone, Copy, Debug)]
struct Extent {
    nm: BoxNm,
    voxels: VoxelBox,
    resolution: Resolution,
}

impl Displaced {
    /// `source` has the name `layer` in the config and the voxels `bounds` of `resolution`. `scales` are further
    /// resolutions that may have been meant. `None` where there is no window or where coordinates are no numbers.
    pub(crate) fn new(
        config: &Config,
        (layer, source): (&str, &VolumeSource),
        (bounds, resolution): (&VoxelBox, &Resolution),
        windows: &WindowsOfLayer<'_>,
        scales: &[Resolution],
    ) -> Option<Self> {
        let place = Place {
            start: bounds.start,
            size: bounds.shape(),
            resolution: *resolution,
        };
        let resolutions = resolutions(config, resolution, scales);
        let slip = slip::of_windows(
            &windows.windows,
            &place,
            &resolutions,
            !windows.touch_others,
        );
        let covered: Vec<_> = windows.windows.iter().map(|w| w.covers).collect();
        let keys = Keys::of_layer(config, layer, source.url.format.as_deref());
        Some(Self {
            layer: layer.to_owned(),
            location: source.url.location.to_string(),
            lies: Extent {
                nm: place.nm()?,
                voxels: *bounds,
                resolution: *resolution,
            },
            windows: windows.count,
            windows_lie: Extent::new(bounding(&covered)?, *resolution),
            boxes: windows.boxes.iter().map(|id| format!("{id:?}")).collect(),
            likely: slip.map(|slip| keys.describe(slip)),
        })
    }
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "none of the {} window(s) that are cut out of the layer `{}` touches it: they would hold nothing but padding",
            self.windows, self.layer
        )?;
        writeln!(f, "  the layer lies at {}, in {}", self.lies, self.location)?;
        write!(
            f,
            "  its windows lie at {}, around annotations of {}",
            self.windows_lie,
            list(&self.boxes)
        )?;
        write_likely(f, self.likely.as_deref())
    }
}

impl fmt::Display for DisplacedLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (i, layer) in self.0.iter().take(SHOWN).enumerate() {
            let line = if i == 0 { "" } else { "\n" };
            write!(f, "{line}{layer}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more layer(s)"),
        }
    }
}

impl std::error::Error for DisplacedLayers {}

/// Where the boxes of a point layer lie, and where its annotations lie, none of which is in a box. `extent` is what is
/// known of the annotations, if anything is.
pub(super) fn describe_annotations(
    config: &Config,
    source: &PointSource,
    boxes: &[BoxNm],
    extent: Option<&BoxNm>,
) -> String {
    struct Text(String, Option<String>);
    impl fmt::Display for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)?;
            write_likely(f, self.1.as_deref())
        }
    }
    let Some(all) = bounding(boxes) else {
        return String::new();
    };
    let boxes_lie = Extent::new(all, config.resolution);
    let mut text = format!("  the {} box(es) lie at {boxes_lie}\n", boxes.len());
    let Some(extent) = extent else {
        text.push_str(&format!("  {source} holds no annotation"));
        return text;
    };
    let said = match source {
        PointSource::Precomputed(_) => ", as `lower_bound` and `upper_bound` of its info say",
        _ => "",
    };
    let lie = Extent::new(*extent, config.resolution);
    text.push_str(&format!("  the annotations of {source} lie at {lie}{said}"));
    let slip = slip::of_annotations(extent, boxes, &resolutions(config, &config.resolution, &[]));
    let keys = Keys::of_annotations(config);
    Text(text, slip.map(|slip| keys.describe(slip))).to_string()
}

fn write_likely(f: &mut fmt::Formatter<'_>, likely: Option<&str>) -> fmt::Result {
    match likely {
        Some(likely) => write!(f, "\n  likely cause: {likely}"),
        None => Ok(()),
    }
}

/// The resolutions that may be meant where one is taken for another, each once, that of the config first.
fn resolutions(config: &Config, own: &Resolution, scales: &[Resolution]) -> Vec<Resolution> {
    let of_table = match &config.points.source {
        crate::config::PointsFrom::Csv(csv) => csv.resolution,
        _ => None,
    };
    let of_arrays = config.arrays.values().filter_map(|a| a.data_resolution);
    let all = [config.resolution, *own]
        .into_iter()
        .chain(of_table)
        .chain(of_arrays)
        .chain(scales.iter().copied());
    let mut different: Vec<Resolution> = Vec::new();
    for resolution in all {
        if !different.iter().any(|r| r.matches(&resolution)) {
            different.push(resolution);
        }
    }
    different
}

/// The smallest box that holds all of `boxes`; `None` where there is none.
fn bounding(boxes: &[BoxNm]) -> Option<BoxNm> {
    let first = boxes.first()?;
    let (mut min, mut max) = (first.min(), first.max());
    for b in boxes {
        for d in 0..3 {
            min[d] = min[d].min(b.min()[d]);
            max[d] = max[d].max(b.max()[d]);
        }
    }
    BoxNm::from_corners(PointNm(min), PointNm(max))
}

/// The first few of `boxes`.
fn list(boxes: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = boxes.len().min(SHOWN);
    let text = boxes[..shown].join(", ");
    let what = if boxes.len() == 1 { "box" } else { "boxes" };
    match boxes.len() - shown {
        0 => format!("the {what} {text}"),
        more => format!("the {what} {text} and {more} more"),
    }
}

impl Extent {
    fn new(nm: BoxNm, resolution: Resolution) -> Self {
        Self {
            nm,
            voxels: nm.covering_voxels(&resolution),
            resolution,
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Thousandths of a nm are what is lost in computing.
        let nm = |p: [f64; 3]| {
            p.map(|v| ((v * 1e3).round() / 1e3 + 0.0).to_string())
                .join(", ")
        };
        let voxels = |v: [i64; 3]| v.map(|v| v.to_string()).join(", ");
        write!(
            f,
            "({}) to ({}) nm, voxels ({}) to ({}) of {}",
            nm(self.nm.min()),
            nm(self.nm.max()),
            voxels(self.voxels.start),
            voxels(self.voxels.end),
            self.resolution
        )
    }
}

impl Fault for DisplacedLayers {
    fn kind(&self) -> FaultKind {
        FaultKind::Data
    }
}

#[cfg(test)]
mod tests;
