//! Index columns: as long as the arrays, and true: boxes hold their points, windows start where the rule says.

use std::collections::{HashMap, HashSet};

use super::groups::members;
use super::{Finding, FindingKind, told};
use crate::dataset::{Dataset, DatasetError, SplitReader};
use crate::geometry::{BoxNm, PointNm, Resolution, WindowSize};

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, split) in &dataset.manifest().splits {
        let about =
            |column: &str, e: &DatasetError| finding(dataset, name, column, Vec::new(), told(e));
        let reader = match dataset.split(name) {
            Ok(reader) => reader,
            Err(e) => {
                findings.push(about("", &e));
                continue;
            }
        };
        let mut wrong = Vec::new();
        let columns = Columns::read(&reader, |column, e| wrong.push(about(column, &e)));
        let arrays = &dataset.manifest().arrays;
        let others = members(dataset, split).into_iter();
        let others = others.filter(|m| !arrays.contains_key(*m) && !Columns::NAMES.contains(m));
        let of_padding = |m: &&str| {
            let array = m.strip_suffix(INSIDE_FRACTION).and_then(|a| arrays.get(a));
            array.is_some_and(|a| a.padded_windows.contains_key(name))
        };
        let others = others.filter(|m| !of_padding(m));
        for column in others {
            let checked = reader.check_column(column);
            wrong.extend(checked.err().map(|e| about(column, &e)));
        }
        findings.extend(wrong);
        if let Some(columns) = columns {
            findings.extend(columns.check(dataset, name));
        }
        findings.extend(check_padding(dataset, name, &reader));
    }
    findings
}

/// How the columns end that say how much of an array's windows lies inside of the layer's volume.
const INSIDE_FRACTION: &str = "_inside_fraction";

/// The columns that every dataset has.
struct Columns {
    annotation_id: Vec<u64>,
    box_index: Vec<u32>,
    center_nm: Vec<[f64; 3]>,
    start_voxel: Vec<[i64; 3]>,
    resolution_nm: Vec<[f64; 3]>,
}

impl Columns {
    const NAMES: [&str; 5] = [
        "annotation_id",
        "box",
        "center_nm",
        "start_voxel",
        "resolution_nm",
    ];

    /// The columns, where all of them can be read; `wrong` takes each that cannot.
    fn read(reader: &SplitReader, mut wrong: impl FnMut(&str, DatasetError)) -> Option<Self> {
        fn or<T>(
            name: &str,
            read: Result<T, DatasetError>,
            wrong: &mut impl FnMut(&str, DatasetError),
        ) -> Option<T> {
            read.map_err(|e| wrong(name, e)).ok()
        }
        let [id, box_index, center, start, resolution] = Self::NAMES;
        let annotation_id = or(id, reader.column(id), &mut wrong);
        let box_index = or(box_index, reader.column(box_index), &mut wrong);
        let center_nm = or(center, triples(reader, center), &mut wrong);
        let start_voxel = or(start, triples(reader, start), &mut wrong);
        let resolution_nm = or(resolution, triples(reader, resolution), &mut wrong);
        Some(Self {
            annotation_id: annotation_id?,
            box_index: box_index?,
            center_nm: center_nm?,
            start_voxel: start_voxel?,
            resolution_nm: resolution_nm?,
        })
    }

