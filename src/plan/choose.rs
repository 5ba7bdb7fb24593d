//! Which annotations inside the boxes become samples, without reading the volumes.
//!
//! Boxes are processed in the collection's order, and the annotations of each in the order of their ids. Whether an
//! annotation is kept depends on the ones before it and on nothing else. A dropped annotation has one drop reason. The
//! volumes may drop more samples afterwards, and [`apply_max_per_box`] comes last.

mod distance;
mod filter;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::distance::MinDistanceIndex;
use self::filter::LayerFilter;
use super::drop_reason::DropReason;
use super::error::PlanError;
use super::read_plan::{LayerPoints, ReadPlan};
use super::table::Plan;
use crate::config::{ChoiceConfig, ConfigFile, NEGATIVE, PropertyFilter, Repeats};
use crate::points::{Annotation, PointSource, PropertySpec};

/// Decides which annotations are kept, one after another.
pub(super) struct Chooser<'c> {
    config: &'c ChoiceConfig,
    /// The rules of each point source.
    layers: Vec<LayerRules>,
    /// By split and layer.
    kept: HashMap<(usize, usize), KeptAnnotations>,
}

struct LayerRules {
    /// The first point source with the same annotations.
    same_as: usize,
    filters: Vec<LayerFilter>,
    related: Option<Arc<HashSet<u64>>>,
    /// The property that is 1 for negatives, if there are some.
    negative: Option<PropertySpec>,
}

impl LayerRules {
    /// Why the annotation's properties or relationships drop it. They drop no negatives.
    fn unwanted(&self, annotation: &Annotation) -> Option<DropReason> {
        let negative = self.negative.as_ref();
        let negative = negative.and_then(|spec| spec.whole_number(&annotation.properties));
        if negative == Some(1) {
            return None;
        }
        let fits = |filter: &LayerFilter| filter.keeps(&annotation.properties);
        if !self.filters.iter().all(fits) {
            return Some(DropReason::Filter);
        }
        let related = self.related.as_ref();
        let is_related = related.is_none_or(|ids| ids.contains(&annotation.id));
        (!is_related).then_some(DropReason::NotRelated)
    }
}

/// For each box of a split: how many of its annotations `filter` and `related` keep.
pub(crate) fn wanted_annotations(
    read_plan: &ReadPlan,
    layers: &[LayerPoints],
) -> Result<Vec<u64>, PlanError> {
    let chooser = Chooser::new(&read_plan.file, &read_plan.point_sources, layers)?;
    let mut per_box: Vec<_> = layers.iter().map(|l| l.points.per_box.iter()).collect();
    let counts = read_plan.queries.iter().map(|query| {
        let rules = &chooser.layers[query.point_source];
        let inside = per_box[query.point_source].next().into_iter().flatten();
        inside.filter(|a| rules.unwanted(a).is_none()).count() as u64
    });
    Ok(counts.collect())
}

/// The annotations of one layer that are kept in one split.
#[derive(Default)]
struct KeptAnnotations {
    ids: HashSet<u64>,
    positions: MinDistanceIndex,
}

impl<'c> Chooser<'c> {
    /// Resolves the rules in the config for each of `layers`, which are read from `sources`.
    pub(super) fn new(
        file: &'c ConfigFile,
        sources: &[PointSource],
        layers: &[LayerPoints],
    ) -> Result<Self, PlanError> {
        let config = &file.config.points.choose;
        let negatives = file.config.points.negatives.as_ref();
        let find_flag = |layer: &LayerPoints| {
            let mut properties = layer.properties.iter();
            properties.find(|p| p.id == NEGATIVE).cloned()
        };
        let mut first = HashMap::new();
        let sources = sources.iter().enumerate();
        let rules = layers.iter().zip(sources).map(|(layer, (i, source))| {
            let filter_of = |(name, filter): (&str, PropertyFilter)| {
                LayerFilter::new(&filter, name, &layer.properties).map_err(|wrong| {
                    PlanError::Filter {
                        config: file.path.clone(),
                        name: name.to_owned(),
                        member: wrong.member,
                        layer: source.to_string(),
                        problem: wrong.problem,
                    }
                })
            };
            let filters = file.config.points.filters().map(filter_of);
            Ok(LayerRules {
                same_as: *first.entry(source.identity()).or_insert(i),
                filters: filters.collect::<Result<_, _>>()?,
                related: layer.related.clone(),
                negative: negatives.and_then(|_| find_flag(layer)),
            })
        });
        Ok(Self {
            config,
            layers: rules.collect::<Result<_, _>>()?,
            kept: HashMap::new(),
        })
    }

    /// Why the annotation of the point source `layer`, in a box of `split`, is not a sample; `None` if it is one.
    pub(super) fn drop_reason(
        &mut self,
        split: usize,
        layer: usize,
        annotation: &Annotation,
        has_window: bool,
    ) -> Option<DropReason> {
        let rules = &self.layers[layer];
        if let Some(reason) = rules.unwanted(annotation) {
            return Some(reason);
        }
        if !has_window {
            return Some(DropReason::WindowOutOfRange);
        }
        let once = self.config.repeats == Repeats::Once;
        let distance_nm = self.config.min_distance_nm;
        if !once && distance_nm.is_none() {
            return None;
        }
        let kept = self.kept.entry((split, rules.same_as)).or_default();
        if once && !kept.ids.insert(annotation.id) {
            return Some(DropReason::InAnEarlierBox);
        }
        let too_near = distance_nm.is_some_and(|d| !kept.positions.add(&annotation.anchor, d));
        too_near.then_some(DropReason::TooNear)
    }
}

/// Limits each box to `max_per_box` samples: keeps those with the lowest hashes of seed, box and annotation.
pub(super) fn apply_max_per_box(plan: &mut Plan) {
    if let Some(kept) = plan.kept_by_max_per_box() {
        plan.retain(DropReason::OverMaxPerBox, |split, i, _| kept[split][i]);
    }
}

impl Plan {
    /// For each split and sample whether `max_per_box` keeps it; `None` without a limit. A sample that is kept now is also
    /// kept when others were dropped.
    pub(crate) fn kept_by_max_per_box(&self) -> Option<Vec<Vec<bool>>> {
        let ChoiceConfig {
            max_per_box, seed, ..
        } = self.config.points.choose;
        let max = usize::try_from(max_per_box?).unwrap_or(usize::MAX);
        let mut hashes: HashMap<u32, Vec<([u8; 32], usize)>> = HashMap::new();
        let mut kept: Vec<Vec<bool>> = Vec::new();
        for split in &self.splits {
            let mut keep = vec![true; split.samples.len()];
            hashes.clear();
            for (i, sample) in split.samples.iter().enumerate() {
                let of_box = &self.boxes[sample.box_index as usize];
                if of_box.samples > max as u64 {
                    let box_id = self.config.id_in_collection(&of_box.id);
                    let sample_hash = sample_hash(seed, box_id, sample.annotation_id);
                    hashes
                        .entry(sample.box_index)
                        .or_default()
                        .push((sample_hash, i));
                }
            }
            for of_box in hashes.values_mut().filter(|of_box| of_box.len() > max) {
                of_box.select_nth_unstable(max);
                let (_sampled, others) = of_box.split_at(max);
                others.iter().for_each(|(_, i)| keep[*i] = false);
            }
            kept.push(keep);
        }
        Some(kept)
    }
}

fn sample_hash(seed: u64, box_id: &str, annotation_id: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(box_id.len() as u64).to_le_bytes());
    hasher.update(box_id.as_bytes());
    hasher.update(&annotation_id.to_le_bytes());
    hasher.finalize().into()
}
