//! The related-object index, written by hand according to the specification.

use indexmap::IndexMap;

use super::sharded::sharding;
use super::*;

/// Lists of annotations by the id of an object.
type ListsByObject = [(u64, &'static [u64])];

fn list(ids: &[u64]) -> Vec<u8> {
    let mut bytes = (ids.len() as u64).to_le_bytes().to_vec();
    let position = [5.0f32; 3].map(f32::to_le_bytes).concat();
    bytes.extend(position.repeat(ids.len()));
    bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    bytes
}

/// A layer with two relationships, `pre` in files and `post` in shards.
fn layer(pre: &ListsByObject, post: &ListsByObject, data_encoding: &str) -> TestLayer {
    let sharding = sharding("raw", data_encoding);
    let mut layer = TestLayer::new("POINT");
    layer.info["relationships"] = json!([
        {"id": "pre", "key": "rel_pre"}, {"id": "post", "key": "rel post", "sharding": sharding},
    ]);
    for (object, ids) in pre {
        layer = layer.file(&format!("rel_pre/{object}"), &list(ids));
    }
    let folder = layer.dir.path().join("layer/rel post");
    std::fs::create_dir_all(&folder).unwrap();
    let lists = post.iter().map(|(object, ids)| (*object, list(ids)));
    write_shards(&folder, &sharding, &lists.collect(), false);
    layer
}

fn related(layer: &TestLayer, wanted: Value) -> Result<Vec<u64>, String> {
    let wanted: IndexMap<String, Vec<u64>> = serde_json::from_value(wanted).unwrap();
    let found = layer
        .open()
        .unwrap()
        .related(&wanted, &[], Anchor::default());
    let mut ids = Vec::from_iter(found.map_err(|e| e.to_string())?);
    ids.sort_unstable();
    Ok(ids)
}

#[test]
fn annotations_related_to_any_object_in_every_relationship_are_found() {
    let lists: &ListsByObject = &[(7, &[1, 2]), (u64::MAX, &[2, 3]), (9, &[])];
    for data_encoding in ["raw", "gzip"] {
        let layer = layer(lists, lists, data_encoding);
        for name in ["pre", "post"] {
            let of = |objects: Value| related(&layer, json!({ name: objects })).unwrap();
            assert_eq!(of(json!([7])), [1, 2], "{name}");
            assert_eq!(of(json!([u64::MAX, 7])), [1, 2, 3], "{name}");
            // An object without a list, and one with an empty list.
            assert_eq!(of(json!([8, 9])), [0u64; 0], "{name}");
        }
        let both = json!({"pre": [7], "post": [u64::MAX]});
        assert_eq!(related(&layer, both).unwrap(), [2]);
    }
}

#[test]
fn an_unknown_relationship_is_an_error_with_the_known_ones() {
    let e = related(&layer(&[], &[], "raw"), json!({"prae": [1]})).unwrap_err();
    assert!(
        e.contains("`prae`") && e.contains("`pre`, `post`") && e.contains("did you mean `pre`"),
        "{e}"
    );
    let e = related(&TestLayer::new("POINT"), json!({"pre": [1]})).unwrap_err();
    assert!(e.contains("it has none"), "{e}");
}

#[test]
fn an_error_in_a_damaged_list_names_its_file_and_its_object() {
    let broken = layer(&[], &[], "raw").file("rel_pre/7", b"broken");
    let e = related(&broken, json!({"pre": [7]})).unwrap_err();
    assert!(e.contains("rel_pre/7"), "{e}");
    let mut unpacked = layer(&[], &[(7, &[1])], "raw");
    unpacked.info["relationships"][1]["sharding"]["data_encoding"] = json!("gzip");
    let e = related(&unpacked, json!({"post": [7]})).unwrap_err();
    assert!(e.contains("object 7") && e.contains(".shard"), "{e}");
}

#[test]
fn invalid_relationships_are_an_error_only_if_they_are_queried() {
    let mut layer = TestLayer::new("POINT").cell("s0/0_0_0", &[(1, &[5.0, 5.0, 5.0])]);
    for (relationships, field) in [
        (json!(["pre"]), "`relationships[0]`"),
        (json!({}), "`relationships`"),
        (
            json!([{"id": "pre", "key": "/etc"}]),
            "`relationships[0].key`",
        ),
        (
            json!([{"id": "pre", "key": "k", "sharding": {"hash": 1}}]),
            "`relationships[0].sharding.",
        ),
    ] {
        layer.info["relationships"] = relationships;
        assert_eq!(layer.ids(&[everything()]), [[1]]);
        let e = related(&layer, json!({"pre": [7]})).unwrap_err();
        assert!(e.contains(field), "{e}");
    }
}
