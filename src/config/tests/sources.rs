//! Collections and points: every form, and the errors of invalid ones.

use super::*;

#[test]
fn every_kind_of_source_is_read_and_written_as_it_was() {
    for (key, value) in [
        (
            "collection",
            json!({"neuroglancer_state": {"source": "state.json", "layer": "boxes"}}),
        ),
        (
            "collection",
            json!({"zetta_api": {"url": "https://host", "collection": "c", "token_env": "T"}}),
        ),
        (
            "collection",
            json!({"boxes": {"source": "boxes", "layers": {"img": "./img"}, "tags": ["train"]}}),
        ),
        (
            "collection",
            json!({"boxes": {"list": [{"id": "a", "min": [0.0, 0.0, 0.5], "max": [1.0, 2.0, 3.0], "tags": ["val"]}],
            "unit": "voxel", "resolution": [4.0, 4.0, 40.0], "layers": {"img": "./img"}}}),
        ),
        (
            "collection",
            json!({"boxes": {"csv": "https://host/boxes.csv", "unit": "um", "delimiter": ";", "layers": {"img": "./img"}}}),
        ),
        (
            "points",
            json!({"neuroglancer_state": {"source": "https://h/#!{}"}, "anchor": "start"}),
        ),
        (
            "points",
            json!({"table": {"file": "a.csv", "unit": "voxel", "resolution": [4.0, 4.0, 40.0],
            "point": ["x", "y", "z"], "properties": {"n": "uint8"}}, "anchor": "midpoint"}),
        ),
    ] {
        let mut config = example();
        config[key] = value.clone();
        let config = Config::parse(config.to_string().as_bytes(), Path::new("job.json")).unwrap();
        assert_eq!(json!(config)[key], value);
    }
}

#[test]
fn a_wrong_list_of_boxes_is_named_with_its_path() {
    let one = json!({"min": [0, 0, 0], "max": [1, 1, 1]});
    let boxes = |value: Value| error_of(|v| v["collection"] = json!({"boxes": value}));
    let with = |change: fn(&mut Value)| {
        let mut value = json!({"list": [one, one], "layers": {"img": "img"}});
        change(&mut value);
        boxes(value)
    };
    for (e, expected) in [
        (
            with(|v| v["csv"] = json!("a.csv")),
            "at `collection.boxes`: found several sources of boxes, expected exactly one of `list`, `csv`, `source`",
        ),
        (
            boxes(json!({"layers": {"img": "img"}})),
            "at `collection.boxes`: found no boxes, expected one of `list`, `csv`, `source`",
        ),
        (
            with(|v| v["list"] = json!([])),
            "at `collection.boxes.list`: found no box, expected at least one",
        ),
        (
            with(|v| v["layers"] = json!({})),
            "at `collection.boxes.layers`: found no layer",
        ),
        (
            with(|v| v["list"][0]["id"] = json!("1")),
            "at `collection.boxes.list[1].id`: found the id \"1\", which list[0] has too",
        ),
        (
            with(|v| v["list"][1]["max"] = json!([1, 0, 1])),
            "at `collection.boxes.list[1]`: `min` and `max` are both 0 along y",
        ),
        (
            with(|v| v["list"][1]["max"] = json!([1, 0])),
            "`collection.boxes.list[1].max`",
        ),
        (
            with(|v| v["list"][1]["mx"] = json!(1)),
            "did you mean `max`",
        ),
        (
            with(|v| v["unit"] = json!("voxel")),
            "at `collection.boxes`: it has the unit `voxel` without `resolution`",
        ),
        (
            with(|v| v["delimiter"] = json!(";")),
            "found `delimiter`, which only boxes in a table (`csv`) can have",
        ),
        (
            with(|v| v["tag_property"] = json!("t")),
            "found `tag_property`, which only boxes in a layer (`source`) can have",
        ),
        (
            boxes(json!({"csv": "a.csv", "delimiter": "a", "layers": {"img": "img"}})),
            "at `collection.boxes.delimiter`: found 'a', expected a character such as",
        ),
        (
            boxes(json!({"source": "b", "unit": "nm", "layers": {"img": "img"}})),
            "found `unit`, which only boxes in `list` or `csv` can have",
        ),
        (
            boxes(json!({"csv": "https://name:hidden@host/a.csv", "layers": {"img": "img"}})),
            "`collection.boxes.csv`",
        ),
    ] {
        assert!(e.contains(expected) && !e.contains("hidden"), "{e}");
    }
}

