//! A finished plan: the sample table, with the facts about its volumes. It has everything that a run, the seal and the status
//! need, so that none of them reads the config, the collection or the annotations.

use std::sync::Arc;

use super::padding::Padding;
use super::reuse::Reuse;
use super::table::{Plan, VolumeSource};
use super::tasks::Tasks;
use crate::config::ConfigError;
use crate::dataset::Layout;
use crate::geometry::{Resolution, SourceTransform};
use crate::storage::{LayerInFile, SourceUrl, redacted};
use crate::volume::Volume;

/// A plan that does not change any more. It has no secrets: the queries of URLs are replaced. Local paths are absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedPlan {
    /// The samples, boxes, groups, arrays and sources. [`super::PlannedSplit::ends`] is empty without [`Plan::has_ends`]: only the
    /// choice of samples needed it.
    pub table: Plan,
    /// The facts about each of [`Plan::sources`].
    pub sources: Vec<SourceFacts>,
    /// How much of each window is inside of its volume.
    pub padding: Padding,
    /// Splits, arrays and shards of the output, with codecs.
    pub layout: Layout,
    /// Where the collection was read from.
    pub collection: String,
    /// Which task writes which shards.
    pub tasks: Tasks,
    /// The earlier output whose order of samples and whose shards are used again, if there is one.
    pub reuse: Option<Reuse>,
    /// Version of the program that made the plan.
    pub program: String,
}

/// What the metadata of an opened volume say.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceFacts {
    /// Digest of the metadata.
    pub metadata_digest: blake3::Hash,
    /// Where the metadata redirect to, if they do.
    pub redirected_to: Option<String>,
    /// nm per voxel by the metadata.
    pub resolution: Resolution,
    /// The folder or URL of the scale.
    pub described: String,
}

impl SourceFacts {
    /// The facts about `volume`.
    pub fn of(volume: &dyn Volume) -> Self {
        Self {
            metadata_digest: volume.digest(),
            redirected_to: volume.redirected_to().map(|to| redacted(&to).into_owned()),
            resolution: volume.meta().resolution,
            described: redacted(&volume.describe()).into_owned(),
        }
    }

    /// The facts about the opened volumes, in the order of [`Plan::sources`].
    pub fn of_all(volumes: &[Arc<dyn Volume>]) -> Vec<Self> {
        volumes.iter().map(|v| Self::of(v.as_ref())).collect()
    }
}

impl FinishedPlan {
    /// The finished plan of `table`. `collection` is where the collection was read from.
    ///
    /// # Errors
    /// The config cannot be read without its secrets.
    pub fn new(
        table: Plan,
        sources: Vec<SourceFacts>,
        padding: Padding,
        layout: Layout,
        tasks: Tasks,
        reuse: Option<Reuse>,
        collection: &str,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            table: without_secrets(table)?,
            sources,
            padding,
            layout,
            collection: redacted(collection).into_owned(),
            tasks,
            reuse,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// nm per voxel of the windows, if it is the same for all.
    pub fn shared_resolution(&self) -> Option<[f64; 3]> {
        let mut all = self.table.groups.iter().map(|g| g.resolution);
        let first = all.next()?;
        all.all(|r| r == first).then(|| first.nm())
    }
}

/// The table as it is stored.
fn without_secrets(table: Plan) -> Result<Plan, ConfigError> {
    let redact_all = |texts: Vec<String>| -> Vec<String> {
        let texts = texts.iter();
        texts.map(|text| redacted(text).into_owned()).collect()
    };
    let mut splits = table.splits;
    if !table.has_ends {
        for split in &mut splits {
            split.ends = Vec::new();
        }
    }
    Ok(Plan {
        config: table.config.without_secrets()?,
        sources: table.sources.into_iter().map(stored_source).collect(),
        splits,
        layers_outside_boxes: redact_all(table.layers_outside_boxes),
        warnings: redact_all(table.warnings),
        ..table
    })
}

/// The source as it is stored.
fn stored_source(source: VolumeSource) -> VolumeSource {
    let url = SourceUrl {
        location: source.url.location.without_secrets(),
        inside: source.url.inside.map(|inside| LayerInFile {
            file: inside.file.without_secrets(),
            ..inside
        }),
        transform: source
            .url
            .transform
            .map(|t| Arc::new(SourceTransform::without_secrets(&t))),
        ..source.url
    };
    VolumeSource {
        url,
        roots: source.roots.map(|roots| roots.without_secrets()),
        ..source
    }
}
