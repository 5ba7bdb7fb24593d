//! Adds negatives to the annotations of the boxes, before the plan is drafted.

use std::collections::HashSet;

use super::error::JobError;
use crate::config::{Config, NEGATIVE, NegativesConfig};
use crate::geometry::BoxNm;
use crate::plan::{LayerPoints, ReadPlan, wanted_annotations};
use crate::points::{
    Anchor, Annotation, Negative, NegativeBox, NegativeMask, PointLayer, PointsError,
    PointsInBoxes, PropertySpec, Surroundings, draw_negatives,
};
use crate::storage::Storage;

/// The annotations of a layer in its boxes, and those in each box and around it.
pub(super) struct PointsAround {
    pub points: PointsInBoxes,
    /// Empty without negatives.
    pub around: Vec<Surroundings>,
}

impl PointsAround {
    /// Reads the annotations in the boxes; with negatives, also those around them.
    pub fn read(
        layer: &PointLayer,
        boxes: &[BoxNm],
        anchor: Anchor,
        negatives: Option<&NegativesConfig>,
    ) -> Result<Self, PointsError> {
        let Some(negatives) = negatives else {
            let points = layer.read_boxes(boxes, anchor)?;
            let around = Vec::new();
            return Ok(Self { points, around });
        };
        let distance_nm = negatives.min_distance_nm;
        let inflated: Vec<BoxNm> = boxes.iter().map(|b| b.inflated(distance_nm)).collect();
        // Of an object, only the voxels in the box count.
        let read = if layer.depends_on_boxes() {
            boxes
        } else {
            &inflated
        };
        // Without a distance, no annotation matters.
        let mut points = if layer.has_ends() && distance_nm > 0.0 {
            layer.read_touching(read, anchor)?
        } else {
            layer.read_boxes(read, anchor)?
        };
        let around = points.per_box.iter().map(|a| Surroundings::of(a)).collect();
        for (of_box, bounds) in points.per_box.iter_mut().zip(boxes) {
            of_box.retain(|annotation| bounds.contains(&annotation.anchor));
        }
        Ok(Self { points, around })
    }
}

/// Adds negatives to the annotations of each layer, if the config has them. `around` has, for each layer and each of its
/// boxes, the annotations in the box and around it.
pub(super) fn add_negatives(
    config: &Config,
    read_plan: &ReadPlan,
    layers: &mut [LayerPoints],
    around: Vec<Vec<Surroundings>>,
    storage: &Storage,
    failed: impl Fn(PointsError) -> JobError,
) -> Result<(), JobError> {
    let Some(negatives) = &config.points.negatives else {
        return Ok(());
    };
    let wanted = wanted_annotations(read_plan, layers)?;
    let mut around: Vec<_> = around.into_iter().map(Vec::into_iter).collect();
    let mut annotations: Vec<_> = layers.iter().map(|l| l.points.per_box.iter()).collect();
    let boxes = read_plan
        .queries()
        .iter()
        .zip(&wanted)
        .map(|(query, wanted)| {
            let inside = annotations[query.point_source].next().into_iter().flatten();
            NegativeBox {
                id: config.id_in_collection(&read_plan.boxes()[query.box_index].id),
                bounds: query.bounds,
                wanted: (*wanted as f64 * negatives.per_annotation).round() as u64,
                annotations: around[query.point_source].next().unwrap_or_default(),
                ids: inside.map(|a| a.id).collect::<HashSet<_>>(),
                mask: query.mask,
            }
        });
    let boxes: Vec<_> = boxes.collect();
    let masks = read_plan.masks().iter().map(|mask| {
        let opened = NegativeMask::open(
            &mask.url,
            &mask.resolution,
            &mask.layer,
            mask.roots.as_ref(),
            config.missing,
            storage,
        );
        opened.map_err(JobError::Negatives)
    });
    let masks: Vec<_> = masks.collect::<Result<_, _>>()?;
    let negatives =
        draw_negatives(&boxes, &masks, negatives, storage).map_err(JobError::Negatives)?;
    let too_few = too_few(read_plan, &boxes, &negatives);
    for layer in layers.iter_mut() {
        mark_annotations(layer).map_err(&failed)?;
        layer.points.report.warnings.extend(too_few.clone());
    }
    let mut of_layers: Vec<_> = layers
        .iter_mut()
        .map(|l| (l.properties.as_slice(), l.points.per_box.iter_mut()))
        .collect();
    for (query, negatives) in read_plan.queries().iter().zip(negatives) {
        let (properties, per_box) = &mut of_layers[query.point_source];
        if let Some(of_box) = per_box.next() {
            let negatives = negatives.into_iter().map(|n| annotation(n, properties));
            of_box.extend(negatives);
            of_box.sort_unstable_by_key(|a| a.id);
        }
    }
    Ok(())
}

/// A warning about boxes with fewer negatives than the config requires, if there are some.
fn too_few(
    read_plan: &ReadPlan,
    boxes: &[NegativeBox<'_>],
    negatives: &[Vec<Negative>],
) -> Option<String> {
    let all = read_plan.queries().iter().zip(boxes).zip(negatives);
    let mut lacking = all.filter(|((_, of_box), placed)| (placed.len() as u64) < of_box.wanted);
    let ((query, first), placed) = lacking.next()?;
    let reason = match first.mask {
        Some(_) => "Too little space in it is inside the mask and far enough from annotations",
        None => "About 0.1 % of it or less is far enough from annotations",
    };
    Some(format!(
        "{} box(es) have fewer negatives than `points.negatives` requires, for example the box {:?}: {} of {}. {reason}",
        lacking.count() + 1,
        read_plan.boxes()[query.box_index].id,
        placed.len(),
        first.wanted
    ))
}

/// Adds the property that is 0 for annotations and 1 for negatives.
fn mark_annotations(layer: &mut LayerPoints) -> Result<(), PointsError> {
    PropertySpec::push_flag(
        &mut layer.properties,
        NEGATIVE,
        "1 for a random point that is no annotation",
    )?;
    let bytes = PropertySpec::record_bytes(&layer.properties);
    for annotation in layer.points.per_box.iter_mut().flatten() {
        let mut record = std::mem::take(&mut annotation.properties).into_vec();
        // Without padding, which some layers have at the end.
        record.truncate(bytes - 1);
        record.resize(bytes, 0);
        annotation.properties = record.into_boxed_slice();
    }
    Ok(())
}

/// The negative as an annotation: its properties are 0, except for the last one.
fn annotation((id, anchor): Negative, properties: &[PropertySpec]) -> Annotation {
    let mut record = vec![0; PropertySpec::record_bytes(properties)];
    if let Some(flag) = record.last_mut() {
        *flag = 1;
    }
    Annotation {
        id,
        anchor,
        ends: [anchor; 2],
        properties: record.into_boxed_slice(),
    }
}
