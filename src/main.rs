//! The command line: parse arguments, call one command, print the error chain, set the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.run() {
        Ok(code) => code,
        Err(failure) => {
            cli::print_failure(&failure);
            failure.exit_code()
        }
    }
}
