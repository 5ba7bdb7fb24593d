use super::*;
use crate::geometry::AxisOrder;

fn layout() -> Layout {
    Layout::new(AxisOrder::Czyx, vec![("train".into(), 1)], vec![], None)
}

fn claim(root: &Path, plan: &str, force: bool) -> Result<Output, DatasetError> {
    Output::claim(root, blake3::hash(plan.as_bytes()), &layout(), force)
}

#[test]
fn the_output_of_another_plan_is_an_error_and_force_overwrites_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/out");
    let output = claim(&root, "a", false).unwrap();
    output.write("train.zarr/box/c/0", b"x").unwrap();
    output.write(MANIFEST, b"{}").unwrap();
    claim(&root, "a", false).unwrap();
    assert!(root.join("train.zarr/box/c/0").exists());
    assert!(matches!(
        claim(&root, "b", false),
        Err(DatasetError::OtherPlan { .. })
    ));
    assert!(root.join(MANIFEST).exists());
    claim(&root, "b", true).unwrap();
    assert!(!root.join("train.zarr").exists() && !root.join(MANIFEST).exists());
}

/// Claims the folder for a plan with one array, `img`, and these splits.
fn claim_with(
    root: &Path,
    plan: &str,
    splits: &[&str],
    force: bool,
) -> Result<Output, DatasetError> {
    let splits = splits.iter().map(|s| (s.to_string(), 1)).collect();
    let array = crate::dataset::ArrayLayout {
        name: "img".into(),
        data_type: crate::data_type::DataType::UInt8,
        channels: 1,
        window: crate::geometry::WindowSize::new([1, 1, 1]).unwrap(),
        fill_value: crate::data_type::Scalar::ZERO,
        codec: crate::dataset::Codec::None.into(),
    };
    let layout = Layout::new(AxisOrder::Czyx, splits, vec![array], None);
    Output::claim(root, blake3::hash(plan.as_bytes()), &layout, force)
}

const OLD: [&str; 4] = [
    "train.zarr/img/c/0/0/0/0/0",
    "train.zarr/box/c/0",
    "val.zarr/zarr.json",
    ".pointshard/receipts/val/img/0.json",
];

#[test]
fn a_run_continues_to_delete_what_a_killed_run_began_to_delete() {
    // Deleting stops before each of them in turn, as if the program were killed there.
    for killed_at in 0..=OLD.len() {
        for force in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            let old = claim_with(root, "a", &["train", "val"], false).unwrap();
            for path in OLD {
                old.write(path, b"x").unwrap();
            }
            old.write("training/checkpoint", b"x").unwrap();
            let state = State {
                schema_version: SCHEMA_VERSION,
                plan_digest: blake3::hash(b"b").to_string(),
                groups: vec!["train.zarr".into()],
                members: vec!["img".into()],
                clearing: vec!["train.zarr".into(), "val.zarr".into()],
            };
            old.write_json(STATE, &state).unwrap();
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
            for path in OLD {
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
    ] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let old = claim_with(root, "a", &["train", "val"], false).unwrap();
        for path in OLD.iter().chain([&MANIFEST]) {
            old.write(path, b"x").unwrap();
        }
        fs::create_dir_all(root.join(mine).parent().unwrap()).unwrap();
        fs::write(root.join(mine), "mine").unwrap();
        let find = Output::find(root, blake3::hash(b"b"), true).unwrap_err();
        let claim = claim_with(root, "b", &["train"], true).unwrap_err();
        for error in [find, claim] {
            let DatasetError::ForeignFiles { file, others, .. } = &error else {
                panic!("{mine}: {error}");
            };
            assert_eq!((file, *others), (&root.join(mine), 0));
        }
        for path in OLD.iter().chain([&MANIFEST]) {
            assert!(root.join(path).exists(), "{mine}: {path}");
        }
        claim_with(root, "a", &["train", "val"], false).unwrap();
        fs::remove_file(root.join(mine)).unwrap();
        claim_with(root, "b", &["train"], true).unwrap();
        assert!(!root.join(OLD[0]).exists());
    }
    // Files beside the groups are never deleted, and a group that is a link is not pointshard's.
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    claim_with(root, "a", &["train"], false).unwrap();
    fs::write(root.join("notes.txt"), "mine").unwrap();
    claim_with(root, "b", &["train"], true).unwrap();
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
fn a_folder_that_cannot_be_listed_is_not_empty() {
    let entries = |broken: bool| {
        let failed = broken.then(|| Err(std::io::Error::other("input/output error")));
        [Ok(PathBuf::from("a"))].into_iter().chain(failed)
    };
    assert!(all_are(entries(false), |_| true).unwrap());
    assert!(!all_are(entries(false), |_| false).unwrap());
    assert!(all_are(entries(true), |_| true).is_err());
    assert!(all_are(entries(true), |_| false).is_err());
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
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&dir.path().join("train.zarr/x")), mode(&plain));
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
    assert!(dir.path().join("thesis.tex").exists());
}

#[test]
fn a_folder_whose_run_was_killed_before_it_wrote_its_plan_can_be_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join(PRIVATE);
    fs::create_dir(&begun).unwrap();
    fs::write(begun.join(".writing-dead"), "half").unwrap();
    fs::write(begun.join("plan.txt"), "not ours").unwrap();
    assert!(matches!(
        claim(dir.path(), "a", false),
        Err(DatasetError::NotAnOutput { .. })
    ));
    fs::remove_file(begun.join("plan.txt")).unwrap();
    claim(dir.path(), "a", false).unwrap();
    assert!(begun.join("plan.json").exists());
}

#[test]
fn the_temporary_file_of_a_dead_writer_is_removed_and_that_of_a_living_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let output = claim(dir.path(), "a", false).unwrap();
    let alive = output.begin("train.zarr/img/c/1").unwrap();
    let dead = dir.path().join("train.zarr/img/c/.writing-dead");
    fs::write(&dead, "half").unwrap();
    claim(dir.path(), "a", false).unwrap();
    assert!(!dead.exists() && alive.path().exists());
    output.finish(alive, "train.zarr/img/c/1").unwrap();
    assert_eq!(output.size_bytes("train.zarr/img/c/1").unwrap(), Some(0));
}
