//! `pointshard link`: prints a Neuroglancer link to a dataset.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::link_args::LinkArgs;
use super::location;
use super::network::NetworkArgs;
use super::printer::Printer;
use crate::preview::{LinkOptions, LinkedSample, link};
use crate::storage::Location;

/// Print a Neuroglancer link to a dataset: its sources, boxes, samples and dropped annotations
#[derive(Debug, Args)]
pub(super) struct LinkCommand {
    /// Dataset folder: a local path or a URL (s3://, gs://, http://, https://)
    #[arg(value_name = "DATASET", value_parser = location::output())]
    out: Location,
    /// Link to this sample, by split and position in it
    #[arg(long, value_name = "SPLIT/POSITION")]
    sample: Option<String>,
    /// Link to the sample of this annotation
    #[arg(long, value_name = "ID", conflicts_with = "sample")]
    id: Option<u64>,
    /// Most points of each layer: more make the link too long
    #[arg(long, value_name = "N", default_value_t = 300)]
    points: u64,
    /// Print the state of the viewer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

impl LinkCommand {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        let sample = self.sample.map(LinkedSample::Position);
        let options = LinkOptions {
            sample: sample.or(self.id.map(LinkedSample::Annotation)),
            points: self.points,
            target: self.link.target(),
        };
        let linked = link(&self.out, &options, storage)?;
        if self.json {
            printer.json(&linked.state)?;
        } else {
            printer.result(&linked.url);
        }
        if !linked.left_out.is_empty() {
            printer.warn(format!(
                "left out what a browser cannot find or show: {}. Say where local files are with --map, for example --map /data=https://HOST/data",
                linked.left_out.join(", ")
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
