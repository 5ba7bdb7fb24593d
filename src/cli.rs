//! The command line: one file per subcommand, with its arguments and what it prints. The library does the work.

mod check;
mod command;
mod completions;
mod control_chars;
mod default_memory;
mod demo;
mod diff;
mod engine_task;
mod failure;
#[cfg(feature = "tch")]
mod infer;
mod info;
mod init;
mod link;
mod link_args;
mod local_path;
mod location;
mod network;
mod plan;
mod preprocess;
mod preview;
mod printer;
mod progress;
mod rows;
mod run;
mod schema;
mod seal;
mod signals;
mod status;
mod summary;
mod task;
#[cfg(feature = "tch")]
mod train;
#[cfg(feature = "tch")]
mod trainer_program;
#[cfg(not(feature = "tch"))]
mod trainer_unavailable;

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::process::ExitCode;

use crate::fault::FaultKind;
use crate::storage::redacted;
use clap::error::ErrorKind as ClapErrorKind;
use clap::{Args, Parser, Subcommand};

use printer::Color;

pub use failure::Failure;
#[cfg(feature = "tch")]
pub use infer::{InferArgs, ProbabilityType};
pub use printer::Printer;
#[cfg(feature = "tch")]
pub use progress::{Status, with_progress};
#[cfg(feature = "tch")]
pub use rows::Rows;
#[cfg(feature = "tch")]
pub use train::TrainArgs;

/// Build training datasets for connectomics: cut a window around each annotated point and write Zarr v3 shards
#[derive(Debug, Parser)]
#[command(name = "pointshard", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    Preprocess(preprocess::Preprocess),
    Plan(plan::PlanCommand),
    Seal(seal::Seal),
    Status(status::StatusCommand),
    Check(check::Check),
    Info(info::InfoCommand),
    Preview(preview::PreviewCommand),
    Link(link::LinkCommand),
    Diff(diff::DiffCommand),
    #[cfg(feature = "tch")]
    #[command(flatten)]
    Trainer(TrainerCommand),
    #[cfg(not(feature = "tch"))]
    #[command(hide = true, alias = "infer")]
    Train(trainer_unavailable::TrainerUnavailable),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(completions::Man),
}

// The commands of the program `pointshard-train`. Doc comments here would become their help.
#[cfg(feature = "tch")]
#[derive(Debug, Subcommand)]
pub enum TrainerCommand {
    Train(TrainArgs),
    Infer(InferArgs),
}

/// Heading of the options of every command.
const GLOBAL_OPTIONS: &str = "Global options";

#[derive(Clone, Copy, Debug, Args)]
struct Verbosity {
    /// Print only results, warnings and errors
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = GLOBAL_OPTIONS
    )]
    quiet: bool,
    /// Print more details: a line per box, and the location of each layer
    #[arg(long, short, global = true, help_heading = GLOBAL_OPTIONS)]
    verbose: bool,
}

/// Runs the program `pointshard`: parses the arguments, runs one command, and prints the error, if any.
pub fn main() -> ExitCode {
    run(Command::run)
}

/// Runs the program `pointshard-train`, which `pointshard` starts for the commands of the trainer.
#[cfg(feature = "tch")]
pub fn trainer_main(
    trainer: impl FnOnce(TrainerCommand, &Printer) -> Result<ExitCode, Failure>,
) -> ExitCode {
    if let Err(failure) = trainer_program::check_caller() {
        print_failure(&failure);
        return failure.exit_code();
    }
    run(|command, printer| match command {
        Command::Trainer(command) => trainer(command, printer),
        _ => Err(trainer_program::only_trains()),
    })
}

/// Parses the arguments, runs the command, and prints the error, if any.
fn run(command: impl FnOnce(Command, &Printer) -> Result<ExitCode, Failure>) -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let printer = Printer::new(cli.verbosity.quiet, cli.verbosity.verbose);
    let done = command(cli.command, &printer).and_then(|code| match printer.stdout_error() {
        None => Ok(code),
        Some(e) => Err(stdout_failure(e)),
    });
    done.unwrap_or_else(|failure| {
        print_failure(&failure);
        failure.exit_code()
    })
}

