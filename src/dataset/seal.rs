//! Sealing: when every shard is present, metadata and index columns are written, and the manifest last.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::group::{Consolidated, GroupWriter};
use super::layout::group_path;
use super::receipt::ShardFacts;
use super::{
    ArrayEntry, BoxEntry, DatasetError, FileEntry, GroupEntry, Layout, MANIFEST, Manifest, Output,
    PresentShards, SCHEMA_VERSION, SampleIndex, ShardEntry, SourceEntry, SplitEntry,
};
use crate::config::DROPPED_ANNOTATIONS;
use crate::storage::{MAX_DOCUMENT_BYTES, WriteBatches};
use crate::voxels::Statistics;

/// Where a dataset comes from: what is in the manifest but not in the layout or in receipts.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Digest of the plan of an earlier dataset, whose order of samples this one has.
    pub order_of_plan: Option<String>,
    /// The config with all defaults filled in.
    pub config: Value,
    /// The collection that was read.
    pub collection: String,
    /// The sources; their chunk counts are filled in from the receipts.
    pub sources: Vec<SourceEntry>,
    /// For each source whether all chunks that windows touch may be missing.
    pub may_be_empty: Vec<bool>,
    /// Every box of the collection.
    pub boxes: Vec<BoxEntry>,
    /// The layer groups of the boxes that belong to a split.
    pub groups: Vec<GroupEntry>,
    /// For each array where it comes from.
    pub arrays: Vec<ArrayProvenance>,
    /// Voxels, x y z, of the windows that begin at the column `start_voxel`.
    pub window_voxels: [u32; 3],
    /// nm per voxel of every window, x y z; `None` where the resolution depends on the sample.
    pub resolution_nm: Option<[f64; 3]>,
    /// Warnings of planning.
    pub warnings: Vec<String>,
}

/// Where an array comes from.
#[derive(Clone, Debug)]
pub struct ArrayProvenance {
    /// Its layer in the config.
    pub layer: String,
    /// Its role.
    pub role: Option<String>,
    /// How the layer's values were converted.
    pub transform: Value,
    /// For each split the number of windows that extend past the volume; empty where that is not known.
    pub padded_windows: IndexMap<String, u64>,
}

/// What is sealed.
pub struct Unsealed<'a> {
    /// Where the shards are.
    pub output: &'a Output,
    /// The shards.
    pub layout: &'a Layout,
    /// Digest of the plan.
    pub plan_digest: &'a str,
    /// The shards that are present.
    pub present: PresentShards,
}

