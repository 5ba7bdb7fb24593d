//! Errors about data in the wrong place: layers that overlap none of their windows, annotations that are in no box.
//!
//! The messages state the positions of both, in nm and in voxels. If a common mistake explains the gap ([`mistake`]),
//! they name it and the config key that corrects it ([`wording`]).

mod bounds;
mod mistake;
mod wording;

use std::fmt;

use self::bounds::bounds_of;
use self::mistake::LayerBox;
use self::wording::Wording;
use super::table::VolumeSource;
use crate::config::{Config, PointsFrom};
use crate::fault::{Fault, FaultKind};
use crate::geometry::{BoxNm, Resolution, VoxelBox};
use crate::points::PointSource;

pub(crate) use self::mistake::CenteredWindow;

/// A layer that overlaps none of the windows that are cut from it.
#[derive(Clone, Debug)]
pub struct DisplacedLayer {
    layer: String,
    location: String,
    bounds: PrintedBox,
    windows: u64,
    window_bounds: PrintedBox,
    boxes: Vec<String>,
    likely_cause: Option<String>,
}

/// Layers that overlap none of their windows: at least one.
#[derive(Clone, Debug)]
pub struct DisplacedLayers(pub Vec<DisplacedLayer>);

/// The windows that are cut from a layer.
#[derive(Debug)]
pub(crate) struct WindowsOfLayer<'a> {
    /// How many there are.
    pub(crate) count: u64,
    /// The windows, or an even selection of them: at least one.
    pub(crate) windows: Vec<CenteredWindow>,
    /// The ids of the boxes of their samples.
    pub(crate) boxes: Vec<&'a str>,
    /// Whether windows of the same samples overlap another layer, so that their positions must be right.
    pub(crate) overlap_others: bool,
}

/// A box as messages print it: in nm, and in voxels of one resolution.
#[derive(Clone, Copy, Debug)]
struct PrintedBox {
    nm: BoxNm,
    voxels: VoxelBox,
    resolution: Resolution,
}

impl DisplacedLayer {
    /// `source` is named `layer` in the config and has the voxels `bounds` at `resolution`. `scales` are further
    /// resolutions that the author may have meant. `None` if there is no window or if coordinates are not finite.
    pub(crate) fn new(
        config: &Config,
        (layer, source): (&str, &VolumeSource),
        (bounds, resolution): (&VoxelBox, &Resolution),
        windows: &WindowsOfLayer<'_>,
        scales: &[Resolution],
    ) -> Option<Self> {
        let layer_box = LayerBox {
            start: bounds.start,
            size: bounds.shape(),
            resolution: *resolution,
        };
        let resolutions = resolutions(config, resolution, scales);
        let mistake = mistake::of_windows(
            &windows.windows,
            &layer_box,
            &resolutions,
            !windows.overlap_others,
        );
        let covered: Vec<_> = windows.windows.iter().map(|w| w.covers).collect();
        let wording = Wording::of_layer(config, layer, source.url.format.as_deref());
        Some(Self {
            layer: layer.to_owned(),
            location: source.url.location.to_string(),
            bounds: PrintedBox {
                nm: layer_box.nm()?,
                voxels: *bounds,
                resolution: *resolution,
            },
            windows: windows.count,
            window_bounds: PrintedBox::new(bounds_of(&covered)?, *resolution),
            boxes: windows.boxes.iter().map(|id| format!("{id:?}")).collect(),
            likely_cause: mistake.map(|mistake| wording.describe(mistake)),
        })
    }
}

impl fmt::Display for DisplacedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "none of the {} window(s) for the layer `{}` overlaps it: they would contain only padding",
            self.windows, self.layer
        )?;
        writeln!(f, "  the layer is at {}, in {}", self.bounds, self.location)?;
        write!(
            f,
            "  its windows are at {}, around annotations of {}",
            self.window_bounds,
            list_of_boxes(&self.boxes)
        )?;
        write_likely_cause(f, self.likely_cause.as_deref())
    }
}

impl fmt::Display for DisplacedLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (i, layer) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{layer}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more layer(s)"),
        }
    }
}

impl std::error::Error for DisplacedLayers {}

/// The positions of a point layer's boxes and of its annotations, none of which is in a box. `extent` is the bounds of
/// the annotations, if known.
pub(super) fn describe_annotations(
    config: &Config,
    source: &PointSource,
    boxes: &[BoxNm],
    extent: Option<&BoxNm>,
) -> String {
    let Some(all) = bounds_of(boxes) else {
        return String::new();
    };
    let box_bounds = PrintedBox::new(all, config.resolution);
    let mut text = format!("  the {} box(es) are at {box_bounds}\n", boxes.len());
    let Some(extent) = extent else {
        text.push_str(&format!("  {source} has no annotations"));
        return text;
    };
    let reference = match source {
        PointSource::Precomputed(_) => ", according to `lower_bound` and `upper_bound` of its info",
        _ => "",
    };
    let bounds = PrintedBox::new(*extent, config.resolution);
    text.push_str(&format!(
        "  the annotations of {source} are at {bounds}{reference}"
    ));
    let mistake =
        mistake::of_annotations(extent, boxes, &resolutions(config, &config.resolution, &[]));
    if let Some(mistake) = mistake {
        let cause = Wording::of_annotations(config).describe(mistake);
        text.push_str(&format!("\n  likely cause: {cause}"));
    }
    text
}

fn write_likely_cause(f: &mut fmt::Formatter<'_>, likely_cause: Option<&str>) -> fmt::Result {
    match likely_cause {
        Some(cause) => write!(f, "\n  likely cause: {cause}"),
        None => Ok(()),
    }
}

/// The resolutions that a mistake may involve, each once, the config's first.
fn resolutions(config: &Config, own: &Resolution, scales: &[Resolution]) -> Vec<Resolution> {
    let of_table = match &config.points.source {
        PointsFrom::Table(table) => table.resolution,
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

/// The first few of `boxes`.
fn list_of_boxes(boxes: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = boxes.len().min(SHOWN);
    let text = boxes[..shown].join(", ");
    let what = if boxes.len() == 1 { "box" } else { "boxes" };
    match boxes.len() - shown {
        0 => format!("the {what} {text}"),
        more => format!("the {what} {text} and {more} more"),
    }
}

impl PrintedBox {
    fn new(nm: BoxNm, resolution: Resolution) -> Self {
        Self {
            nm,
            voxels: nm.covering_voxels(&resolution),
            resolution,
        }
    }
}

impl fmt::Display for PrintedBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounding errors are smaller than thousandths of a nm.
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
