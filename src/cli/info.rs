//! `pointshard info`: what a dataset holds.

use std::process::ExitCode;

use bytesize::ByteSize;
use clap::Args;
use indicatif::HumanCount;
use serde_json::Value;

use super::failure::Failure;
use super::location;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::rows::Rows;
use super::summary::{codec_name, counted};
use crate::dataset::Dataset;
use crate::info::Info;
use crate::storage::Location;

/// Characters of a digest that are printed.
const DIGEST_CHARACTERS: usize = 16;

/// Most characters of a line of names.
const LINE_CHARACTERS: usize = 70;

/// Print what a dataset holds: splits, arrays, statistics, sources, and how to open it
#[derive(Debug, Args)]
pub(super) struct InfoCommand {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_name = "DATASET", value_parser = location::output())]
    out: Location,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

impl InfoCommand {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        let info = Info::of(&Dataset::open(&self.out, storage)?);
        if self.json {
            printer.json(&info)?;
        } else {
            print(printer, &info);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(printer: &Printer, info: &Info) {
    printer.result(format!(
        "{}: {}, {}",
        info.location,
        counted(info.samples, "sample", "samples"),
        ByteSize(info.bytes)
    ));
    let resolutions = info.resolutions_nm.iter().map(by_axis);
    let resolutions: Vec<_> = resolutions.collect();
    printer.result(format!(
        "windows  {} voxels of {} nm",
        by_axis(&info.window_voxels),
        resolutions.join(", ")
    ));
    let digest = info.plan_digest.get(..DIGEST_CHARACTERS);
    printer.result(format!(
        "plan     {} (schema version {})",
        digest.unwrap_or(&info.plan_digest),
        info.schema_version
    ));
    printer.result("");
    print_splits(printer, info);
    printer.result("");
    print_arrays(printer, info);
    printer.result("");
    print_values(printer, info);
    print_lists(printer, info);
    print_snippet(printer, info);
}

fn print_splits(printer: &Printer, info: &Info) {
    let mut table = Rows::new(["split", "samples", "dropped", "boxes", "shards", "size"]);
    for (name, split) in &info.splits {
        let dropped: u64 = split.dropped.values().copied().fold(0, u64::saturating_add);
        table.add_row([
            name.clone(),
            HumanCount(split.samples).to_string(),
            HumanCount(dropped).to_string(),
            HumanCount(split.boxes).to_string(),
            HumanCount(split.shards).to_string(),
            ByteSize(split.bytes).to_string(),
        ]);
    }
    printer.rows(&table);
    for (name, split) in &info.splits {
        let reasons = split.dropped.iter().filter(|(_, count)| **count > 0);
        let reasons = reasons.map(|(reason, count)| format!("{reason} {}", HumanCount(*count)));
        let reasons: Vec<_> = reasons.collect();
        if !reasons.is_empty() {
            printer.result(format!("dropped  {name}: {}", reasons.join(", ")));
        }
    }
}

fn print_arrays(printer: &Printer, info: &Info) {
    let mut table = Rows::new(["array", "type", "shape", "codec", "size", "ratio"]);
    for (name, array) in &info.arrays {
        let shape: Vec<_> = array.sample_shape.iter().map(u64::to_string).collect();
        let codec = array
            .codec
            .map_or("zstd 1".to_owned(), |c| codec_name(c.codec));
        table.add_row([
            name.clone(),
            array.data_type.clone(),
            shape.join(" "),
            codec,
            ByteSize(array.bytes).to_string(),
            ratio(array.bytes as f64, array.values_bytes as f64),
        ]);
    }
    printer.rows(&table);
}

fn print_values(printer: &Printer, info: &Info) {
    let mut table = Rows::new(["values", "split", "min", "mean", "max", "nonzero", "padded"]);
    for (name, array) in &info.arrays {
        for (split, statistics) in &array.statistics {
            let count = |name: &str| statistics[name].as_f64().unwrap_or(0.0);
            let padded = array.padded_windows.get(split);
            table.add_row([
                name.clone(),
                split.clone(),
                number(&statistics["min"]),
                number(&statistics["mean"]),
                number(&statistics["max"]),
                percent(count("nonzero"), count("count")),
                padded.map_or_else(|| "-".to_owned(), |n| HumanCount(*n).to_string()),
            ]);
        }
    }
    printer.rows(&table);
}

/// Prints columns and sources.
fn print_lists(printer: &Printer, info: &Info) {
    printer.result("");
    let mut line = "columns ".to_owned();
    for name in &info.columns {
        if line.len() + name.len() > LINE_CHARACTERS {
            printer.result(std::mem::replace(&mut line, "        ".to_owned()));
        }
        line.push(' ');
        line.push_str(name);
    }
    printer.result(line);
    for source in &info.sources {
        printer.result(format!("source   {}: {}", source.layer, source.location));
    }
    printer.result(format!("boxes    {}", info.collection));
}

/// Prints how to open the dataset in Python.
fn print_snippet(printer: &Printer, info: &Info) {
    let Some((_, split)) = info.splits.first() else {
        return;
    };
    let path = format!("{}/{}", info.location.trim_end_matches('/'), split.path);
    printer.result("");
    printer.result("in Python (pip install \"zarr>=3\" xarray):");
    printer.result(format!("    xarray.open_zarr({})", Value::String(path)));
}

/// Numbers along x, y, z.
fn by_axis<T: ToString>(values: &[T; 3]) -> String {
    let values: Vec<_> = values.iter().map(T::to_string).collect();
    values.join(" x ")
}

/// A number of the statistics, short; `-` if there is none.
fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(v) if v.fract() == 0.0 && v.abs() < 1e7 => format!("{v:.0}"),
        Some(v) if (0.01..1e5).contains(&v.abs()) => format!("{v:.2}"),
        Some(v) => format!("{v:.2e}"),
    }
}

/// The size of an array's shards as a share of that of its values.
fn ratio(part: f64, whole: f64) -> String {
    match 100.0 * part / whole {
        percent @ ..9.95 => format!("{percent:.1} %"),
        percent if percent.is_finite() => format!("{percent:.0} %"),
        _ => "-".to_owned(),
    }
}

fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{:.1} %", 100.0 * part / whole)
    } else {
        "-".to_owned()
    }
}
