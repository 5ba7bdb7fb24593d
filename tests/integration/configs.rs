//! The example configs are configs.

use std::path::Path;

use pointshard::config::Config;

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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    std::fs::read_to_string(path).unwrap()
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
fn the_page_names_every_transform_and_every_key_of_a_choice() {
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
    let keys = names(&definition("ChoiceConfig")["properties"]);
    assert!(keys.len() >= 6, "{keys:?}");
    for key in keys {
        assert!(
            docs.contains(&format!("\n| `{key}` |")),
            "no row for `{key}`"
        );
    }
}

#[test]
fn the_example_on_the_page_parses() {
    let docs = docs();
    let example = docs
        .split("```json")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    Config::parse(example.as_bytes(), Path::new("docs/config.md")).unwrap();
}

fn names(properties: &serde_json::Value) -> Vec<String> {
    properties.as_object().unwrap().keys().cloned().collect()
}
