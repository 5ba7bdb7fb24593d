//! The command line: one file per subcommand, with its arguments and its output.

#[cfg(not(feature = "tch"))]
mod absent;
mod check;
mod demo;
mod escape;
#[cfg(feature = "tch")]
mod infer;
mod local;
mod network;
mod plan;
mod preprocess;
mod printer;
mod progress;
mod rows;
mod run;
mod schema;
mod summary;
#[cfg(feature = "tch")]
mod train;

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::process::ExitCode;

use crate::fault::{Fault, FaultKind};
use crate::storage::redacted;
use clap::{Args, Parser, Subcommand};

use printer::Printer;

/// Cut training windows around annotated points out of connectomics volumes, once, into Zarr v3 shards.
#[derive(Debug, Parser)]
#[command(name = "pointshard", version, arg_required_else_help = true)]
struct Cli {
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

/// An error, and what is at fault.
#[derive(Debug)]
struct Failure {
    error: anyhow::Error,
    kind: FaultKind,
}

/// Runs the program: parses the arguments, runs one command, and prints the error, if any.
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.run() {
        Ok(code) => code,
        Err(failure) => {
            print_failure(&failure);
            failure.exit_code()
        }
    }
}

impl Cli {
    /// Carries out the command.
    fn run(self) -> Result<ExitCode, Failure> {
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
            Some(e) => Err(lost(e)),
        }
    }
}

impl Failure {
    fn new(kind: FaultKind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            kind,
        }
    }

    /// 1, 2 or 75: see [`FaultKind`].
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }
}

impl<E: Fault + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Parses the command line; otherwise prints what is wrong with it, or the help or version: the exit code. An argument may
/// be a URL, and is shown without its query.
fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|wrong| {
        let obeyed = |a: std::ffi::OsString| a.to_string_lossy().contains(escape::is_dangerous);
        // Names of files are arguments, too. In colours they could not be told from what clap adds.
        let text = match std::env::args_os().any(obeyed) {
            true => without_usage(&redacted(&wrong.render().to_string())),
            false => redacted(&rendered(&wrong)).into_owned(),
        };
        let written = match wrong.use_stderr() {
            true => {
                printer::write_log(text.trim_end());
                Ok(())
            }
            false => write!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush()),
        };
        match written {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                let failure = lost(&e);
                print_failure(&failure);
                failure.exit_code()
            }
            _ => ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(2)),
        }
    })
}

/// What clap says, in colours where somebody sees them.
fn rendered(wrong: &clap::Error) -> String {
    let text = wrong.render();
    let colors = match wrong.use_stderr() {
        true => std::io::stderr().is_terminal(),
        false => std::io::stdout().is_terminal(),
    };
    match colors && std::env::var_os("NO_COLOR").is_none() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    }
}

/// What clap says is wrong with arguments that hold characters that a terminal obeys, line ends among them.
fn without_usage(text: &str) -> String {
    let end = text.rfind("\n\nUsage:").unwrap_or(text.len());
    let what = escape::message(text[..end].trim_end());
    format!("{what}\n\nFor more information, try '--help'.")
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::new(
        FaultKind::Environment,
        anyhow::anyhow!("cannot write the results to standard output: {error}"),
    )
}

/// Prints the error for people: one line on top, what caused it below. No URL in it has its query.
fn print_failure(failure: &Failure) {
    printer::write_log(error_chain(failure).trim_end());
}

fn error_chain(failure: &Failure) -> String {
    let shown = |text: &str| escape::message(&redacted(text));
    let mut text = format!("error: {}\n", shown(&failure.error.to_string()));
    let mut above = failure.error.to_string();
    for cause in failure.error.chain().skip(1) {
        let cause = cause.to_string();
        if !above.ends_with(&cause) {
            let _ = writeln!(text, "  because: {}", shown(&cause));
        }
        above = cause;
    }
    text
}
