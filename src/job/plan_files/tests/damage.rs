//! Damaged plans are errors that say what is wrong.

use super::*;

fn stored() -> (TempDir, PlanHeader) {
    let dir = tempfile::tempdir().unwrap();
    let header = write_to(dir.path(), &synthetic(&some_rows(5), &some_rows(2)));
    (dir, header)
}

#[test]
fn a_damaged_or_missing_file_is_an_error_that_names_it() {
    let (dir, header) = stored();
    for file in header.files() {
        let path = dir.path().join(&file.path);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [
            Some(flipped),
            Some(good[..good.len() - 1].to_vec()),
            Some(Vec::new()),
            None,
        ] {
            match bad {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let message = read_from(dir.path(), &header).unwrap_err().to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
        fs::write(&path, good).unwrap();
    }
    read_from(dir.path(), &header).unwrap();
}

/// The header with a change to its JSON.
fn changed(header: &PlanHeader, change: impl Fn(&mut Value)) -> Result<PlanHeader, String> {
    let mut value = json!(header);
    change(&mut value);
    PlanHeader::parse(&to_checksummed(&value).unwrap())
}

#[test]
fn contents_that_disagree_are_errors_that_say_what() {
    let (dir, header) = stored();
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 28] = [
        (|v| v["schema_version"] = json!(99), "schema version 99"),
        (|v| v["task_ends"] = json!([]), "`task_ends`"),
        (|v| v["task_ends"] = json!([-1]), "`-1`"),
        (|v| v["plan_digest"] = json!("ab"), "does not list it"),
        (|v| v["draft_digest"] = json!("ab"), "hexadecimal"),
        (|v| v["config"]["window"] = json!([0, 1, 1]), "window"),
        (
            |v| v["config"]["splits"] = json!({"../x": ["a"], "val": ["b"]}),
            "splits.../x",
        ),
        (|v| v["splits"][0]["name"] = json!("test"), "its splits are"),
        (|v| v["splits"][0]["samples"] = json!(6), "shape"),
        (|v| v["splits"][0]["samples"] = json!(1u64 << 62), "shards"),
        (|v| v["splits"][0]["shard_samples"] = json!(0), "per shard"),
        (
            |v| v["splits"][0]["shard_samples"] = json!(u64::MAX),
            "per shard",
        ),
        (
            |v| v["arrays"][0]["source_of_group"] = json!([0]),
            "layer groups",
        ),
        (
            |v| v["arrays"][0]["source_of_group"] = json!([0, 4]),
            "4 sources",
        ),
        (|v| v["arrays"][0]["channels"] = json!(0), "channels"),
        (|v| v["arrays"][0]["fill_value"] = json!([0]), "fill value"),
        (
            |v| v["arrays"][1]["padded_windows"] = json!([0, 0]),
            "padded windows",
        ),
        (
            |v| v["arrays"][1]["codec"] = json!({"name": "zstd", "level": 99}),
            "level",
        ),
        (|v| v["boxes"][1]["split"] = json!(2), "split"),
        (|v| v["boxes"][1]["samples"] = json!(99), "99 samples"),
        (|v| v["boxes"] = json!([]), "0 boxes"),
        (|v| v["properties"][0]["id"] = json!("../x"), "property"),
        (|v| v["reuse"]["sources"] = json!([4]), "source 4"),
        (
            |v| v["reuse"]["shards"][0]["split"] = json!(2),
            "not in order",
        ),
        (|v| v["reuse"]["shards"][1]["split"] = json!(2), "split 2"),
        (|v| v["reuse"]["shards"][1]["array"] = json!(9), "array 9"),
        (|v| v["reuse"]["shards"][1]["end"] = json!(9), "0..9"),
        (|v| v["reuse"]["shards"][1]["first"] = json!(1), "1..1"),
    ];
    for (i, (change, expected)) in changes.into_iter().enumerate() {
        let result = changed(&header, change)
            .and_then(|header| read_from(dir.path(), &header).map_err(|e| e.to_string()));
        let message = result.err().unwrap_or_default();
        assert!(message.contains(expected), "{i}: {message:?}");
    }
    let more = changed(&header, |v| {
        let mut file = v["files"][0].clone();
        file["path"] = json!(".pointshard/plan/more");
        v["files"].as_array_mut().unwrap().push(file);
    });
    let message = read_from(dir.path(), &more.unwrap())
        .unwrap_err()
        .to_string();
    assert!(message.contains("no column of the plan"), "{message}");
}

/// The header, with the sizes and digests of the files as they are.
fn with_new_digests(folder: &Path, header: &PlanHeader) -> PlanHeader {
    let mut value = json!(header);
    for file in value["files"].as_array_mut().unwrap() {
        let bytes = fs::read(folder.join(file["path"].as_str().unwrap())).unwrap();
        file["bytes"] = json!(bytes.len());
        file["blake3"] = json!(blake3::hash(&bytes).to_string());
    }
    serde_json::from_value(value).unwrap()
}

/// A file with the values of a column, in one chunk.
fn chunk(values: &[u8]) -> Vec<u8> {
    let mut bytes = zstd::bulk::compress(values, 1).unwrap();
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

#[test]
fn columns_with_values_out_of_range_are_errors_even_with_right_digests() {
    for (column, values, expected) in [
        ("box/c.0", 9u32.to_le_bytes().repeat(5), "found the box 9"),
        // A box of the other split.
        ("box/c.0", 3u32.to_le_bytes().repeat(5), "found the box 3"),
        ("box/c.0", 1u32.to_le_bytes().repeat(5), "do not follow"),
        (
            "start_voxel/c.0.0",
            i64::MIN.to_le_bytes().repeat(15),
            "either way",
        ),
        (
            "img_inside_fraction/c.0",
            f32::NAN.to_le_bytes().repeat(5),
            "fraction",
        ),
        (
            "img_inside_fraction/c.0",
            1.5f32.to_le_bytes().repeat(5),
            "fraction",
        ),
        (
            "img_inside_fraction/c.0",
            0.5f32.to_le_bytes().repeat(5),
            "padded windows",
        ),
        (
            "resolution_nm/c.0.0",
            4.6f64.to_le_bytes().repeat(15),
            "do not follow",
        ),
        (
            "wide_start_voxel/c.0.0",
            4i64.to_le_bytes().repeat(15),
            "do not follow",
        ),
        (
            "annotation_id/c.0",
            7u64.to_le_bytes().repeat(5),
            "the digest of the plan is",
        ),
        ("annotation_id/c.0", 7u64.to_le_bytes().repeat(4), "bytes"),
        (
            "cells_object_ids/c.0.0",
            (1..16u64).flat_map(u64::to_le_bytes).collect(),
            "ids or more",
        ),
        (
            "cells_object_ids/c.0.0",
            0u64.to_le_bytes().repeat(15),
            "are not those of its column",
        ),
        ("cell_object_id/c.0", 7u64.to_le_bytes().repeat(6), "bytes"),
    ] {
        let (dir, header) = stored();
        let ends = format!("/train/{column}");
        let file = header
            .files()
            .iter()
            .find(|f| f.path.ends_with(&ends))
            .unwrap();
        fs::write(dir.path().join(&file.path), chunk(&values)).unwrap();
        let header = with_new_digests(dir.path(), &header);
        let message = read_from(dir.path(), &header).unwrap_err().to_string();
        assert!(message.contains(expected), "{column}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Bytes of the header are changed, without its checksum.
    #[test]
    fn a_header_of_any_bytes_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0usize..40) {
        thread_local!(static STORED: (TempDir, PlanHeader) = stored());
        STORED.with(|(dir, header)| {
            let mut bytes = serde_json::to_vec(header).unwrap();
            let at = at.index(bytes.len());
            if cut < 20 {
                bytes.drain(at..(at + cut).min(bytes.len()));
            } else {
                bytes[at] = byte;
            }
            if let Ok(header) = serde_json::from_slice::<PlanHeader>(&bytes) {
                let _ = (header.layout(), read_from(dir.path(), &header).map(drop));
            }
        });
    }

    /// Bytes of a column are changed, and its digest is right.
    #[test]
    fn columns_of_any_bytes_never_panic(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), with_crc in any::<bool>(),
    ) {
        thread_local!(static STORED: (TempDir, PlanHeader) = stored());
        STORED.with(|(dir, header)| {
            let file = &header.files()[file.index(header.files().len())];
            let path = dir.path().join(&file.path);
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] = byte;
            if with_crc && bad.len() > 4 {
                bad.truncate(bad.len() - 4);
                bad.extend(crc32c::crc32c(&bad).to_le_bytes());
            }
            fs::write(&path, bad).unwrap();
            let _ = read_from(dir.path(), &with_new_digests(dir.path(), header)).map(drop);
            fs::write(&path, good).unwrap();
        });
    }
}
