//! Which annotations inside the boxes become samples, as far as the annotations themselves decide it.
//!
//! Boxes are asked about in the collection's order, and the annotations of each in the order of their ids: what is
//! kept first decides about what comes later, and nothing else does. Each annotation is kept, or dropped for one
//! named reason. What volumes have to say comes after, and [`over_max_per_box`] last.

mod distance;
mod filter;

use std::collections::{HashMap, HashSet};

use crate::config::{ChoiceConfig, ConfigFile, PropertyFilter, Repeats};
use crate::points::{Annotation, PointSource};

use super::{DropReason, Plan, PlanError, PointsOfLayer};
use distance::MinDistanceIndex;
use filter::Filter;

/// Decides about annotations, one after the other.
pub(super) struct Chooser<'c> {
    config: &'c ChoiceConfig,
    /// For each point source what its annotations have to fulfil.
    layers: Vec<LayerRules>,
    /// By split and layer.
    kept: HashMap<(usize, usize), Kept>,
}

struct LayerRules {
    /// The first point source that is the same layer.
    same_as: usize,
    filters: Vec<Filter>,
    related: Option<HashSet<u64>>,
}

/// What is kept of one layer in one split.
#[derive(Default)]
struct Kept {
    ids: HashSet<u64>,
    places: MinDistanceIndex,
}

impl<'c> Chooser<'c> {
    /// Makes sense of `config` for each of `layers`, which are those of `sources`.
    pub(super) fn new(
        file: &'c ConfigFile,
        sources: &[PointSource],
        layers: &mut [PointsOfLayer],
    ) -> Result<Self, PlanError> {
        let config = &file.config.points.choose;
        let mut first = HashMap::new();
        let sources = sources.iter().enumerate();
        let rules = layers.iter_mut().zip(sources).map(|(layer, (i, source))| {
            let of_name = |(name, filter): (&String, &PropertyFilter)| {
                Filter::new(filter, name, layer.properties).map_err(|wrong| PlanError::Filter {
                    config: file.path.clone(),
                    name: name.to_owned(),
                    member: wrong.member,
                    layer: source.to_string(),
                    problem: wrong.problem,
                })
            };
            let filters = config.filter.iter().map(of_name);
            Ok(LayerRules {
                same_as: *first.entry(source.identity()).or_insert(i),
                filters: filters.collect::<Result<_, _>>()?,
                related: layer.related.take(),
            })
        });
        Ok(Self {
            config,
            layers: rules.collect::<Result<_, _>>()?,
            kept: HashMap::new(),
        })
    }

    /// Why the annotation of the point source `layer`, in a box of `split`, is no sample; `None` if it is one.
    pub(super) fn drop_reason(
        &mut self,
        split: usize,
        layer: usize,
        annotation: &Annotation,
        has_window: bool,
    ) -> Option<DropReason> {
        let rules = &self.layers[layer];
        let fits = |filter: &Filter| filter.keeps(&annotation.properties);
        if !rules.filters.iter().all(fits) {
            return Some(DropReason::Filter);
        }
        let related = rules.related.as_ref();
        if related.is_some_and(|ids| !ids.contains(&annotation.id)) {
            return Some(DropReason::NotRelated);
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
        let too_near = distance_nm.is_some_and(|d| !kept.places.add(&annotation.anchor, d));
        too_near.then_some(DropReason::TooNear)
    }
}

/// Drops what a box has beyond `max_per_box`: the samples with the highest digests of seed, box and annotation.
pub(super) fn over_max_per_box(plan: &mut Plan) {
    let ChoiceConfig {
        max_per_box: Some(max),
        seed,
        ..
    } = plan.config.points.choose
    else {
        return;
    };
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut lots: HashMap<u32, Vec<([u8; 32], usize)>> = HashMap::new();
    let mut kept: Vec<Vec<bool>> = Vec::new();
    for split in &plan.splits {
        let mut keep = vec![true; split.samples.len()];
        lots.clear();
        for (i, sample) in split.samples.iter().enumerate() {
            let of_box = &plan.boxes[sample.box_index as usize];
            if of_box.samples > max as u64 {
                let lot = lot(seed, &of_box.id, sample.annotation_id);
                lots.entry(sample.box_index).or_default().push((lot, i));
            }
        }
        for drawn in lots.values_mut().filter(|drawn| drawn.len() > max) {
            drawn.select_nth_unstable(max);
            drawn[max..].iter().for_each(|(_, i)| keep[*i] = false);
        }
        kept.push(keep);
    }
    plan.retain(DropReason::OverMaxPerBox, |split, i, _| kept[split][i]);
}

fn lot(seed: u64, box_id: &str, annotation_id: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(box_id.len() as u64).to_le_bytes());
    hasher.update(box_id.as_bytes());
    hasher.update(&annotation_id.to_le_bytes());
    hasher.finalize().into()
}
