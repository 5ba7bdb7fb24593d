//! Differences between sources, annotation properties and codecs.

use std::collections::HashMap;

use super::super::record::{PlanRecord, SourceRecord};
use super::config::Changed;
use super::list::Differences;

pub(super) fn compare(
    was: &PlanRecord,
    now: &PlanRecord,
    config: &Changed,
    differences: &mut Differences,
) {
    compare_volumes(&was.sources, &now.sources, config, differences);
    if !config.any(&["points"]) {
        compare_properties(&was.properties, &now.properties, differences);
    }
    if config.any(&["arrays"]) {
        return;
    }
    // The config is the same, so the codecs were chosen from voxels.
    for ((array, old), (_, new)) in was.codecs.iter().zip(&now.codecs) {
        if old != new {
            differences.add(|| {
                format!("array `{array}`: was compressed as {old}, is compressed as {new} now, chosen from its voxels")
            });
        }
    }
}

/// Compares the volumes that windows are cut out of.
fn compare_volumes<'r>(
    was: &'r [SourceRecord],
    now: &'r [SourceRecord],
    config: &Changed,
    differences: &mut Differences,
) {
    let mut left = Unmatched::new(was);
    let (same_place, others): (Vec<_>, Vec<_>) = now
        .iter()
        .map(|source| (left.take_same_place(source), source))
        .partition(|(old, _)| old.is_some());
    for (old, source) in same_place {
        if old.is_some_and(|old| old.info_digest != source.info_digest) {
            differences.add(|| {
                format!(
                    "source `{}` ({}): its metadata (info or attributes) has changed",
                    source.layer, source.location
                )
            });
        }
    }
    let arrays_changed = config.any(&["arrays"]);
    for (_, source) in others {
        let SourceRecord {
            layer,
            location,
            resolution,
            ..
        } = source;
        match left.take_same_layer(source) {
            Some(old) if old.location != *location => differences
                .add(|| format!("source `{layer}`: was {}, is now {location}", old.location)),
            Some(_) if config.any_resolution() => {}
            Some(old) => differences.add(|| {
                format!(
                    "source `{layer}` ({location}): was read at {}, is read at {resolution} now",
                    old.resolution
                )
            }),
            None if arrays_changed => {}
            None => differences.add(|| format!("source `{layer}` ({location}) was added")),
        }
    }
    if !arrays_changed {
        for gone in left.sources.into_iter().flatten() {
            differences.add(|| format!("source `{}` ({}) was removed", gone.layer, gone.location));
        }
    }
}

/// Sources of the old plan that are not matched with one of the new plan yet.
struct Unmatched<'r> {
    /// `None` where a source is matched.
    sources: Vec<Option<&'r SourceRecord>>,
    /// Positions by layer, location and resolution; the last one comes first in the old plan.
    of_place: HashMap<(&'r str, &'r str, &'r str), Vec<usize>>,
    /// Positions by layer; the last one comes first in the old plan.
    of_layer: HashMap<&'r str, Vec<usize>>,
}

impl<'r> Unmatched<'r> {
    fn new(sources: &'r [SourceRecord]) -> Self {
        let mut unmatched = Self {
            sources: sources.iter().map(Some).collect(),
            of_place: HashMap::new(),
            of_layer: HashMap::new(),
        };
        for (i, source) in sources.iter().enumerate().rev() {
            let place = (&*source.layer, &*source.location, &*source.resolution);
            unmatched.of_place.entry(place).or_default().push(i);
            unmatched.of_layer.entry(&source.layer).or_default().push(i);
        }
        unmatched
    }

    /// A source of the same layer, location and resolution.
    fn take_same_place(&mut self, source: &'r SourceRecord) -> Option<&'r SourceRecord> {
        let place = (&*source.layer, &*source.location, &*source.resolution);
        let positions = self.of_place.get_mut(&place)?;
        self.sources[positions.pop()?].take()
    }

    /// A source of the same layer.
    fn take_same_layer(&mut self, source: &SourceRecord) -> Option<&'r SourceRecord> {
        let of_layer = self.of_layer.get_mut(&*source.layer)?;
        let is_left = |position: &usize| self.sources[*position].is_some();
        let last = of_layer.iter().rposition(is_left)?;
        self.sources[of_layer.remove(last)].take()
    }
}

fn compare_properties(was: &[String], now: &[String], differences: &mut Differences) {
    for added in now.iter().filter(|p| !was.contains(p)) {
        differences.add(|| format!("annotation property {added:?}: was added"));
    }
    for removed in was.iter().filter(|p| !now.contains(p)) {
        differences.add(|| format!("annotation property {removed:?}: was removed"));
    }
}
