//! Subcommands: their arguments, and what is printed. One file each; the work is done in the library.

#[cfg(not(feature = "tch"))]
mod absent;
mod check;
mod demo;
#[cfg(feature = "tch")]
mod infer;
mod local;
mod network;
mod plan;
mod preprocess;
mod printer;
mod progress;
mod run;
mod schema;
mod summary;
#[cfg(feature = "tch")]
mod train;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pointshard::storage::redacted;

use printer::Printer;

/// Cut training windows around annotated points out of connectomics volumes, once, into Zarr v3 shards.
#[derive(Debug, Parser)]
#[command(name = "pointshard", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Preprocess(preprocess::Preprocess),
    Plan(plan::PlanCommand),
    Check(check::Check),
    #[cfg(feature = "tch")]
    Train(train::Train),
    #[cfg(feature = "tch")]
    Infer(infer::Infer),
    #[cfg(not(feature = "tch"))]
    #[command(hide = true, alias = "infer")]
    Train(absent::Absent),
    Schema(schema::Schema),
}

#[derive(Clone, Copy, Debug, Args)]
struct Talk {
    /// Print results and errors only, no progress
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: a line per box, and where each layer lies
    #[arg(long, short, global = true)]
    verbose: bool,
}

/// An error, and whose fault it is.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    usage: bool,
}

impl Cli {
    /// Carries out the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let printer = Printer::new(self.talk.quiet, self.talk.verbose);
        let code = match self.command {
            Command::Demo(command) => command.run(printer),
            Command::Preprocess(command) => command.run(printer),
            Command::Plan(command) => command.run(printer),
            Command::Check(command) => command.run(printer),
            #[cfg(feature = "tch")]
            Command::Train(command) => command.run(printer),
            #[cfg(feature = "tch")]
            Command::Infer(command) => command.run(printer),
            #[cfg(not(feature = "tch"))]
            Command::Train(command) => command.run(),
            Command::Schema(command) => command.run(printer),
        }?;
        match Printer::lost() {
            None => Ok(code),
            Some(e) => {
                Err(anyhow::anyhow!("cannot write the results to standard output: {e}").into())
            }
        }
    }
}

impl Failure {
    /// 2 for bad usage or configuration, 1 for work that failed.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

impl From<pointshard::job::JobError> for Failure {
    fn from(error: pointshard::job::JobError) -> Self {
        Self {
            usage: error.is_usage(),
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            error,
            usage: false,
        }
    }
}

/// Prints what there is to say in place of a command: help, the version, or what is wrong with the arguments. An argument
/// may be a URL, and is shown without its query.
pub fn print_parsing(told: &clap::Error) -> ExitCode {
    let text = told.render();
    let colors = match told.use_stderr() {
        true => std::io::stderr().is_terminal(),
        false => std::io::stdout().is_terminal(),
    };
    let text = match colors && std::env::var_os("NO_COLOR").is_none() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    // Who does not read it any more needs no error.
    let _ = match told.use_stderr() {
        true => write!(std::io::stderr(), "{}", redacted(&text)),
        false => write!(std::io::stdout(), "{}", redacted(&text)),
    };
    ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2))
}

/// The error for people: one line on top, what caused it below. Whatever it comes from, no URL in it has its query.
pub fn error_chain(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", failure.error);
    let mut above = failure.error.to_string();
    for cause in failure.error.chain().skip(1) {
        let cause = cause.to_string();
        if !above.ends_with(&cause) {
            let _ = writeln!(text, "  because: {cause}");
        }
        above = cause;
    }
    redacted(&text).into_owned()
}
