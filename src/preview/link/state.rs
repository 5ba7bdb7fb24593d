//! The state of a viewer.

use serde_json::{Value, json};

use super::annotations::{self, DROPPED_COLOR, split_color};
use super::coordinates::Coordinates;
use super::layers::{self, PlacedSample};
use super::url::{UrlMapping, ViewerUrl, browser_url};
use crate::dataset::{BoxEntry, Dataset, Manifest};
use crate::preview::overview::Points;
use crate::preview::sample::{SampleFacts, ShownArray, reference, shown_arrays};

/// Where links lead.
#[derive(Clone, Debug)]
pub struct LinkTarget {
    /// The viewer.
    pub viewer: ViewerUrl,
    /// Where a browser finds local files. The first one that applies is used.
    pub mappings: Vec<UrlMapping>,
}

/// Makes links to a dataset and its sources.
#[derive(Debug)]
pub struct Links<'a> {
    target: &'a LinkTarget,
    manifest: &'a Manifest,
    /// The dataset as a browser finds it.
    dataset_url: Option<String>,
    arrays: Vec<ShownArray>,
}

/// Most boxes of a layer.
const MAX_BOXES: usize = 1000;

/// Pixels of a panel that a window takes, about.
const WINDOW_PIXELS: f64 = 300.0;

impl<'a> Links<'a> {
    /// Links to `dataset`.
    pub(crate) fn new(dataset: &'a Dataset, target: &'a LinkTarget) -> Self {
        let manifest = dataset.manifest();
        Self {
            target,
            manifest,
            dataset_url: browser_url(&dataset.location().to_string(), &target.mappings)
                .filter(|_| !has_transposed_arrays(manifest)),
            arrays: shown_arrays(manifest),
        }
    }

    /// What links leave out: locations that are local, or whose secrets the dataset does not have, and arrays that Neuroglancer shows wrong.
    pub(crate) fn left_out(&self, dataset: &Dataset) -> Vec<String> {
        let sources = self.manifest.sources.iter().enumerate();
        let sources = sources.filter(|(i, _)| self.source_url(*i).is_none());
        let mut missing: Vec<_> = sources.map(|(_, s)| s.location.clone()).collect();
        let location = dataset.location();
        if has_transposed_arrays(self.manifest) {
            missing.push(format!(
                "{location} (Neuroglancer cannot show arrays in axis_order cxyz)"
            ));
        } else if self.dataset_url.is_none() {
            missing.push(location.to_string());
        }
        missing.dedup();
        missing
    }

    /// The state that shows `sample` at its place; `None` if a browser can find neither its sources nor the dataset.
    pub(crate) fn of_sample(&self, sample: &SampleFacts) -> Option<Value> {
        let coordinates = Coordinates(sample.resolution_nm);
        let box_index = usize::try_from(sample.box_index).ok();
        let entry = box_index.and_then(|i| self.manifest.boxes.get(i));
        let mut layers = self.sources(entry);
        let starts = sample.starts.iter().map(|start| PlacedSample {
            position: sample.position,
            start: *start,
            resolution_nm: sample.resolution_nm,
        });
        layers.extend(self.arrays(&sample.split, starts.collect()));
        if layers.is_empty() {
            return None;
        }
        let number = self
            .manifest
            .splits
            .get_index_of(&sample.split)
            .unwrap_or(0);
        if let Some(entry) = entry {
            let name = format!("box of {}", sample.split);
            layers.push(annotations::boxes(
                &name,
                split_color(number),
                &[entry],
                coordinates,
            ));
        }
        let position = coordinates.voxels(sample.center_nm);
        Some(self.state(coordinates, position, self.scale(), layers))
    }

    /// The state that shows the whole dataset: all sources, boxes and points, and the first sample of each split at its place.
    pub(crate) fn of_dataset(&self, points: &Points, firsts: &[SampleFacts]) -> Value {
        let resolution_nm = firsts.first().map(|s| s.resolution_nm);
        let of_groups = self.manifest.groups.first().map(|g| g.resolution_nm);
        let coordinates = Coordinates(resolution_nm.or(of_groups).unwrap_or([1.0; 3]));
        let mut layers = self.sources(None);
        for first in firsts {
            let starts = first.starts.iter().map(|start| PlacedSample {
                position: first.position,
                start: *start,
                resolution_nm: first.resolution_nm,
            });
            layers.extend(self.arrays(&first.split, starts.collect()));
        }
        for (number, split) in self.manifest.splits.keys().enumerate() {
            let of_split = self.manifest.boxes.iter();
            let of_split: Vec<_> = of_split
                .filter(|b| b.split.as_ref() == Some(split))
                .collect();
            let step = of_split.len().div_ceil(MAX_BOXES).max(1);
            let shown: Vec<_> = of_split.into_iter().step_by(step).collect();
            let name = format!("{split} boxes");
            layers.push(annotations::boxes(
                &name,
                split_color(number),
                &shown,
                coordinates,
            ));
        }
        for (number, (split, list)) in points.samples.iter().enumerate() {
            let name = format!("{split} samples");
            layers.push(annotations::points(
                &name,
                split_color(number),
                list,
                coordinates,
            ));
        }
        for (reason, list) in &points.dropped {
            let name = format!("dropped: {reason}");
            layers.push(annotations::points(&name, DROPPED_COLOR, list, coordinates));
        }
        let position = firsts.first().map(|s| coordinates.voxels(s.center_nm));
        let position = position.unwrap_or([0.0; 3]);
        self.state(coordinates, position, self.scale(), layers)
    }

