//! The digest of a plan, by which a rerun recognises the output of the same plan.

use super::table::Plan;

impl Plan {
    /// Digest of the whole table. Plans with equal digests have the same samples, in the same order, from the same
    /// sources.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        self.hash_description(&mut hasher);
        self.hash_samples(&mut hasher);
        hasher.finalize()
    }

    /// Hashes everything except the samples, as JSON texts with their lengths.
    fn hash_description(&self, hasher: &mut blake3::Hasher) {
        let mut hash_json = |value: serde_json::Value| {
            let text = value.to_string();
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        hash_json(self.config.published());
        for b in &self.boxes {
            hash_json(serde_json::json!([
                b.id, b.tags, b.min_nm, b.max_nm, b.split, b.group
            ]));
        }
        for source in &self.sources {
            hash_json(serde_json::json!([
                source.url.format,
                source.url.location.to_string(),
                source.resolution
            ]));
        }
        for group in &self.groups {
            hash_json(serde_json::json!(group.resolution));
        }
        for array in &self.arrays {
            hash_json(serde_json::json!([array.name, array.source_of_group]));
        }
        for property in &self.properties {
            hash_json(serde_json::json!(property.id));
        }
    }

    fn hash_samples(&self, hasher: &mut blake3::Hasher) {
        for split in &self.splits {
            hasher.update(&(split.samples.len() as u64).to_le_bytes());
            for s in &split.samples {
                hasher.update(&s.annotation_id.to_le_bytes());
                hasher.update(bytemuck::bytes_of(&s.center_nm.0));
                hasher.update(bytemuck::bytes_of(&s.start_voxel));
                hasher.update(&s.box_index.to_le_bytes());
            }
            for objects in &split.objects {
                hasher.update(bytemuck::cast_slice(objects));
            }
            for column in &split.properties {
                hasher.update(column);
            }
        }
    }
}