impl Unsealed<'_> {
    /// The manifest of a dataset that is finished: it is whole, belongs to the plan, lists the shards of the receipts, and
    /// every other file has the size in it. `None` if something is to be written.
    pub fn finished(&self) -> Result<Option<Manifest>, DatasetError> {
        let Some(bytes) = self.output.read(MANIFEST, MAX_DOCUMENT_BYTES)? else {
            return Ok(None);
        };
        let Some((manifest, expected)) = Manifest::parse(&bytes).ok() else {
            return Ok(None);
        };
        let is_of_plan = manifest.digest == expected
            && manifest.plan_digest == self.plan_digest
            && manifest.schema_version == SCHEMA_VERSION;
        if !is_of_plan || !self.present.are_listed_in(&manifest, self.layout) {
            return Ok(None);
        }
        let sizes = self.output.shard_sizes(self.layout)?;
        let mut files = manifest.files.iter();
        let is_complete = files.all(|f| sizes.get(&f.path) == Some(&f.bytes));
        Ok(is_complete.then_some(manifest))
    }

    /// Checks that every shard is present, writes the files beside them, and writes the manifest last. `index` has the columns
    /// of each split. `dropped` are the files of the table of dropped annotations, which may be empty: keys and bytes.
    ///
    /// # Errors
    /// Shards are missing, a source has no stored chunk although it must, or a file cannot be written.
    pub fn seal<'i>(
        self,
        provenance: Provenance,
        index: impl Iterator<Item = SampleIndex<'i>>,
        dropped: impl Iterator<Item = Result<(String, Vec<u8>), DatasetError>>,
    ) -> Result<Manifest, DatasetError> {
        let Self {
            output,
            layout,
            plan_digest,
            present,
        } = self;
        let shards = present.complete(layout)?;
        let resolution_nm = provenance.resolution_nm;
        let may_be_empty = provenance.may_be_empty.clone();
        let mut manifest = begin_manifest(plan_digest, layout, provenance, &shards);
        add_shards(&mut manifest, layout, &shards);
        check_sources(&manifest, &may_be_empty)?;
        let warnings = manifest.sources.iter().filter_map(missing_chunks_warning);
        let warnings: Vec<_> = warnings.collect();
        manifest.warnings.extend(warnings);
        let group = GroupWriter {
            layout,
            shards: &shards,
            resolution_nm,
        };
        output.require_own()?;
        output.remove_abandoned(layout)?;
        output.unseal()?;
        let mut entries = Vec::new();
        for (split, index) in index.enumerate() {
            let mut files =
                WriteBatches::new(|path: &str, bytes: &[u8]| write_file(output, path, bytes));
            group.write(&manifest, split, index, |path, bytes| {
                files.add(path, bytes)
            })?;
            entries.extend(files.finish()?);
        }
        entries.extend(write_dropped(output, dropped)?);
        manifest.files = entries;
        manifest.digest = manifest.expected_digest();
        publish(output, &manifest)?;
        Ok(manifest)
    }
}

/// Writes the table of dropped annotations, if there are any, as a group.
fn write_dropped(
    output: &Output,
    dropped: impl Iterator<Item = Result<(String, Vec<u8>), DatasetError>>,
) -> Result<Vec<FileEntry>, DatasetError> {
    let group = group_path(DROPPED_ANNOTATIONS);
    let mut consolidated = Consolidated::default();
    let mut files = WriteBatches::new(|path: &str, bytes: &[u8]| write_file(output, path, bytes));
    for file in dropped {
        let (key, bytes) = file?;
        let below = key.strip_prefix(&group).and_then(|k| k.strip_prefix('/'));
        if let Some(name) = below.and_then(|k| k.strip_suffix("/zarr.json")) {
            consolidated.add(name, &bytes)?;
        }
        files.add(key, bytes)?;
    }
    if !consolidated.is_empty() {
        let description = "annotations in boxes that are no samples, and why";
        let attributes = Map::from_iter([("description".to_owned(), json!(description))]);
        let metadata = consolidated.into_group(attributes)?;
        files.add(format!("{group}/zarr.json"), metadata)?;
    }
    files.finish()
}

fn write_file(output: &Output, path: &str, bytes: &[u8]) -> Result<FileEntry, DatasetError> {
    output.write(path, bytes)?;
    Ok(FileEntry {
        path: path.to_owned(),
        bytes: bytes.len() as u64,
        blake3: blake3::hash(bytes).to_string(),
    })
}

/// Writes the manifest, when all that it lists is durable.
fn publish(output: &Output, manifest: &Manifest) -> Result<(), DatasetError> {
    let files = manifest.files.iter().map(|f| f.path.as_str());
    let shards = manifest.shards.iter().map(|s| s.path.as_str());
    output.flush_folders_of(files.chain(shards))?;
    output.require_own()?;
    let mut bytes =
        serde_json::to_vec_pretty(manifest).map_err(|e| output.damaged(MANIFEST, e.to_string()))?;
    bytes.push(b'\n');
    output.write(MANIFEST, &bytes)?;
    output.flush_folders_of([MANIFEST].into_iter())
}

