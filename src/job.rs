//! The whole way: a config file in, a sealed dataset out.
//!
//! [`Job::prepare`] reads what the plan depends on and makes it; [`Job::run`] claims the output, makes the
//! shards that are missing, and seals. Run again, it does only what is missing.

mod differs;
mod index;
mod record;

use std::path::Path;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::collection::{Collection, CollectionError};
use crate::config::{Config, ConfigError, ConfigFile, Empty, PointsConfig};
use crate::dataset::{
    ArrayProvenance, BoxEntry, DatasetError, Layout, Manifest, Output, Provenance, Receipt,
    SourceEntry, seal,
};
use crate::extract::{self, Estimate, ExtractError, ExtractReport, Padding, Progress, Sources};
use crate::fault::{Fault, FaultKind};
use crate::plan::{DisplacedLayers, LayerPoints, Plan, PlanError, ReadPlan};
use crate::points::PointsError;
use crate::select;
use crate::storage::{Location, ParallelTasks, Storage, redacted};
use crate::volume;
use record::PlanRecord;

/// A job whose plan is made.
#[derive(Debug)]
pub struct Job {
    /// Where the collection was read from.
    pub(crate) collection: String,
    /// The sample table.
    pub(crate) plan: Plan,
    /// The volumes, opened.
    pub(crate) sources: Sources,
    /// Splits, arrays and shards of the output. How arrays with the codec `auto` are compressed is chosen when the job
    /// is run, because voxels are read for it.
    pub(crate) layout: Layout,
    /// How many windows are padded.
    pub(crate) padding: Padding,
    /// How long each stage took.
    pub(crate) stages: Vec<(&'static str, Duration)>,
}

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// The manifest of the finished dataset.
    pub manifest: Manifest,
    /// What was read and made.
    pub extracted: ExtractReport,
    /// How long each stage took, those of [`Job::prepare`] included.
    pub stages: Vec<(&'static str, Duration)>,
}

/// How to run a job; none of it changes what comes out.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Most memory that the program may take, in bytes.
    pub memory_bytes: u64,
    /// Delete what output the folder holds, be it of another plan or of this one, and begin anew.
    pub force: bool,
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The collection cannot be used.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// There can be no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The annotations cannot be read.
    #[error("cannot read the annotation layer `{layer}`")]
    Points {
        /// Its name in the config.
        layer: String,
        /// Why.
        source: PointsError,
    },
    /// There would be nothing in the dataset.
    #[error("the job has no sample: {why}")]
    NoSample {
        /// What became of all annotations.
        why: String,
    },
    /// No window touches a layer.
    #[error(transparent)]
    Displaced(#[from] DisplacedLayers),
    /// Shards could not be made.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The output cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl Fault for JobError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Config(e) => e.kind(),
            Self::Collection(e) => e.kind(),
            Self::Plan(e) => e.kind(),
            Self::Points { source, .. } => source.kind(),
            Self::Displaced(e) => e.kind(),
            Self::Extract(e) => e.kind(),
            Self::Dataset(e) => e.kind(),
            Self::NoSample { .. } => FaultKind::Data,
        }
    }
}

impl Job {
    /// Reads config, collection and annotations, opens the volumes, and makes the plan. Documents, annotations and
    /// voxels that are read for it take `memory_bytes` at most.
    pub fn prepare(config: &Path, memory_bytes: u64, storage: &Storage) -> Result<Self, JobError> {
        let path = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        let config = Config::read(&path)?;
        Self::prepare_config(ConfigFile { config, path }, memory_bytes, storage)
    }