    fn check(&self, dataset: &Dataset, split: &str) -> Vec<Finding> {
        let manifest = dataset.manifest();
        let samples = manifest.splits[split].samples as usize;
        let lengths = [
            ("annotation_id", self.annotation_id.len()),
            ("box", self.box_index.len()),
            ("center_nm", self.center_nm.len()),
            ("start_voxel", self.start_voxel.len()),
            ("resolution_nm", self.resolution_nm.len()),
        ];
        let short: Vec<_> = lengths
            .into_iter()
            .filter(|(_, n)| *n != samples)
            .map(|(name, n)| {
                let message = format!("it has {n} rows, expected one per sample: {samples}");
                finding(dataset, split, name, Vec::new(), message)
            })
            .collect();
        if !short.is_empty() {
            return short;
        }
        let mut findings = Vec::new();
        let mut add = |column: &str, wrong: Vec<u64>, message: &str| {
            if !wrong.is_empty() {
                findings.push(finding(dataset, split, column, wrong, message.to_owned()));
            }
        };
        let which = |wrong: &dyn Fn(usize) -> bool| -> Vec<u64> {
            (0..samples)
                .filter(|i| wrong(*i))
                .map(|i| i as u64)
                .collect()
        };
        let box_of = |i: usize| manifest.boxes.get(self.box_index[i] as usize);
        let strange = which(&|i| box_of(i).is_none_or(|b| b.split.as_deref() != Some(split)));
        add(
            "box",
            strange,
            "the sample's box is none of the split's boxes in the manifest",
        );
        let snapped = manifest.config["snap"] == "zetta";
        let bounds_of = |i: usize| {
            let bounds =
                box_of(i).and_then(|b| BoxNm::from_corners(PointNm(b.min_nm), PointNm(b.max_nm)));
            match (snapped, Resolution::new(self.resolution_nm[i])) {
                (true, Some(resolution)) => bounds.map(|b| b.snapped_as_zetta(&resolution)),
                _ => bounds,
            }
        };
        // Samples are ordered by box.
        let key = |i: usize| (self.box_index[i], self.resolution_nm[i]);
        let starts = (0..samples).filter(|i| *i == 0 || key(*i) != key(*i - 1));
        let starts: Vec<usize> = starts.chain([samples]).collect();
        let outside = starts.windows(2).flat_map(|run| {
            let bounds = bounds_of(run[0]);
            let outside =
                |i: &usize| bounds.is_some_and(|b| !b.contains(&PointNm(self.center_nm[*i])));
            (run[0]..run[1])
                .filter(outside)
                .map(|i| i as u64)
                .collect::<Vec<_>>()
        });
        let outside = outside.collect();
        add(
            "center_nm",
            outside,
            "the sample's centre lies outside of its box",
        );
        let window = WindowSize::new(manifest.window_voxels);
        let misplaced = which(&|i| {
            let start = window.zip(Resolution::new(self.resolution_nm[i]));
            let start = start.and_then(|(w, r)| w.start_around(&PointNm(self.center_nm[i]), &r));
            start != Some(self.start_voxel[i])
        });
        add(
            "start_voxel",
            misplaced,
            "the window does not start where centre, resolution and window size say",
        );
        let mut seen = HashSet::new();
        let repeated =
            (0..samples).filter(|i| !seen.insert((self.box_index[*i], self.annotation_id[*i])));
        let repeated = repeated.map(|i| i as u64).collect();
        add(
            "annotation_id",
            repeated,
            "the annotation occurs twice in one box",
        );
        let mut per_box: HashMap<u32, u64> = HashMap::new();
        for b in &self.box_index {
            *per_box.entry(*b).or_insert(0) += 1;
        }
        for (i, b) in manifest
            .boxes
            .iter()
            .enumerate()
            .filter(|(_, b)| b.split.as_deref() == Some(split))
        {
            let found = per_box.get(&(i as u32)).copied().unwrap_or(0);
            if found != b.samples {
                let message = format!(
                    "the box {:?} has {found} samples, the manifest says {}",
                    b.id, b.samples
                );
                findings.push(finding(dataset, split, "box", Vec::new(), message));
            }
        }
        findings
    }
}

/// `<array>_inside_fraction`: a share for every sample, less than 1 where the manifest counts a padded window. Older
/// manifests count none and have no such column.
fn check_padding(dataset: &Dataset, split: &str, reader: &SplitReader) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let mut findings = Vec::new();
    for (name, array) in &manifest.arrays {
        let Some(padded) = array.padded_windows.get(split) else {
            continue;
        };
        let column = format!("{name}{INSIDE_FRACTION}");
        let samples = manifest.splits[split].samples;
        let problem = match reader.column::<f32>(&column) {
            Err(e) => Some((Vec::new(), told(&e))),
            Ok(shares) => padding_problem(&shares, samples, *padded),
        };
        let problem = problem.map(|(which, text)| finding(dataset, split, &column, which, text));
        findings.extend(problem);
    }
    findings
}

/// What is wrong with the shares of an array's windows that lie inside, if anything: the samples concerned, and a text.
fn padding_problem(shares: &[f32], samples: u64, padded: u64) -> Option<(Vec<u64>, String)> {
    if shares.len() as u64 != samples {
        let rows = shares.len();
        let message = format!("it has {rows} rows, expected one per sample: {samples}");
        return Some((Vec::new(), message));
    }
    let strange = (0..).zip(shares).filter(|(_, v)| !(0.0..=1.0).contains(*v));
    let strange: Vec<u64> = strange.map(|(i, _)| i).collect();
    if !strange.is_empty() {
        return Some((
            strange,
            "found no share, expected numbers from 0 to 1".to_owned(),
        ));
    }
    let found = shares.iter().filter(|v| **v < 1.0).count() as u64;
    (found != padded).then(|| {
        let message = format!(
            "{found} of its values are less than 1, the manifest counts {padded} padded windows"
        );
        (Vec::new(), message)
    })
}

fn triples<T: zarrs::array::ElementOwned + Copy>(
    reader: &SplitReader,
    name: &str,
) -> Result<Vec<[T; 3]>, DatasetError> {
    let values = reader.column::<T>(name)?;
    Ok(values.as_chunks::<3>().0.to_vec())
}

fn finding(
    dataset: &Dataset,
    split: &str,
    column: &str,
    samples: Vec<u64>,
    message: String,
) -> Finding {
    let group = &dataset.manifest().splits[split].path;
    Finding {
        kind: FindingKind::Column,
        file: format!("{group}/{column}").trim_end_matches('/').to_owned(),
        split: Some(split.to_owned()),
        samples,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_windows_are_numbers_from_0_to_1_as_often_below_1_as_windows_are_padded() {
        assert_eq!(padding_problem(&[1.0, 0.5, 0.0], 3, 2), None);
        let of =
            |shares: &[f32], samples, padded| padding_problem(shares, samples, padded).unwrap();
        assert!(of(&[1.0, 1.0], 3, 0).1.contains("2 rows"));
        for strange in [-0.5, 1.5, f32::NAN, f32::INFINITY] {
            assert_eq!(of(&[1.0, strange, 0.5], 3, 1).0, [1]);
        }
        let (samples, message) = of(&[1.0, 0.5, 1.0], 3, 2);
        assert!(
            samples.is_empty() && message.contains("counts 2 padded"),
            "{message}"
        );
    }
}
