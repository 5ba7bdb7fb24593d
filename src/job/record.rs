//! The record of a plan, part by part: small enough for any collection, and without secrets.
//!
//! It is stored in the output, so that a run of another plan can list the differences.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dataset::{ArrayLayout, Layout};
use crate::extract::Sources;
use crate::plan::{Plan, PlannedBox, PlannedGroup, PlannedSplit};
use crate::storage::redacted_source;

/// Most boxes that are recorded one by one.
const MAX_BOXES: usize = 200_000;

/// Longest text, in bytes, that is not shortened.
const MAX_TEXT_BYTES: usize = 160;

/// The parts of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PlanRecord {
    /// Digest of the whole plan.
    pub(super) plan_digest: String,
    /// Version of the program that made the plan.
    pub(super) program: String,
    /// JSON path, then the value; a long value is shortened and has a digest.
    pub(super) config: Vec<(String, String)>,
    pub(super) sources: Vec<SourceRecord>,
    /// Array name, then its codec.
    pub(super) codecs: Vec<(String, String)>,
    /// Annotation properties that are columns.
    pub(super) properties: Vec<String>,
    /// Name of the annotation layer.
    pub(super) points: String,
    pub(super) splits: Vec<SplitRecord>,
    /// `None` where there are very many.
    pub(super) boxes: Option<Vec<BoxRecord>>,
    pub(super) boxes_digest: String,
}

/// A volume that windows are cut out of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceRecord {
    pub(super) layer: String,
    pub(super) location: String,
    pub(super) resolution: String,
    pub(super) info_digest: String,
}

/// A split's samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SplitRecord {
    pub(super) name: String,
    pub(super) samples: u64,
    pub(super) digest: String,
}

/// A box, written as a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BoxRow", into = "BoxRow")]
pub(super) struct BoxRecord {
    pub(super) id: String,
    pub(super) bounds: String,
    pub(super) tags: String,
    pub(super) split: Option<usize>,
    /// Digest of its layers and of the resolution of its windows.
    pub(super) group: String,
    pub(super) annotations: u64,
    pub(super) annotations_digest: String,
}

type BoxRow = (String, String, String, Option<usize>, String, u64, String);

impl From<BoxRow> for BoxRecord {
    fn from(row: BoxRow) -> Self {
        let (id, bounds, tags, split, group, annotations, annotations_digest) = row;
        Self {
            id,
            bounds,
            tags,
            split,
            group,
            annotations,
            annotations_digest,
        }
    }
}

impl From<BoxRecord> for BoxRow {
    fn from(b: BoxRecord) -> Self {
        (
            b.id,
            b.bounds,
            b.tags,
            b.split,
            b.group,
            b.annotations,
            b.annotations_digest,
        )
    }
}

impl PlanRecord {
    /// The record of `plan`, whose digest with its sources is `digest`.
    pub(super) fn of(plan: &Plan, sources: &Sources, digest: blake3::Hash) -> Self {
        let groups = group_digests(plan);
        let boxes = plan.boxes.iter().map(|b| box_record(b, &groups));
        let boxes: Vec<_> = boxes.collect();
        let layout = sources.layout(plan);
        Self {
            plan_digest: digest.to_string(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            config: flat(&plan.config.published()),
            sources: source_records(plan, sources),
            codecs: codecs(&layout),
            properties: plan.properties.iter().map(|p| short(&p.id)).collect(),
            points: short(&redacted_source(plan.config.points.name())),
            splits: split_records(plan),
            boxes_digest: digest_of(&serde_json::json!(boxes)),
            boxes: (boxes.len() <= MAX_BOXES).then_some(boxes),
        }
    }
}

/// The values of the config that are not objects, each with its path.
fn flat(config: &Value) -> Vec<(String, String)> {
    fn add(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    let path = match path {
                        "" => name.clone(),
                        path => format!("{path}.{name}"),
                    };
                    add(&path, member, into);
                }
            }
            value => into.push((short(path), short(&value.to_string()))),
        }
    }
    let mut members = Vec::new();
    add("", config, &mut members);
    members
}

/// `text`. A long text is replaced by its beginning and a digest.
fn short(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let start: String = text.chars().take(40).collect();
    let digest = short_digest(blake3::hash(text.as_bytes()));
    format!("{start}... ({} bytes, digest {digest})", text.len())
}

fn short_digest(hash: blake3::Hash) -> String {
    hash.to_hex()[..16].to_owned()
}

fn digest_of(value: &Value) -> String {
    short_digest(blake3::hash(value.to_string().as_bytes()))
}

fn source_records(plan: &Plan, sources: &Sources) -> Vec<SourceRecord> {
    let with_volumes = plan.sources.iter().zip(&sources.volumes);
    let records = with_volumes
        .enumerate()
        .map(|(i, (source, volume))| SourceRecord {
            layer: short(plan.layer_of_source(i)),
            location: short(&source.url.location.to_string()),
            resolution: source.resolution.to_string(),
            info_digest: short_digest(volume.digest()),
        });
    records.collect()
}

fn codecs(layout: &Layout) -> Vec<(String, String)> {
    let arrays = layout.arrays.iter();
    let codec = |a: &ArrayLayout| (a.name.clone(), serde_json::json!(a.codec).to_string());
    arrays.map(codec).collect()
}

fn split_records(plan: &Plan) -> Vec<SplitRecord> {
    let record = |split: &PlannedSplit| {
        let mut hasher = blake3::Hasher::new();
        for s in &split.samples {
            hasher.update(&s.annotation_id.to_le_bytes());
            hasher.update(&s.box_index.to_le_bytes());
        }
        for objects in &split.objects {
            hasher.update(bytemuck::cast_slice(objects));
        }
        SplitRecord {
            name: split.name.clone(),
            samples: split.samples.len() as u64,
            digest: short_digest(hasher.finalize()),
        }
    };
    plan.splits.iter().map(record).collect()
}

/// For each layer group a digest of its sources and of the resolution of its windows.
fn group_digests(plan: &Plan) -> Vec<String> {
    let group = |(number, group): (usize, &PlannedGroup)| {
        let sources = plan.arrays.iter().map(|array| {
            let source = &plan.sources[array.source_of_group[number]];
            let location = source.url.location.to_string();
            serde_json::json!([source.url.format, location, source.resolution])
        });
        let sources: Vec<_> = sources.collect();
        digest_of(&serde_json::json!([group.resolution, sources]))
    };
    plan.groups.iter().enumerate().map(group).collect()
}

fn box_record(b: &PlannedBox, groups: &[String]) -> BoxRecord {
    let of_split = b.split.and(groups.get(b.group));
    BoxRecord {
        id: short(&b.id),
        bounds: digest_of(&serde_json::json!([b.min_nm, b.max_nm])),
        tags: digest_of(&serde_json::json!(b.tags)),
        split: b.split,
        group: of_split.cloned().unwrap_or_default(),
        annotations: b.annotations,
        annotations_digest: format!("{:016x}", b.annotations_digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_have_their_paths_and_long_values_have_digests() {
        let flat_of = |list: Vec<u32>| flat(&json!({"a": {"b": [1, 2], "c": {}}, "list": list}));
        let [ab, ac, list] = &flat_of((0..1000).collect())[..] else {
            panic!("three members")
        };
        let member = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        assert_eq!((ab, ac), (&member("a.b", "[1,2]"), &member("a.c", "{}")));
        assert!(
            list.1.len() < MAX_TEXT_BYTES && list.1.contains("digest"),
            "{list:?}"
        );
        let other = &flat_of((0..1000).map(|n| n + n / 999).collect())[2];
        assert_ne!(list.1, other.1);
    }
}