#[test]
fn a_wrong_source_is_named_with_its_path_and_what_is_allowed() {
    let e = error_of(|v| v["collection"] = json!(7));
    assert!(
        e.contains("`collection`") && e.contains("a path, or an object"),
        "{e}"
    );
    let e = error_of(|v| v["collection"] = json!({"zeta_api": {}}));
    assert!(
        e.contains("`collection") && e.contains("did you mean `zetta_api`"),
        "{e}"
    );
    let e = error_of(|v| v["collection"] = json!({"boxes": {}, "zetta_api": {}}));
    assert!(e.contains("`collection"), "{e}");
    let e = error_of(|v| v["collection"] = json!({}));
    assert!(e.contains("`collection"), "{e}");
    let e = error_of(|v| v["collection"] = json!({"zetta_api": {"url": "https://h"}}));
    assert!(
        e.contains("`collection.zetta_api`") && e.contains("`collection`"),
        "{e}"
    );
    let e =
        error_of(|v| v["collection"] = json!({"neuroglancer_state": {"source": "s", "layr": "x"}}));
    assert!(e.contains("did you mean `layer`"), "{e}");
    let e =
        error_of(|v| v["collection"] = json!({"zetta_api": {"url": "host", "collection": "c"}}));
    assert!(
        e.contains("`collection.zetta_api.url`") && e.contains("\"host\""),
        "{e}"
    );
    let e = error_of(|v| {
        v["collection"] =
            json!({"zetta_api": {"url": "https://h", "collection": "c", "token_env": "ey.J0"}});
    });
    assert!(e.contains("token_env`") && !e.contains("ey.J0"), "{e}");
    let e = error_of(|v| v["collection"] = json!({"boxes": {"source": "s", "layers": {}}}));
    assert!(e.contains("`collection.boxes.layers`"), "{e}");
}

#[test]
fn annotations_come_from_one_source_with_valid_columns() {
    let e = error_of(|v| v["points"] = json!({}));
    assert!(e.contains("`points`") && e.contains("`table`"), "{e}");
    let e = error_of(|v| v["points"]["neuroglancer_state"] = json!({"source": "s"}));
    assert!(e.contains("several sources"), "{e}");
    let csv = |change: fn(&mut Value)| {
        error_of(|v| {
            v["points"] =
                json!({"table": {"file": "a.csv", "unit": "nm", "point": ["x", "y", "z"]}});
            change(&mut v["points"]["table"]);
        })
    };
    let e = csv(|c| c["unit"] = json!("voxels"));
    assert!(
        e.contains("`points.table.unit`") && e.contains("did you mean `voxel`"),
        "{e}"
    );
    assert!(csv(|c| c["unit"] = json!("voxel")).contains("`resolution`"));
    assert!(csv(|c| c["resolution"] = json!([1, 1, 1])).contains("needs none"));
    assert!(csv(|c| c["end"] = json!(["a", "b", "c"])).contains("`start` and `end`"));
    assert!(csv(|c| c["delimiter"] = json!("a")).contains("`table.delimiter`"));
    let e = csv(|c| c["properties"] = json!({"n": "int128"}));
    assert!(
        e.contains("`points.table.properties.n`") && e.contains("uint32"),
        "{e}"
    );
    let e = csv(|c| c["point"] = json!(["x", "y"]));
    assert!(e.contains("`points.table.point"), "{e}");
}
