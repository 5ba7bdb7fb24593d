//! The example configs parse, and docs/config.md agrees with the schema.

use std::path::Path;

use pointshard::Config;
use serde_json::{Value, json};

#[test]
fn every_example_config_parses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut parsed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let training =
            (path.file_stem()).is_some_and(|n| n.to_string_lossy().starts_with("train_"));
        if path.extension().is_some_and(|e| e == "json") && !training {
            Config::read(&path).unwrap();
            parsed += 1;
        }
    }
    assert!(parsed >= 2);
}

fn docs() -> String {
    page("config.md")
}

fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_page_on_configs_lists_every_key_of_the_schema() {
    let (schema, docs) = (Config::schema(), docs());
    let mut keys: Vec<String> = names(&schema["properties"]);
    for (key, name) in [
        ("points", "points."),
        ("arrays", "arrays.NAME."),
        ("layers", "layers.NAME."),
    ] {
        let part = &schema["properties"][key];
        let target = part["$ref"]
            .as_str()
            .or(part["additionalProperties"]["$ref"].as_str())
            .unwrap();
        let part = schema.pointer(target.trim_start_matches('#')).unwrap();
        keys.extend(
            names(&part["properties"])
                .into_iter()
                .map(|k| format!("{name}{k}")),
        );
    }
    assert!(keys.len() > 8, "{keys:?}");
    for key in keys {
        assert!(
            docs.contains(&format!("\n| `{key}` |")),
            "docs/config.md has no row for `{key}`"
        );
    }
}

#[test]
fn the_page_names_every_transform() {
    let (schema, docs) = (Config::schema(), docs());
    let definition = |name: &str| &schema["$defs"][name];
    let forms = definition("Transform")["oneOf"].as_array().unwrap();
    let mut found = 0;
    for form in forms {
        let named = form["const"].as_str().map(|name| format!("\"{name}\""));
        let object = form["properties"].as_object();
        let key = object.map(|o| format!("{{\"{}\":", o.keys().next().unwrap()));
        let text = named.or(key).unwrap();
        assert!(docs.contains(&text), "docs/config.md has no {text}");
        found += 1;
    }
    assert!(found >= 8, "{found}");
}

#[test]
fn the_pages_list_every_key_of_an_object_with_a_table_of_its_own() {
    let schema = Config::schema();
    for (definition, name, part) in [
        ("ChoiceConfig", "config.md", "points.choose"),
        ("TableConfig", "config.md", "points.table"),
        ("RandomSplitsConfig", "config.md", "random_splits"),
        ("NamedCollectionConfig", "collection.md", "collections.NAME"),
        ("RootsConfig", "config.md", "layers.NAME.roots"),
        ("CremiConfig", "config.md", "points.cremi"),
        ("BoxesConfig", "collection.md", "collection.boxes"),
        (
            "StateBoxesConfig",
            "collection.md",
            "collection.neuroglancer_state",
        ),
        ("ZettaApiConfig", "collection.md", "collection.zetta_api"),
    ] {
        let page = page(name);
        let table = table(&page, &format!("key of `{part}`"));
        let rows: Vec<_> = table.rows.iter().map(|row| row[0]).collect();
        for key in names(&schema["$defs"][definition]["properties"]) {
            let row = format!("`{key}`");
            assert!(
                rows.contains(&row.as_str()),
                "{name} has no row for {part}.{key}"
            );
        }
    }
}

#[test]
fn the_example_on_the_page_parses() {
    let docs = docs();
    Config::parse(example(&docs).as_bytes(), Path::new("docs/config.md")).unwrap();
}

#[test]
fn every_example_in_the_tables_of_the_pages_parses() {
    let parsed = ["config.md", "collection.md"].map(|name| parse_examples(&page(name)));
    assert!(parsed[0] > 40 && parsed[1] > 10, "{parsed:?}");
}

/// Parses each cell under the heading "example"; how many there are.
fn parse_examples(page: &str) -> usize {
    let mut parsed = 0;
    for table in tables(page) {
        let Some(column) = table.header.iter().position(|cell| *cell == "example") else {
            continue;
        };
        for row in table.rows.iter().filter(|row| !row[column].is_empty()) {
            let path = example_path(table.header[0], code(row[0]));
            let fragment = format!("{{{}}}", code(row[column]));
            let fragment: Value = serde_json::from_str(&fragment)
                .unwrap_or_else(|e| panic!("{}: {fragment}: {e}", row[0]));
            let key = path.last().unwrap();
            assert!(
                fragment.get(key).is_some(),
                "the example of {} lacks {key}",
                row[0]
            );
            assert_parses(&with_fragment(&path[..path.len() - 1], &fragment), row[0]);
            parsed += 1;
        }
    }
    parsed
}

#[test]
fn every_transform_and_codec_in_the_tables_of_the_page_parses() {
    let docs = docs();
    for key in ["transform", "codec"] {
        let heading = format!("`{key}`");
        let table = table(&docs, &heading);
        let values = table
            .rows
            .iter()
            .flat_map(|row| row[0].split('`').skip(1).step_by(2));
        let mut parsed = 0;
        for value in values {
            let value: Value = serde_json::from_str(value).unwrap();
            let fragment = json!({ key: value });
            assert_parses(&with_fragment(&["arrays", "img"], &fragment), key);
            parsed += 1;
        }
        assert!(parsed >= 7, "{key}: {parsed}");
    }
}

