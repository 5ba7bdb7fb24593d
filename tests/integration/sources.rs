//! Boxes and points from every kind of source give the same samples as the collection file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::support::{read_json, run, shared_data, vnc_config};
use pointshard::{Dataset, Storage};
use serde_json::{Value, json};

/// The contents of a dataset, without the names of its boxes.
#[derive(Debug, PartialEq)]
struct Samples {
    shards: Value,
    /// Split, number of annotations and number of samples of each box.
    boxes: Vec<(Option<String>, u64, u64)>,
    /// Ids, box indices, first voxels and centres of each split.
    columns: BTreeMap<String, Columns>,
}

type Columns = (Vec<u64>, Vec<u32>, Vec<i64>, Vec<f64>);

fn samples(config: &Value) -> Samples {
    let out = tempfile::tempdir().unwrap();
    let root = out.path().join("out");
    run(config, &root, 2, 1 << 30).unwrap();
    let dataset = Dataset::open(&root, &Storage::default()).unwrap();
    let manifest = dataset.manifest();
    let columns = |split: &str| {
        let reader = dataset.split(split).unwrap();
        (
            reader.column("annotation_id").unwrap(),
            reader.column("box").unwrap(),
            reader.column("start_voxel").unwrap(),
            reader.column("center_nm").unwrap(),
        )
    };
    Samples {
        shards: json!(manifest.shards),
        boxes: manifest
            .boxes
            .iter()
            .map(|b| (b.split.clone(), b.annotations, b.samples))
            .collect(),
        columns: ["train", "val"]
            .map(|split| (split.to_owned(), columns(split)))
            .into(),
    }
}

fn with(data: &Path, key: &str, value: Value) -> Value {
    let mut config = vnc_config(data);
    config[key] = value;
    config
}

#[test]
fn a_viewer_state_gives_the_samples_of_the_collection_file() {
    let Some(data) = shared_data() else { return };
    let expected = samples(&vnc_config(&data));
    let state = data.join("vnc/ng_state.json");
    for collection in [
        json!({"neuroglancer_state": {"source": state}}),
        json!({"neuroglancer_state": {"source": state, "layer": "bboxes"}}),
    ] {
        assert_eq!(samples(&with(&data, "collection", collection)), expected);
    }
    assert_eq!(expected.boxes.len(), 6);
}

#[test]
fn a_pasted_url_gives_the_samples_of_the_state_in_it() {
    let Some(data) = shared_data() else { return };
    let state = std::fs::read_to_string(data.join("vnc/ng_state.json")).unwrap();
    let vnc = std::fs::canonicalize(data.join("vnc")).unwrap();
    let state = state.replace("file://.", &format!("file://{}", vnc.display()));
    let state: Value = serde_json::from_str(&state).unwrap();
    let url = format!(
        "https://neuroglancer-demo.appspot.com/#!{}",
        percent(&state.to_string())
    );
    let expected = samples(&vnc_config(&data));
    assert_eq!(samples(&with(&data, "collection", json!(url))), expected);
}

/// Percent-encodes a state as browsers do.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, b| {
        match b {
            b'"' | b'{' | b'}' | b' ' | b'%' => write!(url, "%{b:02X}").unwrap(),
            b => url.push(char::from(b)),
        }
        url
    })
}

/// The annotations of `vnc/points`: id, x y z in voxels, confidence.
fn rows(data: &Path) -> Vec<(u64, [f64; 3], f64)> {
    let rows = read_json(&data.join("annotations/rows.json"));
    let rows = rows["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let point = [0, 1, 2].map(|d| row["point"][d].as_f64().unwrap());
        (
            row["id"].as_u64().unwrap(),
            point,
            row["props"]["confidence"].as_f64().unwrap(),
        )
    })
    .collect()
}

