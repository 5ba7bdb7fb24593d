//! Differences between two configs, by JSON path. Places are no differences.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::list::Differences;
use crate::config::Config;

/// Longest text, in bytes, that is not shortened.
const MAX_TEXT_BYTES: usize = 160;

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

/// Adds the differences between two configs.
pub(super) fn compare(was: &Config, now: &Config, differences: &mut Differences) -> Changed {
    let (was, now) = (flat(&was.without_places()), flat(&now.without_places()));
    let mut changed = Changed::default();
    let before: HashMap<_, _> = was.iter().map(|(path, value)| (path, value)).collect();
    let after: HashSet<_> = now.iter().map(|(path, _)| path).collect();
    for (path, value) in &now {
        match before.get(path) {
            Some(old) if *old == value => continue,
            Some(old) => differences.add(|| {
                let (path, old, value) = (short(path), short(old), short(value));
                format!("config `{path}`: was {old}, is now {value}")
            }),
            None => differences.add(|| {
                let (path, value) = (short(path), short(value));
                format!("config `{path}`: was not given, is now {value}")
            }),
        }
        changed.0.push(path.clone());
    }
    for (path, value) in was.iter().filter(|(path, _)| !after.contains(path)) {
        differences.add(|| {
            let (path, value) = (short(path), short(value));
            format!("config `{path}`: was {value}, is not given now")
        });
        changed.0.push(path.clone());
    }
    let moved = was.iter().zip(&now).find(|((a, _), (b, _))| a != b);
    if let (true, Some(((path, _), _))) = (changed.0.is_empty(), moved) {
        let parent = path.split('.').next().unwrap_or_default();
        differences.add(|| format!("config `{parent}`: its members are in another order"));
        changed.0.push(parent.to_owned());
    }
    changed
}

/// A line for each path or URL in both configs that differs.
pub(super) fn moved(was: &Config, now: &Config) -> Vec<String> {
    let now: HashMap<String, String> = now.places().into_iter().collect();
    let places = was.places().into_iter().filter_map(|(path, was)| {
        let now = now.get(&path).filter(|now| **now != was)?;
        let (was, now) = (short(&was), short(now));
        Some(format!("config `{path}` was {was}, is {now} now"))
    });
    places.collect()
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
            value => into.push((path.to_owned(), value.to_string())),
        }
    }
    let mut members = Vec::new();
    add("", config, &mut members);
    members
}

/// `text`, or the beginning of a long one.
pub(super) fn short(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let start: String = text.chars().take(40).collect();
    format!("{start}... ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_have_their_paths_and_long_values_are_shortened() {
        let members = flat(&json!({"a": {"b": [1, 2], "c": {}}, "list": vec![0; 1000]}));
        let [ab, ac, list] = &members[..] else {
            panic!("three members")
        };
        let member = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        assert_eq!((ab, ac), (&member("a.b", "[1,2]"), &member("a.c", "{}")));
        let shown = short(&list.1);
        assert!(
            shown.len() < MAX_TEXT_BYTES && shown.ends_with("... (2001 bytes)"),
            "{shown}"
        );
    }
}
