//! How much each level of a check reads, and what it finds.

use super::*;

fn check_at(out: &Path, level: CheckLevel) -> Report {
    let options = CheckOptions {
        level,
        memory_bytes: u64::MAX,
    };
    crate::check::check(out, options, &Storage::default()).unwrap()
}

const fn sample(samples: u64, seed: u64) -> CheckLevel {
    CheckLevel::Sample { samples, seed }
}

/// Kinds, files and samples of the findings.
fn found(report: &Report) -> Vec<(FindingKind, String, Vec<u64>)> {
    let findings = report.findings.iter();
    let findings = findings.filter(|f| f.severity == crate::check::Severity::Error);
    let findings = findings.map(|f| (f.kind, f.file.clone(), f.samples.clone()));
    findings.collect()
}

#[test]
fn an_intact_dataset_is_right_at_every_level() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let samples = Dataset::open(&out, &Storage::default())
        .unwrap()
        .manifest()
        .splits["train"]
        .samples;
    assert!(samples > 3);
    for (level, windows) in [
        (CheckLevel::Quick, 0),
        (CheckLevel::Full, 24),
        (sample(1, 0), 4),
        (sample(3, 7), 12),
        (sample(1000, 0), 24),
        (sample(0, 0), 0),
    ] {
        let report = check_at(&out, level);
        assert!(report.ok, "{level:?}: {:?}", report.findings);
        assert_eq!(report.checked.windows, windows, "{level:?}");
        assert_eq!(report.checked.samples, 12);
    }
}

#[test]
fn damaged_bytes_of_a_shard_are_found_by_a_quick_check_and_by_the_samples_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let shard = "train.zarr/img/c.1.0.0.0.0";
    let path = out.join(shard);
    let mut bytes = fs::read(&path).unwrap();
    // In the first of the two samples of the shard, which is sample 2.
    bytes[9] ^= 4;
    fs::write(&path, bytes).unwrap();
    let quick = vec![(FindingKind::Digest, shard.to_owned(), vec![])];
    assert_eq!(found(&check_at(&out, CheckLevel::Quick)), quick);
    let full = vec![(FindingKind::Digest, shard.to_owned(), vec![2])];
    assert_eq!(found(&check_at(&out, CheckLevel::Full)), full);
    let decoded = vec![(FindingKind::Decode, shard.to_owned(), vec![2])];
    assert_eq!(found(&check_at(&out, sample(1000, 0))), decoded);
    // One of six samples finds it for some seeds, the same ones each time.
    let hits = || (0..20).filter(|seed| found(&check_at(&out, sample(1, *seed))) == decoded);
    let hits: [Vec<u64>; 2] = [hits().collect(), hits().collect()];
    assert_eq!(hits[0], hits[1]);
    assert!((1..15).contains(&hits[0].len()), "{hits:?}");
}

#[test]
fn a_missing_shard_and_damaged_columns_are_found_without_decoding_all() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    fs::remove_file(out.join("val.zarr/other/c.0.0.0.0.0")).unwrap();
    let column = out.join("train.zarr/center_nm/c.0.0");
    let mut bytes = fs::read(&column).unwrap();
    bytes[20] ^= 1;
    fs::write(column, bytes).unwrap();
    for level in [CheckLevel::Quick, sample(1, 0), CheckLevel::Full] {
        let found = found(&check_at(&out, level));
        let has = |kind, file: &str| found.iter().any(|f| f.0 == kind && f.1 == file);
        assert!(
            has(FindingKind::MissingFile, "val.zarr/other/c.0.0.0.0.0"),
            "{found:?}"
        );
        assert!(
            has(FindingKind::Digest, "train.zarr/center_nm/c.0.0"),
            "{found:?}"
        );
    }
}

#[test]
fn a_check_that_does_not_fit_in_memory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    let with = |memory_bytes| {
        let level = CheckLevel::Full;
        let options = CheckOptions {
            level,
            memory_bytes,
        };
        crate::check::check(&out, options, &Storage::default())
    };
    let error = with(50 << 20).unwrap_err().to_string();
    assert!(error.contains("--memory 50.0 MiB is too low"), "{error}");
    assert!(with(4 << 30).unwrap().ok);
}
