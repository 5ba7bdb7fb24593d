//! `pointshard preview`: writes a page, or a picture, that shows samples of a dataset.

use std::path::PathBuf;
use std::process::ExitCode;

use bytesize::ByteSize;
use clap::Args;

use super::failure::Failure;
use super::link_args::LinkArgs;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::RunArgs;
use super::summary::counted;
use super::{local_path, location};
use crate::preview::{PreviewOptions, SampleChoice, preview};
use crate::storage::Location;

/// File of the page, if none is given.
const DEFAULT_PAGE: &str = "preview.html";

/// Show a dataset: write one HTML page with its samples, distributions, boxes and findings
#[derive(Debug, Args)]
pub(super) struct PreviewCommand {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_name = "DATASET", value_parser = location::output())]
    out: Location,
    /// Write the page to this file [default: preview.html, unless --png is given]
    #[arg(long, value_name = "FILE", value_parser = local_path::output())]
    html: Option<PathBuf>,
    /// Write a picture of the samples to this file
    #[arg(long, value_name = "FILE", value_parser = local_path::output())]
    png: Option<PathBuf>,
    /// Number of random samples of each split [default: 24, or fewer if windows are large]
    #[arg(long, value_name = "K")]
    samples: Option<u64>,
    /// Choose other random samples
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Show the samples of these annotations, separated by commas
    #[arg(long, value_name = "ID", value_delimiter = ',', conflicts_with_all = ["samples", "findings"])]
    ids: Vec<u64>,
    /// Show samples that this report names: the output of `pointshard check --json`
    #[arg(long, value_name = "FILE", value_parser = local_path::input())]
    findings: Option<PathBuf>,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl PreviewCommand {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        let is_picture_only = self.png.is_some() && self.html.is_none();
        let options = PreviewOptions {
            choice: SampleChoice {
                samples: self.samples,
                seed: self.seed,
                ids: self.ids,
            },
            findings: self.findings,
            html: (!is_picture_only).then(|| self.html.unwrap_or_else(|| DEFAULT_PAGE.into())),
            png: self.png,
            target: self.link.target(),
            memory_bytes: self.run.memory_bytes(),
        };
        let pool = self.run.pool()?;
        let shown = pool.install(|| preview(&self.out, &options, storage))?;
        for (path, bytes) in &shown.files {
            printer.result(format!(
                "{}: {}, {}, {}",
                path.display(),
                counted(shown.samples, "sample", "samples"),
                counted(shown.findings, "finding", "findings"),
                ByteSize(*bytes)
            ));
        }
        if shown.samples == 0 {
            printer.detail("no samples to show: no finding is about a sample, or --samples is 0");
        }
        if !shown.left_out.is_empty() && options.html.is_some() {
            printer.detail(format!(
                "Neuroglancer links do not have what a browser cannot find or show: {}; --map says where local files are",
                shown.left_out.join(", ")
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
