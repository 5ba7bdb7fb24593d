//! Checks of a config that need more than one of its values.
//!
//! Each check returns the first invalid value: its JSON path, what was found and what was expected.

use indexmap::IndexSet;

use super::names::{DROPPED_ANNOTATIONS, differ_only_in_case, name_problem, reserved_for};
use super::{
    ArrayConfig, Config, Leaks, ObjectSearch, PointsFrom, RandomParts, Role, Transform, nearest,
};
use crate::storage::{PASSWORD, has_userinfo};

/// Largest `shard_samples`.
const MAX_SHARD_SAMPLES: u32 = 1 << 20;

/// An invalid value: its JSON path, and what was found and expected.
pub(super) type Problem = (String, String);

/// The first invalid value of `config`, if there is one.
pub(super) fn problem(config: &Config) -> Option<Problem> {
    password(config)
        .or_else(|| collections(config))
        .or_else(|| array_names(config))
        .or_else(|| names_that_differ_only_in_case(config))
        .or_else(|| arrays(config))
        .or_else(|| layers(config))
        .or_else(|| splits(config))
        .or_else(|| leaks(config))
        .or_else(|| shard_samples(config))
}

/// The first value of a stored config without which the rest of the program cannot rely on it. Texts that were redacted are
/// not checked.
pub(super) fn problem_of_stored(config: &Config) -> Option<Problem> {
    array_names(config)
        .or_else(|| names_that_differ_only_in_case(config))
        .or_else(|| arrays(config))
        .or_else(|| splits(config))
        .or_else(|| shard_samples(config))
}

fn password(config: &Config) -> Option<Problem> {
    let path = path_of_password(&serde_json::json!(config))?;
    Some((path, PASSWORD.to_owned()))
}

fn collections(config: &Config) -> Option<Problem> {
    match (&config.collection, config.collections.is_empty()) {
        (Some(collection), true) => {
            let (path, problem) = collection.problem()?;
            Some((format!("collection{path}"), problem))
        }
        (None, false) => config.collections.iter().find_map(|(name, named)| {
            let of_name = name_problem(name).map(|problem| (String::new(), problem));
            let is_table = matches!(config.points.source, PointsFrom::Table(_));
            let unused_table = || {
                let problem =
                    "found a table, but `points` has no `table`, expected one with its columns";
                (".table".to_owned(), problem.to_owned())
            };
            let unused_layer = || {
                // With `flexible_z`, other layers of the groups count too, and they are not known here.
                let mut names = named.layers.keys().filter(|_| !config.flexible_z);
                let name = names.find(|name| !layer_names(config).contains(&name.as_str()))?;
                Some((
                    format!(".layers.{name}"),
                    no_such_layer(name, &layer_names(config)),
                ))
            };
            let (path, problem) = of_name
                .or_else(|| named.collection.problem())
                .or_else(|| (named.table.is_some() && !is_table).then(unused_table))
                .or_else(unused_layer)?;
            Some((format!("collections.{name}{path}"), problem))
        }),
        (None, true) => {
            let problem =
                "found no collection, expected `collection`, or `collections` with at least one";
            Some(("collection".to_owned(), problem.to_owned()))
        }
        (Some(_), false) => {
            let problem = "found `collection` and `collections`, expected one of them".to_owned();
            Some(("collections".to_owned(), problem))
        }
    }
}

fn array_names(config: &Config) -> Option<Problem> {
    if config.arrays.is_empty() {
        let problem = "found no array, expected at least one".to_owned();
        return Some(("arrays".to_owned(), problem));
    }
    config.arrays.keys().find_map(|name| {
        let reserved =
            |what| format!("the name `{name}` is taken by {what}, expected another name");
        let problem = name_problem(name).or_else(|| reserved_for(name).map(reserved))?;
        Some((format!("arrays.{name}"), problem))
    })
}

