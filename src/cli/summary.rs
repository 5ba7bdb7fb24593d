//! What a run did, for people.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dataset::{ArrayEntry, BoxEntry, Codec, Manifest};
use crate::extract::Estimate;
use crate::job::{Job, Outcome};
use bytesize::ByteSize;
use indexmap::IndexMap;
use indicatif::HumanCount;

use super::printer::Printer;
use super::rows::Rows;

/// Prints the summary of a run that ended well.
pub(super) fn print(printer: Printer, out: &Path, outcome: &Outcome) {
    let manifest = &outcome.manifest;
    for warning in &manifest.warnings {
        printer.warn(warning);
    }
    let splits = manifest.splits.iter().map(|(name, split)| {
        let shards = manifest.shards.iter().filter(|s| s.split == *name);
        let size = ByteSize(shards.clone().map(|s| s.bytes).sum());
        [
            name.clone(),
            split.samples.to_string(),
            shards.count().to_string(),
            size.to_string(),
        ]
    });
    print_boxes(printer, &manifest.boxes, splits);
    if printer.is_verbose() {
        print_sources(printer, manifest);
    }
    let made = &outcome.extracted;
    let cache = &made.cache;
    let seconds: f64 = outcome.stages.iter().map(|(_, d)| d.as_secs_f64()).sum();
    if made.shards_written == 0 {
        printer.result(format!(
            "all {} shards stood already: nothing to do",
            made.shards_already_present
        ));
    } else {
        printer.result(format!(
            "shards   {} made, {} stood already; {} windows, {} windows/s",
            made.shards_written,
            made.shards_already_present,
            HumanCount(made.windows),
            HumanCount((made.windows as f64 / seconds.max(1e-9)) as u64)
        ));
        printer.result(format!(
            "chunks   {} touched, {} fetched, {} decoded, {} missing (read as 0), {} read again for want of memory",
            HumanCount(made.chunks_touched),
            HumanCount(cache.fetched),
            HumanCount(cache.decoded),
            HumanCount(cache.missing),
            HumanCount(cache.repeated)
        ));
        printer.result(format!(
            "bytes    {} read, {} written; at most {} of decoded chunks held",
            ByteSize(cache.read_bytes),
            ByteSize(made.written_bytes),
            ByteSize(cache.peak_bytes)
        ));
    }
    printer.result(format!("padded   {}", padded(manifest)));
    printer.result(format!("codecs   {}", codecs(manifest)));
    let stages: Vec<_> = outcome
        .stages
        .iter()
        .map(|(name, d)| format!("{name} {:.2}", d.as_secs_f64()))
        .collect();
    printer.result(format!("seconds  {:.2}: {}", seconds, stages.join(", ")));
    let bytes = manifest.shards.iter().map(|s| s.bytes).sum::<u64>()
        + manifest.files.iter().map(|f| f.bytes).sum::<u64>();
    printer.result(format!("output   {} ({})", out.display(), ByteSize(bytes)));
}

/// Prints the plan of a job as [`print`] does that of a run.
pub(super) fn print_plan(printer: Printer, job: &Job) {
    for warning in &job.plan.warnings {
        printer.warn(warning);
    }
    let splits = job.layout.splits.iter().enumerate().map(|(i, split)| {
        let shards = job.layout.shards(i) * job.layout.arrays.len() as u64;
        let samples = split.samples.to_string();
        [split.name.clone(), samples, shards.to_string(), "-".into()]
    });
    print_boxes(printer, &job.boxes(), splits);
    printer.result(format!("padded   {}", padded_of_plan(job)));
}

/// What becomes of the annotations of each split; which boxes belong to none; when verbose, a line per box. `splits` are
/// name, samples, shards and size.
fn print_boxes(printer: Printer, boxes: &[BoxEntry], splits: impl Iterator<Item = [String; 4]>) {
    let mut table = Rows::new([
        "split",
        "boxes",
        "annotations",
        "samples",
        "dropped",
        "shards",
        "size",
    ]);
    for [name, samples, shards, size] in splits {
        let of_split = |b: &&BoxEntry| b.split.as_ref() == Some(&name);
        let of_split: Vec<_> = boxes.iter().filter(of_split).collect();
        let annotations = of_split.iter().map(|b| b.annotations).sum::<u64>();
        table.add_row([
            name,
            of_split.len().to_string(),
            annotations.to_string(),
            samples,
            dropped(&of_split),
            shards,
            size,
        ]);
    }
    printer.rows(&table);
    let outside: Vec<_> = boxes.iter().filter(|b| b.split.is_none()).collect();
    if !outside.is_empty() {
        printer.result(format!(
            "{} box(es) belong to no split and were not read: {}",
            outside.len(),
            names(&outside)
        ));
    }
    if printer.is_verbose() {
        printer.rows(&boxes_table(boxes));
    }
}

/// A line per source: where it lies, and what was read of it.
pub(super) fn print_sources(printer: Printer, manifest: &Manifest) {
    for source in &manifest.sources {
        printer.result(format!(
            "source {}: {} chunks touched (counted per shard), {} not stored",
            source.location, source.chunks_touched, source.chunks_missing
        ));
    }
}

