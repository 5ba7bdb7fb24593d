//! Errors, panics, room and memory while threads make batches.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_damaged_sample_is_an_error_at_its_batch_and_the_others_come_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let loader = opened(dir.path(), AxisOrder::Czyx, 12, options());
    let path = dir.path().join("train.zarr/target/c/1/0/0/0/0");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let all: Vec<_> = loader.epoch(0, 0).collect();
    let failed: Vec<_> = all.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, false, false]);
    let error = all[1].as_ref().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot load sample 4 of the split `train`")
    );
    let source = std::error::Error::source(error).unwrap().to_string();
    assert_eq!(source, "train.zarr/target sample 4: its CRC-32C is wrong");
}

#[test]
fn a_panic_in_a_thread_is_an_error_at_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut loader = opened(dir.path(), AxisOrder::Czyx, 9, options());
    // Targets that are not there: what no dataset can bring about.
    let inner = Arc::get_mut(&mut loader.inner).unwrap();
    inner.sources.targets = 1;
    let all: Vec<_> = loader.epoch(0, 0).collect();
    assert_eq!(all.len(), 3);
    let error = all[2].as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("batch 2 could not be made because of an error in the program: "),
        "{error}"
    );
}

#[test]
fn an_epoch_that_is_dropped_early_stops_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let loader = opened(dir.path(), AxisOrder::Czyx, 400, options());
    let clock = Instant::now();
    for taken in (0..5).cycle().take(100) {
        let mut epoch = loader.epoch(0, 0);
        for _ in 0..taken {
            epoch.next().unwrap().unwrap();
        }
    }
    assert!(clock.elapsed() < Duration::from_secs(30));
    // An epoch outlives its loader.
    let epoch = loader.epoch(0, 100);
    drop(loader);
    assert_eq!(epoch.count(), 34);
}

#[test]
fn no_more_batches_are_made_than_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let loader = opened(
        dir.path(),
        AxisOrder::Czyx,
        60,
        Options {
            workers: 4,
            prefetch: 3,
            ..options()
        },
    );
    let mut epoch = loader.epoch(0, 0);
    for taken in 1..=10 {
        epoch.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert!(epoch.made() <= taken + 3);
    }
    let rest = epoch.count();
    assert_eq!(rest, 10);
}

#[test]
fn a_batch_that_is_given_back_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let loader = opened(dir.path(), AxisOrder::Czyx, 7, everything());
    let expected = batches(&loader, 0, 0);
    for _ in 0..2 {
        for (batch, expected) in loader.epoch(0, 0).zip(&expected) {
            let mut batch = batch.unwrap();
            assert_eq!(batch, *expected);
            batch.image = Values::F32(vec![7.0; batch.image.len()]);
            batch.targets.fill(7);
            batch.masks = Some(Values::F32(vec![7.0; batch.targets.len()]));
            loader.recycle(batch);
        }
    }
    assert!(!lock(&loader.inner.spare).is_empty());
}