#[test]
fn points_in_a_table_give_the_samples_of_the_layer() {
    let Some(data) = shared_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("synapses.csv");
    let mut text = "id,ctr_x,ctr_y,ctr_z,confidence\n".to_owned();
    for (id, [x, y, z], confidence) in rows(&data) {
        writeln!(text, "{id},{x},{y},{z},{confidence}").unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let csv = json!({"table": {
        "file": file, "unit": "voxel", "resolution": [4.6, 4.6, 45.0], "id": "id",
        "point": ["ctr_x", "ctr_y", "ctr_z"], "properties": {"confidence": "float32"},
    }});
    assert_eq!(
        samples(&with(&data, "points", csv)).columns,
        samples(&vnc_config(&data)).columns
    );
}

#[test]
fn points_in_a_viewer_state_give_the_samples_of_the_layer() {
    let Some(data) = shared_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let annotations: Vec<Value> = rows(&data)
        .iter()
        .map(|(id, point, _)| json!({"type": "point", "id": id.to_string(), "point": point}))
        .collect();
    let state = json!({
        "dimensions": {"x": [4.6e-9, "m"], "y": [4.6e-9, "m"], "z": [4.5e-8, "m"]},
        "layers": [{"type": "annotation", "name": "synapses", "source": "local://annotations",
                    "annotations": annotations}],
    });
    std::fs::write(&file, state.to_string()).unwrap();
    let expected = samples(&vnc_config(&data));
    let points = json!({"neuroglancer_state": {"source": file}});
    assert_eq!(
        samples(&with(&data, "points", points)).columns,
        expected.columns
    );

    // The same annotations as a layer in the state with the boxes.
    let mut whole = read_json(&data.join("vnc/ng_state.json"));
    let vnc = std::fs::canonicalize(data.join("vnc")).unwrap();
    let mut layer = state["layers"][0].clone();
    layer["source"] = json!([{"url": "local://annotations",
        "transform": {"outputDimensions": state["dimensions"]}}]);
    whole["layers"].as_array_mut().unwrap().push(layer);
    let whole = whole
        .to_string()
        .replace("file://.", &format!("file://{}", vnc.display()));
    std::fs::write(&file, whole).unwrap();
    let mut config = with(
        &data,
        "collection",
        json!({"neuroglancer_state": {"source": file, "layer": "bboxes"}}),
    );
    config["points"] = json!({"layer": "synapses"});
    assert_eq!(samples(&config).columns, expected.columns);
}

/// Serves the responses of the web API in `folder` until the test ends.
fn serve(folder: std::path::PathBuf) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines
                .by_ref()
                .take_while(|line| !line.is_empty())
                .for_each(drop);
            let path = first.split([' ', '?']).nth(1).unwrap_or_default();
            let name = path.trim_start_matches('/').replace('/', "_");
            let body = std::fs::read(folder.join(format!("{name}.json"))).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.into_bytes(), body].concat());
        }
    });
    url
}

#[test]
fn the_web_api_gives_the_samples_of_the_collection_file() {
    let Some(data) = shared_data() else { return };
    let vnc = std::fs::canonicalize(data.join("vnc")).unwrap();
    // Make sources absolute, because relative ones start at the folder of the config.
    let api = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(vnc.join("api")).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = text.replace("file://.", &format!("file://{}", vnc.display()));
        std::fs::write(api.path().join(file.file_name()), text).unwrap();
    }
    let url = serve(api.path().to_owned());
    let collection = json!({"zetta_api": {"url": url, "collection": "vnc_synapses"}});
    assert_eq!(
        samples(&with(&data, "collection", collection)),
        samples(&vnc_config(&data))
    );
}

#[test]
fn a_layer_of_precomputed_boxes_is_a_collection() {
    let Some(data) = shared_data() else { return };
    let vnc = data.join("vnc");
    let layers: serde_json::Map<String, Value> = ["img", "label0", "label1", "points"]
        .map(|name| (name.to_owned(), json!(vnc.join(name))))
        .into_iter()
        .collect();
    let source = format!(
        "precomputed://file://{}",
        data.join("annotations/ng_boxes").display()
    );
    let boxes = json!({"boxes": {"source": source, "layers": layers, "tags": ["all"], "tag_property": "kind"}});
    let mut config = with(&data, "collection", boxes);
    config["splits"] = json!({"train": ["all", "small"], "val": ["all", "large"]});
    config["leaks"] = json!("allow");
    let out = tempfile::tempdir().unwrap();
    let root = out.path().join("out");
    let manifest = run(&config, &root, 2, 1 << 30).unwrap().manifest;
    // Boxes have the tags and corners that were written.
    let rows = read_json(&data.join("annotations/rows.json"));
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(manifest.boxes.len(), rows.len());
    let (mut train, mut val) = (0, 0);
    for found in &manifest.boxes {
        let row = rows
            .iter()
            .find(|r| r["id"].as_u64() == found.id.parse().ok())
            .unwrap();
        for (d, unit) in [4.6, 4.6, 45.0].into_iter().enumerate() {
            let (a, b) = (
                row["a"][d].as_f64().unwrap() * unit,
                row["b"][d].as_f64().unwrap() * unit,
            );
            assert_eq!((found.min_nm[d], found.max_nm[d]), (a.min(b), a.max(b)));
        }
        let kind = row["props"]["kind"].as_u64().unwrap() as usize;
        let label = ["small", "medium", "large"][kind];
        assert_eq!(found.tags, ["all", label]);
        let split = found.split.as_deref();
        assert_eq!(split, [Some("train"), None, Some("val")][kind]);
        train += u32::from(split == Some("train"));
        val += u32::from(split == Some("val"));
    }
    assert!(train > 0 && val > 0, "{train} {val}");
    assert!(manifest.boxes.iter().any(|b| b.samples > 0));

    // Wrong configs are errors.
    let error = |change: fn(&mut Value)| {
        let mut config = config.clone();
        change(&mut config["collection"]["boxes"]);
        format!(
            "{:#}",
            anyhow::Error::from(run(&config, &root, 1, 1 << 30).unwrap_err())
        )
    };
    let e = error(|b| b["tag_property"] = json!("kinds"));
    assert!(e.contains("did you mean `kind`?"), "{e}");
    let e = error(|b| b["tag_property"] = json!("size"));
    assert!(e.contains("`enum_labels`"), "{e}");
    let e = error(|b| b["source"] = b["layers"]["points"].clone());
    assert!(e.contains("`annotation_type` is \"POINT\""), "{e}");
}