fn names_that_differ_only_in_case(config: &Config) -> Option<Problem> {
    let problem = |name: &str, other: &str| {
        if name == other {
            return format!("the split `{name}` is in `random_splits`, too, expected another name");
        }
        format!(
            "the name differs from `{other}` only in small and capital letters, which some file systems do not distinguish; expected another name"
        )
    };
    let arrays: Vec<&str> = config.arrays.keys().map(String::as_str).collect();
    if let Some((name, other)) = differ_only_in_case(&arrays) {
        return Some((format!("arrays.{name}"), problem(name, other)));
    }
    let splits: Vec<&str> = config.split_names().collect();
    let (name, other) = differ_only_in_case(&splits)?;
    let path = if config.splits.contains_key(name) {
        format!("splits.{name}")
    } else {
        path_of_random_split(config, name)
    };
    Some((path, problem(name, other)))
}

fn arrays(config: &Config) -> Option<Problem> {
    config.arrays.iter().find_map(|(name, array)| {
        if let Some((key, problem)) = array.problem() {
            return Some((format!("arrays.{name}{key}"), problem));
        }
        if let Some(problem) = majority(config, name, array) {
            let path = format!("arrays.{name}.transform.object_at.majority");
            return Some((path, problem));
        }
        let target = name.strip_suffix("_mask");
        let has_target = target.is_some_and(|target| config.arrays.contains_key(target));
        let is_lost_mask = array.role == Some(Role::Mask) && !has_target;
        is_lost_mask.then(|| {
            let problem = "a mask is named after the array that it masks, expected the name of another array and `_mask`";
            (format!("arrays.{name}.role"), problem.to_owned())
        })
    })
}

/// What is wrong with the array whose mask says the object of the array `name`.
fn majority(config: &Config, name: &str, array: &ArrayConfig) -> Option<String> {
    let mask_of = |array: &'_ ArrayConfig| match &array.transform {
        Transform::ObjectAt(at) => match at.search() {
            ObjectSearch::Majority(mask) => Some(mask.to_owned()),
            ObjectSearch::AtPoint { .. } | ObjectSearch::WithId(_) => None,
        },
        _ => None,
    };
    let mask = mask_of(array)?;
    let others = config.arrays.iter().filter(|(other, _)| *other != name);
    let others: Vec<_> = others
        .filter(|(_, other)| mask_of(other).is_none())
        .collect();
    let window = |array: &ArrayConfig| array.window.unwrap_or(config.window);
    match others.iter().find(|(other, _)| **other == mask) {
        Some((_, other)) if window(other) == window(array) => None,
        Some((_, other)) => Some(format!(
            "the windows of `{mask}` have {} voxels, expected {} as in `{name}`",
            window(other),
            window(array)
        )),
        None => {
            let known: Vec<_> = others.iter().map(|(other, _)| other.as_str()).collect();
            Some(format!(
                "found {mask:?}, expected the name of another array that has no `majority`: one of {}",
                known.join(", ")
            ))
        }
    }
}

fn layers(config: &Config) -> Option<Problem> {
    config.layers.iter().find_map(|(name, layer)| {
        let mut used = used_layers(config);
        // With `flexible_z`, other layers of the groups count too, and they are not known here.
        if !config.flexible_z && !used.any(|layer| layer == name) {
            return Some((format!("layers.{name}"), unused_layer(config, name)));
        }
        let (key, problem) = layer.problem()?;
        Some((format!("layers.{name}.{key}"), problem))
    })
}

/// The volume layers that are read.
fn used_layers(config: &Config) -> impl Iterator<Item = &str> {
    let arrays = config.arrays.values().map(|array| array.layer.as_str());
    let objects = match &config.points.source {
        PointsFrom::Objects(objects) => Some(objects.layer.as_str()),
        _ => None,
    };
    let negatives = config.points.negatives.as_ref();
    let mask = negatives.and_then(|negatives| negatives.mask.as_ref());
    arrays
        .chain(objects)
        .chain(mask.map(|mask| mask.layer.as_str()))
}

