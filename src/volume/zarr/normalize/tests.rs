use super::*;

fn v2(change: Value) -> Result<Value, MetadataFlaw> {
    v2_array(&changed(
        json!({
            "zarr_format": 2, "shape": [4, 4, 4], "chunks": [2, 2, 2], "dtype": "|u1", "order": "C",
            "fill_value": 0, "compressor": null, "filters": null,
        }),
        change,
    ))
}

fn v3(change: Value) -> Result<Value, MetadataFlaw> {
    v3_array(&changed(
        json!({
            "zarr_format": 3, "node_type": "array", "shape": [4, 4, 4], "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2, 2]}},
            "chunk_key_encoding": {"name": "default"}, "fill_value": 0,
            "codecs": [{"name": "bytes"}],
        }),
        change,
    ))
}

/// `document` with the members of `change`.
fn changed(mut document: Value, change: Value) -> Value {
    for (key, value) in change.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

#[test]
fn members_that_decoding_does_not_need_are_replaced_by_valid_ones() {
    let levels = [json!(-1), json!(null), json!("9"), json!(0), json!(22)];
    for (id, level) in ["gzip", "zlib", "bz2"].iter().zip(levels) {
        let normal = v2(json!({"compressor": {"id": id, "level": level}})).unwrap();
        assert_eq!(normal["compressor"], json!({"id": id, "level": 1}));
    }
    let blosc = v2(json!({"compressor": {"id": "blosc"}})).unwrap();
    assert_eq!(blosc["compressor"]["shuffle"], 0);
    let normal = v2(json!({
        "zarr_format": 2.0, "shape": [4.0, 4, 4], "order": "f", "dtype": ">i1", "fill_value": -1.0, "filters": [],
        "other": 1,
    }))
    .unwrap();
    assert_eq!(normal["shape"], json!([4, 4, 4]));
    assert_eq!(
        [&normal["dtype"], &normal["order"], &normal["fill_value"]],
        [&json!("|i1"), &json!("F"), &json!(-1)]
    );
    assert_eq!(normal["dimension_separator"], ".");
    let normal = v3(json!({
        "zarr_format": 3.0, "attributes": null, "storage_transformers": [], "dimension_names": null,
        "consolidated_metadata": null, "hint": {"must_understand": false}, "chunk_key_encoding": "v2",
        "codecs": ["endian", {"name": "numcodecs.zlib"}, {"name": "zstd", "configuration": {"level": 3}}],
    }))
    .unwrap();
    assert_eq!(
        normal["chunk_key_encoding"]["configuration"]["separator"],
        "."
    );
    let codecs = &normal["codecs"];
    assert_eq!(codecs[0]["name"], "bytes");
    assert_eq!(
        codecs[1],
        json!({"name": "numcodecs.zlib", "configuration": {"level": 1}})
    );
    assert_eq!(codecs[2]["configuration"]["checksum"], false);
}

#[test]
fn a_fill_value_is_accepted_in_any_exact_form() {
    let cases = [
        ("|u1", json!(0.0), json!(0)),
        ("|u1", json!("0"), json!(0)),
        ("|u1", json!("7.0"), json!(7)),
        ("|u1", json!(null), json!(0)),
        ("|u1", json!(true), json!(1)),
        ("<i2", json!("-3"), json!(-3)),
        ("<u8", json!(u64::MAX), json!(u64::MAX)),
        ("<u8", json!("18446744073709551615"), json!(u64::MAX)),
        ("|b1", json!(0), json!(false)),
        ("|b1", json!(1.0), json!(true)),
        ("|b1", json!(null), json!(false)),
        ("<f4", json!("nan"), json!("NaN")),
        ("<f4", json!("-inf"), json!("-Infinity")),
        ("<f4", json!("0.5"), json!(0.5)),
        ("<f4", json!(null), json!(0)),
    ];
    for (dtype, found, expected) in cases {
        let normal = v2(json!({"dtype": dtype, "fill_value": found})).unwrap();
        assert_eq!(normal["fill_value"], expected, "{dtype} {found}");
    }
    for (dtype, found, word) in [
        ("|u1", json!(0.5), "from 0 to 255"),
        ("|u1", json!(256), "from 0 to 255"),
        ("|u1", json!(-1), "found -1"),
        ("|u1", json!("NaN"), "found \"NaN\""),
        ("|i1", json!(128), "from -128 to 127"),
        ("<u8", json!(18446744073709551616.0), "18446744073709551615"),
        ("<u8", json!(1e17), "a whole number"),
        ("|b1", json!(2), "true or false"),
        ("<f4", json!("none"), "\"Infinity\""),
        ("<f4", json!([0]), "found [0]"),
    ] {
        let flaw = v2(json!({"dtype": dtype, "fill_value": found})).unwrap_err();
        assert_eq!(flaw.path, "fill_value");
        assert!(flaw.problem.contains(word), "{found}: {}", flaw.problem);
    }
}

#[test]
fn an_invalid_v2_member_is_an_error_with_its_path_and_the_valid_values() {
    for (change, path, word) in [
        (json!({"zarr_format": 3}), "zarr_format", "expected 2"),
        (json!({"dtype": "<f2"}), "dtype", "\"<f4\""),
        (json!({"dtype": "|u2"}), "dtype", "found \"|u2\""),
        (json!({"order": "A"}), "order", "\"C\" or \"F\""),
        (json!({"chunks": [0, 2, 2]}), "chunks", "from 1"),
        (json!({"chunks": [2, 2]}), "chunks", "expected 3"),
        (json!({"shape": [4.5, 4, 4]}), "shape", "whole numbers"),
        (
            json!({"dimension_separator": "-"}),
            "dimension_separator",
            "\".\" or \"/\"",
        ),
        (
            json!({"compressor": {"id": "lz4"}}),
            "compressor.id",
            "zstd",
        ),
        (json!({"compressor": "zlib"}), "compressor", "`id`"),
        (
            json!({"filters": [{"id": "delta"}]}),
            "filters[0].id",
            "found \"delta\"",
        ),
    ] {
        let flaw = v2(change).unwrap_err();
        assert_eq!(flaw.path, path);
        assert!(flaw.problem.contains(word), "{path}: {}", flaw.problem);
    }
}

#[test]
fn an_invalid_v3_member_is_an_error_with_its_path_and_the_valid_values() {
    let sharded = |configuration| json!({"codecs": [{"name": "sharding_indexed", "configuration": configuration}]});
    for (change, path, word) in [
        (
            json!({"data_type": "float16"}),
            "data_type",
            "expected bool or one of",
        ),
        (
            json!({"data_type": "uint16"}),
            "codecs[0].configuration.endian",
            "found nothing",
        ),
        (
            json!({"codecs": ["bytes", {"name": "numcodecs.lzma"}]}),
            "codecs[1].name",
            "blosc",
        ),
        (
            json!({"chunk_grid": {"name": "rectangular"}}),
            "chunk_grid",
            "\"regular\"",
        ),
        (
            json!({"storage_transformers": [{"name": "x"}]}),
            "storage_transformers",
            "none",
        ),
        (
            json!({"scale_factor": 2}),
            "scale_factor",
            "\"must_understand\": false",
        ),
        (
            sharded(json!({"chunk_shape": [1, 1, 1], "codecs": ["bytes"]})),
            "codecs[0].configuration.index_codecs",
            "a list of codecs",
        ),
        (
            sharded(
                json!({"chunk_shape": [1, 1, 1], "codecs": ["bytes"], "index_codecs": [{"name": "bytes"}]}),
            ),
            "codecs[0].configuration.index_codecs[0].configuration.endian",
            "\"little\" or \"big\"",
        ),
    ] {
        let flaw = v3(change).unwrap_err();
        assert_eq!(flaw.path, path);
        assert!(flaw.problem.contains(word), "{path}: {}", flaw.problem);
    }
}
