//! Sealing: when every shard stands, metadata, index columns and, last of all, the manifest are written.

use crate::voxels::Statistics;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::layout::group_path;
use super::metadata::{array_metadata, group_metadata, zarr_error};
use super::{
    ArrayEntry, BoxEntry, Column, ColumnValues, DatasetError, FileEntry, Layout, MANIFEST,
    Manifest, Output, Receipt, SCHEMA_VERSION, SampleIndex, ShardEntry, SourceEntry, SplitEntry,
};

/// What the manifest says that is not in the layout or in receipts.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The config with all defaults filled in.
    pub config: Value,
    /// The collection that was read.
    pub collection: String,
    /// The sources; their chunk counts are filled in from the receipts.
    pub sources: Vec<SourceEntry>,
    /// For each source whether it may be that none of the chunks that windows touch is stored.
    pub may_be_empty: Vec<bool>,
    /// Every box of the collection.
    pub boxes: Vec<BoxEntry>,
    /// For each array what it is.
    pub arrays: Vec<ArrayProvenance>,
    /// Voxels, x y z, of the windows that the column `start_voxel` speaks of.
    pub window_voxels: [u32; 3],
    /// nm per voxel of every window, x y z; `None` where that depends on the sample.
    pub resolution_nm: Option<[f64; 3]>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// What an array is.
#[derive(Clone, Debug)]
pub struct ArrayProvenance {
    /// The layer that it was cut out of.
    pub layer: String,
    /// What it is for.
    pub role: Option<String>,
    /// What was done to the layer's values.
    pub transform: Value,
    /// For each split the number of windows that extend past the volume; none where that is not known.
    pub padded_windows: IndexMap<String, u64>,
}

/// Checks that every shard stands, writes what is missing beside them, and writes the manifest.
///
/// `index` has the columns of each split. Where all is written already and of the right size, nothing is.
pub fn seal(
    output: &Output,
    layout: &Layout,
    about: Provenance,
    index: Vec<SampleIndex>,
) -> Result<Manifest, DatasetError> {
    let receipts = collect(output, layout)?;
    let mut manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        plan_digest: output.plan_digest().to_owned(),
        config: about.config,
        collection: about.collection,
        window_voxels: about.window_voxels,
        sources: about.sources,
        boxes: about.boxes,
        splits: IndexMap::new(),
        arrays: IndexMap::new(),
        shards: Vec::new(),
        files: Vec::new(),
        warnings: about.warnings,
        digest: String::new(),
    };
    for split in &layout.splits {
        let entry = SplitEntry {
            path: group_path(&split.name),
            samples: split.samples,
            shard_samples: split.shard_samples,
        };
        manifest.splits.insert(split.name.clone(), entry);
    }
    for (i, (array, sealed)) in layout.arrays.iter().zip(about.arrays).enumerate() {
        let entry = ArrayEntry {
            layer: sealed.layer,
            role: sealed.role,
            transform: sealed.transform,
            data_type: array.data_type,
            dimensions: layout.dimensions(i).to_vec(),
            sample_shape: layout.sample_shape(i),
            window_voxels: array.window.voxels(),
            codec: Some(array.codec),
            padded_windows: sealed.padded_windows,
            statistics: statistics(layout, i, &receipts),
        };
        manifest.arrays.insert(array.name.clone(), entry);
    }
    add_receipts(&mut manifest, layout, &receipts);
    check_sources(&manifest, &about.may_be_empty)?;
    let absent = manifest
        .sources
        .iter()
        .filter_map(absent_chunks)
        .collect::<Vec<_>>();
    manifest.warnings.extend(absent);
    let mut files = Vec::new();
    for (split, index) in index.into_iter().enumerate() {
        files.extend(group_files(
            layout,
            split,
            index,
            &receipts,
            about.resolution_nm,
            &manifest,
        )?);
    }
    for (path, bytes) in &files {
        manifest.files.push(FileEntry {
            path: path.clone(),
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_string(),
        });
    }
    manifest.digest = manifest.expected_digest();
    output.sweep(layout)?;
    let mut whole = output.read_json::<Manifest>(MANIFEST)?.as_ref() == Some(&manifest);
    for (path, bytes) in &files {
        whole &= output.size_bytes(path)? == Some(bytes.len() as u64);
    }
    if !whole {
        output.unseal()?;
        for (path, bytes) in &files {
            output.write(path, bytes)?;
        }
        output.write_json(MANIFEST, &manifest)?;
    }
    Ok(manifest)
}

/// The receipt of every shard, in the order of [`Layout::all_shards`].
fn collect(output: &Output, layout: &Layout) -> Result<Vec<Receipt>, DatasetError> {
    let mut receipts = Vec::new();
    let mut missing = Vec::new();
    for id in layout.all_shards() {
        match Receipt::find(output, layout, id)? {
            Some(receipt) => receipts.push(receipt),
            None => missing.push(layout.shard_path(id)),
        }
    }
    match missing.first() {
        None => Ok(receipts),
        Some(first) => Err(DatasetError::Incomplete {
            missing: missing.len(),
            expected: missing.len() + receipts.len(),
            first: first.clone(),
        }),
    }
}

/// What is known of the values of an array, by split.
fn statistics(layout: &Layout, array: usize, receipts: &[Receipt]) -> IndexMap<String, Value> {
    let of_split = |split: usize| {
        let mut all = Statistics::new(layout.arrays[array].data_type);
        // In the order of shards: sums of floating point numbers depend on it.
        for (id, receipt) in layout.all_shards().zip(receipts) {
            if (id.split, id.array) == (split, array) {
                all.merge(&receipt.statistics);
            }
        }
        json!(all.finish())
    };
    let splits = layout.splits.iter().enumerate();
    splits.map(|(i, s)| (s.name.clone(), of_split(i))).collect()
}

