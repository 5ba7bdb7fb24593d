//! The message for a mistake, with the config key or the part of the data that corrects it.

use super::mistake::Mistake;
use crate::config::{Config, LengthUnit, PointsFrom, TableConfig};
use crate::geometry::{AXES, Resolution};

/// The words for one kind of message: for windows and a layer, or for annotations and boxes.
#[derive(Debug)]
pub(super) struct Wording {
    /// What should be inside the target.
    subject: &'static str,
    target: &'static str,
    /// The positions that may be wrong.
    positions: &'static str,
    /// What sets the unit of positions.
    unit: String,
    /// What sets the order of the axes of positions.
    axes: String,
    /// What sets the layer's offset.
    offset: String,
    /// What sets the order of the layer's axes.
    layer_axes: String,
}

impl Wording {
    /// For the windows of the layer with this name.
    pub(super) fn of_layer(config: &Config, layer: &str, format: Option<&str>) -> Self {
        let of_config = |key: &str| format!("`layers.{layer}.{key}` in the config");
        let (offset, layer_axes) = match format {
            Some(name) if name.ends_with("precomputed") => (
                "`voxel_offset` in the layer's info".to_owned(),
                "the layer's info".to_owned(),
            ),
            Some(_) => (of_config("voxel_offset"), of_config("axes")),
            None => (
                format!(
                    "`voxel_offset` in the layer's info or, for Zarr and N5, {}",
                    of_config("voxel_offset")
                ),
                format!(
                    "the layer's info or, for Zarr and N5, {}",
                    of_config("axes")
                ),
            ),
        };
        let boxes = "the boxes of `collection`";
        Self {
            subject: "the windows",
            target: "the layer",
            positions: "the positions of boxes and annotations",
            unit: format!("{} and {boxes}", unit_key(config)),
            axes: format!("{} and {boxes}", axes_key(config)),
            offset,
            layer_axes,
        }
    }

    /// For annotations and the boxes of the collection.
    pub(super) fn of_annotations(config: &Config) -> Self {
        let boxes = "the boxes of `collection` if they are wrong";
        Self {
            subject: "the annotations",
            target: "the boxes",
            positions: "their positions",
            unit: format!("{}, or {boxes}", unit_key(config)),
            axes: format!("{}, or {boxes}", axes_key(config)),
            offset: String::new(),
            layer_axes: String::new(),
        }
    }

    /// What is probably wrong, and what to correct.
    pub(super) fn describe(&self, mistake: Mistake) -> String {
        self.position_mistake(mistake)
            .or_else(|| self.axes_mistake(mistake))
            .unwrap_or_else(|| self.offset_mistake(mistake))
    }

    /// A mistake in the unit or the scale of positions.
    fn position_mistake(&self, mistake: Mistake) -> Option<String> {
        let (change, explanation) = match mistake {
            Mistake::Unit(factor) => (multiplied(factor), unit_mistake(factor)),
            Mistake::VoxelsAsNm(r) => (
                format!("multiplied by {}", triple(r.nm())),
                format!("voxels of {r}, read as nm"),
            ),
            Mistake::NmAsVoxels(r) => (
                format!("divided by {}", triple(r.nm())),
                format!("nm, read as voxels of {r}"),
            ),
            Mistake::OtherScale(read, meant) => (
                format!("multiplied by {}", ratio(&meant, &read)),
                format!("voxels of {meant}, read as voxels of {read}"),
            ),
            _ => return None,
        };
        let Self {
            subject,
            target,
            positions,
            unit,
            ..
        } = self;
        Some(format!(
            "{subject} would be inside {target} if {positions} were {change}: they are probably {explanation}. Correct {unit}"
        ))
    }

    /// A mistake in the axes of positions.
    fn axes_mistake(&self, mistake: Mistake) -> Option<String> {
        let Self {
            subject,
            target,
            positions,
            unit,
            axes,
            ..
        } = self;
        match mistake {
            Mistake::Axes(order) => Some(format!(
                "{subject} would be inside {target} if the axes of {positions} were read in the order {0}: they are probably written {0}, not x, y, z. Correct {axes}",
                axis_names(order)
            )),
            Mistake::AxesOfVoxels(order, r) => Some(format!(
                "{subject} would be inside {target} if {positions} were voxels of {r} with the axes in the order {}: they are probably written in this way. Correct {axes}, and {unit}",
                axis_names(order)
            )),
            _ => None,
        }
    }

