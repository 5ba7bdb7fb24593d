use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::earlier::EarlierOutput;
use super::*;
use crate::dataset::checksummed::to_checksummed;
use crate::storage::{OpenObject, StorageError, WriterAccess};

fn output(root: &Path) -> Output {
    Output::at(&Location::Local(root.to_owned()), &Storage::default()).unwrap()
}

/// The claim of a job with one array, `img`, and these splits.
fn claim_of(config: &str, splits: &[&str]) -> Claim {
    let digest = blake3::hash(config.as_bytes());
    Claim::new(digest, splits.iter().copied(), ["img"].into_iter())
}

fn claim_with(
    root: &Path,
    config: &str,
    splits: &[&str],
    force: bool,
) -> Result<Output, DatasetError> {
    output(root).claim(&claim_of(config, splits), force)
}

fn claim(root: &Path, config: &str, force: bool) -> Result<Output, DatasetError> {
    claim_with(root, config, &["train"], force)
}

/// Claims the output and writes its plan, which is not read here.
fn plan(root: &Path, config: &str, splits: &[&str]) -> Output {
    let output = claim_with(root, config, splits, false).unwrap();
    output.create_plan(b"{}").unwrap();
    output
}

#[test]
fn the_output_of_another_job_is_an_error_and_force_overwrites_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/out");
    let first = plan(&root, "a", &["train"]);
    first.write("train.zarr/box/c.0", b"x").unwrap();
    first.write(MANIFEST, b"{}").unwrap();
    drop(first);
    claim(&root, "a", false).unwrap();
    assert!(root.join("train.zarr/box/c.0").exists());
    assert!(matches!(
        claim(&root, "b", false),
        Err(DatasetError::OtherPlan { .. })
    ));
    assert!(root.join(MANIFEST).exists());
    claim(&root, "b", true).unwrap();
    assert!(!root.join("train.zarr").exists() && !root.join(MANIFEST).exists());
    assert!(!root.join(PLAN).exists() && root.join(CLAIM).exists());
}

#[test]
fn of_two_jobs_at_the_same_moment_one_fails() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let root = &dir.path().join("out");
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let start = |config: &'static str| scope.spawn(move || claim(root, config, false));
            let jobs = ["a", "b"].map(start);
            jobs.map(|job| job.join().unwrap()).into_iter().collect()
        });
        let winners = outcomes.iter().filter(|o| o.is_ok()).count();
        assert_eq!(winners, 1, "{outcomes:?}");
        assert!(
            outcomes
                .iter()
                .any(|o| matches!(o, Err(DatasetError::OtherPlan { .. })))
        );
    }
}

#[test]
fn a_claim_without_a_plan_ends_with_its_writers() {
    let dir = tempfile::tempdir().unwrap();
    let first = claim(dir.path(), "a", false).unwrap();
    let error = claim(dir.path(), "b", false).unwrap_err();
    assert!(error.to_string().contains("still at work"), "{error}");
    drop(first);
    let second = claim(dir.path(), "b", false).unwrap();
    second.create_plan(b"{}").unwrap();
    drop(second);
    assert!(claim(dir.path(), "a", false).is_err());
}

#[test]
fn force_fails_beside_a_running_job() {
    let dir = tempfile::tempdir().unwrap();
    let running = plan(dir.path(), "a", &["train"]);
    running.write("train.zarr/img/c.0.0.0.0.0", b"x").unwrap();
    for config in ["a", "b"] {
        let error = claim(dir.path(), config, true).unwrap_err();
        assert!(matches!(error, DatasetError::Busy { .. }), "{error}");
    }
    assert!(dir.path().join("train.zarr/img/c.0.0.0.0.0").exists());
    running.require_own().unwrap();
    // Tasks of the same job work side by side.
    claim(dir.path(), "a", false).unwrap();
    drop(running);
    claim(dir.path(), "b", true).unwrap();
}

#[test]
fn a_writer_notices_that_its_output_was_deleted_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("out");
    let running = plan(&root, "a", &["train"]);
    fs::remove_dir_all(&root).unwrap();
    assert!(matches!(
        running.require_own(),
        Err(DatasetError::OutputRemoved { .. })
    ));
    assert!(running.write("train.zarr/x", b"x").is_err() && !root.exists());
    claim(&root, "b", false).unwrap();
    assert!(matches!(
        running.require_own(),
        Err(DatasetError::Overwritten { .. })
    ));
}

