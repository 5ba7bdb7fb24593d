//! Which volumes of a draft are those of a stored plan, and the differences between the others.

use std::collections::HashMap;

use super::config::Changed;
use super::list::Differences;
use crate::plan::{FinishedPlan, Plan, SourceFacts, VolumeSource};

/// A volume, by what identifies it.
#[derive(Debug)]
struct Volume<'a> {
    layer: &'a str,
    location: String,
    source: &'a VolumeSource,
    facts: &'a SourceFacts,
}

impl Volume<'_> {
    /// Whether the volumes have the same contents, as far as metadata tell.
    fn is_same(&self, other: &Self) -> bool {
        self.source.layer == other.source.layer
            && self.source.resolution == other.source.resolution
            && self.source.url.format == other.source.url.format
            && self.facts.metadata_digest == other.facts.metadata_digest
    }
}

/// The volumes of both plans, matched.
#[derive(Debug)]
pub(super) struct MatchedSources<'a> {
    was: Vec<Volume<'a>>,
    now: Vec<Volume<'a>>,
    /// For each volume of the draft the position of the stored one that it is, or was.
    stored_of: Vec<Option<usize>>,
}

impl<'a> MatchedSources<'a> {
    pub(super) fn new(stored: &'a FinishedPlan, draft: &'a Plan, now: &'a [SourceFacts]) -> Self {
        let mut matched = Self {
            was: volumes(&stored.table, &stored.sources),
            now: volumes(draft, now),
            stored_of: vec![None; draft.sources.len()],
        };
        // What did not move comes first, so that two volumes with the same metadata are not mixed up.
        matched.take(|v| (v.layer.to_owned(), v.location.clone(), resolution(v)));
        matched.take(|v| {
            let metadata = v.facts.metadata_digest.to_string();
            let format = v.source.url.format.clone().unwrap_or_default();
            (
                v.layer.to_owned(),
                format!("{metadata} {format}"),
                resolution(v),
            )
        });
        matched.take(|v| (v.layer.to_owned(), String::new(), String::new()));
        matched
    }

    /// Matches volumes that are not matched yet and have the same key, in their order.
    fn take(&mut self, key: impl Fn(&Volume<'_>) -> (String, String, String)) {
        let mut left: HashMap<_, Vec<usize>> = HashMap::new();
        for (i, volume) in self.was.iter().enumerate().rev() {
            if !self.stored_of.contains(&Some(i)) {
                left.entry(key(volume)).or_default().push(i);
            }
        }
        for (i, volume) in self.now.iter().enumerate() {
            if self.stored_of[i].is_none() {
                self.stored_of[i] = left.get_mut(&key(volume)).and_then(Vec::pop);
            }
        }
    }

    /// The position in the stored plan of a volume of the draft, if it is the same and in the same place.
    pub(super) fn same(&self, source: usize) -> Option<usize> {
        let stored = self.stored_position(source)?;
        let (was, now) = (&self.was[stored], &self.now[source]);
        (was.is_same(now) && was.location == now.location).then_some(stored)
    }

    /// The position in the stored plan of a volume of the draft; `None` if it was added.
    pub(super) fn stored_position(&self, source: usize) -> Option<usize> {
        self.stored_of.get(source).copied().flatten()
    }

    /// Adds the differences. Returns whether there is none, not counting volumes that moved.
    pub(super) fn compare(&self, config: &Changed, differences: &mut Differences) -> bool {
        let arrays_changed = config.any(&["arrays"]);
        let mut are_same = self.was.len() == self.now.len();
        for (volume, stored) in self.now.iter().zip(&self.stored_of) {
            let old = stored.map(|i| &self.was[i]);
            if old.is_some_and(|old| old.is_same(volume)) {
                continue;
            }
            are_same = false;
            match old {
                Some(old) => compare_volume(old, volume, config, differences),
                None if arrays_changed => {}
                None => differences
                    .add(|| format!("source `{}` ({}) was added", volume.layer, volume.location)),
            }
        }
        if !arrays_changed {
            let gone = self.was.iter().enumerate();
            for (_, gone) in gone.filter(|(i, _)| !self.stored_of.contains(&Some(*i))) {
                differences
                    .add(|| format!("source `{}` ({}) was removed", gone.layer, gone.location));
            }
        }
        are_same
    }

    /// A line for each volume that is the same, in another place.
    pub(super) fn moved(&self) -> Vec<String> {
        let pairs = self.now.iter().zip(&self.stored_of);
        let moved = pairs.filter_map(|(now, stored)| {
            let was = &self.was[(*stored)?];
            let has_moved = was.is_same(now) && was.location != now.location;
            has_moved.then(|| {
                format!(
                    "the source `{}` was {}, is {} now, with the same metadata",
                    now.layer, was.location, now.location
                )
            })
        });
        moved.collect()
    }
}

/// Adds the difference between two volumes of the same layer, which are not the same.
fn compare_volume(
    was: &Volume<'_>,
    now: &Volume<'_>,
    config: &Changed,
    differences: &mut Differences,
) {
    let (layer, location) = (now.layer, &now.location);
    if was.location != now.location {
        let old = &was.location;
        differences.add(|| format!("source `{layer}`: was {old}, is now {location}"));
    } else if was.source.resolution != now.source.resolution {
        let (old, new) = (was.source.resolution, now.source.resolution);
        if !config.any_resolution() {
            differences.add(|| {
                format!("source `{layer}` ({location}): was read at {old}, is read at {new} now")
            });
        }
    } else if was.source.url.format != now.source.url.format {
        let format = |v: &Volume<'_>| match &v.source.url.format {
            Some(format) => format!("`{format}`"),
            None => "no format".to_owned(),
        };
        differences.add(|| {
            format!(
                "source `{layer}` ({location}): its URL named {}, names {} now",
                format(was),
                format(now)
            )
        });
    } else if was.facts.metadata_digest != now.facts.metadata_digest && !config.any(&["layers"]) {
        let has_roots = now.source.roots.is_some();
        differences.add(|| changed_metadata(layer, location, has_roots));
    }
}

/// The difference of a volume whose metadata changed, or the table of its roots if it has one.
pub(super) fn changed_metadata(layer: &str, location: &str, has_roots: bool) -> String {
    let roots = if has_roots {
        ", or the table of its roots,"
    } else {
        ""
    };
    format!("source `{layer}` ({location}): its metadata (info or attributes){roots} has changed")
}

fn volumes<'a>(plan: &'a Plan, facts: &'a [SourceFacts]) -> Vec<Volume<'a>> {
    let with_facts = plan.sources.iter().zip(facts).enumerate();
    let volumes = with_facts.map(|(i, (source, facts))| Volume {
        layer: plan.layer_of_source(i),
        location: source.url.location.without_secrets().to_string(),
        source,
        facts,
    });
    volumes.collect()
}

fn resolution(volume: &Volume<'_>) -> String {
    volume.source.resolution.to_string()
}