    /// A mistake in the offset or the axes of the layer.
    fn offset_mistake(&self, mistake: Mistake) -> String {
        let Self {
            subject,
            target,
            offset,
            layer_axes,
            ..
        } = self;
        let inside = format!("{subject} would be inside {target}");
        match mistake {
            Mistake::OffsetMissing => format!(
                "the layer starts at voxel 0, 0, 0 and is large enough for the centres of all windows: probably its offset is missing. Correct {offset}"
            ),
            Mistake::OffsetOfLayerOnly => format!(
                "{inside} if the layer's offset were 0, 0, 0: probably positions are counted from the layer's first voxel, or its offset is wrong. Correct the positions, or {offset}"
            ),
            Mistake::OffsetUnit(factor) => format!(
                "{inside} if the layer's offset were {}: it is probably {}. Correct {offset}",
                multiplied(factor),
                unit_mistake(factor)
            ),
            Mistake::OffsetInNm => format!(
                "{inside} if the layer's offset were divided by its resolution: it is probably nm, read as voxels. Correct {offset}"
            ),
            Mistake::OffsetInVoxels => format!(
                "{inside} if the layer's offset were multiplied by its resolution: it is probably voxels, read as nm. Correct {offset}"
            ),
            Mistake::OffsetOfScale(r) => format!(
                "{inside} if the layer's offset were voxels of {r}: it is probably the offset of another scale. Correct {offset}"
            ),
            Mistake::LayerAxes(order) => format!(
                "{inside} if the layer's axes were in the order {}, which is probably the case. Correct {layer_axes}",
                axis_names(order)
            ),
            Mistake::OffsetAxes(order) => format!(
                "{inside} if the layer's offset were in the order {}, which is probably the case. Correct {offset}",
                axis_names(order)
            ),
            _ => String::new(),
        }
    }
}

/// What sets the unit of annotations.
fn unit_key(config: &Config) -> String {
    match &config.points.source {
        PointsFrom::Table(TableConfig {
            unit: LengthUnit::Voxel,
            ..
        }) => "`points.table.unit` and `points.table.resolution`".to_owned(),
        PointsFrom::Table(_) => "`points.table.unit`".to_owned(),
        PointsFrom::Cremi(_) => {
            "the attribute `offset` of `/annotations`, and the unit of its locations (nm)"
                .to_owned()
        }
        PointsFrom::NeuroglancerState(_) => {
            "`dimensions` of the viewer state in `points.neuroglancer_state`".to_owned()
        }
        PointsFrom::Layer(layer) => format!("`dimensions` of the annotation layer `{layer}`"),
        PointsFrom::Layers(_) => "`dimensions` of the annotation layers".to_owned(),
        PointsFrom::Objects(objects) => {
            format!(
                "the resolution and the offset of the layer `{}`",
                objects.layer
            )
        }
    }
}

/// What sets the order of the axes of annotations.
fn axes_key(config: &Config) -> String {
    match &config.points.source {
        PointsFrom::Table(table) if table.point.is_some() => "`points.table.point`".to_owned(),
        PointsFrom::Table(_) => "`points.table.start` and `points.table.end`".to_owned(),
        PointsFrom::NeuroglancerState(_) | PointsFrom::Layer(_) | PointsFrom::Layers(_) => {
            format!("the order of {}", unit_key(config))
        }
        PointsFrom::Cremi(_) => "the order of `/annotations/locations` (z y x)".to_owned(),
        PointsFrom::Objects(objects) => format!("the axes of the layer `{}`", objects.layer),
    }
}

/// `multiplied by 1,000`, `divided by 1,000,000`.
fn multiplied(factor: f64) -> String {
    let number = |n: f64| match n {
        n if n < 1e4 => "1,000",
        n if n < 1e7 => "1,000,000",
        _ => "1,000,000,000",
    };
    if factor > 1.0 {
        format!("multiplied by {}", number(factor))
    } else {
        format!("divided by {}", number(1.0 / factor))
    }
}

/// Which unit was read as which other, if positions times `factor` are right.
fn unit_mistake(factor: f64) -> String {
    let unit = |n: f64| match n {
        n if n < 1e4 => "um",
        n if n < 1e7 => "mm",
        _ => "m",
    };
    if factor > 1.0 {
        format!("{}, read as nm", unit(factor))
    } else {
        format!("nm, read as {}", unit(1.0 / factor))
    }
}

/// The names of the axes in the order in which they were written.
fn axis_names(order: [usize; 3]) -> String {
    // `order` has the position from which each of x, y, z is read.
    let mut written = [""; 3];
    for (axis, from) in order.into_iter().enumerate() {
        written[from] = AXES[axis];
    }
    written.join(", ")
}

fn ratio(meant: &Resolution, read: &Resolution) -> String {
    triple(std::array::from_fn(|d| meant.nm()[d] / read.nm()[d]))
}

fn triple(values: [f64; 3]) -> String {
    // Ratios of decimal numbers have rounding errors.
    let text = |v: f64| {
        let rounded = (v * 1e6).round() / 1e6;
        if rounded == 0.0 { v } else { rounded }.to_string()
    };
    values.map(text).join(", ")
}
