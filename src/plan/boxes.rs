//! From boxes and annotations to samples: splits by tags, windows, drops, order, property columns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::collection::{Collection, LayerError, LayerGroup};
use crate::config::{
    ArrayConfig, ConfigFile, ObjectPoint, PointsFrom, Snap, SplitConfig, Transform,
};
use crate::geometry::{BoxNm, WindowSize};
use crate::points::{Annotation, PointSource, PointsInBoxes, PropertySpec};
use crate::storage::Location;

use super::{
    DropReason, Plan, PlanError, PlannedArray, PlannedBox, PlannedGroup, PlannedSplit,
    PointsOfLayer, Sample, VolumeSource,
    choose::Chooser,
    displaced,
    order::spatial_key,
    resolution::{FlexibleZ, ResolutionsOf},
};

/// What has to be read for a plan: for each box that belongs to a split, its split, its layer group
/// and its point layer.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    file: ConfigFile,
    boxes: Vec<PlannedBox>,
    jobs: Vec<BoxQuery>,
    groups: Vec<PlannedGroup>,
    arrays: Vec<PlannedArray>,
    sources: Vec<VolumeSource>,
    point_sources: Vec<PointSource>,
    warnings: Vec<String>,
}

/// A box that belongs to a split.
#[derive(Clone, Debug)]
pub struct BoxQuery {
    /// Position of the box in the collection.
    pub box_index: usize,
    /// Position of its point layer in [`ReadPlan::point_sources`].
    pub points: usize,
    /// Which points it holds: where it is, snapped if the config says so.
    pub bounds: BoxNm,
}

