//! The command line: parse arguments, call one command, print the error chain, set the exit code.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return cli::print_parsing(&e),
    };
    match cli.run() {
        Ok(code) => code,
        Err(failure) => {
            eprint!("{}", cli::error_chain(&failure));
            failure.exit_code()
        }
    }
}