const OLD: [&str; 5] = [
    "train.zarr/img/c.0.0.0.0.0",
    "train.zarr/box/c.0",
    "val.zarr/zarr.json",
    ".pointshard/receipts/val/img/0.json",
    ".pointshard/plan/0123456789abcdef/val/property_size/zarr.json",
];

#[test]
fn a_run_continues_to_delete_what_a_killed_run_began_to_delete() {
    // Deleting stops before each of them in turn, as if the program were killed there.
    for killed_at in 0..=OLD.len() {
        for force in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            let old = plan(root, "a", &["train", "val"]);
            for path in OLD {
                old.write(path, b"x").unwrap();
            }
            old.write("training/checkpoint", b"x").unwrap();
            let deleting = Claim {
                clearing: Some(EarlierOutput {
                    groups: vec!["train.zarr".into(), "val.zarr".into()],
                    members: vec!["img".into()],
                }),
                ..claim_of("b", &["train"])
            };
            old.write(CLAIM, &to_checksummed(&deleting).unwrap())
                .unwrap();
            drop(old);
            for path in &OLD[..killed_at] {
                fs::remove_file(root.join(path)).unwrap();
            }
            assert!(
                matches!(
                    claim_with(root, "a", &["train", "val"], false),
                    Err(DatasetError::OtherPlan { .. })
                ),
                "it belongs to b now"
            );
            claim_with(root, "b", &["train"], force).unwrap();
            for path in OLD.into_iter().chain([PLAN]) {
                assert!(!root.join(path).exists(), "{path}");
            }
            assert!(root.join("training/checkpoint").exists());
            // Nothing is left to clear.
            let new = claim_with(root, "b", &["train"], false).unwrap();
            new.write("train.zarr/new", b"x").unwrap();
            claim_with(root, "b", &["train"], false).unwrap();
            assert!(root.join("train.zarr/new").exists());
        }
    }
}

#[test]
fn force_deletes_nothing_if_there_is_a_file_of_others() {
    for mine in [
        "train.zarr/notes.txt",
        "train.zarr/img/c/0/0/0/0/mine.npy",
        "train.zarr/mine/zarr.json",
        ".pointshard/receipts/notes.txt",
        ".pointshard/plan/0123456789abcdef/train/notes.txt",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let old = plan(root, "a", &["train", "val"]);
        for path in OLD.iter().chain([&MANIFEST]) {
            old.write(path, b"x").unwrap();
        }
        drop(old);
        fs::create_dir_all(root.join(mine).parent().unwrap()).unwrap();
        fs::write(root.join(mine), "mine").unwrap();
        let find = output(root).check_clearing().unwrap_err();
        let claim = claim_with(root, "b", &["train"], true).unwrap_err();
        for error in [find, claim] {
            let DatasetError::ForeignFiles { file, others, .. } = &error else {
                panic!("{mine}: {error}");
            };
            assert_eq!((Path::new(file), *others), (root.join(mine).as_path(), 0));
        }
        for path in OLD.iter().chain([&MANIFEST]) {
            assert!(root.join(path).exists(), "{mine}: {path}");
        }
        claim_with(root, "a", &["train", "val"], false).unwrap();
        fs::remove_file(root.join(mine)).unwrap();
        claim_with(root, "b", &["train"], true).unwrap();
        assert!(!root.join(OLD[0]).exists());
    }
}

#[test]
fn force_leaves_files_beside_the_groups_and_does_not_follow_links() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    drop(plan(root, "a", &["train"]));
    fs::write(root.join("notes.txt"), "mine").unwrap();
    drop(claim_with(root, "b", &["train"], true).unwrap());
    assert!(root.join("notes.txt").exists());
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("zarr.json"), "mine").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("train.zarr")).unwrap();
    let error = claim_with(root, "c", &["train"], true).unwrap_err();
    assert!(
        matches!(error, DatasetError::ForeignFiles { .. }),
        "{error}"
    );
    assert!(elsewhere.path().join("zarr.json").exists());
}

#[test]
fn an_output_of_an_earlier_version_is_an_error_and_force_overwrites_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let write = |path: &str, bytes: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let state =
        r#"{"schema_version": 2, "plan_digest": "d", "groups": ["val.zarr"], "members": ["mask"]}"#;
    write(PLAN, state);
    write(".pointshard/record.json", "{}");
    write(".pointshard/receipts/val/mask/0.json", "{}");
    write("val.zarr/mask/c.0.0.0.0.0", "x");
    write(MANIFEST, "{}");
    let error = claim(root, "a", false).unwrap_err();
    assert!(error.to_string().contains("output version 2"), "{error}");
    claim(root, "a", true).unwrap();
    for path in [PLAN, ".pointshard/record.json", "val.zarr", MANIFEST] {
        assert!(!root.join(path).exists(), "{path}");
    }
}