    /// As [`Job::prepare`], with a config that is in memory.
    pub fn prepare_config(
        config: ConfigFile,
        memory_bytes: u64,
        storage: &Storage,
    ) -> Result<Self, JobError> {
        let storage = &storage.for_job(memory_bytes);
        let mut stages = Vec::new();
        let mut clock = Instant::now();
        let mut stage = |name| {
            stages.push((
                name,
                std::mem::replace(&mut clock, Instant::now()).elapsed(),
            ))
        };
        let folder = Location::folder_of(&config.path);
        let collection = Collection::open(&config.config.collection, &folder, storage)?;
        stage("read config and collection");
        let read_plan = ReadPlan::new(&config, &collection, |source, layer| {
            volume::resolutions(source, layer, storage)
        })?;
        let points = |source| PointsErrorOf(config.config.points.name(), source);
        let tasks = ParallelTasks::<JobError>::new(storage);
        let layers = read_plan
            .point_sources()
            .iter()
            .map(|source| source.open(storage).map_err(|e| points(e).into()))
            .collect::<Result<Vec<_>, JobError>>()?;
        let annotations = layers
            .par_iter()
            .enumerate()
            .map(|(i, layer)| {
                let PointsConfig { anchor, choose, .. } = &config.config.points;
                tasks.run(|| {
                    let related = match choose.related.is_empty() {
                        true => None,
                        false => Some(layer.related(&choose.related).map_err(points)?),
                    };
                    let inside = layer.read_boxes(&read_plan.boxes_of_point_source(i), *anchor);
                    let inside = inside.map_err(points)?;
                    let extent = match inside.per_box.iter().all(Vec::is_empty) {
                        true => layer.extent(*anchor).map_err(points)?,
                        false => None,
                    };
                    Ok(LayerPoints {
                        extent,
                        points: inside,
                        properties: layer.properties(),
                        related,
                    })
                })
            })
            .collect::<Result<Vec<_>, _>>();
        let annotations = tasks.finish(annotations)?;
        stage("read annotations");
        let mut plan = Plan::build(&read_plan, annotations)?;
        stage("plan");
        let sources = Sources::open(&plan, storage)?;
        extract::require_touched(&plan, &sources)?;
        stage("open layers");
        select::filter_by_voxels(&mut plan, &sources, memory_bytes)?;
        stage("ask the layers");
        let mut plan = plan.finish()?;
        let padding = Padding::count(&plan, &sources);
        plan.warnings.extend(padding.warnings(&plan));
        stage("finish the plan");
        let layout = sources.layout(&plan);
        Ok(Self {
            collection: collection.source,
            plan,
            sources,
            layout,
            padding,
            stages,
        })
    }

    /// That there is something to make.
    pub fn require_samples(&self) -> Result<(), JobError> {
        match self.plan.why_no_samples() {
            None => Ok(()),
            Some(why) => Err(JobError::NoSample { why }),
        }
    }

    /// Every box of the collection, and what became of its annotations.
    pub fn boxes(&self) -> Vec<BoxEntry> {
        boxes(&self.plan)
    }

    /// What a run from the beginning would read and write.
    pub fn estimate(&self) -> Estimate {
        extract::estimate(&self.plan, &self.sources, &self.layout)
    }

    /// How many shards stand in the folder `out`, of which nothing is changed. Fails where a run would fail before it
    /// begins. Where the folder is in use, codecs are chosen first: they are part of what it belongs to.
    pub fn finished_shards(&mut self, out: &Path, options: RunOptions) -> Result<u64, JobError> {
        extract::cache_budget(&self.plan, &self.sources, options.memory_bytes)?;
        if Output::exists_in(out) && !options.force {
            select::choose_codecs(&self.plan, &mut self.sources, options.memory_bytes)?;
            self.layout = self.sources.layout(&self.plan);
        }
        let digest = self.sources.digest(&self.plan);
        let record = || PlanRecord::of(&self.plan, &self.sources, digest);
        let found = Output::find(out, digest, options.force);
        let Some(output) = found.map_err(|e| differs::explain(e, out, record))? else {
            return Ok(0);
        };
        let mut shards = 0;
        for id in self.layout.all_shards() {
            shards += u64::from(Receipt::find(&output, &self.layout, id)?.is_some());
        }
        Ok(shards)
    }

