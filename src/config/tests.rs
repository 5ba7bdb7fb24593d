mod several;
mod sources;

use super::*;
use crate::points::Anchor;
use serde_json::{Value, json};

fn example() -> Value {
    json!({
        "collection": "collection.json",
        "resolution": [4.6, 4.6, 45.0],
        "window": [64, 64, 16],
        "points": { "layer": "points" },
        "arrays": { "img": { "layer": "img" } },
        "splits": { "train": ["train"], "val": ["val"] },
    })
}

fn error_of(change: impl FnOnce(&mut Value)) -> String {
    let mut value = example();
    change(&mut value);
    Config::parse(value.to_string().as_bytes(), Path::new("job.json"))
        .expect_err("the config should be invalid")
        .to_string()
}

#[test]
fn a_short_config_gets_its_defaults() {
    let config = Config::parse(example().to_string().as_bytes(), Path::new("job.json")).unwrap();
    assert_eq!(config.leaks, Leaks::Error);
    assert_eq!(config.missing, Missing::Zeros);
    assert_eq!(config.points.anchor, Anchor::Midpoint);
    assert_eq!(config.shard_samples, None);
}

#[test]
fn an_unknown_key_is_named_with_its_path_and_the_nearest_key() {
    let e = error_of(|v| v["windw"] = json!([1, 1, 1]));
    assert!(
        e.contains("job.json") && e.contains("`windw`") && e.contains("did you mean `window`"),
        "{e}"
    );
    let e = error_of(|v| v["arrays"]["img"]["layr"] = json!("img"));
    assert!(
        e.contains("arrays.img") && e.contains("did you mean `layer`"),
        "{e}"
    );
}

#[test]
fn a_wrong_type_is_named_with_its_path() {
    let e = error_of(|v| v["window"][1] = json!("64"));
    assert!(
        e.contains("`window[1]`") && e.contains("string \"64\""),
        "{e}"
    );
    let e = error_of(|v| v["splits"]["train"] = json!("train"));
    assert!(e.contains("`splits.train`"), "{e}");
    let e = error_of(|v| v["points"]["anchor"] = json!("end_"));
    assert!(
        e.contains("`points.anchor`") && e.contains("did you mean `end`"),
        "{e}"
    );
}

