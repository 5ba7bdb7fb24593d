//! What is looked up by the ids of annotations, once it is known which of them are samples of a draft: the objects that they are
//! related to, and their ends in other layers.

use super::error::JobError;
use crate::config::{
    Config, NEGATIVE, ObjectIdFrom, ObjectSearch, OneOrMore, PointsConfig, Transform,
};
use crate::geometry::PointNm;
use crate::plan::{
    BoxQuery, DropReason, MAX_OBJECTS, Plan, PlannedSplit, ReadPlan, Sample, SampleObjects,
};
use crate::points::{PointLayer, PointsError, RelatedObjects};
use crate::storage::Storage;

/// What is looked up for a job.
pub(super) struct Lookups<'a> {
    points: &'a PointsConfig,
    read_plan: &'a ReadPlan,
    /// The point layers, as in [`ReadPlan::point_sources`].
    layers: &'a [PointLayer],
    /// The arrays that show related objects.
    related: Vec<RelatedArray>,
    /// For each point layer: for each of `related` the positions of its relationships.
    relationships: Vec<Vec<Vec<usize>>>,
    /// The layers of ends, as in [`ReadPlan::end_sources`].
    end_layers: Vec<PointLayer>,
    /// By the position of a box: the query for its annotations.
    queries: Vec<Option<&'a BoxQuery>>,
    storage: &'a Storage,
}

/// An array that shows related objects.
struct RelatedArray {
    /// Its position in the plan.
    array: usize,
    /// The key of the names of relationships in the config.
    key: String,
    names: Vec<String>,
}

impl<'a> Lookups<'a> {
    /// Opens what is needed for the lookups of the config.
    ///
    /// # Errors
    /// A point layer has no relationship of a name in the config, or a layer of ends cannot be opened.
    pub fn open(
        config: &'a Config,
        read_plan: &'a ReadPlan,
        layers: &'a [PointLayer],
        storage: &'a Storage,
    ) -> Result<Self, JobError> {
        let points = &config.points;
        let related = related_arrays(config);
        let positions = |layer: &PointLayer| -> Result<Vec<_>, PointsError> {
            let arrays = related.iter();
            let of_arrays = arrays.map(|r| layer.relationship_positions(&r.names, &r.key));
            let of_arrays = of_arrays.collect::<Result<_, _>>()?;
            if !related.is_empty() {
                layer.require_index_by_id()?;
            }
            Ok(of_arrays)
        };
        let relationships = layers.iter().map(|layer| {
            positions(layer).map_err(|source| JobError::Points {
                layer: points.name(),
                key: points.source_key().to_owned(),
                source,
            })
        });
        let relationships = relationships.collect::<Result<_, _>>()?;
        let end_layers = read_plan.end_sources().iter().map(|source| {
            let opened = source.open(storage).and_then(|layer| {
                layer.require_index_by_id()?;
                Ok(layer)
            });
            opened.map_err(|source| failed_ends(points, source))
        });
        let mut queries = vec![None; read_plan.boxes().len()];
        for query in read_plan.queries() {
            queries[query.box_index] = Some(query);
        }
        Ok(Self {
            end_layers: end_layers.collect::<Result<_, _>>()?,
            points,
            read_plan,
            layers,
            related,
            relationships,
            queries,
            storage,
        })
    }

    /// Whether nothing is looked up.
    pub fn is_empty(&self) -> bool {
        self.related.is_empty() && self.end_layers.is_empty()
    }

    /// Adds what is looked up to the draft. Drops samples without an end.
    ///
    /// # Errors
    /// An index by id cannot be read, or lacks all samples, or has too many objects of one.
    pub fn add_to(&self, draft: &mut Plan) -> Result<(), JobError> {
        let failed = |source| failed_ends(self.points, source);
        self.add_ends(draft).map_err(failed)?;
        self.add_objects(draft).map_err(|source| JobError::Points {
            layer: self.points.name(),
            key: self.points.source_key().to_owned(),
            source,
        })?;
        self.add_to_digests(draft);
        Ok(())
    }