#[test]
fn a_damaged_claim_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    drop(plan(dir.path(), "a", &["train"]));
    let path = dir.path().join(CLAIM);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    for force in [false, true] {
        let error = claim(dir.path(), "a", force).unwrap_err();
        assert!(
            matches!(error, DatasetError::Damaged { .. })
                && error.to_string().contains("claim.json"),
            "{error}"
        );
    }
}

/// A store without objects whose listings fail.
#[derive(Debug)]
struct NotListable;

impl Store for NotListable {
    fn read(&self, _: &str, _: u64, _: &mut Vec<u8>) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn read_range(&self, _: &str, _: Range<u64>, _: &mut Vec<u8>) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn size(&self, _: &str) -> Result<Option<u64>, StorageError> {
        Ok(None)
    }

    fn open_object(&self, _: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError> {
        Ok(None)
    }

    fn list(
        &self,
        folder: &str,
        _: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        Err(StorageError::List {
            folder: folder.to_owned(),
            source: std::io::Error::other("input/output error"),
        })
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn describe(&self, key: &str) -> String {
        key.to_owned()
    }
}

#[test]
fn a_folder_that_cannot_be_listed_is_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let local = output(dir.path());
    let output = Output::with(
        &local.location,
        Arc::new(NotListable),
        Arc::clone(local.sink.as_ref().unwrap()),
    );
    for force in [false, true] {
        let error = output.clone().claim(&claim_of("a", &["train"]), force);
        assert!(matches!(
            error,
            Err(DatasetError::Storage(StorageError::List { .. }))
        ));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_job_that_fails_before_its_plan_is_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("out");
    claim(&root, "a", false).unwrap().release();
    assert!(!root.exists());
    // The folder of the user stays, and what another process works on.
    fs::create_dir(&root).unwrap();
    claim(&root, "a", false).unwrap().release();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    let first = claim(&root, "a", false).unwrap();
    claim(&root, "a", false).unwrap().release();
    assert!(root.join(CLAIM).exists());
    first.create_plan(b"{}").unwrap();
    first.release();
    assert!(root.join(CLAIM).exists() && root.join(PLAN).exists());
}

#[test]
fn files_have_the_permissions_that_the_umask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let output = claim(dir.path(), "a", false).unwrap();
    output.write("train.zarr/x", b"x").unwrap();
    // An ordinary file of this process shows the umask.
    let plain = dir.path().join("plain");
    fs::write(&plain, b"x").unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(dir.path().join("train.zarr/x")), mode(plain));
}

#[test]
fn a_folder_of_others_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    for force in [false, true] {
        assert!(matches!(
            claim(dir.path(), "a", force),
            Err(DatasetError::NotAnOutput { .. })
        ));
    }
    let names = fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["thesis.tex"]);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    fs::write(&file, "mine").unwrap();
    for root in [file.clone(), file.join("below")] {
        let error = claim(&root, "a", false).unwrap_err();
        assert!(matches!(error, DatasetError::NotAFolder { .. }), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_folder_whose_run_was_killed_before_it_wrote_its_claim_can_be_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join(PRIVATE);
    fs::create_dir(&begun).unwrap();
    fs::write(begun.join(".writing-dead"), "half").unwrap();
    fs::write(begun.join("writers"), "").unwrap();
    fs::write(begun.join("plan.txt"), "not ours").unwrap();
    assert!(matches!(
        claim(dir.path(), "a", false),
        Err(DatasetError::NotAnOutput { .. })
    ));
    fs::remove_file(begun.join("plan.txt")).unwrap();
    claim(dir.path(), "a", false).unwrap();
    assert!(begun.join("claim.json").exists());
}

#[test]
fn a_writer_that_is_registered_alone_excludes_others() {
    let dir = tempfile::tempdir().unwrap();
    let first = output(dir.path());
    let sink = first.sink().unwrap();
    let guard = sink.register_writer(WRITERS, WriterAccess::Exclusive);
    let guard = guard.unwrap().unwrap();
    assert!(matches!(
        claim(dir.path(), "a", false),
        Err(DatasetError::Busy { .. })
    ));
    drop(guard);
    claim(dir.path(), "a", false).unwrap();
}