/// The layers that are read: volumes and annotations.
fn layer_names(config: &Config) -> Vec<&str> {
    let points = &config.points;
    let annotations: Vec<&str> = match &points.source {
        PointsFrom::Layer(layer) => vec![layer],
        PointsFrom::Layers(layers) => layers.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let ends = points.ends().into_iter().filter_map(|(.., end)| end);
    let ends = ends.map(|end| end.layer.as_str());
    used_layers(config).chain(annotations).chain(ends).collect()
}

fn unused_layer(config: &Config, name: &str) -> String {
    no_such_layer(name, &used_layers(config).collect::<Vec<_>>())
}

fn no_such_layer(name: &str, used: &[&str]) -> String {
    let hint = nearest(name, used.iter().copied());
    let hint = hint.map_or(String::new(), |hint| format!("; did you mean `{hint}`?"));
    let used: IndexSet<_> = used.iter().copied().collect();
    let used: Vec<_> = used.into_iter().collect();
    format!(
        "no array or point source uses a layer `{name}`, expected one of {}{hint}",
        used.join(", ")
    )
}

fn splits(config: &Config) -> Option<Problem> {
    if config.splits.is_empty() && config.random_splits.is_none() {
        let problem = "found no split, expected at least one here or in `random_splits`".to_owned();
        return Some(("splits".to_owned(), problem));
    }
    let by_tags = config.splits.iter().find_map(|(name, split)| {
        let no_tag = || "found no tag, expected the tags of the boxes in this split".to_owned();
        let problem = name_problem(name)
            .or_else(|| name_of_dropped(name))
            .or_else(|| split.is_empty().then(no_tag))?;
        Some((format!("splits.{name}"), problem))
    });
    by_tags.or_else(|| random_splits(config))
}

fn random_splits(config: &Config) -> Option<Problem> {
    let random = config.random_splits.as_ref()?;
    if let Some((path, problem)) = random.problem() {
        return Some((format!("random_splits{path}"), problem));
    }
    let named = |name| Some((path_of_random_split(config, name), name_of_dropped(name)?));
    random.names().find_map(named)
}

/// The path of a random split. Folds have names that are not in the config.
fn path_of_random_split(config: &Config, name: &str) -> String {
    let random = config.random_splits.as_ref();
    match random.map(|random| &random.parts) {
        Some(RandomParts::Fractions(_)) => format!("random_splits.fractions.{name}"),
        _ => "random_splits".to_owned(),
    }
}

/// What is wrong with the name of a split that is the name of another part of the output.
fn name_of_dropped(name: &str) -> Option<String> {
    name.eq_ignore_ascii_case(DROPPED_ANNOTATIONS).then(|| {
        format!("`{name}` is the name of the table of dropped annotations, expected another name")
    })
}

fn leaks(config: &Config) -> Option<Problem> {
    let Leaks::DropFrom(split) = &config.leaks else {
        return None;
    };
    let is_split = config.split_names().any(|name| name == split);
    (!is_split).then(|| {
        let problem = format!("found {split:?}, expected the name of a split");
        ("leaks.drop_from".to_owned(), problem)
    })
}

fn shard_samples(config: &Config) -> Option<Problem> {
    let samples = config.shard_samples?;
    let is_valid = (1..=MAX_SHARD_SAMPLES).contains(&samples);
    (!is_valid).then(|| {
        let problem =
            format!("found {samples}, expected a whole number from 1 to {MAX_SHARD_SAMPLES}");
        ("shard_samples".to_owned(), problem)
    })
}

/// JSON path of a URL with a name and password, if there is one.
fn path_of_password(value: &serde_json::Value) -> Option<String> {
    let below = |step: String, value| {
        let rest = path_of_password(value)?;
        Some(match rest.as_str() {
            "" => step,
            rest if rest.starts_with('[') => step + rest,
            rest => format!("{step}.{rest}"),
        })
    };
    match value {
        serde_json::Value::String(text) => has_userinfo(text).then(String::new),
        serde_json::Value::Array(list) => {
            let mut items = list.iter().enumerate();
            items.find_map(|(i, value)| below(format!("[{i}]"), value))
        }
        serde_json::Value::Object(members) => {
            let mut members = members.iter();
            members.find_map(|(name, value)| below(name.clone(), value))
        }
        _ => None,
    }
}
