use super::*;
use crate::geometry::MAX_VOXEL;
use serde_json::json;

fn example() -> Value {
    json!({
        "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "UINT8", "num_channels": 1,
        "scales": [
            {"key": "8", "resolution": [9.2, 9.2, 45], "size": [1048576, 1048576, 20], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"},
            {"key": "4", "resolution": [4.599999904632568, 4.6, 45], "size": [1000000, 1000000, 1000000],
             "voxel_offset": [-5, 0, 3], "chunk_sizes": [[64, 32, 16]], "encoding": "RAW"},
        ],
    })
}

fn read_value(value: &Value) -> Result<Scale, VolumeError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("info"), value.to_string()).unwrap();
    read(
        &Location::Local(dir.path().into()),
        &Resolution::new([4.6, 4.6, 45.0]).unwrap(),
        &Storage::default(),
    )
}

fn error_of(change: impl FnOnce(&mut Value)) -> String {
    let mut value = example();
    change(&mut value);
    match read_value(&value) {
        Ok(_) => panic!("accepted {value}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn the_scale_is_chosen_by_resolution_and_not_by_position() {
    let scale = read_value(&example()).unwrap();
    assert!(scale.location.to_string().ends_with("/4"));
    assert_eq!(scale.meta.grid.bounds().start, [-5, 0, 3]);
    assert_eq!(
        scale.meta.grid.bounds().end,
        [999_995, 1_000_000, 1_000_003]
    );
    assert_eq!(scale.meta.data_type, DataType::UInt8);
}

#[test]
fn a_key_may_be_outside_the_volume_but_not_absolute() {
    let mut value = example();
    value["scales"][1]["key"] = json!("../other/4");
    assert!(
        read_value(&value)
            .unwrap()
            .location
            .to_string()
            .ends_with("/other/4")
    );
    let e = error_of(|v| v["scales"][1]["key"] = json!("/etc"));
    assert!(e.contains("scales[1].key") && e.contains("/etc"), "{e}");
    error_of(|v| v["scales"][1]["key"] = json!("gs://x"));
}

#[test]
fn an_unknown_resolution_is_an_error_that_lists_the_existing_ones() {
    let e = error_of(|v| v["scales"][1]["resolution"] = json!([5, 5, 45]));
    assert!(
        e.contains("4.6 x 4.6 x 45 nm") && e.contains("[9.2, 9.2, 45.0], [5.0, 5.0, 45.0]"),
        "{e}"
    );
}

#[test]
fn unsupported_encodings_are_an_error_that_names_them() {
    for name in ["fpzip", "kempressed", "zfpc"] {
        let e = error_of(|v| v["scales"][1]["encoding"] = json!(name));
        assert!(e.contains("encoding") && e.contains(name), "{e}");
    }
    for name in ["compresso", "crackle"] {
        for (data_type, channels) in [("float32", 1), ("uint64", 2)] {
            let e = error_of(|v| {
                v["data_type"] = json!(data_type);
                v["num_channels"] = json!(channels);
                v["scales"][1]["encoding"] = json!(name);
            });
            let found = format!("{name} of {data_type} with {channels} channel(s)");
            assert!(e.contains(&found) && e.contains("an integer type"), "{e}");
        }
    }
    let e = error_of(|v| {
        v["data_type"] = json!("uint16");
        v["scales"][1]["encoding"] = json!("jpeg");
    });
    assert!(e.contains("jpeg of uint16") && e.contains("uint8"), "{e}");
}

#[test]
fn sizes_are_checked_before_any_allocation() {
    for (field, value) in [
        ("chunk_sizes", json!([[64, 0, 16]])),
        ("chunk_sizes", json!([])),
        ("chunk_sizes", json!([[1048576, 1048576, 1048576]])),
        (
            "chunk_sizes",
            json!([[4294967295u64, 4294967295u64, 4294967295u64]]),
        ),
        ("size", json!([0, 1, 1])),
        ("size", json!([i64::MAX, 1, 1])),
        ("size", json!([MAX_VOXEL, MAX_VOXEL, 1])),
        ("voxel_offset", json!([i64::MIN, 0, 0])),
        ("resolution", json!([0, 0, 0])),
        ("encoding", json!("jpeg2000")),
        ("encoding", json!("compressed_segmentation")),
        (
            "sharding",
            json!({"@type": "neuroglancer_uint64_sharded_v1"}),
        ),
        ("sharding", json!(true)),
    ] {
        let e = error_of(|v| v["scales"][1][field] = value.clone());
        assert!(
            e.contains("info") && (e.contains(field) || field == "resolution"),
            "{field} {value}: {e}"
        );
    }
    let e = error_of(|v| v["num_channels"] = json!(0));
    assert!(e.contains("num_channels"), "{e}");
    let e = error_of(|v| v["data_type"] = json!("uint24"));
    assert!(e.contains("uint24") && e.contains("float32"), "{e}");
    let e = error_of(|v| v["@type"] = json!("neuroglancer_annotations_v1"));
    assert!(e.contains("annotation layer"), "{e}");
    let e = error_of(|v| {
        v["scales"][1].as_object_mut().unwrap().remove("size");
    });
    assert!(e.contains("scales[1]") && e.contains("size"), "{e}");
}

#[test]
fn errors_in_other_scales_are_ignored() {
    for (field, value) in [
        ("voxel_offset", json!([1.625, 1.875, 14])),
        ("size", json!([0.5, 1, 1])),
        ("size", json!("large")),
        ("chunk_sizes", json!([])),
        ("chunk_sizes", json!(null)),
        ("encoding", json!("fpzip")),
        ("encoding", json!(7)),
        (
            "sharding",
            json!({"@type": "neuroglancer_uint64_sharded_v9"}),
        ),
        ("sharding", json!(true)),
        ("key", json!("/etc")),
        ("key", json!(null)),
        ("resolution", json!([0, "x"])),
        ("resolution", json!(null)),
        ("compressed_segmentation_block_size", json!([8.5, 8, 8])),
    ] {
        let mut info = example();
        info["scales"][0][field] = value.clone();
        let scale = read_value(&info).unwrap();
        assert_eq!(
            scale.meta.grid.bounds().start,
            [-5, 0, 3],
            "{field} {value}"
        );
        let mut info = example();
        info["scales"][1][field] = value.clone();
        let is_unused = field == "compressed_segmentation_block_size";
        assert_eq!(read_value(&info).is_ok(), is_unused, "{field} {value}");
    }
    let mut info = example();
    info["scales"][0] = json!("garbage");
    assert!(read_value(&info).is_ok());
}

#[test]
fn whole_numbers_may_be_written_as_floats() {
    let plain = read_value(&example()).unwrap();
    let mut info = example();
    info["num_channels"] = json!(1.0);
    let scale = &mut info["scales"][1];
    scale["size"] = serde_json::from_str("[1e6, 1000000.0, 1.0e+6]").unwrap();
    scale["voxel_offset"] = json!([-5.0, -0.0, 3.0]);
    scale["chunk_sizes"] = json!([[64.0, 32.0, 16.0]]);
    scale["resolution"] = json!([4.6, 4.6, 45.0]);
    let floats = read_value(&info).unwrap();
    assert_eq!(floats.meta.grid, plain.meta.grid);
    info["data_type"] = json!("uint64");
    info["scales"][1]["encoding"] = json!("compressed_segmentation");
    info["scales"][1]["compressed_segmentation_block_size"] = json!([8.0, 8.0, 4.0]);
    let block = [8, 8, 4];
    let encoding = read_value(&info).unwrap().encoding;
    assert_eq!(encoding, Encoding::CompressedSegmentation { block });
}

#[test]
fn a_fractional_number_in_the_scale_is_an_error_with_its_value() {
    for (field, value) in [
        ("voxel_offset", json!([1.625, 0, 14])),
        ("size", json!([1.625, 4, 4])),
        ("chunk_sizes", json!([[1.625, 64, 64]])),
    ] {
        let e = error_of(|v| v["scales"][1][field] = value.clone());
        assert!(
            e.contains(&format!("scales[1].{field}")) && e.contains("1.625"),
            "{e}"
        );
    }
    let e = error_of(|v| v["num_channels"] = json!(1.5));
    assert!(e.contains("num_channels") && e.contains("found 1.5"), "{e}");
}

#[test]
fn a_single_chunk_shape_is_accepted_under_either_name() {
    let shape = |change: fn(&mut Value)| {
        let mut info = example();
        change(&mut info["scales"][1]);
        read_value(&info).unwrap().meta.grid.block_shape()
    };
    assert_eq!(shape(|s| s["chunk_sizes"] = json!([8, 9, 10])), [8, 9, 10]);
    let renamed = |s: &mut Value| {
        s.as_object_mut().unwrap().remove("chunk_sizes");
        s["chunk_size"] = json!([8, 9.0, 10]);
    };
    assert_eq!(shape(renamed), [8, 9, 10]);
    assert_eq!(shape(|s| s["chunk_size"] = json!("x")), [64, 32, 16]);
    let e = error_of(|v| {
        v["scales"][1]
            .as_object_mut()
            .unwrap()
            .remove("chunk_sizes");
    });
    assert!(e.contains("scales[1].chunk_sizes"), "{e}");
}

#[test]
fn the_info_of_another_kind_of_layer_is_an_error_with_the_expected_kind() {
    for (info, words) in [
        (
            json!({"@type": "neuroglancer_annotations_v1", "annotation_type": "LINE"}),
            "an annotation layer",
        ),
        (
            json!({"annotation_type": "LINE", "spatial": []}),
            "an annotation layer",
        ),
        (json!({"@type": "neuroglancer_skeletons"}), "skeletons"),
        (json!({"@type": "neuroglancer_legacy_mesh"}), "meshes"),
        (
            json!({"type": "volumetric_tabular", "size": [1, 1, 1]}),
            "volumetric tabular",
        ),
    ] {
        let e = read_value(&info).err().unwrap().to_string();
        assert!(
            e.contains(words) && e.contains("expected a volume") && e.contains("`points.layer`"),
            "{e}"
        );
    }
}

#[test]
fn a_redirect_is_followed_and_named_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, info: &Value| {
        let folder = dir.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("info"), info.to_string()).unwrap();
        Location::Local(folder)
    };
    let wanted = Resolution::new([4.6, 4.6, 45.0]).unwrap();
    let mut old = example();
    old["scales"][1]["voxel_offset"] = json!([0, 0, 0]);
    old["redirect"] = json!("precomputed://../new");
    let old = write("old", &old);
    let mut info = example();
    let new = write("new", &info);
    let scale = read(&old, &wanted, &Storage::default()).unwrap();
    assert_eq!(scale.location, new.join("4"));
    assert_eq!(scale.meta.grid.bounds().start, [-5, 0, 3]);
    assert_eq!(scale.redirected_to, Some(new.clone()));
    let unmoved = read(&new, &wanted, &Storage::default()).unwrap();
    assert_eq!(unmoved.redirected_to, None);
    assert_ne!(scale.digest, unmoved.digest);
    info["scales"][1]["size"] = json!([0, 1, 1]);
    write("new", &info);
    let e = read(&old, &wanted, &Storage::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        e.contains("new/info") && e.contains("/old)") && e.contains("size"),
        "{e}"
    );
}
