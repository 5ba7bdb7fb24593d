//! The summaries of runs, dry runs and plans.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dataset::{ArrayEntry, BoxEntry, Codec, Layout, Manifest};
use crate::extract::{Estimate, ExtractReport};
use crate::job::{self, Outcome, TaskOutcome};
use crate::plan::{Padding, Plan};
use crate::select::SelectReport;
use crate::storage::Location;
use bytesize::ByteSize;
use indexmap::IndexMap;
use indicatif::HumanCount;

use super::command;
use super::printer::Printer;
use super::rows::{Rows, shortened};

/// Prints the summary of a successful run.
pub(super) fn print(printer: &Printer, out: &Location, outcome: &Outcome) {
    let manifest = &outcome.manifest;
    for warning in manifest.warnings.iter().chain(&outcome.without_root) {
        printer.warn(warning);
    }
    warn_not_reused(printer, outcome.not_reused.as_deref());
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
    let seconds: f64 = outcome.stages.iter().map(|(_, d)| d.as_secs_f64()).sum();
    print_selected(printer, &outcome.selected);
    print_extracted(printer, &outcome.extracted, seconds);
    printer.detail(format!("padded   {}", padded(manifest)));
    printer.detail(format!("codecs   {}", codecs(manifest)));
    print_seconds(printer, &outcome.stages);
    let bytes = manifest.shards.iter().map(|s| s.bytes).sum::<u64>()
        + manifest.files.iter().map(|f| f.bytes).sum::<u64>();
    printer.detail(format!("output   {} ({})", out, ByteSize(bytes)));
    printer.only_quiet(complete(manifest, out));
}

/// The line about a dataset that is complete.
pub(super) fn complete(manifest: &Manifest, out: &Location) -> String {
    let samples: u64 = manifest.splits.values().map(|s| s.samples).sum();
    let shards: u64 = manifest.shards.iter().map(|s| s.bytes).sum();
    format!(
        "complete: {}, {} ({}) in {out}",
        counted(samples, "sample", "samples"),
        counted(manifest.shards.len(), "shard", "shards"),
        ByteSize(shards),
    )
}

/// Prints the summary of a task.
pub(super) fn print_task(printer: &Printer, out: &Location, outcome: &TaskOutcome) {
    let seconds: f64 = outcome.stages.iter().map(|(_, d)| d.as_secs_f64()).sum();
    printer.detail(format!("task     {} of {}", outcome.task, outcome.tasks));
    let extracted = &outcome.extracted;
    for warning in &outcome.without_root {
        printer.warn(warning);
    }
    warn_not_reused(printer, outcome.not_reused.as_deref());
    print_extracted(printer, extracted, seconds);
    print_seconds(printer, &outcome.stages);
    printer.detail(format!("output   {out}; next: {}", command::status(out)));
    printer.only_quiet(format!(
        "task {} of {}: {} written, {}{} already present in {out}",
        outcome.task,
        outcome.tasks,
        counted(extracted.shards_written, "shard", "shards"),
        copied(extracted),
        extracted.shards_already_present,
    ));
}

/// Warns that all windows were cut although the plan reuses shards of an earlier output.
fn warn_not_reused(printer: &Printer, why: Option<&str>) {
    if let Some(why) = why {
        printer.warn(format!(
            "no shard was copied from the earlier output, so all windows were cut: {why}"
        ));
    }
}

/// The shards that were copied from an earlier output, before the number of others.
fn copied(extracted: &ExtractReport) -> String {
    match extracted.shards_reused {
        0 => String::new(),
        reused => format!("{reused} copied, "),
    }
}

