//! Several collections, and random splits: the errors of invalid ones.

use super::*;

fn with(changes: Value) -> String {
    error_of(|v| {
        for (key, value) in changes.as_object().unwrap() {
            v[key] = value.clone();
        }
        // Null removes a key.
        v.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
    })
}

#[test]
fn wrong_collections_are_named_with_their_paths() {
    let of = |collections: Value| with(json!({"collection": null, "collections": collections}));
    let boxes = json!({"boxes": {"list": [], "layers": {"img": "img"}}});
    for (e, expected) in [
        (
            with(json!({"collection": null})),
            "at `collection`: found no collection, expected `collection`, or `collections`",
        ),
        (
            with(json!({"collections": {"a": "a.json"}})),
            "at `collections`: found `collection` and `collections`, expected one of them",
        ),
        (of(json!({})), "at `collection`: found no collection"),
        (
            of(json!({"a/b": "a.json"})),
            "at `collections.a/b`: found the name \"a/b\", expected 1 to 64",
        ),
        (
            of(json!({"a": {"tags": ["t"]}})),
            "at `collections.a`: found no boxes, expected one of `path`, `neuroglancer_state`, `zetta_api`, `boxes`",
        ),
        (
            of(
                json!({"a": {"path": "a.json", "zetta_api": {"url": "https://h", "collection": "c"}}}),
            ),
            "at `collections.a`: found several sources of boxes, expected exactly one of `path`",
        ),
        (
            of(json!({"a": "a.json", "b": {"path": "b.json", "tag": ["t"]}})),
            "at `collections.b.tag`: unknown field `tag`",
        ),
        (
            of(json!({"a": boxes})),
            "at `collections.a.boxes.list`: found no box",
        ),
        (
            of(json!({"a": 7})),
            "at `collections.a`: invalid type: integer `7`, expected a path, or an object",
        ),
        (
            of(json!({"a": {"path": "a.json", "table": "a.csv"}})),
            "at `collections.a.table`: found a table, but `points` has no `table`",
        ),
        (
            of(json!({"a": {"path": "https://me:secret@host/a.json"}})),
            "at `collections.a`: a name and password",
        ),
    ] {
        assert!(
            e.contains(expected) && !e.contains("secret"),
            "{e}\n{expected}"
        );
    }
}

#[test]
fn wrong_random_splits_are_named_with_their_paths() {
    let of = |random: Value| with(json!({"splits": null, "random_splits": random}));
    for (e, expected) in [
        (
            with(json!({"splits": null})),
            "at `splits`: found no split, expected at least one here or in `random_splits`",
        ),
        (
            of(json!({"seed": 7})),
            "at `random_splits`: found neither `fractions` nor `folds`",
        ),
        (
            of(json!({"fractions": {"a": 1}, "folds": 2})),
            "at `random_splits`: found `fractions` and folds",
        ),
        (
            of(json!({"folds": 2})),
            "at `random_splits`: found `folds` without `fold`",
        ),
        (
            of(json!({"fold": 2})),
            "at `random_splits`: found `fold` without `folds`",
        ),
        (
            of(json!({"folds": 1, "fold": 0})),
            "at `random_splits.folds`: found 1, expected 2 to",
        ),
        (
            of(json!({"folds": 5, "fold": 5})),
            "at `random_splits.fold`: found 5, expected 0 to 4",
        ),
        (
            of(json!({"folds": 5, "fold": -1})),
            "at `random_splits.fold`: invalid value: integer `-1`",
        ),
        (
            of(json!({"fractions": {}})),
            "at `random_splits.fractions`: found no split",
        ),
        (
            of(json!({"fractions": {"train": 80, "val": 20}})),
            "at `random_splits.fractions.train`: found 80, expected a number greater than 0, up to 1",
        ),
        (
            of(json!({"fractions": {"a": 0.5, "b": 0}})),
            "at `random_splits.fractions.b`: found 0",
        ),
        (
            of(json!({"fractions": {"a": 0.75, "b": 0.5}})),
            "at `random_splits.fractions`: the fractions add up to 1.25, expected at most 1",
        ),
        (
            of(json!({"fractions": {"../a": 0.5}})),
            "at `random_splits.fractions.../a`: found the name",
        ),
        (
            of(json!({"fractions": {"a": 0.5, "A": 0.5}})),
            "at `random_splits.fractions.A`: the name differs from `a`",
        ),
        (
            of(json!({"fractions": {"Dropped_annotations": 0.5}})),
            "at `random_splits.fractions.Dropped_annotations`: `Dropped_annotations` is the name of the table",
        ),
        (
            with(json!({"random_splits": {"folds": 2, "fold": 0}})),
            "at `splits.train`: the split `train` is in `random_splits`, too",
        ),
        (
            of(json!({"folds": 2, "fold": 0, "group_by": {"block_nm": [1, 0, 1]}})),
            "at `random_splits.group_by.block_nm`: found [1.0, 0.0, 1.0], expected",
        ),
        (
            of(json!({"folds": 2, "fold": 0, "group_by": {"tag_prefix": ""}})),
            "at `random_splits.group_by.tag_prefix`: found an empty text",
        ),
        (
            of(json!({"folds": 2, "fold": 0, "group_by": {"tags_prefix": "a"}})),
            "did you mean `tag_prefix`?",
        ),
        (
            with(
                json!({"splits": null, "leaks": {"drop_from": "test"}, "random_splits": {"folds": 2, "fold": 0}}),
            ),
            "at `leaks.drop_from`: found \"test\", expected the name of a split",
        ),
        (
            with(json!({"splits": {"train": 0.8}})),
            "fractions of boxes are in `random_splits`",
        ),
    ] {
        assert!(e.contains(expected), "{e}\n{expected}");
    }
}

#[test]
fn collections_and_random_splits_are_written_as_they_were() {
    for (key, value) in [
        (
            "collections",
            json!({
                "a": "a.json", "b": {"path": "b.json", "tags": ["t"]}, "c": {"path": "c", "layers": {"img": "em"}},
                "d": {"neuroglancer_state": {"source": "state.json"}}, "e": {"zetta_api": {"url": "https://h", "collection": "c"}},
                "f": {"boxes": {"csv": "boxes.csv", "layers": {"img": "./img"}}, "tags": ["t"]},
            }),
        ),
        (
            "random_splits",
            json!({"fractions": {"b": 0.5, "a": 0.25}, "seed": u64::MAX, "tags": {"none": ["test"]}, "group_by": {"tag_prefix": "x"}}),
        ),
        (
            "random_splits",
            json!({"folds": 5, "fold": 4, "seed": 0, "group_by": {"block_nm": [1.0, 2.5, 3.0]}}),
        ),
    ] {
        let mut config = example();
        let replaced = if key == "collections" {
            "collection"
        } else {
            "splits"
        };
        config.as_object_mut().unwrap().remove(replaced);
        config[key] = value.clone();
        let config = Config::parse(config.to_string().as_bytes(), Path::new("job.json")).unwrap();
        assert_eq!(json!(config)[key], value);
        assert_eq!(config.without_secrets().unwrap(), config);
    }
}
