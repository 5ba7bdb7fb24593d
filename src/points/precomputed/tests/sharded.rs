//! Layers with cells in shards.

use super::*;

pub(super) fn sharding(index_encoding: &str, data_encoding: &str) -> Value {
    json!({
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 1, "hash": "murmurhash3_x86_128",
        "minishard_bits": 2, "shard_bits": 1,
        "minishard_index_encoding": index_encoding, "data_encoding": data_encoding,
    })
}

/// Two levels with points in several cells.
fn two_levels() -> TestLayer {
    let mut layer = TestLayer::new("POINT")
        .level(json!({"key": "s1", "grid_shape": [8, 3, 1], "chunk_size": [5, 15, 40]}));
    for i in 0..4 {
        let x = 10.0 * i as f32 + 1.0;
        layer = layer
            .cell(&format!("s0/{i}_2_0"), &[(i, &[x, 25.0, 1.0])])
            .cell(&format!("s1/{}_1_0", 2 * i), &[(100 + i, &[x, 17.0, 1.0])]);
    }
    layer
}

#[test]
fn each_level_may_be_sharded_or_not() {
    let plain = two_levels().read(&[everything()]).unwrap();
    assert_eq!(ids(&plain), [[0, 1, 2, 3, 100, 101, 102, 103]]);
    for levels in [vec![0], vec![1], vec![0, 1]] {
        for (index, data) in [
            ("raw", "raw"),
            ("raw", "gzip"),
            ("gzip", "raw"),
            ("gzip", "gzip"),
        ] {
            let layer = levels.iter().fold(two_levels(), |layer, i| {
                layer.sharded(*i, sharding(index, data))
            });
            let sharded = layer.read(&[everything()]).unwrap();
            assert_eq!(sharded.per_box, plain.per_box, "{levels:?} {index} {data}");
            assert_eq!(sharded.report.cells_read, plain.report.cells_read);
            assert_eq!(sharded.report.cells_empty, plain.report.cells_empty);
        }
    }
}

#[test]
fn an_error_in_a_damaged_cell_names_its_shard_and_its_cell() {
    let layer = two_levels()
        .file("s1/0_0_0", &[5, 0, 0, 0, 0, 0, 0, 0])
        .sharded(1, sharding("raw", "raw"));
    let e = layer.read(&[everything()]).unwrap_err().to_string();
    assert!(
        e.contains("cell 0_0_0 in ") && e.contains(".shard (chunk 0)"),
        "{e}"
    );
    assert!(!e.contains("zetta_utils"), "{e}");
}

#[test]
fn an_error_in_a_cell_with_a_gzip_minishard_index_names_the_usual_writer() {
    let layer = two_levels()
        .file("s1/0_0_0", &[5, 0, 0, 0, 0, 0, 0, 0])
        .sharded(1, sharding("gzip", "raw"));
    let e = layer.read(&[everything()]).unwrap_err().to_string();
    assert!(e.contains("zetta_utils") && e.contains("expected"), "{e}");
}

#[test]
fn an_error_in_the_sharding_names_its_member() {
    let mut layer = two_levels();
    layer.info["spatial"][1]["sharding"] = sharding("raw", "lz4");
    let e = layer.open().unwrap_err().to_string();
    assert!(
        e.contains("`spatial[1].sharding.data_encoding`") && e.contains("\"lz4\""),
        "{e}"
    );
}
