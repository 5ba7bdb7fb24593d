//! Why there can be no plan.

use std::path::PathBuf;

use super::LeakReport;
use crate::collection::LayerError;
use crate::fault::{Fault, FaultKind};
use crate::storage::LocationError;
use crate::volume::VolumeError;

/// Why the resolutions of a layer are not known.
#[derive(Debug, thiserror::Error)]
pub enum NotCounted {
    /// Its source is not understood.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It cannot be opened.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// Why there can be no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A layer that the config names is not to be had.
    #[error("{}: at `{path}`: box {box_id:?} needs the layer `{layer}`", config.display())]
    Layer {
        /// The config file.
        config: PathBuf,
        /// JSON path in the config.
        path: String,
        /// The layer's name.
        layer: String,
        /// The first box whose group lacks it.
        box_id: String,
        /// What is wrong.
        source: LayerError,
    },
    /// The table that the config names lies nowhere that is read.
    #[error("{}: at `points.csv.file`", config.display())]
    Table {
        /// The config file.
        config: PathBuf,
        /// What is wrong.
        source: LocationError,
    },
    /// A filter that does not fit the properties of a point layer.
    #[error("{}: at `points.choose.filter.{name}{member}`: the point layer {layer} {problem}", config.display())]
    Filter {
        /// The config file.
        config: PathBuf,
        /// The property's name in the config.
        name: String,
        /// The member of its filter, with a dot before it, or nothing.
        member: &'static str,
        /// The point layer.
        layer: String,
        /// What it has, and what it has not.
        problem: String,
    },
    /// Tags that put a box into two splits.
    #[error("the box {id:?} with the tags {tags:?} belongs to the splits `{first}` and `{second}`: change `splits` in {} or the box's tags, so that it is in one", config.display())]
    SeveralSplits {
        /// The box.
        id: String,
        /// Its tags.
        tags: Vec<String>,
        /// A split.
        first: String,
        /// Another.
        second: String,
        /// The config file.
        config: PathBuf,
    },
    /// No box belongs to a split.
    #[error("none of the {boxes} boxes of {collection} belongs to the split `{split}`; `splits.{split}` in {} names the tags {wanted}, the boxes bear {found}: correct the tags, or leave the split out", config.display())]
    NoBox {
        /// The split.
        split: String,
        /// Number of boxes.
        boxes: usize,
        /// The collection.
        collection: String,
        /// The config file.
        config: PathBuf,
        /// The tags that the config names for the split.
        wanted: String,
        /// The tags that there are.
        found: String,
    },
    /// The resolutions of a layer are not to be had.
    #[error("cannot read which resolutions the layer `{layer}` has")]
    Resolutions {
        /// The layer's name.
        layer: String,
        /// Why.
        source: VolumeError,
    },
    /// With `flexible_z`, the resolutions of a layer in no array are not to be had.
    #[error("{}: at `flexible_z`: all volumes of a layer group count, but the layer `{layer}` of the group `{group}`, in no array, cannot be read: remove it from the group, or set `flexible_z` to false and write the z in `resolution`", config.display())]
    NotCounted {
        /// The config file.
        config: PathBuf,
        /// The layer's name.
        layer: String,
        /// The group's id.
        group: String,
        /// Why.
        source: NotCounted,
    },
    /// With `flexible_z`, a name in the config's `layers` that is no layer's.
    #[error("{}: at `layers.{name}`: no layer group has a layer of that name; expected one of {known}{}", config.display(), hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    UnknownLayer {
        /// The config file.
        config: PathBuf,
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
        /// The nearest of them.
        hint: Option<String>,
    },
    /// With `flexible_z`, layers of a group that share no resolution.
    #[error("{}: at `flexible_z`: the layers of box {box_id:?} share no z resolution at {xy} in x and y: {found}", config.display())]
    NoSharedZ {
        /// The config file.
        config: PathBuf,
        /// The first box of the group.
        box_id: String,
        /// What the config says of x and y.
        xy: String,
        /// Each layer's.
        found: String,
    },
    /// Windows of two splits share voxels.
    #[error("{report}\n  {}", advice(report, from.as_deref()))]
    Leaks {
        /// Which, and how much.
        report: LeakReport,
        /// The split whose samples give way, where the config names one; it is not among those of the report.
        from: Option<String>,
    },
}

/// How to go on where splits leak.
fn advice(report: &LeakReport, from: Option<&str>) -> String {
    let splits = report.between.first().map(|leak| leak.splits.each_ref());
    let [other, split] = splits.map_or(["train", "val"], |s| s.map(String::as_str));
    let ways = format!(
        r#"set `leaks` in the config: {{"drop_from": {split:?}}} drops the samples of `{split}` that share voxels with those of `{other}`, "warn" tells of them and goes on, "allow" does not look"#
    );
    match from {
        None => format!("move the boxes apart, or {ways}"),
        Some(from) => format!(
            "`leaks` drops samples from `{from}`, but these are of other splits: move their boxes apart, or {ways}"
        ),
    }
}

impl Fault for NotCounted {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Layer(e) => e.kind(),
            Self::Volume(e) => e.kind(),
        }
    }
}

impl Fault for PlanError {
    fn kind(&self) -> FaultKind {
        let source: &dyn Fault = match self {
            Self::Resolutions { source, .. } => source,
            Self::NotCounted { source, .. } => source,
            _ => return FaultKind::Usage,
        };
        // The config names a layer that cannot be used, unless only this try could not read it.
        match source.kind() {
            FaultKind::Environment => FaultKind::Environment,
            FaultKind::Data | FaultKind::Usage => FaultKind::Usage,
        }
    }
}
