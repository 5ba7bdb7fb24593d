//! Digests of plans. The places of collection, annotations and volumes are in none of them.

use blake3::{Hash, Hasher};
use serde_json::{Value, json};

use super::finished::FinishedPlan;
use super::table::{Plan, PlannedBox, VolumeSource};

impl FinishedPlan {
    /// Digest of everything that the bytes of samples and columns depend on: the table, the metadata of the volumes, the layout with
    /// its codecs. Plans with equal digests have the same samples, in the same order, from equal sources. The tasks
    /// are not part of it.
    pub fn digest(&self) -> Hash {
        let mut hasher = Hasher::new();
        self.table.hash_config(&mut hasher);
        for b in &self.table.boxes {
            hash_json(&mut hasher, &box_parts(b));
        }
        for (source, facts) in self.table.sources.iter().zip(&self.sources) {
            let metadata = facts.metadata_digest.to_string();
            hash_json(&mut hasher, &json!([source_parts(source), metadata]));
        }
        for (i, array) in self.layout.arrays.iter().enumerate() {
            let fill_value = array.fill_value.bytes(array.data_type.size_bytes());
            let parts = json!([
                array.name,
                array.data_type,
                array.channels,
                array.window,
                fill_value,
                array.codec,
                self.table.arrays[i].source_of_group,
            ]);
            hash_json(&mut hasher, &parts);
        }
        for split in &self.layout.splits {
            let parts = json!([split.name, split.samples, split.shard_samples]);
            hash_json(&mut hasher, &parts);
        }
        self.table.hash_samples(&mut hasher);
        if self.table.has_ends {
            for [start, end] in self.table.splits.iter().flat_map(|split| &split.ends) {
                hasher.update(bytemuck::bytes_of(&[start.0, end.0]));
            }
        }
        hasher.finalize()
    }
}

impl Plan {
    /// Digest of the table as it is now, with the numbers of annotations. It has nothing that the volumes say.
    pub fn digest(&self) -> Hash {
        let mut hasher = Hasher::new();
        self.hash_config(&mut hasher);
        for b in &self.boxes {
            let annotations = [b.annotations, b.annotations_digest];
            hash_json(&mut hasher, &json!([box_parts(b), annotations, b.samples]));
        }
        for source in &self.sources {
            hash_json(&mut hasher, &source_parts(source));
        }
        for array in &self.arrays {
            hash_json(&mut hasher, &json!(array.source_of_group));
        }
        self.hash_samples(&mut hasher);
        hasher.finalize()
    }

    /// Hashes the config without places, and what is the same for all samples.
    fn hash_config(&self, hasher: &mut Hasher) {
        hash_json(hasher, &self.config.without_places());
        for group in &self.groups {
            hash_json(hasher, &json!(group.resolution));
        }
        for property in &self.properties {
            hash_json(hasher, &json!(property));
        }
    }

    fn hash_samples(&self, hasher: &mut Hasher) {
        for split in &self.splits {
            hasher.update(&(split.samples.len() as u64).to_le_bytes());
            for s in &split.samples {
                hasher.update(&s.annotation_id.to_le_bytes());
                hasher.update(bytemuck::bytes_of(&s.center_nm.0));
                hasher.update(bytemuck::bytes_of(&s.start_voxel));
                hasher.update(&s.box_index.to_le_bytes());
            }
            for objects in &split.objects {
                objects.hash(hasher);
            }
            for column in &split.properties {
                hasher.update(column);
            }
        }
    }
}

fn box_parts(b: &PlannedBox) -> Value {
    json!([b.id, b.tags, b.min_nm, b.max_nm, b.split, b.group])
}

/// What identifies a volume, without its metadata.
fn source_parts(source: &VolumeSource) -> Value {
    json!([source.url.format, source.layer, source.resolution])
}

/// Hashes a JSON text with its length.
fn hash_json(hasher: &mut Hasher, value: &Value) {
    let text = value.to_string();
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}