fn add_receipts(manifest: &mut Manifest, layout: &Layout, receipts: &[Receipt]) {
    for (id, receipt) in layout.all_shards().zip(receipts) {
        let samples = layout.samples(id);
        manifest.shards.push(ShardEntry {
            path: layout.shard_path(id),
            bytes: receipt.bytes,
            blake3: receipt.blake3.clone(),
            split: layout.splits[id.split].name.clone(),
            array: layout.arrays[id.array].name.clone(),
            first_sample: samples.start,
            samples: samples.end - samples.start,
        });
        for used in &receipt.sources {
            if let Some(source) = manifest.sources.get_mut(used.source) {
                source.chunks_touched += used.touched;
                source.chunks_missing += used.missing;
            }
        }
    }
}

/// A source of which no touched chunk is stored is a wrong path, unless the config says that it may be empty.
fn check_sources(manifest: &Manifest, may_be_empty: &[bool]) -> Result<(), DatasetError> {
    let absent = |(i, s): &(usize, &SourceEntry)| {
        s.chunks_touched > 0
            && s.chunks_missing == s.chunks_touched
            && may_be_empty.get(*i) != Some(&true)
    };
    match manifest.sources.iter().enumerate().find(absent) {
        None => Ok(()),
        Some((_, source)) => Err(DatasetError::NoStoredChunk {
            layer: source.layer.clone(),
            location: source.location.clone(),
            touched: source.chunks_touched,
        }),
    }
}

/// What a person should know of a source that lacks chunks.
fn absent_chunks(source: &SourceEntry) -> Option<String> {
    (source.chunks_missing > 0).then(|| {
        format!(
            "the layer `{}`: {} of the {} chunks that windows touch (counted per shard) are not stored in {}: they read as its fill value. \"missing\": \"error\" in the config stops at the first one, and names it",
            source.layer, source.chunks_missing, source.chunks_touched, source.location
        )
    })
}

/// Metadata and columns of one split's group, by path relative to the output folder.
fn group_files(
    layout: &Layout,
    split: usize,
    index: SampleIndex,
    receipts: &[Receipt],
    resolution_nm: Option<[f64; 3]>,
    manifest: &Manifest,
) -> Result<Vec<(String, Vec<u8>)>, DatasetError> {
    let samples = layout.splits[split].samples;
    let mut columns = index.columns;
    for (array, a) in layout.arrays.iter().enumerate() {
        let values = layout.sample_shape(array).iter().product::<u64>() as f64;
        let of_array = layout
            .all_shards()
            .zip(receipts)
            .filter(|(id, _)| id.split == split && id.array == array);
        let nonzero =
            of_array.flat_map(|(_, r)| r.nonzero.iter().map(|n| (*n as f64 / values) as f32));
        columns.insert(
            format!("{}_nonzero_fraction", a.name),
            Column::new(
                ColumnValues::f32(nonzero),
                "share of the sample's values that are not 0",
            ),
        );
    }
    let mut files = Vec::new();
    let mut consolidated = Map::new();
    let mut add = |files: &mut Vec<_>, name: &str, metadata: Vec<u8>| -> Result<(), DatasetError> {
        let value =
            serde_json::from_slice(&metadata).map_err(|e| zarr_error(name, e.to_string()))?;
        consolidated.insert(name.to_owned(), value);
        files.push((format!("{name}/zarr.json"), metadata));
        Ok(())
    };
    for (array, a) in layout.arrays.iter().enumerate() {
        let mut attributes = Map::new();
        let entry = &manifest.arrays[&a.name];
        attributes.insert("layer".into(), json!(entry.layer));
        attributes.insert("role".into(), json!(entry.role));
        attributes.insert("transform".into(), json!(entry.transform));
        attributes.insert("resolution_nm".into(), json!(resolution_nm));
        add(
            &mut files,
            &a.name,
            array_metadata(layout, split, array, attributes)?,
        )?;
    }
    for (name, column) in &columns {
        let mut of_column = column.files(name, samples)?.into_iter();
        if let Some((_, metadata)) = of_column.next() {
            add(&mut files, name, metadata)?;
        }
        files.extend(of_column);
    }
    let attributes = group_attributes(layout, split, &columns, resolution_nm, manifest);
    files.push((
        "zarr.json".into(),
        group_metadata(attributes, consolidated)?,
    ));
    let group = group_path(&layout.splits[split].name);
    Ok(files
        .into_iter()
        .map(|(path, bytes)| (format!("{group}/{path}"), bytes))
        .collect())
}

/// What a trainer needs to know about a split. `coordinates` is the convention (CF) by which xarray takes the
/// index columns for coordinates of the arrays.
fn group_attributes(
    layout: &Layout,
    split: usize,
    columns: &IndexMap<String, Column>,
    resolution_nm: Option<[f64; 3]>,
    manifest: &Manifest,
) -> Map<String, Value> {
    let coordinates: Vec<_> = columns.keys().map(String::as_str).collect();
    let mut attributes = Map::new();
    attributes.insert("coordinates".into(), json!(coordinates.join(" ")));
    attributes.insert(
        "pointshard".into(),
        json!({
            "schema_version": manifest.schema_version,
            "plan_digest": manifest.plan_digest,
            "split": layout.splits[split].name,
            "samples": layout.splits[split].samples,
            "window_voxels": manifest.window_voxels,
            "resolution_nm": resolution_nm,
            "axis_order_of_triples": "xyz",
            "arrays": manifest.arrays,
        }),
    );
    attributes
}