    /// Sets the ends that are in other layers. Each layer is read once, also if it has both ends.
    fn add_ends(&self, draft: &mut Plan) -> Result<(), PointsError> {
        let negative = NegativeColumn::of(draft, self.points);
        let splits = draft.splits.iter();
        let mut has_no_end: Vec<_> = splits.map(|s| vec![false; s.samples.len()]).collect();
        let layers = self.end_layers.len();
        let layers_of = |query: &BoxQuery| query.ends.into_iter().flatten();
        let ids = self.ids_of_layers(draft, negative, layers, layers_of);
        let mut found = Vec::with_capacity(layers);
        for (number, (layer, ids)) in self.end_layers.iter().zip(&ids).enumerate() {
            self.count_lookups(ids);
            let of_layer = layer.ends_of(ids)?;
            let warning = self.missing_ends(number, ids, &of_layer)?;
            draft.warnings.extend(warning);
            found.push(of_layer);
        }
        for (split, has_no_end) in draft.splits.iter_mut().zip(&mut has_no_end) {
            for (i, sample) in split.samples.iter().enumerate() {
                if negative.is_some_and(|column| column.is_set(split, i)) {
                    continue;
                }
                let query = self.queries[sample.box_index as usize];
                for end in 0..2 {
                    let Some(layer) = query.and_then(|query| query.ends[end]) else {
                        continue;
                    };
                    let position = ids[layer].binary_search(&sample.annotation_id).ok();
                    let of_sample = position.and_then(|position| found[layer][position]);
                    match (of_sample, split.ends.get_mut(i)) {
                        (Some(ends), Some(of_sample)) => of_sample[end] = ends[end],
                        _ => has_no_end[i] = true,
                    }
                }
            }
        }
        draft.drop_samples(|split, i, _| has_no_end[split][i].then_some(DropReason::NoEnd));
        Ok(())
    }

    /// A warning about the annotations that the layer of ends at position `number` does not have, if there are some.
    ///
    /// # Errors
    /// It has none of them.
    fn missing_ends(
        &self,
        number: usize,
        ids: &[u64],
        found: &[Option<[PointNm; 2]>],
    ) -> Result<Option<String>, PointsError> {
        let mut missing = ids.iter().zip(found).filter(|(_, ends)| ends.is_none());
        let Some((id, _)) = missing.next() else {
            return Ok(None);
        };
        let missing = missing.count() + 1;
        let mut queries = self.queries.iter().flatten();
        let end = queries.find_map(|query| query.ends.iter().position(|e| *e == Some(number)));
        let (key, ..) = self.points.ends()[end.unwrap_or(0)];
        let object = self.end_layers[number].object();
        if missing == ids.len() {
            return Err(PointsError::NoEnds {
                key,
                object,
                samples: ids.len(),
                id: *id,
            });
        }
        Ok(Some(format!(
            "{missing} annotation(s) were dropped as no_end because {object}, the layer of `{key}`, has no annotation with their id, or one whose position is not finite, for example {id}"
        )))
    }

    /// Shows people how many annotations are looked up.
    fn count_lookups(&self, ids: &[u64]) {
        let annotations = Some(ids.len() as u64);
        self.storage.stage().count("annotations by id", annotations);
    }

    /// Sets the objects of arrays that show related ones.
    fn add_objects(&self, draft: &mut Plan) -> Result<(), PointsError> {
        if self.related.is_empty() {
            return Ok(());
        }
        let negative = NegativeColumn::of(draft, self.points);
        let layers_of = |query: &BoxQuery| std::iter::once(query.point_source);
        let ids = self.ids_of_layers(draft, negative, self.layers.len(), layers_of);
        let mut found: Vec<(Vec<u64>, Vec<RelatedObjects>)> = Vec::new();
        let layers = self.layers.iter().zip(&self.relationships).enumerate();
        for ((number, (layer, relationships)), ids) in layers.zip(ids) {
            self.count_lookups(&ids);
            let boxes = self.read_plan.boxes_of_point_source(number);
            let objects = layer.objects_of(&ids, relationships, &boxes, self.points.anchor)?;
            found.push((ids, objects));
        }
        for (list, related) in self.related.iter().enumerate() {
            for split in &mut draft.splits {
                let layer_of = |sample: &Sample| {
                    let query = self.queries[sample.box_index as usize];
                    query.map_or(0, |query| query.point_source)
                };
                let objects_of = |i: usize| -> &[u64] {
                    let sample = &split.samples[i];
                    let (ids, objects) = &found[layer_of(sample)];
                    let is_negative = negative.is_some_and(|column| column.is_set(split, i));
                    let position = ids.binary_search(&sample.annotation_id).ok();
                    match position.filter(|_| !is_negative) {
                        Some(position) => &objects[position][list],
                        None => &[],
                    }
                };
                let samples = split.samples.len();
                let ids = (0..samples).map(|i| objects_of(i).len()).sum();
                let mut all = SampleObjects::several(samples, ids);
                for (i, sample) in split.samples.iter().enumerate() {
                    let layer = layer_of(sample);
                    all.push(objects_of(i).iter().copied());
                    let found = all.of(i).len();
                    if found > MAX_OBJECTS {
                        return Err(PointsError::TooManyObjects {
                            key: related.key.clone(),
                            object: self.layers[layer].object(),
                            id: sample.annotation_id,
                            found,
                            limit: MAX_OBJECTS,
                        });
                    }
                }
                split.objects[related.array] = all;
            }
        }
        Ok(())
    }