/// How many windows are padded.
fn padded(manifest: &Manifest) -> String {
    let of_array = |(name, array): (&String, &ArrayEntry)| {
        let of_splits = array.padded_windows.iter();
        let of_splits = of_splits.map(|(split, padded)| {
            let windows = manifest.splits.get(split).map_or(0, |s| s.samples);
            (name.clone(), split.clone(), *padded, windows)
        });
        of_splits.collect::<Vec<_>>()
    };
    padded_list(manifest.arrays.iter().flat_map(of_array))
}

/// How many windows of a plan are padded.
pub(super) fn padded_of_plan(job: &Job) -> String {
    let windows = job.plan.splits.iter().enumerate().map(|(i, split)| {
        let arrays = job.plan.arrays.iter().enumerate();
        let of_array = arrays.map(move |(array, planned)| {
            let padded = job.padding.windows(i, array);
            let windows = split.samples.len() as u64;
            (planned.name.clone(), split.name.clone(), padded, windows)
        });
        of_array.collect::<Vec<_>>()
    });
    padded_list(windows.flatten())
}

/// Arrays and splits with padded windows; of each array, split, padded windows, and all windows.
fn padded_list(windows: impl Iterator<Item = (String, String, u64, u64)>) -> String {
    // Arrays of which equally many are padded share an entry.
    let mut arrays: IndexMap<String, Vec<String>> = IndexMap::new();
    for (array, split, padded, all) in windows.filter(|(_, _, padded, _)| *padded > 0) {
        let counted = format!("{padded} of {all} in {split}");
        arrays.entry(counted).or_default().push(array);
    }
    let padded = arrays
        .iter()
        .map(|(counted, arrays)| format!("{counted} ({})", arrays.join(", ")));
    if arrays.is_empty() {
        "no window".to_owned()
    } else {
        padded.collect::<Vec<_>>().join(", ")
    }
}

/// How each array is compressed and, where that was chosen, why.
fn codecs(manifest: &Manifest) -> String {
    let of_array = |(name, array): (&String, &ArrayEntry)| {
        let choice = array.codec?;
        let codec = match choice.codec {
            Codec::None => "none".to_owned(),
            Codec::Zstd { level } => format!("zstd {level}"),
            Codec::Blosc { cname, clevel, .. } => format!("blosc {} {clevel}", cname.name()),
        };
        let why = choice
            .auto
            .map_or(String::new(), |auto| match auto.windows {
                0 => " (auto: no window to try)".to_owned(),
                n => format!(
                    " (auto: {n} window(s) shrink to {:.1} %)",
                    auto.compressed_bytes as f64 / auto.bytes as f64 * 100.0
                ),
            });
        Some(format!("{name} {codec}{why}"))
    };
    let arrays: Vec<_> = manifest.arrays.iter().filter_map(of_array).collect();
    arrays.join(", ")
}

/// Prints what a run would read and write in the folder `out`, where `finished_shards` shards are already present.
pub(super) fn print_survey(
    printer: Printer,
    estimate: &Estimate,
    finished_shards: u64,
    out: &Path,
) {
    let mut table = Rows::new(["would read", "chunks", "decoded", "from"]);
    for source in &estimate.sources {
        table.add_row([
            source.layer.clone(),
            HumanCount(source.chunks).to_string(),
            ByteSize(source.decoded_bytes).to_string(),
            source.location.clone(),
        ]);
    }
    printer.rows(&table);
    printer.result(format!(
        "would write {} samples: {} windows, {} before compression, in {} shards",
        HumanCount(estimate.samples),
        HumanCount(estimate.windows),
        ByteSize(estimate.window_bytes),
        HumanCount(estimate.shards)
    ));
    if finished_shards > 0 {
        printer.result(format!(
            "{} of {} shards stand already in {} and would not be made again",
            HumanCount(finished_shards),
            HumanCount(estimate.shards),
            out.display()
        ));
    }
}

/// A line per box.
pub(super) fn boxes_table(boxes: &[BoxEntry]) -> Rows {
    let mut table = Rows::new(["box", "split", "annotations", "samples", "dropped", "tags"]);
    for b in boxes {
        table.add_row([
            b.id.clone(),
            b.split.clone().unwrap_or_else(|| "-".into()),
            b.annotations.to_string(),
            b.samples.to_string(),
            dropped(&[b]),
            b.tags.join(", "),
        ]);
    }
    table
}

fn dropped(boxes: &[&BoxEntry]) -> String {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, n) in boxes.iter().flat_map(|b| &b.dropped) {
        *reasons.entry(reason).or_insert(0) += n;
    }
    match reasons.is_empty() {
        true => "0".into(),
        false => reasons
            .iter()
            .map(|(r, n)| format!("{n} {r}"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn names(boxes: &[&BoxEntry]) -> String {
    let shown: Vec<_> = boxes.iter().take(5).map(|b| b.id.as_str()).collect();
    match boxes.len() > shown.len() {
        true => format!(
            "{} and {} more",
            shown.join(", "),
            boxes.len() - shown.len()
        ),
        false => shown.join(", "),
    }
}