impl ReadPlan {
    pub(super) fn new(
        file: &ConfigFile,
        collection: &Collection,
        resolutions_of: &ResolutionsOf<'_>,
    ) -> Result<Self, PlanError> {
        let config = &file.config;
        let mut jobs = Self {
            file: file.clone(),
            boxes: Vec::new(),
            jobs: Vec::new(),
            groups: Vec::new(),
            arrays: config
                .arrays
                .iter()
                .map(|(name, array)| PlannedArray {
                    name: name.clone(),
                    window: array.window.unwrap_or(config.window),
                    source_of_group: Vec::new(),
                })
                .collect(),
            sources: Vec::new(),
            point_sources: Vec::new(),
            warnings: Vec::new(),
        };
        let mut groups: HashMap<*const LayerGroup, (usize, usize)> = HashMap::new();
        let mut flexible_z = FlexibleZ::new(file, resolutions_of);
        for (box_index, tagged) in collection.boxes.iter().enumerate() {
            let split = jobs.split_of(&tagged.id, &tagged.tags)?;
            let mut group = 0;
            if split.is_some() {
                let key = Arc::as_ptr(&tagged.layers);
                let (position, points) = match groups.get(&key) {
                    Some(known) => *known,
                    None => {
                        let added = jobs.add_group(&tagged.layers, &tagged.id, &mut flexible_z)?;
                        groups.insert(key, added);
                        added
                    }
                };
                group = position;
                jobs.jobs.push(BoxQuery {
                    box_index,
                    points,
                    bounds: match config.snap {
                        Snap::None => tagged.bounds,
                        Snap::Zetta => {
                            let resolution = &jobs.groups[group].resolution;
                            tagged.bounds.snapped_as_zetta(resolution)
                        }
                    },
                });
            }
            jobs.boxes.push(PlannedBox {
                id: tagged.id.clone(),
                tags: tagged.tags.clone(),
                min_nm: tagged.bounds.min(),
                max_nm: tagged.bounds.max(),
                split,
                group,
                annotations: 0,
                annotations_digest: 0,
                samples: 0,
                dropped: BTreeMap::new(),
            });
        }
        if config.flexible_z && !jobs.jobs.is_empty() {
            flexible_z.require_known_names()?;
        }
        // A tag that no box bears is a slip. Where boxes bear all tags, but none of them together, the split is empty.
        let borne = |tag: &String| jobs.boxes.iter().any(|b| b.tags.contains(tag));
        let slip = |(i, (_, split)): &(usize, (&String, &SplitConfig))| {
            let fits = jobs.boxes.iter().any(|b| b.split == Some(*i));
            let unborne = split.all.iter().chain(&split.any).any(|tag| !borne(tag));
            !fits && (unborne || jobs.jobs.is_empty())
        };
        if let Some((_, (name, split))) = config.splits.iter().enumerate().find(slip) {
            let list = |tags: BTreeSet<&String>| match tags.is_empty() {
                true => "none".to_owned(),
                false => tags
                    .into_iter()
                    .map(|t| format!("`{t}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            return Err(PlanError::NoBox {
                split: name.clone(),
                boxes: jobs.boxes.len(),
                collection: collection.source.clone(),
                config: file.path.clone(),
                wanted: list(split.tags().collect()),
                found: list(collection.boxes.iter().flat_map(|b| &b.tags).collect()),
            });
        }
        for (kind, rows) in &collection.other_rows {
            jobs.warnings.push(format!(
                "{rows} row(s) of type `{kind}` in {} are no bounding boxes and were left out",
                collection.source
            ));
        }
        Ok(jobs)
    }

    /// The sources of the point layers, each once.
    pub fn point_sources(&self) -> &[PointSource] {
        &self.point_sources
    }

    /// The boxes whose annotations come from the point layer `points`, in the collection's order.
    pub fn boxes_of_points(&self, points: usize) -> Vec<BoxNm> {
        let of_layer = self.jobs.iter().filter(|j| j.points == points);
        of_layer.map(|j| j.bounds).collect()
    }

    /// The one split whose tags the box all bears.
    fn split_of(&self, id: &str, tags: &[String]) -> Result<Option<usize>, PlanError> {
        let splits = &self.file.config.splits;
        let mut fitting = splits
            .iter()
            .enumerate()
            .filter(|(_, (_, split))| split.fits(tags));
        let first = fitting.next();
        match (first, fitting.next()) {
            (Some((_, (first, _))), Some((_, (second, _)))) => Err(PlanError::SeveralSplits {
                id: id.to_owned(),
                tags: tags.to_vec(),
                first: first.clone(),
                second: second.clone(),
                config: self.file.path.clone(),
            }),
            (first, _) => Ok(first.map(|(i, _)| i)),
        }
    }

    /// Resolves the layers that the job reads from a group: (position of the group, of its point layer).
    fn add_group(
        &mut self,
        group: &LayerGroup,
        box_id: &str,
        flexible_z: &mut FlexibleZ<'_>,
    ) -> Result<(usize, usize), PlanError> {
        let config = self.file.config.clone();
        let path = self.file.path.clone();
        let blame = |json_path: String, layer: &str, source: LayerError| PlanError::Layer {
            config: path.clone(),
            path: json_path,
            layer: layer.to_owned(),
            box_id: box_id.to_owned(),
            source,
        };
        let folder = Location::folder_of(&path);
        let points = match &config.points.source {
            PointsFrom::Layer(layer) => group
                .point_source(layer)
                .map_err(|e| blame("points.layer".into(), layer, e))?,
            PointsFrom::NeuroglancerState(state) => PointSource::of_state(state, &folder),
            PointsFrom::Csv(csv) => {
                PointSource::of_csv(csv, &folder).map_err(|source| PlanError::Table {
                    config: path.clone(),
                    source,
                })?
            }
        };
        let points = position(&mut self.point_sources, points);
        let mut sources = Vec::new();
        for (name, array) in &config.arrays {
            let url = group
                .source(&array.layer)
                .map_err(|e| blame(format!("arrays.{name}.layer"), &array.layer, e))?;
            let layer = config.layers.get(&array.layer).cloned();
            sources.push(VolumeSource {
                url,
                layer: layer.unwrap_or_default(),
                resolution: array.data_resolution.unwrap_or(config.resolution),
            });
        }
        let resolution = if config.flexible_z {
            flexible_z.of_group(group, &sources, box_id)?
        } else {
            config.resolution
        };
        for (i, mut source) in sources.into_iter().enumerate() {
            if config.arrays[i].data_resolution.is_none() {
                source.resolution = resolution;
            }
            let source = position(&mut self.sources, source);
            self.arrays[i].source_of_group.push(source);
        }
        self.groups.push(PlannedGroup { resolution });
        Ok((self.groups.len() - 1, points))
    }
}

/// The position of `source` in `list`, where it is put if it is not there yet.
fn position<S: PartialEq>(list: &mut Vec<S>, source: S) -> usize {
    list.iter().position(|s| *s == source).unwrap_or_else(|| {
        list.push(source);
        list.len() - 1
    })
}

pub(super) fn build(jobs: &ReadPlan, mut layers: Vec<PointsOfLayer>) -> Result<Plan, PlanError> {
    let config = &jobs.file.config;
    let mut warnings = jobs.warnings.clone();
    for (layer, source) in layers.iter().zip(&jobs.point_sources) {
        report_points(&layer.points, source, &mut warnings);
    }
    let outside_of_boxes = outside_of_boxes(jobs, &layers, &mut warnings);
    let properties: Vec<_> = layers.iter().map(|l| l.properties).collect();
    let columns = common_properties(&properties, &mut warnings);
    let mut chooser = Chooser::new(&jobs.file, &jobs.point_sources, &mut layers)?;
    let mut boxes = jobs.boxes.clone();
    let mut splits: Vec<_> = config
        .splits
        .keys()
        .map(|name| PlannedSplit {
            name: name.clone(),
            samples: Vec::new(),
            objects: vec![Vec::new(); config.arrays.len()],
            ends: Vec::new(),
            properties: vec![Vec::new(); columns.len()],
        })
        .collect();
    let mut annotations: Vec<_> = layers
        .into_iter()
        .map(|l| l.points.per_box.into_iter())
        .collect();
    let keep_ends = config.arrays.values().any(needs_ends);
    for job in &jobs.jobs {
        let planned = &mut boxes[job.box_index];
        let Some(split) = planned.split else { continue };
        let inside = annotations[job.points].next().unwrap_or_default();
        let samples = samples_of_box(jobs, job, split, inside, planned, &mut chooser);
        for (sample, annotation) in samples {
            splits[split].samples.push(sample);
            if keep_ends {
                splits[split].ends.push(annotation.ends);
            }
            for (values, column) in splits[split].properties.iter_mut().zip(&columns) {
                let spec = &properties[job.points][column[job.points]];
                values.extend_from_slice(spec.bytes(&annotation.properties));
            }
        }
    }
    let properties = columns
        .iter()
        .map(|c| properties[0][c[0]].clone())
        .collect();
    Ok(Plan {
        config: config.clone(),
        boxes,
        splits,
        arrays: jobs.arrays.clone(),
        groups: jobs.groups.clone(),
        sources: jobs.sources.clone(),
        properties,
        outside_of_boxes,
        warnings,
    })
}

/// Whether the array shows an object at an end of a line.
fn needs_ends(array: &ArrayConfig) -> bool {
    matches!(&array.transform, Transform::ObjectAt(at) if at.point != ObjectPoint::Anchor)
}

/// The box's samples in the order in which they are stored, each with its annotation.
fn samples_of_box(
    jobs: &ReadPlan,
    job: &BoxQuery,
    split: usize,
    annotations: Vec<Annotation>,
    planned: &mut PlannedBox,
    chooser: &mut Chooser,
) -> Vec<(Sample, Annotation)> {
    let window = &jobs.file.config.window;
    let resolution = &jobs.groups[planned.group].resolution;
    planned.annotations = annotations.len() as u64;
    planned.annotations_digest = digest_of(&annotations);
    let mut samples = Vec::with_capacity(annotations.len());
    for annotation in annotations {
        let start = |window: &WindowSize| window.start_around(&annotation.anchor, resolution);
        let in_range = |a: &PlannedArray| a.window == *window || start(&a.window).is_some();
        let first = start(window).filter(|_| jobs.arrays.iter().all(in_range));
        let drop_reason = chooser.drop_reason(split, job.points, &annotation, first.is_some());
        match (first, drop_reason) {
            (Some(start_voxel), None) => {
                let sample = Sample {
                    annotation_id: annotation.id,
                    center_nm: annotation.anchor,
                    start_voxel,
                    box_index: job.box_index as u32,
                };
                samples.push((sample, annotation));
            }
            (_, reason) => {
                let reason = reason.unwrap_or(DropReason::WindowOutOfRange);
                *planned.dropped.entry(reason).or_insert(0) += 1;
            }
        }
    }
    planned.samples = samples.len() as u64;
    let origin = std::array::from_fn(|d| {
        samples
            .iter()
            .map(|(s, _)| s.start_voxel[d])
            .min()
            .unwrap_or(0)
    });
    samples
        .sort_by_cached_key(|(s, _)| (spatial_key(s.start_voxel, origin, window), s.annotation_id));
    samples
}

/// Start of the digest of annotations.
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

/// For each property that every point layer has with one type: its position in each layer's list.
pub(super) fn common_properties(
    layers: &[&[PropertySpec]],
    warnings: &mut Vec<String>,
) -> Vec<Vec<usize>> {
    let mut columns = Vec::new();
    let Some(first) = layers.first() else {
        return columns;
    };
    for property in *first {
        let positions: Option<Vec<usize>> = layers
            .iter()
            .map(|l| {
                l.iter()
                    .position(|p| p.id == property.id && p.kind == property.kind)
            })
            .collect();
        match positions {
            Some(positions) => columns.push(positions),
            None => warnings.push(format!(
                "the annotation property `{}` gets no column: not every point layer has it with one type",
                property.id
            )),
        }
    }
    columns
}

/// For each point layer none of whose annotations lies in a box where they lie, and where the boxes lie. A person is told
/// where other layers have annotations in boxes.
fn outside_of_boxes(
    jobs: &ReadPlan,
    layers: &[PointsOfLayer<'_>],
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let is_outside = |l: &PointsOfLayer<'_>| l.points.per_box.iter().all(Vec::is_empty);
    let outside = layers.iter().enumerate().filter(|(_, l)| is_outside(l));
    let described = outside.map(|(i, layer)| {
        let boxes = jobs.boxes_of_points(i);
        let source = &jobs.point_sources[i];
        displaced::describe_annotations(&jobs.file.config, source, &boxes, layer.extent.as_ref())
    });
    let described: Vec<_> = described.filter(|text| !text.is_empty()).collect();
    if !layers.iter().all(is_outside) {
        warnings.extend(described.iter().map(|text| {
            let line = text.trim_start().replace("\n  ", "; ");
            format!("no annotation of a point layer lies in any of its boxes: {line}")
        }));
    }
    described
}

fn report_points(points: &PointsInBoxes, source: &PointSource, warnings: &mut Vec<String>) {
    let report = &points.report;
    let of = |text: &String| format!("{source}: {text}");
    warnings.extend(report.warnings.iter().map(of));
    if let Some((id, file)) = &report.not_finite.example {
        warnings.push(format!(
            "{} annotation(s) of {source} have no finite position and were left out, for example {id} in {file}",
            report.not_finite.annotations
        ));
    }
}
