//! A slip in words, with the config key or the place in the data that sets it right.

use super::slip::Slip;
use crate::config::{Config, CsvConfig, LengthUnit, PointsFrom};
use crate::geometry::{AXES, Resolution};

/// What is moved, to where, and which keys say so.
#[derive(Debug)]
pub(super) struct Keys {
    /// What would lie in place, and where that is.
    things: &'static str,
    place: &'static str,
    /// Whose positions they are.
    whose: &'static str,
    /// What says in which unit positions are.
    unit: String,
    /// What says in which order the axes of positions are.
    axes: String,
    /// Where the layer's offset stands.
    offset: String,
    /// Where the order of the layer's axes stands.
    layer_axes: String,
}

impl Keys {
    /// For windows and the layer of that name.
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
            things: "the windows",
            place: "the layer",
            whose: "the positions of boxes and annotations",
            unit: format!("{} and {boxes}", unit_key(config)),
            axes: format!("{} and {boxes}", axes_key(config)),
            offset,
            layer_axes,
        }
    }

    /// For annotations and the boxes of the collection.
    pub(super) fn of_annotations(config: &Config) -> Self {
        let boxes = "the boxes of `collection`, where those are wrong";
        Self {
            things: "the annotations",
            place: "the boxes",
            whose: "their positions",
            unit: format!("{}, or {boxes}", unit_key(config)),
            axes: format!("{}, or {boxes}", axes_key(config)),
            offset: String::new(),
            layer_axes: String::new(),
        }
    }

    /// What is likely wrong, and what to correct.
    pub(super) fn describe(&self, slip: Slip) -> String {
        let Self {
            things,
            place,
            whose,
            unit,
            axes,
            offset,
            layer_axes,
        } = self;
        let would = format!("{things} would lie in {place}");
        match slip {
            Slip::Unit(factor) => format!(
                "{would} if {whose} were {}: probably they are {}. Correct {unit}",
                times(factor),
                unit_slip(factor)
            ),
            Slip::VoxelsAsNm(r) => format!(
                "{would} if {whose} were multiplied by {}: probably they are voxels of {r}, read as nm. Correct {unit}",
                triple(r.nm())
            ),
            Slip::NmAsVoxels(r) => format!(
                "{would} if {whose} were divided by {}: probably they are nm, read as voxels of {r}. Correct {unit}",
                triple(r.nm())
            ),
            Slip::OtherScale(read, meant) => format!(
                "{would} if {whose} were multiplied by {}: probably they are voxels of {meant}, read as voxels of {read}. Correct {unit}",
                ratio(&meant, &read)
            ),
            Slip::Axes(order) => format!(
                "{would} if the axes of {whose} were read in the order {}: probably they are written {}, not x, y, z. Correct {axes}",
                names(order),
                names(order)
            ),
            Slip::AxesOfVoxels(order, r) => format!(
                "{would} if {whose} were voxels of {r} with the axes in the order {}: probably they are so written. Correct {axes}, and {unit}",
                names(order)
            ),
            Slip::OffsetMissing => format!(
                "the layer begins at voxel 0, 0, 0 and is large enough for the centres of all windows: probably its offset is missing. Correct {offset}"
            ),
            Slip::OffsetOfLayerOnly => format!(
                "{would} if the layer's offset were 0, 0, 0: probably positions are counted from the layer's first voxel, or its offset is wrong. Correct the positions, or {offset}"
            ),
            Slip::OffsetUnit(factor) => format!(
                "{would} if the layer's offset were {}: probably it is {}. Correct {offset}",
                times(factor),
                unit_slip(factor)
            ),
            Slip::OffsetInNm => format!(
                "{would} if the layer's offset were divided by its resolution: probably it is nm, read as voxels. Correct {offset}"
            ),
            Slip::OffsetInVoxels => format!(
                "{would} if the layer's offset were multiplied by its resolution: probably it is voxels, read as nm. Correct {offset}"
            ),
            Slip::OffsetOfScale(r) => format!(
                "{would} if the layer's offset were voxels of {r}: probably it is that of another scale. Correct {offset}"
            ),
            Slip::LayerAxes(order) => format!(
                "{would} if the layer's axes were in the order {}: probably they are. Correct {layer_axes}",
                names(order)
            ),
            Slip::OffsetAxes(order) => format!(
                "{would} if the layer's offset were in the order {}: probably it is. Correct {offset}",
                names(order)
            ),
        }
    }
}

/// What says in which unit annotations are.
fn unit_key(config: &Config) -> String {
    match &config.points.source {
        PointsFrom::Csv(CsvConfig {
            unit: LengthUnit::Voxel,
            ..
        }) => "`points.csv.unit` and `points.csv.resolution`".to_owned(),
        PointsFrom::Csv(_) => "`points.csv.unit`".to_owned(),
        PointsFrom::NeuroglancerState(_) => {
            "`dimensions` of the viewer state in `points.neuroglancer_state`".to_owned()
        }
        PointsFrom::Layer(layer) => format!("`dimensions` of the annotation layer `{layer}`"),
    }
}

/// What says in which order the axes of annotations are.
fn axes_key(config: &Config) -> String {
    match &config.points.source {
        PointsFrom::Csv(csv) if csv.point.is_some() => "`points.csv.point`".to_owned(),
        PointsFrom::Csv(_) => "`points.csv.start` and `points.csv.end`".to_owned(),
        PointsFrom::NeuroglancerState(_) | PointsFrom::Layer(_) => {
            format!("the order of {}", unit_key(config))
        }
    }
}

/// `multiplied by 1,000`, `divided by 1,000,000`.
fn times(factor: f64) -> String {
    let number = |n: f64| match n {
        n if n < 1e4 => "1,000",
        n if n < 1e7 => "1,000,000",
        _ => "1,000,000,000",
    };
    match factor > 1.0 {
        true => format!("multiplied by {}", number(factor)),
        false => format!("divided by {}", number(1.0 / factor)),
    }
}

/// Which unit was taken for which, where positions times `factor` are right.
fn unit_slip(factor: f64) -> String {
    let unit = |n: f64| match n {
        n if n < 1e4 => "um",
        n if n < 1e7 => "mm",
        _ => "m",
    };
    match factor > 1.0 {
        true => format!("{}, read as nm", unit(factor)),
        false => format!("nm, read as {}", unit(1.0 / factor)),
    }
}

/// The names of the axes, in the order in which they were written.
fn names(order: [usize; 3]) -> String {
    // `order` says where each of x, y, z is read from.
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
    // Ratios of decimal numbers are none themselves.
    let text = |v: f64| {
        let rounded = (v * 1e6).round() / 1e6;
        if rounded == 0.0 { v } else { rounded }.to_string()
    };
    values.map(text).join(", ")
}
