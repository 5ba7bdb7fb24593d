//! Where samples and dropped annotations are: all, or some of them, evenly spread over the order of the dataset.

use std::collections::BTreeMap;

use crate::dataset::{Dataset, DatasetError, DroppedTable};

/// Points to draw, x, y, z in nm, with the ids of their annotations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Points {
    /// Samples, by split.
    pub samples: Vec<(String, PointList)>,
    /// Dropped annotations, by reason.
    pub dropped: BTreeMap<String, PointList>,
}

/// Some of `total` points.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PointList {
    pub total: u64,
    pub points: Vec<Point>,
}

/// An annotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub annotation_id: u64,
    pub center_nm: [f64; 3],
}

/// Rows that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

/// At most `most` points of each split, and of each reason.
pub(crate) fn read_points(dataset: &Dataset, most: u64) -> Result<Points, DatasetError> {
    let splits = dataset.manifest().splits.keys();
    let samples = splits.map(|split| Ok((split.clone(), of_split(dataset, split, most)?)));
    Ok(Points {
        samples: samples.collect::<Result<_, DatasetError>>()?,
        dropped: dropped(dataset, most)?,
    })
}

fn of_split(dataset: &Dataset, split: &str, most: u64) -> Result<PointList, DatasetError> {
    let reader = dataset.split(split)?;
    let total = dataset.manifest().splits[split].samples;
    let step = step(total, most);
    let ids = reader.open_column::<u64>("annotation_id", Some(1))?;
    let centers = reader.open_column::<f64>("center_nm", Some(3))?;
    let mut points = Vec::new();
    for first in (0..total).step_by(BATCH_ROWS as usize) {
        let batch = || first..first.saturating_add(BATCH_ROWS);
        let (ids, centers) = (ids.rows(batch())?, centers.rows(batch())?);
        let rows = ids.iter().zip(centers.as_chunks::<3>().0);
        let rows = (first..).zip(rows).filter(|(i, _)| i % step == 0);
        points.extend(rows.map(|(_, (id, center))| Point {
            annotation_id: *id,
            center_nm: *center,
        }));
    }
    Ok(PointList { total, points })
}

fn dropped(dataset: &Dataset, most: u64) -> Result<BTreeMap<String, PointList>, DatasetError> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, n) in dataset.manifest().boxes.iter().flat_map(|b| &b.dropped) {
        let count = counts.entry(reason).or_default();
        *count = count.saturating_add(*n);
    }
    let mut lists: BTreeMap<String, PointList> = BTreeMap::new();
    let unreadable = |(_, e)| e;
    let Some(table) = DroppedTable::open(dataset).map_err(unreadable)? else {
        return Ok(lists);
    };
    let read = table.for_each(|row| {
        let step = step(counts.get(row.reason).copied().unwrap_or(0), most);
        let list = lists.entry(row.reason.to_owned()).or_default();
        if list.total.is_multiple_of(step) {
            list.points.push(Point {
                annotation_id: row.annotation_id,
                center_nm: row.center_nm,
            });
        }
        list.total += 1;
    });
    read.map_err(unreadable)?;
    Ok(lists)
}

/// Every so manieth of `total` points is one of `most`.
fn step(total: u64, most: u64) -> u64 {
    total.div_ceil(most.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_points_than_the_limit() {
        for (total, most) in [(0, 5), (5, 5), (6, 5), (1000, 7), (3, 0)] {
            let step = step(total, most);
            assert!(total.div_ceil(step) <= most.max(1), "{total} {most}");
        }
        assert_eq!(step(5, 5), 1);
    }
}
