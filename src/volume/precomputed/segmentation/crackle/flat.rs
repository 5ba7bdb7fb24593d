//! The flat label format: a number for each component, and the label of each number.

use super::super::label_type::LabelType;
use super::super::reader::{Reader, number};
use super::header::Header;
use super::width_of;

/// Labels by component. Slices are read one after the other.
pub(super) struct FlatLabels<'a, const N: usize> {
    labels: Vec<[u8; N]>,
    counts: std::slice::ChunksExact<'a, u8>,
    /// The numbers of the labels of the components of the next slices.
    keys: &'a [u8],
    key_bytes: usize,
    of_components: Vec<[u8; N]>,
}

impl<'a, const N: usize> FlatLabels<'a, N> {
    pub(super) fn parse(
        bytes: &'a [u8],
        header: &Header,
        label_type: LabelType<N>,
    ) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        let count = reader.number(8, "labels")?;
        let stored_bytes = header.stored_label_bytes;
        let labels = reader.take(count, stored_bytes, "labels")?;
        let component_bytes = header.component_bytes();
        let counts = reader.take(header.shape[2].into(), component_bytes, "counts")?;
        let counts = counts.chunks_exact(component_bytes);
        let components = counts.clone().map(|n| u128::from(number(n))).sum::<u128>();
        let (keys, key_bytes) = (reader.rest(), width_of(count));
        if components * key_bytes as u128 != keys.len() as u128 {
            return Err(format!(
                "{} bytes follow its counts, expected {key_bytes} for each of {components} components",
                keys.len()
            ));
        }
        // A component has one label.
        if u128::from(count) > components {
            return Err(format!("it has {count} labels of {components} components"));
        }
        Ok(Self {
            labels: label_type.convert_all(labels, stored_bytes, header.is_signed)?,
            counts,
            keys,
            key_bytes,
            of_components: Vec::new(),
        })
    }

    /// The labels of the components of the next slice, which has `found` components.
    pub(super) fn next_slice(&mut self, found: u32) -> Result<&[[u8; N]], String> {
        let expected = self.counts.next().map_or(0, number);
        check_count(found, expected)?;
        let keys = self.keys.split_at_checked(found as usize * self.key_bytes);
        let (keys, rest) = keys.ok_or("its components have no labels: it is damaged")?;
        self.keys = rest;
        let label_of = |key: &[u8]| {
            let at = usize::try_from(number(key)).ok();
            at.and_then(|at| self.labels.get(at).copied())
        };
        self.of_components.clear();
        for key in keys.chunks_exact(self.key_bytes) {
            let label = label_of(key).ok_or_else(|| {
                format!(
                    "a component has the label number {} of {}, counted from 0: it is damaged",
                    number(key),
                    self.labels.len()
                )
            })?;
            self.of_components.push(label);
        }
        Ok(&self.of_components)
    }
}

/// Compares the number of components that the cracks form with that in the labels.
pub(super) fn check_count(found: u32, expected: u64) -> Result<(), String> {
    if u64::from(found) == expected {
        return Ok(());
    }
    Err(format!(
        "its cracks form {found} components, its labels are those of {expected}: it is damaged"
    ))
}