#[test]
fn a_name_that_occurs_twice_is_named_with_its_path() {
    let start = r#"{"collection": "c", "resolution": [4, 4, 40], "window": [8, 8, 8], "points": {"layer": "p"#;
    for (rest, path) in [
        (
            r#""}, "arrays": {"img": {"layer": "a"}, "img": {"layer": "b"}}}"#,
            "`arrays.img`",
        ),
        (
            r#""}, "splits": {"train": ["a"], "val": ["b"], "train": ["c"]}}"#,
            "`splits.train`",
        ),
        (r#""}, "layers": {"a": {}, "a": {}}}"#, "`layers.a`"),
        (r#""}, "window": [4, 4, 4]}"#, "`window`"),
        (
            r#"", "choose": {"filter": {"n": {"min": 1}, "n": {"max": 1}}}}}"#,
            "`points.choose.filter.n`",
        ),
        (
            r#"", "choose": {"related": {"n": [1], "n": [2]}}}}"#,
            "`points.choose.related.n`",
        ),
        (
            r#"", "table": {"properties": {"n": "uint8", "n": "int8"}}}}"#,
            "`points.table.properties.n`",
        ),
        (
            r#""}, "arrays": [{"boxes": {"layers": {"img": "a", "img": "b"}}}]}"#,
            "`arrays[0].boxes.layers.img`",
        ),
    ] {
        let text = format!("{start}{rest}");
        let e = Config::parse(text.as_bytes(), Path::new("job.json")).unwrap_err();
        let e = e.to_string();
        assert!(
            e.contains(path) && e.contains("occurs twice"),
            "{text}: {e}"
        );
    }
}

#[test]
fn a_missing_key_is_named() {
    let e = error_of(|v| {
        v.as_object_mut().unwrap().remove("resolution");
    });
    assert!(e.contains("`resolution`"), "{e}");
}

#[test]
fn invalid_values_are_errors() {
    let e = error_of(|v| v["window"] = json!([0, 64, 16]));
    assert!(
        e.contains("`window`") && e.contains("[0, 64, 16]") && e.contains("from 1"),
        "{e}"
    );
    let e = error_of(|v| v["resolution"] = json!([4.6, -4.6, 45]));
    assert!(
        e.contains("`resolution`") && e.contains("greater than 0"),
        "{e}"
    );
    let e = error_of(|v| v["arrays"] = json!({}));
    assert!(e.contains("`arrays`"), "{e}");
    let e = error_of(|v| v["arrays"] = json!({"../x": {"layer": "img"}}));
    assert!(e.contains("../x"), "{e}");
    let e = error_of(|v| v["arrays"] = json!({"box": {"layer": "img"}}));
    assert!(e.contains("index column"), "{e}");
    let e = error_of(|v| v["splits"]["train"] = json!([]));
    assert!(e.contains("`splits.train`"), "{e}");
    let e = error_of(|v| v["shard_samples"] = json!(0));
    assert!(e.contains("`shard_samples`"), "{e}");
}

#[test]
fn keys_and_values_of_layers_are_checked() {
    let e = error_of(|v| v["layers"] = json!({"imgs": {}}));
    assert!(
        e.contains("`layers.imgs`") && e.contains("did you mean `img`"),
        "{e}"
    );
    let e = error_of(|v| v["layers"] = json!({"img": {"offset": [0, 0, 0]}}));
    assert!(
        e.contains("`offset`") && e.contains("`voxel_offset`"),
        "{e}"
    );
    for axes in ["zy", "zyxx", "ZYX", "z y x", "zyxabcdefg", "éxyz", ""] {
        let e = error_of(|v| v["layers"] = json!({"img": {"axes": axes}}));
        assert!(e.contains("`layers.img.axes`") && e.contains("zyx"), "{e}");
    }
    let e = error_of(|v| v["layers"] = json!({"img": {"voxel_offset": [i64::MAX, 0, 0]}}));
    assert!(e.contains("`layers.img.voxel_offset`"), "{e}");
    let e = error_of(|v| v["layers"] = json!({"img": {"resolution": [0, 1, 1]}}));
    assert!(e.contains("`layers.img.resolution`"), "{e}");
}

#[test]
fn the_schema_lists_every_key() {
    let schema = Config::schema();
    let full = json!({"$schema": 0, "leaks": 0, "missing": 0, "layers": 0, "shard_samples": 0});
    for key in example()
        .as_object()
        .unwrap()
        .keys()
        .chain(full.as_object().unwrap().keys())
    {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn invalid_values_of_an_array_are_named_with_their_path() {
    let array = |change: Value| {
        error_of(|v| {
            v["arrays"]["img"]
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
        })
    };
    for (change, words) in [
        (json!({"transform": "nonzeros"}), "did you mean `nonzero`"),
        (
            json!({"transform": {"in": []}}),
            "`arrays.img.transform.in`",
        ),
        (
            json!({"transform": {"object_at": {"point": "start", "radius_nm": -1}}}),
            "radius_nm`",
        ),
        (json!({"transform": {"object_at": {}}}), "`point`"),
        (json!({"dtype": "uint24"}), "`arrays.img.dtype`"),
        (json!({"window": [0, 1, 1]}), "`arrays.img.window`"),
        (json!({"data_resolution": [1, 1, 1]}), "`interpolation`"),
        (json!({"interpolation": "area"}), "`data_resolution`"),
        (
            json!({"data_resolution": [1, 1, 1], "interpolation": "area", "transform": "nonzero"}),
            "`arrays.img.interpolation`",
        ),
        (
            json!({"data_resolution": [1, 1, 1], "interpolation": "any", "transform": {"equals": 7}}),
            "expected `nearest` or `majority`",
        ),
        (
            json!({"data_resolution": [1, 1, 1], "interpolation": {"area": {"rounding": "up"}}}),
            "`half_even` or `truncate`",
        ),
        (
            json!({"data_resolution": [1, 1, 1], "interpolation": "mode"}),
            "`majority`",
        ),
        (
            json!({"min_nonzero_fraction": 1.5}),
            "`arrays.img.min_nonzero_fraction`",
        ),
        (json!({"role": "mask"}), "`arrays.img.role`"),
        (json!({"role": "masks"}), "did you mean `mask`"),
    ] {
        let e = array(change.clone());
        assert!(e.contains(words), "{change}: {e}");
    }
    for (interpolation, transform) in [
        (json!("any"), json!("nonzero")),
        (json!("any"), json!({"scale": {"multiply": 255}})),
        (json!("majority"), json!({"equals": 7})),
        (
            json!({"linear": {"rounding": "truncate"}}),
            json!({"scale": {}}),
        ),
    ] {
        let mut config = example();
        config["arrays"]["img"] = json!({
            "layer": "img", "data_resolution": [1, 1, 1], "interpolation": interpolation, "transform": transform,
        });
        Config::parse(config.to_string().as_bytes(), Path::new("job.json")).unwrap();
    }
    let e = error_of(|v| v["leaks"] = json!({"drop_from": "tain"}));
    assert!(e.contains("`leaks.drop_from`") && e.contains("tain"), "{e}");
    let e = error_of(|v| v["splits"]["train"] = json!({"al": ["a"]}));
    assert!(
        e.contains("`splits.train") && e.contains("did you mean `all`"),
        "{e}"
    );
    let e = error_of(|v| v["arrays"] = json!({"a_object_id": {"layer": "img"}}));
    assert!(e.contains("index column"), "{e}");
}

#[test]
fn invalid_choices_of_annotations_are_errors() {
    let choose = |choose: Value| error_of(|v| v["points"]["choose"] = choose);
    for (value, words) in [
        (json!({"max_per_box": 0}), "`max_per_box`"),
        (json!({"min_distance_nm": 0}), "`min_distance_nm`"),
        (json!({"filter": {"score": {}}}), "`filter.score`"),
        (
            json!({"filter": {"score": {"min": 2, "max": 1}}}),
            "`filter.score`",
        ),
        (json!({"related": {"cell": []}}), "`related.cell`"),
        (json!({"repeat": "once"}), "did you mean `repeats`"),
    ] {
        let e = choose(value.clone());
        assert!(e.contains(words), "{value}: {e}");
    }
}

#[test]
fn a_reserved_array_name_is_an_error() {
    for (name, taken) in [
        ("zarr.json", "metadata"),
        ("Zarr.JSON", "metadata"),
        ("sample", "dimension"),
        ("channel", "dimension"),
        ("Z", "dimension"),
        ("rgba", "dimension"),
        ("Box", "index column"),
        ("property_a", "index column"),
        ("img_Object_ID", "index column"),
        ("img_inside_fraction", "index column"),
    ] {
        let e = error_of(|v| v["arrays"] = json!({name: {"layer": "img"}}));
        assert!(
            e.contains(&format!("`arrays.{name}`")) && e.contains(taken),
            "{e}"
        );
    }
    let e = error_of(|v| v["arrays"] = json!({"img": {"layer": "a"}, "Img": {"layer": "b"}}));
    assert!(e.contains("`arrays.Img`") && e.contains("`img`"), "{e}");
    let e = error_of(|v| v["splits"] = json!({"val": ["a"], "VAL": ["b"]}));
    assert!(e.contains("`splits.VAL`") && e.contains("`val`"), "{e}");
}

#[test]
fn the_schema_key_is_ignored() {
    let mut value = example();
    value["$schema"] = json!("config.schema.json");
    let parse = |v: &Value| Config::parse(v.to_string().as_bytes(), Path::new("job.json")).unwrap();
    assert_eq!(json!(parse(&value)), json!(parse(&example())));
}

#[test]
fn messages_use_the_terms_of_json() {
    let parse = |text: &[u8]| Config::parse(text, Path::new("job.json")).map_err(|e| e.to_string());
    let mut with_mark = b"\xef\xbb\xbf".to_vec();
    with_mark.extend(example().to_string().as_bytes());
    parse(&with_mark).unwrap();
    for text in [
        &b"{ // a comment\n}"[..],
        b"\xff",
        b"{\"a\": \"\xff\"}",
        b"",
        b"{",
    ] {
        let e = parse(text).unwrap_err();
        assert!(
            e.contains("plain JSON in UTF-8, without comments") && !e.contains('?'),
            "{e}"
        );
    }
    let mut more = example().to_string();
    more.push('}');
    let e = parse(more.as_bytes()).unwrap_err();
    assert!(e.contains("nothing may follow"), "{e}");
    let e = error_of(|v| v["points"] = json!("points"));
    assert!(
        e.contains("`points`") && e.contains("expected an object") && !e.contains("Raw"),
        "{e}"
    );
    let e = error_of(|v| v["arrays"]["img"] = json!("img"));
    assert!(
        e.contains("expected an object") && !e.contains("struct"),
        "{e}"
    );
    for key in ["window", "resolution"] {
        let e = error_of(|v| v[key] = json!([32, 32, 8, 1]));
        assert!(
            e.contains(&format!("`{key}`: found more than three values")),
            "{e}"
        );
    }
    let e = error_of(|v| v["leaks"] = json!({"drop_from": "train", "and": "val"}));
    assert!(
        e.contains("`leaks`: found several members, expected an object with one"),
        "{e}"
    );
    let e = error_of(|v| v["arrays"]["img"]["codec"] = json!({"lz4": {"level": 3}}));
    assert!(
        e.contains("`arrays.img.codec") && e.contains("no options"),
        "{e}"
    );
}

#[test]
fn queries_of_urls_are_not_published_and_change_no_job() {
    let published = |signature: &str| {
        let mut value = example();
        let url = |rest: &str| format!("https://host/{rest}?sig={signature}");
        value["collection"] = json!({"boxes": {"source": format!("precomputed://{}", url("boxes")),
            "layers": {"img": url("img|zarr3:")}}});
        value["points"] =
            json!({"table": {"file": url("points.csv"), "unit": "nm", "point": ["x", "y", "z"]}});
        let text = value.to_string();
        let config = Config::parse(text.as_bytes(), Path::new("job.json")).unwrap();
        config.published()
    };
    let first = published("hidden");
    assert_eq!(first, published("other"));
    assert!(!first.to_string().contains("hidden"), "{first}");
    let source = &first["collection"]["boxes"]["source"];
    assert_eq!(source, "precomputed://https://host/boxes?<redacted>");
}

#[test]
fn a_password_in_any_url_is_an_error_that_does_not_show_it() {
    let boxes =
        |source: &str, layer: &str| json!({"boxes": {"source": source, "layers": {"img": layer}}});
    let csv = |file: &str| json!({"table": {"file": file, "unit": "nm", "point": ["x", "y", "z"]}});
    let state = |source: &str| json!({"neuroglancer_state": {"source": source}});
    for secret in [
        "me:hidden",
        "hidden",
        "me:hid/qqq",
        "me:hidden?x",
        "me%3Ahidden%40x",
    ] {
        let url = &format!("https://{secret}@host/x");
        for (key, value, path) in [
            ("collection", json!(url), "`collection`"),
            ("collection", json!(format!("{url}#!{{}}")), "`collection`"),
            (
                "collection",
                json!(format!("https://site/#!{{\"a\":\"{url}\"}}")),
                "`collection`",
            ),
            (
                "collection",
                state(url),
                "`collection.neuroglancer_state.source`",
            ),
            ("collection", boxes(url, "img"), "`collection.boxes.source`"),
            (
                "collection",
                boxes("b", &format!("zarr://{url}")),
                "`collection.boxes.layers.img`",
            ),
            (
                "collection",
                json!({"zetta_api": {"url": url, "collection": "c"}}),
                "`collection.zetta_api.url`",
            ),
            ("points", csv(url), "`points.table.file`"),
            ("points", state(url), "`points.neuroglancer_state.source`"),
        ] {
            let e = error_of(|v| v[key] = value);
            assert!(e.contains(path) && e.contains("name and password"), "{e}");
            assert!(!e.contains("hid") && !e.contains("qqq"), "{e}");
        }
    }
    let e = error_of(|v| v["points"] = json!("https://host/x?sig=hidden"));
    assert!(e.contains("`points`") && !e.contains("hidden"), "{e}");
}
