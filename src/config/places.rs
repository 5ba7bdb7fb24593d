//! The config without places and without secrets.
//!
//! Places are paths and URLs of collection, annotations and layers. Two configs that differ in places only describe the same
//! job, if the contents are the same.

use std::path::Path;

use serde_json::Value;

use super::{
    BoxesConfig, BoxesSource, CollectionConfig, CollectionSource, Config, ConfigError, PointsFrom,
    RootsConfig, from_json, validate,
};

impl Config {
    /// The config as [`Config::published`], with all places replaced by empty texts.
    pub(crate) fn without_places(&self) -> Value {
        let mut config = self.clone();
        if let Some(collection) = &mut config.collection {
            collection.remove_places();
        }
        for named in config.collections.values_mut() {
            named.collection.remove_places();
            named.table.iter_mut().for_each(String::clear);
        }
        match &mut config.points.source {
            PointsFrom::Layer(_) | PointsFrom::Layers(_) | PointsFrom::Objects(_) => {}
            PointsFrom::NeuroglancerState(state) => state.source.clear(),
            PointsFrom::Table(table) => table.file.clear(),
            PointsFrom::Cremi(cremi) => cremi.file.clear(),
        }
        let roots = config.layers.values_mut();
        roots
            .filter_map(|layer| layer.roots.as_mut())
            .for_each(RootsConfig::remove_places);
        config.published()
    }

    /// The places in the config: a name for each, and its path or URL without secrets.
    pub(crate) fn places(&self) -> Vec<(String, String)> {
        let (all, without) = (self.published(), self.without_places());
        let mut places = Vec::new();
        add_different_texts("", &all, &without, &mut places);
        places
    }

    /// Digest of the config without places.
    pub(crate) fn digest(&self) -> blake3::Hash {
        blake3::hash(self.without_places().to_string().as_bytes())
    }

    /// The config as it is read from what [`Config::published`] returns.
    pub(crate) fn without_secrets(&self) -> Result<Self, ConfigError> {
        Self::parse_published(&self.published())
    }

    /// The config in what [`Config::published`] returned.
    pub(crate) fn parse_published(published: &Value) -> Result<Self, ConfigError> {
        let file = Path::new("the stored config");
        let config: Self = from_json(published.to_string().as_bytes(), file)?;
        match validate::problem_of_stored(&config) {
            None => Ok(config),
            Some((path, problem)) => Err(ConfigError::invalid(file, path, problem)),
        }
    }
}

impl CollectionConfig {
    fn remove_places(&mut self) {
        let source = match self {
            Self::Path(path) => return path.clear(),
            Self::Source(source) => source,
        };
        match source {
            CollectionSource::NeuroglancerState(state) => state.source.clear(),
            CollectionSource::ZettaApi(api) => {
                api.url.clear();
                api.token_env = None;
            }
            CollectionSource::Boxes(boxes) => boxes.remove_places(),
        }
    }
}

impl BoxesConfig {
    fn remove_places(&mut self) {
        match &mut self.source {
            BoxesSource::List(_) => {}
            BoxesSource::Csv(table) => table.file.clear(),
            BoxesSource::Layer(layer) => layer.url.clear(),
        }
        self.layers.values_mut().for_each(String::clear);
    }
}