/// Prints how long each stage took.
fn print_seconds(printer: &Printer, stages: &[(&'static str, Duration)]) {
    let seconds: f64 = stages.iter().map(|(_, d)| d.as_secs_f64()).sum();
    let stages = stages.iter();
    let stages = stages.map(|(name, d)| format!("{name} {:.2}", d.as_secs_f64()));
    let stages: Vec<_> = stages.collect();
    printer.detail(format!("seconds  {seconds:.2}: {}", stages.join(", ")));
}

/// Prints what was read before the plan was final, if anything was.
fn print_selected(printer: &Printer, selected: &SelectReport) {
    if selected.chunks_touched > 0 {
        let cache = &selected.cache;
        printer.detail(format!(
            "select   {} touched, {} fetched, {} missing, {} re-read (--memory limit); {} lookups of chunks in memory",
            counted(selected.chunks_touched, "chunk", "chunks"),
            HumanCount(cache.fetched),
            HumanCount(cache.missing),
            HumanCount(cache.repeated),
            HumanCount(cache.reused)
        ));
    }
}

/// Prints what was read and written.
fn print_extracted(printer: &Printer, extracted: &ExtractReport, seconds: f64) {
    let cache = &extracted.cache;
    if extracted.shards_written == 0 {
        let present = extracted.shards_already_present;
        printer.detail(match extracted.shards_reused {
            0 => format!("shards   all {present} already present; nothing to do"),
            _ => format!(
                "shards   {}{present} already present; no window was cut",
                copied(extracted)
            ),
        });
        return;
    }
    printer.detail(format!(
        "shards   {} written, {}{} already present; {} windows, {} windows/s",
        extracted.shards_written,
        copied(extracted),
        extracted.shards_already_present,
        HumanCount(extracted.windows),
        HumanCount((extracted.windows as f64 / seconds.max(1e-9)) as u64)
    ));
    printer.detail(format!(
        "chunks   {} touched, {} fetched, {} decoded, {} missing (read as the fill value), {} re-read (--memory limit)",
        HumanCount(extracted.chunks_touched),
        HumanCount(cache.fetched),
        HumanCount(cache.decoded),
        HumanCount(cache.missing),
        HumanCount(cache.repeated)
    ));
    printer.detail(format!(
        "bytes    {} read, {} written; decoded chunks took at most {} of memory",
        ByteSize(cache.read_bytes),
        ByteSize(extracted.written_bytes),
        ByteSize(cache.peak_bytes)
    ));
}

/// Prints the splits, boxes and padding of a plan, in the same form as [`print`].
pub(super) fn print_plan(printer: &Printer, plan: &Plan, layout: &Layout, padding: &Padding) {
    for warning in &plan.warnings {
        printer.warn(warning);
    }
    let splits = layout.splits.iter().enumerate().map(|(i, split)| {
        let shards = layout.shards(i) * layout.arrays.len() as u64;
        let samples = split.samples.to_string();
        [split.name.clone(), samples, shards.to_string(), "-".into()]
    });
    print_boxes(printer, &job::boxes(plan), splits);
    printer.detail(format!("padded   {}", padded_of_plan(plan, padding)));
}

/// Prints a line per split, the boxes that belong to no split and, if verbose, a line per box. `splits` holds name,
/// samples, shards and size.
fn print_boxes(printer: &Printer, boxes: &[BoxEntry], splits: impl Iterator<Item = [String; 4]>) {
    let mut table = Rows::new(["split", "boxes", "samples", "dropped", "shards", "size"]);
    for [name, samples, shards, size] in splits {
        let of_split = |b: &&BoxEntry| b.split.as_ref() == Some(&name);
        let of_split: Vec<_> = boxes.iter().filter(of_split).collect();
        table.add_row([
            name,
            of_split.len().to_string(),
            samples,
            dropped(&of_split),
            shards,
            size,
        ]);
    }
    printer.detail_rows(&table);
    let outside: Vec<_> = boxes.iter().filter(|b| b.split.is_none()).collect();
    if !outside.is_empty() {
        printer.detail(format!(
            "{} in no split, not read: {}",
            counted(outside.len(), "box", "boxes"),
            names(&outside)
        ));
    }
    if printer.is_verbose() {
        printer.detail_rows(&boxes_table(printer, boxes));
    }
}

/// Prints the location and chunk counts of each source.
pub(super) fn print_sources(printer: &Printer, manifest: &Manifest) {
    for source in &manifest.sources {
        printer.result(format!(
            "source {}: {} chunks touched (summed over shards), {} missing",
            source.location, source.chunks_touched, source.chunks_missing
        ));
    }
}

/// The padded windows of each array and split.
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

/// The padded windows of each array and split of a plan.
pub(super) fn padded_of_plan(plan: &Plan, padding: &Padding) -> String {
    let windows = plan.splits.iter().enumerate().map(|(i, split)| {
        let arrays = plan.arrays.iter().enumerate();
        let of_array = arrays.map(move |(array, planned)| {
            let padded = padding.windows(i, array);
            let windows = split.samples.len() as u64;
            (planned.name.clone(), split.name.clone(), padded, windows)
        });
        of_array.collect::<Vec<_>>()
    });
    padded_list(windows.flatten())
}

/// Lists the padded windows. `windows` holds array, split, padded windows and all windows.
fn padded_list(windows: impl Iterator<Item = (String, String, u64, u64)>) -> String {
    // Arrays with equal counts share an entry.
    let mut arrays: IndexMap<String, Vec<String>> = IndexMap::new();
    for (array, split, padded, all) in windows.filter(|(_, _, padded, _)| *padded > 0) {
        let counted = format!("{padded} of {all} in {split}");
        arrays.entry(counted).or_default().push(array);
    }
    let padded = arrays
        .iter()
        .map(|(counted, arrays)| format!("{counted} ({})", arrays.join(", ")));
    if arrays.is_empty() {
        "no windows".to_owned()
    } else {
        padded.collect::<Vec<_>>().join(", ")
    }
}

/// The codec in words.
pub(super) fn codec_name(codec: Codec) -> String {
    match codec {
        Codec::None => "none".to_owned(),
        Codec::Zstd { level } => format!("zstd {level}"),
        Codec::Blosc { cname, clevel, .. } => format!("blosc {} {clevel}", cname.name()),
    }
}

/// The codec of each array and, if it was chosen automatically, the measured compression.
fn codecs(manifest: &Manifest) -> String {
    let of_array = |(name, array): (&String, &ArrayEntry)| {
        let choice = array.codec?;
        let codec = codec_name(choice.codec);
        let why = choice
            .auto
            .map_or(String::new(), |auto| match auto.windows {
                0 => " (auto: no windows to try)".to_owned(),
                n => format!(
                    " (auto: {} to {:.1} %)",
                    counted(n, "window compresses", "windows compress"),
                    auto.compressed_bytes as f64 / auto.bytes as f64 * 100.0
                ),
            });
        Some(format!("{name} {codec}{why}"))
    };
    let arrays: Vec<_> = manifest.arrays.iter().filter_map(of_array).collect();
    arrays.join(", ")
}

/// Prints what a run would read and write. `present` shards are already in the folder `out`.
pub(super) fn print_estimate(printer: &Printer, estimate: &Estimate, present: u64, out: &Location) {
    let mut table = Rows::new(["would read", "chunks", "decoded", "source"]);
    for source in &estimate.sources {
        table.add_row([
            source.layer.clone(),
            HumanCount(source.chunks).to_string(),
            ByteSize(source.decoded_bytes).to_string(),
            source.location.clone(),
        ]);
    }
    printer.detail_rows(&table);
    printer.result(format!(
        "would write {} samples: {} windows, {} before compression, in {} shards",
        HumanCount(estimate.samples),
        HumanCount(estimate.windows),
        ByteSize(estimate.window_bytes),
        HumanCount(estimate.shards)
    ));
    if estimate.reused_shards > 0 {
        printer.detail(format!(
            "{} of {} shards are the same in the earlier output and would be copied",
            HumanCount(estimate.reused_shards),
            HumanCount(estimate.shards),
        ));
    }
    if present > 0 {
        printer.detail(format!(
            "{} of {} shards are already present in {} and would be kept",
            HumanCount(present),
            HumanCount(estimate.shards),
            out
        ));
    }
}

/// A line per box.
/// A row per box. If verbose, with whole ids, with tags, and with the number of annotations, which is that of samples and of dropped
/// annotations.
pub(super) fn boxes_table(printer: &Printer, boxes: &[BoxEntry]) -> Rows {
    let split = |b: &BoxEntry| b.split.clone().unwrap_or_else(|| "-".into());
    if printer.is_verbose() {
        let mut table = Rows::new(["box", "split", "annotations", "samples", "dropped", "tags"]);
        for b in boxes {
            let [annotations, samples] = [b.annotations, b.samples].map(|n| n.to_string());
            let tags = b.tags.join(", ");
            table.add_row([
                b.id.clone(),
                split(b),
                annotations,
                samples,
                dropped(&[b]),
                tags,
            ]);
        }
        return table;
    }
    let mut table = Rows::new(["box", "split", "samples", "dropped"]);
    for b in boxes {
        let id = shortened(&b.id, ID_WIDTH);
        table.add_row([id, split(b), b.samples.to_string(), dropped(&[b])]);
    }
    table
}

/// Most characters of a box's id in a table that is not verbose: those of a UUID are 36.
const ID_WIDTH: usize = 20;

fn dropped(boxes: &[&BoxEntry]) -> String {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, n) in boxes.iter().flat_map(|b| &b.dropped) {
        *reasons.entry(reason).or_insert(0) += n;
    }
    if reasons.is_empty() {
        return "0".into();
    }
    let counts: Vec<_> = reasons.iter().map(|(r, n)| format!("{n} {r}")).collect();
    counts.join(", ")
}

fn names(boxes: &[&BoxEntry]) -> String {
    let shown: Vec<_> = boxes.iter().take(5).map(|b| b.id.as_str()).collect();
    let more = boxes.len() - shown.len();
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

/// The number with its noun: `1 box`, `2 boxes`.
pub(super) fn counted(n: impl TryInto<u64>, one: &str, many: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    let noun = if n == 1 { one } else { many };
    format!("{} {noun}", HumanCount(n))
}
