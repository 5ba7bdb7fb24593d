//! The program `pointshard`. Its code is in the library, so that each file is compiled once.

use std::process::ExitCode;

fn main() -> ExitCode {
    pointshard::cli::main()
}
