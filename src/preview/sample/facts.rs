//! The facts about the samples to show: their rows of every index column.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::array::ShownArray;
use super::choice::Chosen;
use crate::dataset::{AnyColumn, ColumnNumber, Dataset, DatasetError};

/// The facts about a sample.
#[derive(Clone, Debug)]
pub(crate) struct SampleFacts {
    pub split: String,
    /// Its position in the split.
    pub position: u64,
    /// Id of its annotation.
    pub annotation_id: u64,
    /// Position of its box in the manifest.
    pub box_index: u64,
    /// The annotation's anchor, x, y, z.
    pub center_nm: [f64; 3],
    /// nm per voxel of its windows, x, y, z.
    pub resolution_nm: [f64; 3],
    /// First voxel of the window of each array, x, y, z.
    pub starts: Vec<[f64; 3]>,
    /// All other columns, by name. Values with labels are labels.
    pub columns: Vec<(String, Vec<Fact>)>,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Fact {
    Number(ColumnNumber),
    Label(String),
}

/// The rows of the chosen samples of a split in one column, by position.
type Rows = BTreeMap<u64, Vec<Fact>>;

/// The facts about the chosen samples, in their order.
pub(crate) fn read_facts(
    dataset: &Dataset,
    arrays: &[ShownArray],
    chosen: &Chosen,
) -> Result<Vec<SampleFacts>, DatasetError> {
    let mut facts = Vec::with_capacity(chosen.len());
    for of_split in chosen.chunk_by(|a, b| a.0 == b.0) {
        let Some((split, _)) = of_split.first() else {
            continue;
        };
        let positions: Vec<u64> = of_split.iter().map(|(_, i)| *i).collect();
        let mut columns = read_columns(dataset, split, &positions)?;
        let own_start = |array: &ShownArray| format!("{}_start_voxel", array.name);
        let own: Vec<_> = arrays
            .iter()
            .map(|a| columns.remove(&own_start(a)))
            .collect();
        let mut take = |name: &str| columns.remove(name).unwrap_or_default();
        let [ids, boxes] = ["annotation_id", "box"].map(&mut take);
        let [centers, starts] = ["center_nm", "start_voxel"].map(&mut take);
        let resolutions = take("resolution_nm");
        for i in positions {
            let start = |own: &Option<Rows>| triple(own.as_ref().unwrap_or(&starts), i);
            let others = columns.iter();
            facts.push(SampleFacts {
                split: split.clone(),
                position: i,
                annotation_id: unsigned(&ids, i),
                box_index: unsigned(&boxes, i),
                center_nm: triple(&centers, i),
                resolution_nm: triple(&resolutions, i),
                starts: own.iter().map(start).collect(),
                columns: others
                    .filter_map(|(name, rows)| Some((name.clone(), rows.get(&i)?.clone())))
                    .collect(),
            });
        }
    }
    Ok(facts)
}

/// The rows of these samples in every index column of the split.
fn read_columns(
    dataset: &Dataset,
    split: &str,
    positions: &[u64],
) -> Result<BTreeMap<String, Rows>, DatasetError> {
    let manifest = dataset.manifest();
    let entry = &manifest.splits[split];
    let mut columns = BTreeMap::new();
    for name in manifest.columns(entry) {
        let folder = format!("{}/{name}", entry.path);
        let column = AnyColumn::open(Arc::clone(dataset.store()), folder, entry.samples)?;
        let labels = column.labels();
        let labeled = |number: ColumnNumber| {
            let label = labels.iter().find(|(value, _)| *value == number.as_f64());
            label.map_or(Fact::Number(number), |(_, label)| {
                Fact::Label(label.clone())
            })
        };
        let is_padded = name.ends_with("_object_ids");
        let rows = positions.iter().map(|i| {
            let mut numbers = column.rows(*i..i.saturating_add(1))?;
            if is_padded {
                numbers.retain(|id| *id != ColumnNumber::Unsigned(0));
            }
            Ok((*i, numbers.into_iter().map(labeled).collect()))
        });
        columns.insert(name.to_owned(), rows.collect::<Result<_, DatasetError>>()?);
    }
    Ok(columns)
}

fn unsigned(rows: &Rows, i: u64) -> u64 {
    match rows.get(&i).and_then(|row| row.first()) {
        Some(Fact::Number(ColumnNumber::Unsigned(v))) => *v,
        _ => 0,
    }
}

fn triple(rows: &Rows, i: u64) -> [f64; 3] {
    let row = rows.get(&i).map_or(&[][..], Vec::as_slice);
    std::array::from_fn(|axis| match row.get(axis) {
        Some(Fact::Number(cell)) => cell.as_f64(),
        _ => 0.0,
    })
}