/// Adds the texts of `all` that `without` does not have, with their JSON paths.
fn add_different_texts(path: &str, all: &Value, without: &Value, into: &mut Vec<(String, String)>) {
    match all {
        Value::Object(members) => {
            for (name, member) in members {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                add_different_texts(&path, member, &without[name], into);
            }
        }
        Value::String(text) if all != without => into.push((path.to_owned(), text.clone())),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(collection: Value, points: Value) -> Config {
        let value = json!({
            "$schema": "config.schema.json", "collection": collection, "points": points, "resolution": [4.6, 4.6, 45],
            "window": [64, 64, 16], "arrays": {"img": {"layer": "img"}}, "splits": {"train": ["train"]},
        });
        Config::parse(value.to_string().as_bytes(), Path::new("job.json")).unwrap()
    }

    fn collections(place: &str) -> Vec<Value> {
        vec![
            json!(place),
            json!({"neuroglancer_state": {"source": place, "layer": "boxes"}}),
            json!({"zetta_api": {"url": format!("https://host/{place}"), "collection": "c", "token_env": place}}),
            json!({"boxes": {"list": [{"min": [0, 0, 0], "max": [9, 9, 9]}], "layers": {"img": place}}}),
            json!({"boxes": {"csv": place, "layers": {"img": place, "lab": place}}}),
            json!({"boxes": {"source": place, "layers": {"img": place}, "tags": ["train"]}}),
        ]
    }

    fn named(place: &str) -> Config {
        let boxes = json!({"boxes": {"csv": place, "layers": {"em": place}}, "table": place, "layers": {"img": "em"}});
        let value = json!({
            "collections": {"a": place, "b": boxes, "c": {"path": place, "tags": ["t"]}}, "window": [64, 64, 16],
            "points": {"table": {"file": place, "unit": "nm", "point": ["x", "y", "z"]}}, "resolution": [4, 4, 40],
            "arrays": {"img": {"layer": "img"}}, "random_splits": {"folds": 2, "fold": 1, "tags": ["t"]},
        });
        Config::parse(value.to_string().as_bytes(), Path::new("job.json")).unwrap()
    }

    #[test]
    fn places_of_several_collections_are_found_and_names_of_layers_are_kept() {
        let (a, b) = (named("https://host/a?sig=secret"), named("place2"));
        assert_eq!(a.without_places(), b.without_places());
        assert!(a.without_places().to_string().contains("\"img\":\"em\""));
        let paths: Vec<String> = a.places().into_iter().map(|(path, _)| path).collect();
        let expected = [
            "collections.a",
            "collections.b.boxes.csv",
            "collections.b.boxes.layers.em",
            "collections.b.table",
            "collections.c.path",
            "points.table.file",
        ];
        assert_eq!(paths, expected);
        assert!(!a.published().to_string().contains("secret"));
        let read = a.without_secrets().unwrap();
        assert_eq!(read.without_secrets().unwrap(), read);
        assert_eq!(b.without_secrets().unwrap(), b);
    }

    fn points(place: &str) -> Vec<Value> {
        vec![
            json!({"layer": "points"}),
            json!({"neuroglancer_state": {"source": place, "layer": "points"}}),
            json!({"table": {"file": place, "unit": "nm", "point": ["x", "y", "z"]}}),
            json!({"cremi": {"file": place}}),
        ]
    }

    #[test]
    fn places_change_neither_the_config_without_places_nor_its_digest() {
        for (one, other) in collections("place1").into_iter().zip(collections("place2")) {
            for (points, other_points) in points("place1").into_iter().zip(points("place2")) {
                let (a, b) = (
                    config(one.clone(), points),
                    config(other.clone(), other_points),
                );
                assert_eq!(a.without_places(), b.without_places());
                assert_eq!(a.digest(), b.digest());
                assert!(!a.without_places().to_string().contains("place1"));
                let places = a.places();
                assert!(!places.is_empty() && places.iter().all(|(_, p)| p.contains("place1")));
                assert_eq!(places.len(), b.places().len());
            }
        }
    }

    #[test]
    fn everything_else_changes_the_digest() {
        let mut digests = Vec::new();
        for collection in collections("place1") {
            for points in points("place1") {
                digests.push(config(collection.clone(), points).digest());
            }
        }
        let mut other = config(json!("place1"), json!({"layer": "points"}));
        other.points.choose.seed = 1;
        digests.push(other.digest());
        let boxes =
            json!({"boxes": {"csv": "place1", "layers": {"img": "place1", "more": "place1"}}});
        digests.push(config(boxes, json!({"layer": "points"})).digest());
        let all = digests.len();
        digests.sort_by_key(|d| *d.as_bytes());
        digests.dedup();
        assert_eq!(digests.len(), all);
    }

    #[test]
    fn the_published_config_is_read_as_the_same_config() {
        for collection in collections("place1") {
            for points in points("place1") {
                let mut expected = config(collection.clone(), points);
                let read = expected.without_secrets().unwrap();
                // The schema is for editors only.
                expected.schema = None;
                assert_eq!(read, expected);
                assert_eq!(read.without_secrets().unwrap(), expected);
            }
        }
        let signed = config(
            json!("https://host/c.json?sig=secret"),
            json!({"table": {"file": "https://host/p.csv?sig=secret", "unit": "nm", "point": ["x", "y", "z"]}}),
        );
        let read = signed.without_secrets().unwrap();
        assert!(!format!("{read:?}").contains("secret"));
        assert_eq!(read.without_secrets().unwrap(), read);
    }
}
