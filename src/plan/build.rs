//! From boxes and annotations to samples: windows, drops, order and property columns.

use super::choose::{self, Chooser};
use super::displaced;
use super::drop_reason::DropReason;
use super::error::PlanError;
use super::leaks;
use super::objects::SampleObjects;
use super::order::spatial_key;
use super::properties::{self, common_properties, object_id_problem};
use super::read_plan::{BoxQuery, LayerPoints, ReadPlan};
use super::table::{DroppedAnnotation, Plan, PlannedArray, PlannedBox, PlannedSplit, Sample};
use crate::config::{ArrayConfig, Config, Transform};
use crate::geometry::WindowSize;
use crate::points::{Annotation, PointSource, PointsInBoxes};

impl Plan {
    /// Builds the table from the annotations of each point layer. The volumes may then drop more samples, before
    /// [`Plan::finish`].
    ///
    /// `layers` has one entry for each of [`ReadPlan::point_sources`].
    pub fn build(read_plan: &ReadPlan, layers: Vec<LayerPoints>) -> Result<Self, PlanError> {
        let config = &read_plan.file.config;
        let mut warnings = read_plan.warnings.clone();
        for (layer, source) in layers.iter().zip(&read_plan.point_sources) {
            warn_about_points(&layer.points, source, &mut warnings);
        }
        let layers_outside_boxes = layers_outside_boxes(read_plan, &layers, &mut warnings);
        let ends = config.points.ends();
        let has_ends = layers.iter().any(|layer| layer.has_ends)
            || ends.iter().any(|(_, _, end)| end.is_some());
        let properties: Vec<_> = layers.iter().map(|l| l.properties.clone()).collect();
        let columns = common_properties(&properties, &mut warnings);
        let column_specs: Vec<_> = columns
            .iter()
            .map(|c| properties[0][c[0]].clone().of_column())
            .collect();
        for (name, array) in &config.arrays {
            if let Some(problem) = object_id_problem(array, &column_specs) {
                return Err(PlanError::ObjectId {
                    config: read_plan.file.path.clone(),
                    array: name.clone(),
                    problem,
                });
            }
        }
        let mut chooser = Chooser::new(&read_plan.file, &read_plan.point_sources, &layers)?;
        let mut boxes = read_plan.boxes.clone();
        let mut splits = empty_splits(read_plan, columns.len());
        let mut annotations: Vec<_> = layers
            .into_iter()
            .map(|l| l.points.per_box.into_iter())
            .collect();
        let mut dropped = Vec::new();
        let keep_ends = has_ends || config.arrays.values().any(needs_ends);
        for query in &read_plan.queries {
            let planned = &mut boxes[query.box_index];
            let Some(split) = planned.split else { continue };
            let inside = annotations[query.point_source].next().unwrap_or_default();
            let (samples, others) =
                samples_of_box(read_plan, query, split, inside, planned, &mut chooser);
            dropped.extend(others);
            let split = &mut splits[split];
            for (sample, annotation) in samples {
                split.samples.push(sample);
                if keep_ends {
                    split.ends.push(annotation.ends);
                }
                for (values, column) in split.properties.iter_mut().zip(&columns) {
                    let spec = &properties[query.point_source][column[query.point_source]];
                    values.extend_from_slice(spec.bytes(&annotation.properties));
                }
            }
        }
        let mut draft = Plan {
            config: config.clone(),
            boxes,
            splits,
            arrays: read_plan.arrays.clone(),
            groups: read_plan.groups.clone(),
            sources: read_plan.sources.clone(),
            has_ends,
            properties: column_specs,
            layers_outside_boxes,
            warnings,
            dropped,
            draft_digest: blake3::Hash::from_bytes([0; 32]),
        };
        properties::set_objects(&mut draft);
        draft.draft_digest = draft.digest();
        Ok(draft)
    }

    /// The last steps, which depend on all other drops: applies `max_per_box`, then looks for leaks between the splits.
    pub fn finish(mut self) -> Result<Self, PlanError> {
        choose::apply_max_per_box(&mut self);
        leaks::apply_policy(&mut self)?;
        self.count_objects();
        self.warn_about_empty_splits();
        let order = |d: &DroppedAnnotation| (d.box_index, d.annotation_id, d.reason);
        self.dropped.sort_unstable_by_key(order);
        Ok(self)
    }
}

impl Plan {
    /// Sets [`PlannedArray::objects`].
    fn count_objects(&mut self) {
        for (array, config) in self.config.arrays.values().enumerate() {
            let splits = self.splits.iter().map(|split| &split.objects[array]);
            let counts = config
                .shows_several_objects()
                .then(|| SampleObjects::count(splits));
            self.arrays[array].objects = counts;
        }
    }
}

