//! The first draft of a plan: the annotations of all boxes are read, and become samples that nothing has checked against
//! voxels yet.

use std::sync::Arc;

use rayon::prelude::*;

use super::error::JobError;
use super::lookups::Lookups;
use super::negatives::{PointsAround, add_negatives};
use super::stages::Stages;
use crate::collection::Collection;
use crate::config::{ConfigFile, PointsConfig};
use crate::plan::{LayerPoints, Plan, ReadPlan};
use crate::points::PointsError;
use crate::storage::{Location, ParallelTasks, Storage};
use crate::volume;

/// A first draft of a plan.
#[derive(Debug)]
pub(super) struct Draft {
    pub plan: Plan,
    /// Where the collections were read from.
    pub collection: String,
}

impl Draft {
    /// Reads the collection and the annotations, and drafts the plan.
    pub fn read(
        config: &ConfigFile,
        storage: &Storage,
        stages: &mut Stages,
    ) -> Result<Self, JobError> {
        stages.begin("read config and collection");
        let folder = Location::folder_of(&config.path);
        let collections = Collection::open_all(&config.config, &folder, storage)?;
        let places: Vec<_> = collections.iter().map(Collection::place).collect();
        stages.begin("read annotations");
        let plan = draft(config, &collections, storage, stages)?;
        Ok(Self {
            plan,
            collection: places.join(", "),
        })
    }
}

/// Reads the annotations and drafts the plan.
fn draft(
    config: &ConfigFile,
    collections: &[Collection],
    storage: &Storage,
    stages: &mut Stages,
) -> Result<Plan, JobError> {
    let read_plan = ReadPlan::new(config, collections, |source, layer| {
        volume::resolutions(source, layer, storage)
    })?;
    let PointsConfig {
        anchor,
        choose,
        negatives,
        ..
    } = &config.config.points;
    let failed = |source: PointsError| JobError::Points {
        layer: config.config.points.name(),
        key: config.config.points.source_key().to_owned(),
        source,
    };
    let layers = read_plan
        .point_sources()
        .iter()
        .map(|source| source.open(storage).map_err(failed))
        .collect::<Result<Vec<_>, _>>()?;
    let lookups = Lookups::open(&config.config, &read_plan, &layers, storage)?;
    storage.stage().count("annotations in boxes", None);
    let tasks = ParallelTasks::<JobError>::new(storage);
    let annotations = layers
        .par_iter()
        .enumerate()
        .map(|(i, layer)| {
            let read = || {
                let boxes = read_plan.boxes_of_point_source(i);
                let related = if choose.related.is_empty() {
                    None
                } else {
                    Some(Arc::new(layer.related(&choose.related, &boxes, *anchor)?))
                };
                let PointsAround { points, around } =
                    PointsAround::read(layer, &boxes, *anchor, negatives.as_ref())?;
                let extent = if points.per_box.iter().all(Vec::is_empty) {
                    layer.extent(*anchor)?
                } else {
                    None
                };
                let layer = LayerPoints {
                    extent,
                    points,
                    has_ends: layer.has_ends(),
                    properties: layer.properties().to_vec(),
                    related,
                };
                Ok((layer, around))
            };
            tasks.run(|| read().map_err(failed))
        })
        .collect::<Result<(Vec<_>, Vec<_>), _>>();
    let (mut annotations, around) = tasks.finish(annotations)?;
    add_negatives(
        &config.config,
        &read_plan,
        &mut annotations,
        around,
        storage,
        failed,
    )?;
    stages.begin("plan");
    let mut draft = Plan::build(&read_plan, annotations)?;
    if !lookups.is_empty() {
        stages.begin("read annotations by id");
        lookups.add_to(&mut draft)?;
    }
    Ok(draft)
}
