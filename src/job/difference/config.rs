//! Differences between two configs, by JSON path.

use std::collections::{HashMap, HashSet};

use super::list::Differences;

/// The paths at which the configs differ.
#[derive(Debug, Default)]
pub(super) struct Changed(Vec<String>);

impl Changed {
    /// Whether a value at or below one of these keys differs.
    pub(super) fn any(&self, keys: &[&str]) -> bool {
        self.0.iter().any(|path| {
            let below = |key: &&str| {
                path.strip_prefix(*key)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            keys.iter().any(below)
        })
    }

    /// Whether the resolution of some windows differs.
    pub(super) fn any_resolution(&self) -> bool {
        self.any(&["resolution", "flexible_z"])
            || self.0.iter().any(|p| p.ends_with(".data_resolution"))
    }
}

/// Adds the differences between two lists of paths with values.
pub(super) fn compare(
    was: &[(String, String)],
    now: &[(String, String)],
    differences: &mut Differences,
) -> Changed {
    let mut changed = Changed::default();
    let before: HashMap<_, _> = was.iter().map(|(path, value)| (path, value)).collect();
    let after: HashSet<_> = now.iter().map(|(path, _)| path).collect();
    for (path, value) in now {
        match before.get(path) {
            Some(old) if *old == value => continue,
            Some(old) => differences.add(|| format!("config `{path}`: was {old}, is now {value}")),
            None => differences.add(|| format!("config `{path}`: was not given, is now {value}")),
        }
        changed.0.push(path.clone());
    }
    for (path, value) in was.iter().filter(|(path, _)| !after.contains(path)) {
        differences.add(|| format!("config `{path}`: was {value}, is not given now"));
        changed.0.push(path.clone());
    }
    let moved = was.iter().zip(now).find(|((a, _), (b, _))| a != b);
    if let (true, Some(((path, _), _))) = (changed.0.is_empty(), moved) {
        let parent = path.split('.').next().unwrap_or_default();
        differences.add(|| format!("config `{parent}`: its members are in another order"));
        changed.0.push(parent.to_owned());
    }
    changed
}
