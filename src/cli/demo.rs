//! `pointshard demo`: writes a synthetic collection, builds and checks a dataset, and prints how to read it in Python.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::check::{self, CheckLevel};
use crate::demo;
use crate::storage::Storage;
use clap::Args;

use super::failure::Failure;
use super::local_path;
use super::printer::Printer;
use super::run::{JobPlaces, RunArgs};
use super::task::TaskArg;

/// Generate a small synthetic collection, then build and check a dataset from it
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Output folder: the collection goes to source/, the dataset to dataset/
    #[arg(value_parser = local_path::output())]
    dir: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

impl Demo {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let source = self.dir.join("source");
        let out = self.dir.join("dataset");
        printer.note(format!(
            "writing a synthetic collection to {}",
            source.display()
        ));
        let pool = self.run.pool()?;
        let collection = pool.install(|| demo::write_collection(&source))?;
        let [x, y, z] = collection.volume_voxels;
        let [rx, ry, rz] = collection.resolution_nm;
        printer.result(format!(
            "volume   {}: {x} x {y} x {z} voxels of {rx} x {ry} x {rz} nm, {} cells, {} synapses",
            source.display(),
            collection.cells,
            collection.synapses
        ));
        for layer in &collection.layers {
            printer.result(format!(
                "layer    {}: {} ({})",
                layer.name, layer.what, layer.encoding
            ));
        }
        for b in &collection.boxes {
            printer.result(format!(
                "box      {}: {}, {} synapses",
                b.split, b.what, b.synapses
            ));
        }
        printer.lines(format!(
            "\n$ pointshard preprocess {} --out {}",
            collection.config.display(),
            out.display()
        ));
        let storage = Storage::default();
        let options = self.run.options(false, false);
        let places = JobPlaces {
            config: Some(&collection.config),
            out: &out.as_path().into(),
            reuse: None,
        };
        let task = Some(TaskArg::All);
        self.run.run_job(printer, &storage, places, options, task)?;
        printer.lines(format!("\n$ pointshard check {}", out.display()));
        let check_options = self.run.check_options(CheckLevel::Full);
        let report = pool.install(|| check::check(&out, check_options, &storage))?;
        super::check::print(printer, &report, &out.as_path().into());
        let out = std::path::absolute(&out).unwrap_or(out);
        printer.lines(format!("\n{}", snippet(&out.display().to_string())));
        Ok(super::check::exit_code(&report))
    }
}

/// Python code that reads the dataset.
fn snippet(out: &str) -> String {
    format!(
        r#"Read the dataset in Python (pip install "zarr>=3" xarray):

import xarray
train = xarray.open_zarr("{out}/train.zarr")
print(train)
sample = train.isel(sample=0)
print("annotation", int(sample.annotation_id), "at", sample.center_nm.values, "nm")
print("image", sample.img.shape, sample.img.dtype, "mean", float(sample.img.mean()))
"#
    )
}