    /// Makes what is missing in the folder `out`, and seals it.
    pub fn run(
        self,
        out: &Path,
        options: RunOptions,
        progress: &Progress,
    ) -> Result<Outcome, JobError> {
        self.require_samples()?;
        let Self {
            plan,
            mut sources,
            layout: _,
            padding,
            mut stages,
            collection,
        } = self;
        let clock = Instant::now();
        select::choose_codecs(&plan, &mut sources, options.memory_bytes)?;
        stages.push(("choose codecs", clock.elapsed()));
        let layout = &sources.layout(&plan);
        let digest = sources.digest(&plan);
        // A job that is refused for its memory leaves the folder as it was.
        extract::cache_budget(&plan, &sources, options.memory_bytes)?;
        let record = || PlanRecord::of(&plan, &sources, digest);
        let output = Output::claim(out, digest, layout, options.force)
            .map_err(|e| differs::explain(e, out, record))?;
        differs::keep(&output, record);
        let clock = Instant::now();
        let extracted = extract::run(
            &plan,
            &sources,
            layout,
            &output,
            options.memory_bytes,
            progress,
        )?;
        stages.push(("extract", clock.elapsed()));
        let clock = Instant::now();
        let index = (0..plan.splits.len()).map(|s| index::of_split(&plan, &sources, s));
        let about = about(&plan, &sources, &padding, collection);
        let manifest = seal(&output, layout, about, index.collect())?;
        stages.push(("seal", clock.elapsed()));
        Ok(Outcome {
            manifest,
            extracted,
            stages,
        })
    }
}

/// An error of the annotation layer of that name.
struct PointsErrorOf<'l>(&'l str, PointsError);

impl From<PointsErrorOf<'_>> for JobError {
    fn from(PointsErrorOf(layer, source): PointsErrorOf<'_>) -> Self {
        Self::Points {
            layer: layer.to_owned(),
            source,
        }
    }
}

/// nm per voxel of the windows, where it is the same for all.
fn shared_resolution(plan: &Plan) -> Option<[f64; 3]> {
    let mut all = plan.groups.iter().map(|g| g.resolution);
    let first = all.next()?;
    all.all(|r| r == first).then(|| first.nm())
}

/// Every box of the collection, and what became of its annotations.
fn boxes(plan: &Plan) -> Vec<BoxEntry> {
    let split_name = |s: usize| plan.splits[s].name.clone();
    let boxes = plan.boxes.iter().map(|b| BoxEntry {
        id: b.id.clone(),
        tags: b.tags.clone(),
        split: b.split.map(split_name),
        min_nm: b.min_nm,
        max_nm: b.max_nm,
        annotations: b.annotations,
        samples: b.samples,
        dropped: b
            .dropped
            .iter()
            .map(|(reason, n)| (reason.name().to_owned(), *n))
            .collect(),
    });
    boxes.collect()
}

/// What the manifest says about where the dataset comes from.
fn about(plan: &Plan, sources: &Sources, padding: &Padding, collection: String) -> Provenance {
    let entries =
        plan.sources
            .iter()
            .zip(&sources.volumes)
            .enumerate()
            .map(|(i, (source, volume))| SourceEntry {
                layer: plan.layer_of_source(i).to_owned(),
                format: source.url.format.clone(),
                location: source.url.location.to_string(),
                redirected_to: volume.redirected_to(),
                info_digest: volume.digest().to_string(),
                resolution_nm: volume.meta().resolution.nm(),
                chunks_touched: 0,
                chunks_missing: 0,
            });
    let padded = |array: usize| {
        let of_splits = plan.splits.iter().enumerate();
        of_splits
            .map(|(i, split)| (split.name.clone(), padding.windows(i, array)))
            .collect()
    };
    let arrays = plan.config.arrays.values().enumerate();
    let arrays = arrays.map(|(i, a)| ArrayProvenance {
        layer: a.layer.clone(),
        role: a.role.map(|role| role.name().to_owned()),
        transform: serde_json::json!(a.transform),
        padded_windows: padded(i),
    });
    Provenance {
        config: plan.config.published(),
        collection: redacted(&collection).into_owned(),
        sources: entries.collect(),
        may_be_empty: plan
            .sources
            .iter()
            .map(|s| s.layer.empty == Empty::Allow)
            .collect(),
        boxes: boxes(plan),
        arrays: arrays.collect(),
        window_voxels: plan.config.window.voxels(),
        resolution_nm: shared_resolution(plan),
        warnings: shown(&plan.warnings),
    }
}

/// The warnings as they may be published.
fn shown(warnings: &[String]) -> Vec<String> {
    let shown = warnings
        .iter()
        .map(|warning| redacted(warning).into_owned());
    shown.collect()
}

#[cfg(test)]
mod tests;
