//! Differences of what windows are cut out of, and of how samples are compressed.

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
    of_volumes(&was.sources, &now.sources, config, differences);
    if !config.any(&["points"]) {
        of_properties(&was.properties, &now.properties, differences);
    }
    if config.any(&["arrays"]) {
        return;
    }
    // Chosen from voxels, as the config is the same.
    for ((array, old), (_, new)) in was.codecs.iter().zip(&now.codecs) {
        if old != new {
            differences.add(|| {
                format!("array `{array}`: was compressed as {old}, is to be as {new} now, chosen from its voxels")
            });
        }
    }
}

fn of_volumes(
    was: &[SourceRecord],
    now: &[SourceRecord],
    config: &Changed,
    differences: &mut Differences,
) {
    // Of one place first those of the same resolution.
    let mut left: Vec<Option<&SourceRecord>> = was.iter().map(Some).collect();
    let mut at: HashMap<(&str, &str, &str), Vec<usize>> = HashMap::new();
    let mut of_layer: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, source) in was.iter().enumerate().rev() {
        let key = (&*source.layer, &*source.location, &*source.resolution);
        at.entry(key).or_default().push(i);
        of_layer.entry(&source.layer).or_default().push(i);
    }
    let mut others = Vec::new();
    for source in now {
        let key = (&*source.layer, &*source.location, &*source.resolution);
        match at.get_mut(&key).and_then(Vec::pop) {
            Some(i) => {
                let same = left[i]
                    .take()
                    .is_some_and(|s| s.info_digest == source.info_digest);
                if !same {
                    differences.add(|| {
                        format!(
                            "source `{}` ({}): what it says of itself (its info or metadata) has changed",
                            source.layer, source.location
                        )
                    });
                }
            }
            None => others.push(source),
        }
    }
    for source in others {
        let same_layer = of_layer.get_mut(&*source.layer);
        let old = same_layer.and_then(|of_layer| {
            let position = of_layer.iter().rposition(|i| left[*i].is_some())?;
            left[of_layer.remove(position)].take()
        });
        let SourceRecord {
            layer,
            location,
            resolution,
            ..
        } = source;
        match old {
            Some(old) if old.location != *location => differences
                .add(|| format!("source `{layer}`: was {}, is now {location}", old.location)),
            Some(_) if config.any_resolution() => {}
            Some(old) => differences.add(|| {
                format!(
                    "source `{layer}` ({location}): was read at {}, is read at {resolution} now",
                    old.resolution
                )
            }),
            None if config.any(&["arrays"]) => {}
            None => differences.add(|| format!("source `{layer}` ({location}) was added")),
        }
    }
    let arrays_changed = config.any(&["arrays"]);
    for gone in left.into_iter().flatten().filter(|_| !arrays_changed) {
        differences.add(|| format!("source `{}` ({}) was removed", gone.layer, gone.location));
    }
}

fn of_properties(was: &[String], now: &[String], differences: &mut Differences) {
    for added in now.iter().filter(|p| !was.contains(p)) {
        differences.add(|| format!("annotation property {added:?}: was added"));
    }
    for removed in was.iter().filter(|p| !now.contains(p)) {
        differences.add(|| format!("annotation property {removed:?}: was removed"));
    }
}