impl Command {
    fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        match self {
            Self::Demo(command) => command.run(printer),
            Self::Init(command) => command.run(printer),
            Self::Preprocess(command) => command.run(printer),
            Self::Plan(command) => command.run(printer),
            Self::Seal(command) => command.run(printer),
            Self::Status(command) => command.run(printer),
            Self::Check(command) => command.run(printer),
            Self::Info(command) => command.run(printer),
            Self::Preview(command) => command.run(printer),
            Self::Link(command) => command.run(printer),
            Self::Diff(command) => command.run(printer),
            #[cfg(feature = "tch")]
            Self::Trainer(_) => match trainer_program::start()? {},
            #[cfg(not(feature = "tch"))]
            Self::Train(command) => command.run(),
            Self::Schema(command) => command.run(printer),
            Self::Completions(command) => command.run(printer),
            Self::Man(command) => command.run(printer),
        }
    }
}

/// Parses the command line. If there is nothing to run, prints the usage error, the help or the version and returns the
/// exit code. Arguments may be URLs: they are printed without their query.
fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let has_control =
            |a: std::ffi::OsString| a.to_string_lossy().contains(control_chars::is_control);
        // File names may contain control characters. Print without colors then: escaping would also escape clap's colors.
        let text = if std::env::args_os().any(has_control) {
            without_usage(&redacted(&error.render().to_string()))
        } else {
            redacted(&rendered(&error)).into_owned()
        };
        let written = if error.use_stderr() {
            Printer::default().write_log(text.trim_end());
            Ok(())
        } else {
            let more = match error.kind() {
                ClapErrorKind::DisplayVersion => trainer_line(),
                _ => String::new(),
            };
            write!(std::io::stdout(), "{text}{more}").and_then(|()| std::io::stdout().flush())
        };
        match written {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                let failure = stdout_failure(&e);
                print_failure(&failure);
                failure.exit_code()
            }
            _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
        }
    })
}

/// The line of `--version` about the trainer.
fn trainer_line() -> String {
    #[cfg(feature = "tch")]
    let line = trainer_program::description();
    #[cfg(not(feature = "tch"))]
    let line = "trainer: not built (cargo feature `tch`)".to_owned();
    format!("{}\n", control_chars::escape_line(&line))
}

/// Clap's text, with colors if it goes to a terminal.
fn rendered(error: &clap::Error) -> String {
    let text = error.render();
    let is_terminal = if error.use_stderr() {
        std::io::stderr().is_terminal()
    } else {
        std::io::stdout().is_terminal()
    };
    if is_terminal && std::env::var_os("NO_COLOR").is_none() {
        text.ansi().to_string()
    } else {
        text.to_string()
    }
}

/// Clap's error about arguments with control characters or line ends, escaped; the usage would be escaped, too, and is
/// left out.
fn without_usage(text: &str) -> String {
    let end = text.rfind("\n\nUsage:").unwrap_or(text.len());
    let message = control_chars::escape_message(text[..end].trim_end());
    format!("{message}\n\nFor more information, try '--help'.")
}

fn stdout_failure(error: &std::io::Error) -> Failure {
    Failure::new(
        FaultKind::Environment,
        anyhow::anyhow!("cannot write the results to standard output: {error}"),
    )
}

/// Prints `error:`, the error, then its causes, one per line. URLs are printed without their query.
fn print_failure(failure: &Failure) {
    let text = error_chain(failure);
    let word = Color::Red.style().for_stderr().apply_to("error:");
    Printer::default().write_log(&format!("{word} {}", text.trim_end()));
}

fn error_chain(failure: &Failure) -> String {
    let shown = |text: &str| control_chars::escape_message(&redacted(text));
    let mut text = format!("{}\n", shown(&failure.error.to_string()));
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
