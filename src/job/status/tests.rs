//! The rate at which shards are written.

use super::*;
use crate::data_type::{DataType, Scalar};
use crate::dataset::Codec;
use crate::geometry::{AxisOrder, WindowSize};

const MINUTE_MS: i64 = 60_000;

/// A layout with an array of 10 shards of 4 samples.
fn layout() -> Layout {
    let samples = vec![("train".to_owned(), 40)];
    let array = ArrayLayout {
        name: "img".to_owned(),
        data_type: DataType::UInt8,
        channels: 1,
        window: WindowSize::new([8, 8, 8]).unwrap(),
        fill_value: Scalar::ZERO,
        codec: Codec::default().into(),
    };
    Layout::new(AxisOrder::Czyx, samples, vec![array], Some(4))
}

fn written_at(minutes: &[i64]) -> Vec<(ShardId, i64)> {
    let shards = minutes.iter().enumerate();
    let shards = shards.map(|(shard, minute)| {
        let id = ShardId {
            split: 0,
            array: 0,
            shard: shard as u64,
        };
        (id, minute * MINUTE_MS)
    });
    shards.collect()
}

fn of(minutes: &[i64], now: i64) -> Option<Throughput> {
    let layout = layout();
    let missing = layout.all_shards().skip(minutes.len());
    throughput(&layout, missing, written_at(minutes), now * MINUTE_MS)
}

#[test]
fn the_rate_is_that_of_the_ten_minutes_before_the_last_shard() {
    // The first of the counted shards ends the time before the rate.
    let found = of(&[0, 100, 103, 104, 105], 107).unwrap();
    assert_eq!(found.windows_per_second, 12.0 / 300.0);
    assert_eq!(found.seconds_since_last_shard, 120.0);
    assert_eq!(found.windows_missing, 20);
}

#[test]
fn one_shard_or_one_moment_has_no_rate() {
    assert_eq!(of(&[], 5), None);
    assert_eq!(of(&[1], 5), None);
    assert_eq!(of(&[3, 3, 3], 5), None);
    // A clock that runs behind.
    assert_eq!(of(&[3, 4], 2).unwrap().seconds_since_last_shard, 0.0);
}
