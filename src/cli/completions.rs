//! `pointshard completions` and `pointshard man`: text for shells and for `man`, from the arguments of the commands.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;
use super::printer::Printer;
use crate::fault::FaultKind;

const PROGRAM: &str = "pointshard";

/// Print the script that completes commands and options in a shell
///
/// Bash: pointshard completions bash > ~/.local/share/bash-completion/completions/pointshard
/// Zsh: pointshard completions zsh > a folder of $fpath/_pointshard
/// Fish: pointshard completions fish > ~/.config/fish/completions/pointshard.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), PROGRAM, &mut script);
        print(printer, script)
    }
}

/// Print the man page of the program, or of one command
///
/// pointshard man > ~/.local/share/man/man1/pointshard.1
/// pointshard man preprocess | man -l -
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Man {
    /// The command [default: the program]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Man {
    pub(super) fn run(self, printer: &Printer) -> Result<ExitCode, Failure> {
        let mut program = Cli::command();
        program.build();
        let command = match &self.command {
            None => program,
            Some(name) => page_of(&program, name)?,
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|e| Failure::new(FaultKind::Environment, e))?;
        print(printer, page)
    }
}

/// The command `name`.
fn page_of(program: &clap::Command, name: &str) -> Result<clap::Command, Failure> {
    let commands = || program.get_subcommands().filter(|c| !c.is_hide_set());
    let command = commands().find(|c| c.get_name() == name).ok_or_else(|| {
        let names: Vec<_> = commands().map(|c| format!("`{}`", c.get_name())).collect();
        Failure::new(
            FaultKind::Usage,
            anyhow!("no command `{name}`; commands: {}", names.join(", ")),
        )
    })?;
    Ok(command.clone())
}

fn print(printer: &Printer, text: Vec<u8>) -> Result<ExitCode, Failure> {
    let text = String::from_utf8(text).map_err(|e| Failure::new(FaultKind::Environment, e))?;
    printer.script(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
