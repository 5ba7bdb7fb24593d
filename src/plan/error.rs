//! Why a plan cannot be built.

use std::path::PathBuf;

use super::leaks::report::LeakReport;
use crate::collection::LayerError;
use crate::fault::{Fault, FaultKind};
use crate::storage::LocationError;
use crate::volume::VolumeError;

/// Why the resolutions of a layer are unknown.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableLayer {
    /// Its source is invalid.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It cannot be opened.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// Why a plan cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A layer in the config is missing or invalid.
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
    /// A path in the config is invalid.
    #[error("{}: at `{path}`", config.display())]
    Path {
        /// The config file.
        config: PathBuf,
        /// The key.
        path: String,
        /// What is wrong.
        source: LocationError,
    },
    /// The config has the path of the supervoxels of a layer that is not the segmentation of a PyChunkedGraph.
    #[error(
        "{}: at `layers.{layer}.roots.data_dir`: the path of the layer `{layer}` is {location}, not that of a PyChunkedGraph (`graphene://`), \
         and its own voxels are read: remove `data_dir`, or correct the layer's path",
        config.display()
    )]
    UnusedDataDir {
        /// The config file.
        config: PathBuf,
        /// The layer's name.
        layer: String,
        /// Where it is.
        location: String,
    },
    /// A filter that does not fit the properties of a point layer.
    #[error("{}: at `points.choose.filter.{name}{member}`: the point layer {layer} {problem}", config.display())]
    Filter {
        /// The config file.
        config: PathBuf,
        /// The property's name in the config.
        name: String,
        /// The member of its filter with a leading dot, or empty.
        member: &'static str,
        /// The point layer.
        layer: String,
        /// What it lacks, and what it has.
        problem: String,
    },
    /// A property that cannot be the id of an object.
    #[error("{}: at `arrays.{array}.transform.object_at.id.property`: {problem}", config.display())]
    ObjectId {
        /// The config file.
        config: PathBuf,
        /// The array.
        array: String,
        /// What is wrong with the property, and which ones there are.
        problem: String,
    },
    /// A box whose tags match two splits.
    #[error("the box {id:?} with the tags {tags:?} belongs to two splits, `{first}` and `{second}`: change `splits` in {} or the tags of the box, so that it belongs to one", config.display())]
    SeveralSplits {
        /// The box.
        id: String,
        /// Its tags.
        tags: Vec<String>,
        /// The first split.
        first: String,
        /// The second split.
        second: String,
        /// The config file.
        config: PathBuf,
    },
    /// No box belongs to a split.
    #[error("none of the {boxes} boxes of {collection} belongs to the {split}: `{path}` in {} lists the tags {wanted}; available tags: {found}. Correct the tags or remove the split", config.display())]
    NoBox {
        /// The split, or the random splits.
        split: String,
        /// JSON path of the tags in the config.
        path: String,
        /// Number of boxes.
        boxes: usize,
        /// The collection.
        collection: String,
        /// The config file.
        config: PathBuf,
        /// The split's tags in the config.
        wanted: String,
        /// The tags of all boxes.
        found: String,
    },
    /// No box was assigned to a random split.
    #[error("none of the {boxes} boxes of {collection} that take part in `random_splits` of {} is in the split `{split}`, which gets {part}: {}", config.display(), more_boxes(*grouped))]
    NoRandomBox {
        /// The split.
        split: String,
        /// Number of boxes that take part.
        boxes: u64,
        /// The collection.
        collection: String,
        /// The config file.
        config: PathBuf,
        /// The part of the boxes that the split gets.
        part: String,
        /// Whether boxes are assigned in groups.
        grouped: bool,
    },
    /// Boxes of random splits are grouped by a tag that none of them has.
    #[error(
        "{}: at `random_splits.group_by.tag_prefix`: no box has a tag that begins with `{prefix}`; available tags: {found}",
        config.display()
    )]
    NoTagWithPrefix {
        /// The beginning of the tag.
        prefix: String,
        /// The config file.
        config: PathBuf,
        /// The tags that boxes have.
        found: String,
    },
    /// The resolutions of a layer cannot be read.
    #[error("cannot read the resolutions of the layer `{layer}`")]
    Resolutions {
        /// The layer's name.
        layer: String,
        /// Why.
        source: VolumeError,
    },
    /// With `flexible_z`: the resolutions of a layer that is in no array cannot be read.
    #[error("{}: at `flexible_z`: all volumes of a layer group are considered, but the layer `{layer}` of the group `{group}`, which is in no array, cannot be read: remove it from the group, or set `flexible_z` to false and put the z into `resolution`", config.display())]
    UnreadableLayer {
        /// The config file.
        config: PathBuf,
        /// The layer's name.
        layer: String,
        /// The group's id.
        group: String,
        /// Why.
        source: UnreadableLayer,
    },
    /// With `flexible_z`: a name in the config's `layers` that no layer has.
    #[error("{}: at `layers.{name}`: no layer group has a layer of that name; expected one of {known}{}", config.display(), hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    UnknownLayer {
        /// The config file.
        config: PathBuf,
        /// The name.
        name: String,
        /// The names of all layers.
        known: String,
        /// The most similar of them.
        hint: Option<String>,
    },
    /// With `flexible_z`: the layers of a group share no resolution.
    #[error("{}: at `flexible_z`: the layers of box {box_id:?} have no common z resolution at {xy} in x and y: {found}", config.display())]
    NoSharedZ {
        /// The config file.
        config: PathBuf,
        /// The first box of the group.
        box_id: String,
        /// The config's resolution in x and y.
        xy: String,
        /// The z resolutions of each layer.
        found: String,
    },
    /// Windows of two splits share voxels.
    #[error("{report}\n  {}", advice(report, from.as_deref(), *random))]
    Leaks {
        /// The splits, and how much they share.
        report: LeakReport,
        /// The split from which the config drops leaking samples, if any. It is not one of the report's splits.
        from: Option<String>,
        /// Whether boxes were assigned to splits at random.
        random: bool,
    },
}

/// How to get a box into each random split.
fn more_boxes(grouped: bool) -> &'static str {
    if grouped {
        "use more or smaller groups (`group_by`), larger fractions or fewer folds, or another `seed`; or assign boxes by tags (`splits`)"
    } else {
        "use more boxes, larger fractions or fewer folds, or another `seed`; or assign boxes by tags (`splits`)"
    }
}

/// How to handle splits that leak.
fn advice(report: &LeakReport, from: Option<&str>, random: bool) -> String {
    let splits = report.between.first().map(|leak| leak.splits.each_ref());
    let [other, split] = splits.map_or(["train", "val"], |s| s.map(String::as_str));
    let ways = format!(
        r#"set `leaks` in the config: {{"drop_from": {split:?}}} drops the samples of `{split}` that share voxels with those of `{other}`, "warn" only warns, "allow" skips the check"#
    );
    let grouped = if random {
        "put boxes that are near each other into the same split (`random_splits.group_by`, with larger blocks if it is set), or "
    } else {
        ""
    };
    match from {
        None => format!("{grouped}move the boxes apart, or {ways}"),
        Some(from) => format!(
            "`leaks` drops samples from `{from}`, but these samples are in other splits: {grouped}move their boxes apart, or {ways}"
        ),
    }
}

impl Fault for UnreadableLayer {
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
            Self::UnreadableLayer { source, .. } => source,
            _ => return FaultKind::Usage,
        };
        // The config names a layer that cannot be used, unless the failure is temporary.
        match source.kind() {
            FaultKind::Environment => FaultKind::Environment,
            FaultKind::Data | FaultKind::Usage => FaultKind::Usage,
        }
    }
}
