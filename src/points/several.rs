//! Several annotation layers as one: each annotation has the name of its layer as a property.

use super::annotation::{Anchor, Annotation, InBox};
use super::error::PointsError;
use super::layer::PointLayer;
use super::property::{PropertySpec, lay_out, record_bytes};
use super::property_kind::PropertyKind;
use super::report::{PointsInBoxes, PointsReport};
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;

/// The property with the position of an annotation's layer; its labels are the names of the layers.
const LAYER: &str = "layer";

/// Several layers.
#[derive(Debug)]
pub(super) struct SeveralLayers {
    layers: Vec<NamedLayer>,
    /// The properties that all layers have, and [`LAYER`].
    properties: Vec<PropertySpec>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct NamedLayer {
    name: String,
    layer: PointLayer,
    /// Its properties that all layers have, as it stores them.
    common: Vec<PropertySpec>,
}

impl SeveralLayers {
    /// The layers, each with its name.
    ///
    /// # Errors
    /// A layer has a property with the name of the one that is added.
    pub fn new(layers: Vec<(String, PointLayer)>) -> Result<Self, PointsError> {
        let taken = |(_, layer): &(String, PointLayer)| has_property(layer, LAYER);
        if layers.iter().any(taken) {
            return Err(PointsError::PropertyTaken {
                id: LAYER,
                by: "points.layers",
            });
        }
        let (common, warnings) = common_properties(&layers);
        let named = layers.into_iter().map(|(name, layer)| {
            let properties = layer.properties().iter();
            let own =
                |wanted: &PropertySpec| properties.clone().find(|p| p.id == wanted.id).cloned();
            NamedLayer {
                common: common.iter().filter_map(own).collect(),
                name,
                layer,
            }
        });
        let layers: Vec<NamedLayer> = named.collect();
        let names = layers.iter().map(|layer| layer.name.clone()).collect();
        let mut properties = common;
        properties.push(PropertySpec::labeled(
            LAYER.to_owned(),
            PropertyKind::Uint16,
            names,
        ));
        lay_out(&mut properties);
        Ok(Self {
            layers,
            properties,
            warnings,
        })
    }

    pub fn properties(&self) -> &[PropertySpec] {
        &self.properties
    }

    /// The kind of all annotations; `None` if there are several kinds.
    pub fn kind(&self) -> Option<GeometryKind> {
        let mut kinds = self.layers.iter().map(|layer| layer.layer.kind());
        let first = kinds.next()??;
        kinds.all(|kind| kind == Some(first)).then_some(first)
    }

    /// Whether some annotations may be lines or polylines.
    pub fn has_ends(&self) -> bool {
        self.layers.iter().any(|layer| layer.layer.has_ends())
    }

    pub fn describe(&self) -> String {
        let texts: Vec<_> = self.layers.iter().map(|l| l.layer.describe()).collect();
        texts.join("; ")
    }

    /// The names of the layers.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.layers.iter().map(|l| l.name.as_str()).collect();
        names.join(", ")
    }

    /// Whether an annotation depends on the box that it is read for.
    pub fn depends_on_boxes(&self) -> bool {
        self.layers.iter().any(|l| l.layer.depends_on_boxes())
    }

    /// The bounds of all annotations, if they are known.
    pub fn extent(&self, anchor: Anchor) -> Result<Option<BoxNm>, PointsError> {
        let mut bounds: Option<BoxNm> = None;
        for layer in &self.layers {
            let Some(extent) = layer.layer.extent(anchor)? else {
                continue;
            };
            bounds = match bounds {
                None => Some(extent),
                Some(bounds) => BoxNm::from_corners(
                    PointNm(std::array::from_fn(|d| {
                        bounds.min()[d].min(extent.min()[d])
                    })),
                    PointNm(std::array::from_fn(|d| {
                        bounds.max()[d].max(extent.max()[d])
                    })),
                ),
            };
        }
        Ok(bounds)
    }

    /// The annotations of all layers in each of `boxes`.
    ///
    /// # Errors
    /// Annotations of two layers in a box have the same id.
    pub fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
        in_box: InBox,
    ) -> Result<PointsInBoxes, PointsError> {
        let mut all: Vec<Vec<(usize, Annotation)>> = boxes.iter().map(|_| Vec::new()).collect();
        let mut report = PointsReport {
            warnings: self.warnings.clone(),
            ..PointsReport::default()
        };
        for (number, layer) in self.layers.iter().enumerate() {
            let read = layer.layer.read(boxes, anchor, in_box)?;
            report.add(read.report);
            for (of_box, annotations) in all.iter_mut().zip(read.per_box) {
                let labeled = annotations
                    .into_iter()
                    .map(|a| (number, self.labeled(number, a)));
                of_box.extend(labeled);
            }
        }
        let mut per_box = Vec::with_capacity(all.len());
        for mut annotations in all {
            annotations.sort_unstable_by_key(|(number, a)| (a.id, *number));
            let mut neighbors = annotations.windows(2);
            if let Some([(first, a), (second, _)]) =
                neighbors.find(|pair| pair[0].1.id == pair[1].1.id)
            {
                return Err(PointsError::IdInTwoLayers {
                    id: a.id,
                    first: self.layers[*first].name.clone(),
                    second: self.layers[*second].name.clone(),
                });
            }
            per_box.push(annotations.into_iter().map(|(_, a)| a).collect());
        }
        Ok(PointsInBoxes { per_box, report })
    }

    /// The annotation with the common properties and its layer.
    fn labeled(&self, number: usize, annotation: Annotation) -> Annotation {
        let mut record = vec![0; record_bytes(&self.properties)];
        for (spec, own) in self.properties.iter().zip(&self.layers[number].common) {
            spec.write_bytes(own.bytes(&annotation.properties), &mut record);
        }
        if let Some(layer) = self.properties.last() {
            layer.write_bytes(&(number as u64).to_le_bytes(), &mut record);
        }
        Annotation {
            properties: record.into_boxed_slice(),
            ..annotation
        }
    }
}

fn has_property(layer: &PointLayer, id: &str) -> bool {
    layer.properties().iter().any(|p| p.id == id)
}

/// The properties that all layers have with the same type and labels, and warnings about the others.
fn common_properties(layers: &[(String, PointLayer)]) -> (Vec<PropertySpec>, Vec<String>) {
    let mut common = Vec::new();
    let mut warnings = Vec::new();
    for (name, layer) in layers {
        for property in layer.properties() {
            let is_same = |other: &PropertySpec| other.is_same(property);
            let is_known = |id: &str| common.iter().any(|p: &PropertySpec| p.id == id);
            let mut all = layers.iter();
            if is_known(&property.id) {
                continue;
            }
            if all.all(|(_, layer)| layer.properties().iter().any(is_same)) {
                common.push(property.clone());
            } else {
                warnings.push(format!(
                    "the annotation property `{}` of the layer `{name}` gets no column: not every layer in `points.layers` has it with the same type and labels",
                    property.id
                ));
            }
        }
    }
    (common, warnings)
}