    /// For each of `layers` layers the ids of the samples that are looked up in it, except for negatives: ascending, each once.
    /// `layers_of` has the positions of the layers of a box.
    fn ids_of_layers<L: Iterator<Item = usize>>(
        &self,
        draft: &Plan,
        negative: Option<NegativeColumn>,
        layers: usize,
        layers_of: impl Fn(&BoxQuery) -> L,
    ) -> Vec<Vec<u64>> {
        let mut ids = vec![Vec::new(); layers];
        for split in &draft.splits {
            for (i, sample) in split.samples.iter().enumerate() {
                if negative.is_some_and(|column| column.is_set(split, i)) {
                    continue;
                }
                let query = self.queries[sample.box_index as usize];
                for layer in query.into_iter().flat_map(&layers_of) {
                    ids[layer].push(sample.annotation_id);
                }
            }
        }
        for ids in &mut ids {
            ids.sort_unstable();
            ids.dedup();
        }
        ids
    }

    /// Adds what was looked up to the digests of the annotations of each box, and of the draft.
    fn add_to_digests(&self, draft: &mut Plan) {
        let has_ends = !self.end_layers.is_empty();
        for split in &draft.splits {
            let samples: Vec<_> = split.samples.iter().enumerate().collect();
            for of_box in samples.chunk_by(|(_, a), (_, b)| a.box_index == b.box_index) {
                let Some((_, first)) = of_box.first() else {
                    continue;
                };
                let planned = &mut draft.boxes[first.box_index as usize];
                let mut hasher = blake3::Hasher::new();
                hasher.update(&planned.annotations_digest.to_le_bytes());
                for (i, _) in of_box {
                    if let Some([start, end]) = split.ends.get(*i).filter(|_| has_ends) {
                        hasher.update(bytemuck::bytes_of(&[start.0, end.0]));
                    }
                    for related in &self.related {
                        let objects = split.objects[related.array].of(*i);
                        hasher.update(related.key.as_bytes());
                        hasher.update(&(objects.len() as u64).to_le_bytes());
                        hasher.update(bytemuck::cast_slice(objects));
                    }
                }
                let digest = hasher.finalize();
                let first = digest.as_bytes().first_chunk().copied();
                planned.annotations_digest = u64::from_le_bytes(first.unwrap_or_default());
            }
        }
        draft.draft_digest = draft.digest();
    }
}

/// The arrays of the config that show related objects.
fn related_arrays(config: &Config) -> Vec<RelatedArray> {
    let relationship = |transform: &Transform| -> Option<OneOrMore> {
        let Transform::ObjectAt(at) = transform else {
            return None;
        };
        match at.search() {
            ObjectSearch::WithId(ObjectIdFrom::Relationship(names)) => Some(names.clone()),
            _ => None,
        }
    };
    let arrays = config.arrays.iter().enumerate();
    let related = arrays.filter_map(|(array, (name, config))| {
        Some(RelatedArray {
            array,
            key: format!("arrays.{name}.transform.object_at.id.relationship"),
            names: relationship(&config.transform)?.names().to_vec(),
        })
    });
    related.collect()
}

/// The column that is 1 for negatives, by its position. They have no related objects, and their ends are where they are.
#[derive(Clone, Copy)]
struct NegativeColumn(usize);

impl NegativeColumn {
    fn of(draft: &Plan, points: &PointsConfig) -> Option<Self> {
        points.negatives.as_ref()?;
        let column = draft.properties.iter().position(|p| p.id == NEGATIVE);
        column.map(Self)
    }

    /// Whether the `i`th sample of the split is a negative.
    fn is_set(self, split: &PlannedSplit, i: usize) -> bool {
        split.properties[self.0].get(i) == Some(&1)
    }
}

/// The error of a layer of ends.
fn failed_ends(points: &PointsConfig, source: PointsError) -> JobError {
    let ends = points.ends().into_iter();
    let ends = ends.filter_map(|(key, _, end)| Some((end?.layer.as_str(), key)));
    let (layers, keys): (Vec<_>, Vec<_>) = ends.unzip();
    JobError::Points {
        layer: layers.join("`, `"),
        key: keys.join("`, `"),
        source,
    }
}