/// The manifest without shards and files.
fn begin_manifest(
    plan_digest: &str,
    layout: &Layout,
    provenance: Provenance,
    shards: &[ShardFacts],
) -> Manifest {
    let splits = layout.splits.iter().map(|split| {
        let entry = SplitEntry {
            path: group_path(&split.name),
            samples: split.samples,
            shard_samples: split.shard_samples,
        };
        (split.name.clone(), entry)
    });
    let arrays = layout.arrays.iter().zip(provenance.arrays).enumerate();
    let arrays = arrays.map(|(i, (array, of_array))| {
        let entry = ArrayEntry {
            layer: of_array.layer,
            role: of_array.role,
            transform: of_array.transform,
            data_type: array.data_type,
            dimensions: layout.dimensions(i).to_vec(),
            sample_shape: layout.sample_shape(i),
            window_voxels: array.window.voxels(),
            codec: Some(array.codec),
            padded_windows: of_array.padded_windows,
            statistics: statistics(layout, i, shards),
        };
        (array.name.clone(), entry)
    });
    Manifest {
        schema_version: SCHEMA_VERSION,
        plan_digest: plan_digest.to_owned(),
        order_of_plan: provenance.order_of_plan,
        config: provenance.config,
        collection: provenance.collection,
        window_voxels: provenance.window_voxels,
        sources: provenance.sources,
        boxes: provenance.boxes,
        groups: provenance.groups,
        splits: splits.collect(),
        arrays: arrays.collect(),
        shards: Vec::new(),
        files: Vec::new(),
        warnings: provenance.warnings,
        digest: String::new(),
    }
}

/// The statistics of an array's values, by split.
fn statistics(layout: &Layout, array: usize, shards: &[ShardFacts]) -> IndexMap<String, Value> {
    let of_split = |split: usize| {
        let mut all = Statistics::new(layout.arrays[array].data_type);
        // In the order of shards: sums of floating point numbers depend on it.
        for (id, facts) in layout.all_shards().zip(shards) {
            if (id.split, id.array) == (split, array) {
                all.merge(&facts.statistics);
            }
        }
        json!(all.finish())
    };
    let splits = layout.splits.iter().enumerate();
    splits.map(|(i, s)| (s.name.clone(), of_split(i))).collect()
}

/// Adds the shards to the manifest, and the chunks that they touch to its sources.
fn add_shards(manifest: &mut Manifest, layout: &Layout, shards: &[ShardFacts]) {
    for (id, facts) in layout.all_shards().zip(shards) {
        let samples = layout.samples(id);
        manifest.shards.push(ShardEntry {
            path: layout.shard_path(id),
            bytes: facts.bytes,
            blake3: facts.blake3.to_string(),
            split: layout.splits[id.split].name.clone(),
            array: layout.arrays[id.array].name.clone(),
            first_sample: samples.start,
            samples: samples.end - samples.start,
        });
        for used in &facts.sources {
            if let Some(source) = manifest.sources.get_mut(used.source) {
                source.chunks_touched += used.touched;
                source.chunks_missing += used.missing;
            }
        }
    }
}

/// Fails where all touched chunks of a source are missing, because its path is probably wrong; unless the config says that
/// the source may be empty.
fn check_sources(manifest: &Manifest, may_be_empty: &[bool]) -> Result<(), DatasetError> {
    let is_empty = |(i, s): &(usize, &SourceEntry)| {
        s.chunks_touched > 0
            && s.chunks_missing == s.chunks_touched
            && may_be_empty.get(*i) != Some(&true)
    };
    match manifest.sources.iter().enumerate().find(is_empty) {
        None => Ok(()),
        Some((_, source)) => Err(DatasetError::NoStoredChunk {
            layer: source.layer.clone(),
            location: source.location.clone(),
            touched: source.chunks_touched,
        }),
    }
}

fn missing_chunks_warning(source: &SourceEntry) -> Option<String> {
    (source.chunks_missing > 0).then(|| {
        format!(
            "the layer `{}`: {} of the {} chunks that windows touch (counted per shard) are missing in {} and read as its fill value. With \"missing\": \"error\" in the config, the first missing chunk is an error that names it",
            source.layer, source.chunks_missing, source.chunks_touched, source.location
        )
    })
}
