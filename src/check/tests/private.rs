//! Damage to claim, plan and receipts. Changed bytes are tested with those of all other files.

use super::*;
use crate::check::{Finding, Severity};
use crate::dataset::{from_checksummed, to_checksummed};
use crate::extract::Progress;
use crate::job::RunOptions;

/// Changes the contents of a file, and its checksum with them.
fn forge_contents(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut contents: Value = from_checksummed(&fs::read(path).unwrap()).unwrap();
    change(&mut contents);
    fs::write(path, to_checksummed(&contents).unwrap()).unwrap();
}

/// The one error that a check finds.
fn the_finding(out: &Path) -> Finding {
    let findings = check(out).findings.into_iter();
    let findings: Vec<_> = findings.filter(|f| f.severity == Severity::Error).collect();
    let [finding] = &findings[..] else {
        panic!("{findings:?}")
    };
    finding.clone()
}

const CLAIM: &str = ".pointshard/claim.json";
const PLAN: &str = ".pointshard/plan.json";
const RECEIPT: &str = ".pointshard/receipts/val/other/1.json";

#[test]
fn a_private_file_that_contradicts_the_manifest_is_a_finding_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    for (path, pointer, value, remedy) in [
        (CLAIM, "/groups", json!(["val.zarr"]), "with --repair"),
        (CLAIM, "/arrays/0", json!("seg"), "with --repair"),
        (CLAIM, "/schema_version", json!(2), "with --repair"),
        (PLAN, "/plan_digest", json!("0"), "with --repair"),
        (RECEIPT, "/plan_digest", json!("0"), "delete this file"),
        (RECEIPT, "/bytes", json!(1), "delete this file"),
        (RECEIPT, "/blake3", json!("0"), "delete this file"),
        (RECEIPT, "/nonzero", json!([1]), "delete this file"),
    ] {
        let file = out.join(path);
        let good = fs::read(&file).unwrap();
        forge_contents(&file, |contents| {
            *contents.pointer_mut(pointer).unwrap() = value.clone();
        });
        let finding = the_finding(&out);
        assert_eq!(
            (finding.kind, finding.file.as_str()),
            (FindingKind::Plan, path),
            "{pointer}"
        );
        assert!(finding.message.contains(remedy), "{}", finding.message);
        let options = RunOptions {
            memory_bytes: 1 << 30,
            ..RunOptions::default()
        };
        let (location, report) = (out.as_path().into(), check(&out));
        let storage = Storage::default();
        crate::check::repair(&location, &report, options, &storage, &Progress::default()).unwrap();
        assert!(
            check(&out).ok && fs::read(&file).unwrap() == good,
            "{pointer}"
        );
    }
}

#[test]
fn a_missing_or_damaged_private_file_is_a_finding_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let out = dataset(dir.path());
    for (path, remedies) in [
        (CLAIM, ["with --repair"; 2]),
        (PLAN, ["with --repair"; 2]),
        (
            RECEIPT,
            ["preprocess` again to write it", "delete this file"],
        ),
    ] {
        let file = out.join(path);
        let good = fs::read(&file).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let kinds = [FindingKind::MissingFile, FindingKind::Digest];
        for (damage, (kind, remedy)) in [None, Some(flipped)].iter().zip(kinds.iter().zip(remedies))
        {
            match damage {
                None => fs::remove_file(&file).unwrap(),
                Some(bytes) => fs::write(&file, bytes).unwrap(),
            }
            let finding = the_finding(&out);
            assert_eq!((finding.kind, finding.file.as_str()), (*kind, path));
            assert!(finding.message.contains(remedy), "{}", finding.message);
            fs::write(&file, &good).unwrap();
        }
    }
}