/// A table of the page. Cells are as in the Markdown source.
struct Table<'d> {
    header: Vec<&'d str>,
    rows: Vec<Vec<&'d str>>,
}

fn tables(docs: &str) -> Vec<Table<'_>> {
    let blocks = docs.split("\n\n").map(|block| block.lines());
    blocks
        .filter_map(|lines| {
            let mut rows = lines
                .filter(|line| line.starts_with("| "))
                .map(|line| line.split('|').skip(1).map(str::trim).collect::<Vec<_>>());
            Some(Table {
                header: rows.next()?,
                rows: rows.collect(),
            })
        })
        .collect()
}

/// The table whose first column has this heading.
fn table<'d>(docs: &'d str, heading: &str) -> Table<'d> {
    let found = tables(docs)
        .into_iter()
        .find(|table| table.header[0] == heading);
    found.unwrap_or_else(|| panic!("docs/config.md has no table of {heading}"))
}

/// The text of a cell that is one span of code.
fn code(cell: &str) -> &str {
    cell.strip_prefix('`')
        .and_then(|cell| cell.strip_suffix('`'))
        .unwrap_or_else(|| panic!("{cell} is not code"))
}

/// The path of a key in the config on the page. Tables of a part of the config have a header such as "key of `points.table`".
fn example_path<'d>(header: &'d str, key: &'d str) -> Vec<&'d str> {
    let part = header.strip_prefix("key of ").map(code);
    let path = part
        .into_iter()
        .chain([key])
        .flat_map(|part| part.split('.'));
    let mut path: Vec<_> = path.collect();
    if path.len() > 1 && path[1] == "NAME" {
        path[1] = "img";
    }
    path
}

/// The first example of docs/config.md, with the members of `fragment` in the object at `path`.
fn with_fragment(path: &[&str], fragment: &Value) -> Value {
    let mut config: Value = serde_json::from_str(example(&docs())).unwrap();
    // The array that the examples of `majority` name.
    config["arrays"]["synapse"] = json!({"layer": "synseg"});
    // The arrays that the examples of `points.start` and `points.end` need.
    for point in ["start", "end"] {
        config["arrays"][point] =
            json!({"layer": "seg", "transform": {"object_at": {"point": point}}});
    }
    if path.first() == Some(&"collection") {
        config["collection"] = json!({});
    }
    // A table of a collection takes the place of that of the points.
    if path.first() == Some(&"collections") && fragment.get("table").is_some() {
        config["points"] = json!({ "table": required_keys("table") });
    }
    let mut object = &mut config;
    for key in path {
        if object.get(key).is_none() {
            object[*key] = required_keys(key);
        }
        object = &mut object[*key];
    }
    for (key, value) in fragment.as_object().unwrap() {
        object[key.as_str()] = value.clone();
    }
    remove_alternatives(&mut config);
    config
}

/// The object at a key that the first example does not have.
fn required_keys(key: &str) -> Value {
    match key {
        "table" => json!({"file": "a.csv", "unit": "nm", "point": ["x", "y", "z"]}),
        "boxes" => {
            json!({"list": [{"min": [0, 0, 0], "max": [1, 1, 1]}], "layers": {"img": "img"}})
        }
        "neuroglancer_state" => json!({"source": "state.json"}),
        "objects" => json!({"layer": "synseg"}),
        "cremi" => json!({"file": "sample_A.hdf"}),
        "random_splits" => json!({"fractions": {"train": 0.8, "val": 0.2}}),
        "negatives" => json!({"per_annotation": 1}),
        "zetta_api" => json!({"url": "https://HOST", "collection": "ID"}),
        _ => json!({}),
    }
}

/// Removes what a fragment replaces: the layer of the points, the point of a table, the list of boxes.
fn remove_alternatives(config: &mut Value) {
    let alternatives: [(&str, &[&str], &str); 6] = [
        ("", &["collections"], "collection"),
        ("", &["random_splits"], "splits"),
        ("/random_splits", &["folds"], "fractions"),
        (
            "/points",
            &["layers", "table", "neuroglancer_state", "objects", "cremi"],
            "layer",
        ),
        ("/points/table", &["start", "end"], "point"),
        ("/collection/boxes", &["csv", "source"], "list"),
    ];
    for (pointer, kept, replaced) in alternatives {
        if let Some(object) = config.pointer_mut(pointer).and_then(Value::as_object_mut)
            && kept.iter().any(|key| object.contains_key(*key))
        {
            object.remove(replaced);
        }
    }
}

fn assert_parses(config: &Value, what: &str) {
    let parsed = Config::parse(config.to_string().as_bytes(), Path::new("docs/config.md"));
    if let Err(e) = parsed {
        panic!("the example of {what} is not a config: {e}\n{config}");
    }
}

/// The first JSON block of the page.
fn example(docs: &str) -> &str {
    docs.split("```json")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap()
}

fn names(properties: &Value) -> Vec<String> {
    properties.as_object().unwrap().keys().cloned().collect()
}
