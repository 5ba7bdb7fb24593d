//! The sample table: which samples exist, where their windows start, and in which order they are stored.
//!
//! The input is the config, the collection and the annotations; the output is a [`Plan`], a pure function of them:
//! nothing in this module reads or writes files. Samples are ordered by box, as in the collection. Within a box they
//! follow a space-filling curve over cells of one window, so that neighbours share source chunks; within a cell they
//! are ordered by annotation id.

mod build;
mod choose;
mod digest;
mod displaced;
mod drop_reason;
mod earlier;
mod empty;
mod error;
mod finished;
mod leaks;
mod objects;
mod order;
mod padding;
mod properties;
mod read_plan;
mod resolution;
mod reuse;
mod splits;
mod table;
mod tasks;
#[cfg(test)]
mod tests;

pub(crate) use choose::wanted_annotations;
pub(crate) use displaced::{CenteredWindow, WindowsOfLayer};
pub use displaced::{DisplacedLayer, DisplacedLayers};
pub use drop_reason::DropReason;
pub(crate) use earlier::EarlierPlan;
pub use error::PlanError;
pub use finished::{FinishedPlan, SourceFacts};
pub(crate) use objects::MAX_OBJECTS;
pub use objects::{ObjectCounts, SampleObjects};
pub use padding::Padding;
pub(crate) use read_plan::BoxQuery;
pub use read_plan::{LayerPoints, ReadPlan};
pub use reuse::{Reuse, ReusedShards};
pub(crate) use table::BOX_BYTES;
pub use table::{
    DroppedAnnotation, Plan, PlannedArray, PlannedBox, PlannedGroup, PlannedSplit, Sample,
    VolumeSource,
};
pub(crate) use tasks::{ShardCost, work_order};
pub use tasks::{Tasks, list_of_tasks};
