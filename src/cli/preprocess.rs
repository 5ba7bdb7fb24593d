//! `pointshard preprocess`: runs a job, or resumes it.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::storage::Location;

use clap::Args;

use super::failure::Failure;
use super::network::NetworkArgs;
use super::printer::Printer;
use super::run::{JobPlaces, RunArgs};
use super::task::TaskArg;
use super::{local_path, location};

/// Cut windows and write shards; rerun to resume
#[derive(Debug, Args)]
pub(super) struct Preprocess {
    /// Config file of the job (JSON; `pointshard schema` prints its schema); without it, the plan in OUT is used
    #[arg(value_parser = local_path::input(), required_if_eq("force", "true"))]
    config: Option<PathBuf>,
    /// Output: a folder, or a URL of one in a bucket (s3://, gs://)
    #[arg(long, value_name = "OUT", value_parser = location::output())]
    out: Location,
    /// Keep the order of samples of an earlier output of this job, which had fewer boxes, annotations, arrays or tags, and copy
    /// its shards that stay the same: a folder or a URL in a bucket
    #[arg(long, value_name = "OLD", value_parser = location::output(), requires = "config")]
    reuse: Option<Location>,
    /// Overwrite existing pointshard output
    #[arg(long)]
    force: bool,
    /// Read shards that are present and compare them with their digests, not only their sizes
    #[arg(long)]
    verify: bool,
    /// Write the shards of one task only: its number, from 0, and the number of tasks, such as 3/8; `all` writes all shards and
    /// seals the dataset [default: the task that Slurm, Kubernetes, AWS Batch or Google Batch started, else all]
    #[arg(long, value_name = "I/N", conflicts_with_all = ["force", "dry_run"])]
    task: Option<TaskArg>,
    /// Print what would be read and written, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Preprocess {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let storage = &self.network.storage(printer);
        let options = self.run.options(self.force, self.verify);
        let places = JobPlaces {
            config: self.config.as_deref(),
            out: &self.out,
            reuse: self.reuse.as_ref(),
        };
        if self.dry_run {
            self.run.dry_run(printer, storage, places, options)?;
        } else {
            self.run
                .run_job(printer, storage, places, options, self.task)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
