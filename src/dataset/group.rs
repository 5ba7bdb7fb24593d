//! The files of a split's Zarr group that are not shards: metadata and index columns.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::layout::group_path;
use super::metadata::{array_metadata, group_metadata, zarr_error};
use super::receipt::ShardFacts;
use super::{Column, ColumnValues, DatasetError, Layout, Manifest, SampleIndex};
use crate::geometry::AxisOrder;

/// Makes the files of groups.
pub(super) struct GroupWriter<'a> {
    pub layout: &'a Layout,
    /// In the order of [`Layout::all_shards`].
    pub shards: &'a [ShardFacts],
    /// nm per voxel of every window, x y z; `None` where the resolution depends on the sample.
    pub resolution_nm: Option<[f64; 3]>,
}

/// The metadata of a group's members, which its own metadata repeats.
#[derive(Default)]
pub(super) struct Consolidated(Map<String, Value>);

impl Consolidated {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The metadata of the group.
    pub(super) fn into_group(
        self,
        attributes: Map<String, Value>,
    ) -> Result<Vec<u8>, DatasetError> {
        group_metadata(attributes, self.0)
    }

    /// Adds the metadata of the member `name`.
    pub(super) fn add(&mut self, name: &str, metadata: &[u8]) -> Result<(), DatasetError> {
        let value =
            serde_json::from_slice(metadata).map_err(|e| zarr_error(name, e.to_string()))?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }
}

impl GroupWriter<'_> {
    /// Gives `put` metadata and columns of one split's group: paths relative to the output folder, and bytes.
    pub fn write(
        &self,
        manifest: &Manifest,
        split: usize,
        index: SampleIndex<'_>,
        mut put: impl FnMut(String, Vec<u8>) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let folder = group_path(&self.layout.splits[split].name);
        let mut columns = index.columns;
        for array in 0..self.layout.arrays.len() {
            let name = format!("{}_nonzero_fraction", self.layout.arrays[array].name);
            columns.insert(name, self.nonzero_fractions(split, array));
        }
        let mut consolidated = Consolidated::default();
        for (array, a) in self.layout.arrays.iter().enumerate() {
            let attributes = self.array_attributes(manifest, &a.name);
            let metadata = array_metadata(self.layout, split, array, attributes)?;
            consolidated.add(&a.name, &metadata)?;
            put(format!("{folder}/{}/zarr.json", a.name), metadata)?;
        }
        for (name, column) in &columns {
            let samples = self.layout.splits[split].samples;
            let metadata = column.write(name, samples, |key, bytes| {
                put(format!("{folder}/{key}"), bytes)
            })?;
            consolidated.add(name, &metadata)?;
        }
        let attributes = self.group_attributes(manifest, split, &columns);
        let metadata = consolidated.into_group(attributes)?;
        put(format!("{folder}/zarr.json"), metadata)
    }

    /// The column with the fraction of each sample's values that are not 0.
    fn nonzero_fractions(&self, split: usize, array: usize) -> Column<'_> {
        let shards = self.layout.all_shards().zip(self.shards);
        let of_array = shards.filter(|(id, _)| id.split == split && id.array == array);
        let parts = of_array.map(|(_, facts)| &facts.nonzero_fractions[..]);
        Column::new(
            ColumnValues::of_parts(parts.collect()),
            "share of the sample's values that are not 0",
        )
    }

    fn array_attributes(&self, manifest: &Manifest, array: &str) -> Map<String, Value> {
        let entry = &manifest.arrays[array];
        let mut attributes = Map::new();
        attributes.insert("layer".into(), json!(entry.layer));
        attributes.insert("role".into(), json!(entry.role));
        attributes.insert("transform".into(), json!(entry.transform));
        attributes.insert("resolution_nm".into(), json!(self.resolution_nm));
        if let Some(resolution_nm) = self.resolution_nm {
            let units = dimension_units(self.layout.axis_order, resolution_nm);
            attributes.insert("dimension_units".into(), units);
        }
        attributes
    }

    /// What a trainer and a viewer need to know about a split. `coordinates` follows the CF convention: xarray uses the index columns as
    /// coordinates of the arrays.
    fn group_attributes(
        &self,
        manifest: &Manifest,
        split: usize,
        columns: &IndexMap<String, Column<'_>>,
    ) -> Map<String, Value> {
        let coordinates: Vec<_> = columns.keys().map(String::as_str).collect();
        let mut attributes = Map::new();
        attributes.insert("coordinates".into(), json!(coordinates.join(" ")));
        attributes.insert(
            "pointshard".into(),
            json!({
                "schema_version": manifest.schema_version,
                "plan_digest": manifest.plan_digest,
                "split": self.layout.splits[split].name,
                "samples": self.layout.splits[split].samples,
                "window_voxels": manifest.window_voxels,
                "resolution_nm": self.resolution_nm,
                "axis_order_of_triples": "xyz",
                "arrays": manifest.arrays,
                "boxes": split_boxes(manifest, &self.layout.splits[split].name),
                "groups": manifest.groups,
                "sources": sources(manifest),
            }),
        );
        attributes
    }
}

/// For each dimension of an array the length of a step along it, as Neuroglancer and TensorStore read it; null for samples and
/// channels. Without it, Neuroglancer shows anisotropic voxels as cubes.
fn dimension_units(axis_order: AxisOrder, [x, y, z]: [f64; 3]) -> Value {
    let nm = match axis_order {
        AxisOrder::Czyx => [z, y, x],
        AxisOrder::Cxyz => [x, y, z],
    };
    let [first, second, third] = nm.map(|nm| format!("{nm} nm"));
    json!([null, null, first, second, third])
}

/// The boxes of the split, by their position in the column `box`.
fn split_boxes(manifest: &Manifest, split: &str) -> Map<String, Value> {
    let boxes = manifest.boxes.iter().enumerate();
    let of_split = boxes.filter(|(_, b)| b.split.as_deref() == Some(split));
    of_split
        .map(|(i, b)| {
            let about = json!({"id": b.id, "tags": b.tags, "group": b.group});
            (i.to_string(), about)
        })
        .collect()
}

/// The volumes, without the numbers of their chunks: those are of all splits.
fn sources(manifest: &Manifest) -> Vec<Value> {
    let sources = manifest.sources.iter().map(|source| {
        json!({
            "layer": source.layer,
            "format": source.format,
            "location": source.location,
            "resolution_nm": source.resolution_nm,
        })
    });
    sources.collect()
}