fn empty_splits(read_plan: &ReadPlan, property_columns: usize) -> Vec<PlannedSplit> {
    let config = &read_plan.file.config;
    let splits = config.split_names().map(|name| PlannedSplit {
        name: name.to_owned(),
        samples: Vec::new(),
        objects: vec![SampleObjects::default(); config.arrays.len()],
        ends: Vec::new(),
        properties: vec![Vec::new(); property_columns],
    });
    splits.collect()
}

/// Whether the array shows the object at an end of a line.
fn needs_ends(array: &ArrayConfig) -> bool {
    matches!(&array.transform, Transform::ObjectAt(at) if at.end().is_some())
}

/// The box's samples in the order in which they are stored, each with its annotation, and the annotations that are no samples.
fn samples_of_box(
    read_plan: &ReadPlan,
    query: &BoxQuery,
    split: usize,
    annotations: Vec<Annotation>,
    planned: &mut PlannedBox,
    chooser: &mut Chooser,
) -> (Vec<(Sample, Annotation)>, Vec<DroppedAnnotation>) {
    let Config { window, rule, .. } = &read_plan.file.config;
    let resolution = &read_plan.groups[planned.group].resolution;
    planned.annotations = annotations.len() as u64;
    planned.annotations_digest = digest_of(&annotations);
    let mut samples = Vec::with_capacity(annotations.len());
    let mut dropped = Vec::new();
    for annotation in annotations {
        let start =
            |window: &WindowSize| window.start_around(&annotation.anchor, resolution, *rule);
        let in_range = |a: &PlannedArray| a.window == *window || start(&a.window).is_some();
        let start_voxel = start(window).filter(|_| read_plan.arrays.iter().all(in_range));
        let has_window = start_voxel.is_some();
        let drop_reason = chooser.drop_reason(split, query.point_source, &annotation, has_window);
        match (start_voxel, drop_reason) {
            (Some(start_voxel), None) => {
                let sample = Sample {
                    annotation_id: annotation.id,
                    center_nm: annotation.anchor,
                    start_voxel,
                    box_index: query.box_index as u32,
                };
                samples.push((sample, annotation));
            }
            (_, reason) => {
                let reason = reason.unwrap_or(DropReason::WindowOutOfRange);
                *planned.dropped.entry(reason).or_insert(0) += 1;
                dropped.push(DroppedAnnotation {
                    annotation_id: annotation.id,
                    center_nm: annotation.anchor,
                    box_index: query.box_index as u32,
                    reason,
                });
            }
        }
    }
    planned.samples = samples.len() as u64;
    let lowest = |d: usize| samples.iter().map(|(s, _)| s.start_voxel[d]).min();
    let origin = std::array::from_fn(|d| lowest(d).unwrap_or(0));
    samples
        .sort_by_cached_key(|(s, _)| (spatial_key(s.start_voxel, origin, window), s.annotation_id));
    (samples, dropped)
}

/// The first eight bytes of the digest of annotations.
fn digest_of(annotations: &[Annotation]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for annotation in annotations {
        let [start, end] = annotation.ends;
        hasher.update(&annotation.id.to_le_bytes());
        hasher.update(bytemuck::bytes_of(&[annotation.anchor.0, start.0, end.0]));
        hasher.update(&annotation.properties);
    }
    let digest = hasher.finalize();
    u64::from_le_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default())
}

/// For each point layer that has no annotation in any box: where its annotations and its boxes are. These texts become
/// warnings if other layers have annotations in boxes.
fn layers_outside_boxes(
    read_plan: &ReadPlan,
    layers: &[LayerPoints],
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let is_outside = |l: &LayerPoints| l.points.per_box.iter().all(Vec::is_empty);
    let config = &read_plan.file.config;
    let outside = layers.iter().enumerate().filter(|(_, l)| is_outside(l));
    let described = outside.map(|(i, layer)| {
        let boxes = read_plan.boxes_of_point_source(i);
        let source = &read_plan.point_sources[i];
        displaced::describe_annotations(config, source, &boxes, layer.extent.as_ref())
    });
    let described: Vec<_> = described.filter(|text| !text.is_empty()).collect();
    if !layers.iter().all(is_outside) {
        warnings.extend(described.iter().map(|text| {
            let line = text.trim_start().replace("\n  ", "; ");
            format!("a point layer has no annotation in any of its boxes: {line}")
        }));
    }
    described
}

fn warn_about_points(points: &PointsInBoxes, source: &PointSource, warnings: &mut Vec<String>) {
    let report = &points.report;
    let with_source = |text: &String| format!("{source}: {text}");
    warnings.extend(report.warnings.iter().map(with_source));
    if let Some((id, file)) = &report.not_finite.example {
        warnings.push(format!(
            "{} annotation(s) of {source} have no finite position and were skipped, for example {id} in {file}",
            report.not_finite.annotations
        ));
    }
}
