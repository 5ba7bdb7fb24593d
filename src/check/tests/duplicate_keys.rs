use super::*;

#[test]
fn duplicate_keys_in_the_manifest_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let file = out.join("manifest.json");
    let text = fs::read_to_string(&file).unwrap();
    let twice = text.replacen(
        "\"splits\": {",
        "\"splits\": {\"val\": {\"path\": \"x\", \"samples\": 0, \"shard_samples\": 1},",
        1,
    );
    assert_ne!(twice, text);
    fs::write(&file, twice).unwrap();
    let report = check(&out);
    assert!(
        report.findings[0].message.contains("occurs twice"),
        "{:?}",
        report.findings
    );
}
