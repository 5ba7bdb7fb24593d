//! The one place that prints: results on stdout, everything else on stderr.

use std::io::{IsTerminal, Write};

/// Prints as much as the user asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    quiet: bool,
    verbose: bool,
}

impl Printer {
    pub(super) fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, verbose }
    }

    pub(super) fn is_verbose(self) -> bool {
        self.verbose
    }

    /// A line of the result, on stdout. A reader that went away (`| head`) is no error.
    pub(super) fn result(self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
    }

    /// What is being done, on stderr.
    pub(super) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }

    /// What a person should look at, on stderr, also when quiet.
    pub(super) fn warn(self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "warning: {}", text.as_ref());
    }

    /// Whether a bar can be drawn.
    pub(super) fn draws_bars(self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Whether progress is told at all.
    pub(super) fn tells_progress(self) -> bool {
        !self.quiet
    }
}
