//! What the scripts of the page read: samples with their voxels, as JSON.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Map, Value, json};

use crate::check::Finding;
use crate::dataset::{DatasetError, Manifest};
use crate::preview::picture::{LABEL_COLORS, OVERLAY_COLORS};
use crate::preview::sample::{ArrayKind, Meaning, SampleFacts, ShownArray, ShownVoxels, reference};

/// The samples of a page.
#[derive(Debug)]
pub(in crate::preview) struct PageData<'a> {
    pub manifest: &'a Manifest,
    pub arrays: &'a [ShownArray],
    pub samples: &'a [PageSample],
    pub findings: &'a [Finding],
}

/// A sample of a page.
#[derive(Debug)]
pub(in crate::preview) struct PageSample {
    pub facts: SampleFacts,
    /// By array.
    pub voxels: Vec<Result<ShownVoxels, DatasetError>>,
    /// A Neuroglancer link to its place in the sources, if these are remote.
    pub link: Option<String>,
}

impl PageData<'_> {
    /// The data as JSON that can stand in a script element.
    pub(super) fn json(&self) -> String {
        let samples = self.samples.iter().map(|sample| self.sample(sample));
        let data = json!({
            "overlayColors": OVERLAY_COLORS,
            "labelColors": LABEL_COLORS,
            "reference": reference(self.arrays),
            "arrays": self.arrays.iter().map(array).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "samples": samples.collect::<Vec<_>>(),
        });
        // Text in the data must not end the element, nor begin a comment in it.
        data.to_string().replace('<', "\\u003c")
    }

    fn sample(&self, sample: &PageSample) -> Value {
        let facts = &sample.facts;
        let box_index = usize::try_from(facts.box_index).unwrap_or(usize::MAX);
        let of_box = self.manifest.boxes.get(box_index);
        let columns = facts.columns.iter();
        let columns: Map<String, Value> = columns
            .map(|(name, values)| {
                let value = match values.as_slice() {
                    [one] => json!(one),
                    all => json!(all),
                };
                (name.clone(), value)
            })
            .collect();
        json!({
            "split": facts.split,
            "position": facts.position,
            "id": facts.annotation_id.to_string(),
            "box": box_index,
            "boxId": of_box.map_or("", |b| b.id.as_str()),
            "centerNm": facts.center_nm,
            "resolutionNm": facts.resolution_nm,
            "columns": columns,
            "findings": self.findings_of(facts),
            "link": sample.link,
            "arrays": sample.voxels.iter().zip(&facts.starts).map(|(v, start)| voxels(v, *start)).collect::<Vec<_>>(),
        })
    }

    /// Positions of the findings about the sample.
    fn findings_of(&self, facts: &SampleFacts) -> Vec<usize> {
        let findings = self.findings.iter().enumerate();
        let about = findings.filter(|(_, f)| {
            f.split.as_ref() == Some(&facts.split) && f.samples.contains(&facts.position)
        });
        about.map(|(i, _)| i).collect()
    }
}

fn array(array: &ShownArray) -> Value {
    let [_, z, y, x] = array.shape;
    let [sz, sy, sx] = array.step;
    json!({
        "name": array.name,
        "kind": match array.kind {
            ArrayKind::Gray => "gray",
            ArrayKind::Color => "color",
            ArrayKind::Overlay => "overlay",
            ArrayKind::Mask => "mask",
        },
        "window": [x, y, z],
        "step": [sx, sy, sz],
        "contrast": array.contrast,
        "color": array.color % OVERLAY_COLORS.len(),
        "segmentation": array.is_segmentation,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind,
        "severity": finding.severity,
        "file": finding.file,
        "message": finding.message,
    })
}

fn voxels(voxels: &Result<ShownVoxels, DatasetError>, start: [f64; 3]) -> Value {
    let voxels = match voxels {
        Ok(voxels) => voxels,
        Err(e) => return json!({ "start": start, "error": e.to_string() }),
    };
    let [channels, z, y, x] = voxels.shape;
    let mut value = json!({
        "start": start,
        "channels": channels,
        "size": [x, y, z],
    });
    // Overlays are often empty.
    if voxels.bytes.iter().any(|byte| *byte != 0) {
        value["data"] = BASE64_STANDARD.encode(deflated(&voxels.bytes)).into();
    }
    match &voxels.meaning {
        Meaning::Range(range) => value["range"] = json!(range),
        Meaning::Classes(classes) => {
            let colors = classes.iter().map(|c| c.color);
            value["values"] = classes.iter().map(|c| c.value.as_str()).collect();
            value["colors"] = colors.collect();
        }
        Meaning::ManyClasses => value["many"] = true.into(),
    }
    value
}

/// The bytes in the zlib format.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