    /// The link to a state.
    pub(crate) fn url(&self, state: &Value) -> String {
        self.target.viewer.with_state(state)
    }

    fn state(
        &self,
        coordinates: Coordinates,
        position: [f64; 3],
        scale: f64,
        layers: Vec<Value>,
    ) -> Value {
        json!({
            "dimensions": coordinates.dimensions(),
            "position": position,
            "crossSectionScale": scale,
            "projectionScale": scale * 2048.0,
            "displayDimensions": ["x", "y", "z"],
            "layers": layers,
            "layout": "4panel",
        })
    }

    /// Voxels per pixel at which a window has a useful size.
    fn scale(&self) -> f64 {
        let [x, ..] = self.manifest.window_voxels;
        f64::from(x) / WINDOW_PIXELS
    }

    fn source_url(&self, source: usize) -> Option<String> {
        let entry = self.manifest.sources.get(source)?;
        let location = entry.redirected_to.as_ref().unwrap_or(&entry.location);
        browser_url(location, &self.target.mappings)
    }

    /// The sources that a browser can find, of the layer group of a box or of all groups.
    fn sources(&self, entry: Option<&BoxEntry>) -> Vec<Value> {
        let group = entry.and_then(|b| self.manifest.groups.get(b.group?));
        let is_used =
            |source: usize| group.is_none_or(|g| g.sources.values().any(|s| *s == source));
        let mut names: Vec<String> = Vec::new();
        let mut layers = Vec::new();
        for (number, entry) in self.manifest.sources.iter().enumerate() {
            let Some(url) = self.source_url(number).filter(|_| is_used(number)) else {
                continue;
            };
            let mut name = entry.layer.clone();
            // Layer groups may give the same name to different sources.
            if names.contains(&name) {
                name = format!("{name} {number}");
            }
            layers.push(layers::source(
                &name,
                &url,
                entry,
                self.array_of(&entry.layer),
            ));
            names.push(name);
        }
        layers
    }

    /// An array that is cut from the layer: an image, if there is one.
    fn array_of(&self, layer: &str) -> Option<&ShownArray> {
        let entries = self.manifest.arrays.values().zip(&self.arrays);
        let of_layer = entries.filter(|(entry, _)| entry.layer == layer);
        of_layer
            .map(|(_, array)| array)
            .min_by_key(|a| !a.kind.is_image())
    }

    /// The arrays of the split as layers: the image that others are drawn over, then those.
    fn arrays(&self, split: &str, samples: Vec<PlacedSample>) -> Vec<Value> {
        let (Some(url), Some(entry)) = (&self.dataset_url, self.manifest.splits.get(split)) else {
            return Vec::new();
        };
        let image = reference(&self.arrays);
        let entries = self.arrays.iter().zip(samples);
        let mut layers: Vec<_> = entries
            .enumerate()
            .map(|(number, (array, sample))| {
                let name = &array.name;
                let url = format!("{url}/{}/{name}", entry.path);
                let layer_name = format!("{split}/{name}");
                let layer = layers::dataset_array(&layer_name, &url, array, sample);
                (number != image, layer)
            })
            .collect();
        layers.sort_by_key(|(is_overlay, _)| *is_overlay);
        layers.into_iter().map(|(_, layer)| layer).collect()
    }
}

/// Whether the arrays are stored with `transpose`. Neuroglancer 2.41 mixes up the dimensions of such chunks in shards.
fn has_transposed_arrays(manifest: &Manifest) -> bool {
    let is_x_first = |name: &String| name.starts_with('x');
    let mut arrays = manifest.arrays.values();
    arrays.any(|array| array.dimensions.get(2).is_some_and(is_x_first))
}
