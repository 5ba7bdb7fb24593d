//! Errors, panics, prefetch and recycled memory of the threads that produce batches.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_damaged_sample_is_an_error_in_its_batch_only() {
    let dir = tempfile::tempdir().unwrap();
    let loader = open(dir.path(), AxisOrder::Czyx, 12, options());
    let path = dir.path().join("train.zarr/target/c.1.0.0.0.0");
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
fn a_panic_in_a_thread_is_an_error_in_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut loader = open(dir.path(), AxisOrder::Czyx, 9, options());
    // A wrong number of targets: no dataset can cause this.
    let state = Arc::get_mut(&mut loader.state).unwrap();
    state.arrays.targets = 1;
    let all: Vec<_> = loader.epoch(0, 0).collect();
    assert_eq!(all.len(), 3);
    let error = all[2].as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("batch 2 failed because of a bug in pointshard: "),
        "{error}"
    );
}

#[test]
fn an_epoch_that_is_dropped_early_stops_soon() {
    let dir = tempfile::tempdir().unwrap();
    let loader = open(dir.path(), AxisOrder::Czyx, 400, options());
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
fn no_more_batches_than_prefetch_are_produced_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let loader = open(
        dir.path(),
        AxisOrder::Czyx,
        60,
        LoaderOptions {
            workers: 4,
            prefetch: 3,
            ..options()
        },
    );
    let mut epoch = loader.epoch(0, 0);
    for taken in 1..=10 {
        epoch.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert!(epoch.produced() <= taken + 3);
    }
    let rest = epoch.count();
    assert_eq!(rest, 10);
}

#[test]
fn a_recycled_batch_leaves_no_old_values() {
    let dir = tempfile::tempdir().unwrap();
    let loader = open(dir.path(), AxisOrder::Czyx, 7, all_options());
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
    assert!(!lock(&loader.state.spare_batches).is_empty());
}
