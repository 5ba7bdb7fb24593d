//! All output of the program: results on stdout, everything else on stderr. Control characters are escaped, and URLs are
//! printed without their query.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use crate::fault::FaultKind;
use crate::storage::redacted;
use anyhow::Context;
use console::Style;
use indicatif::ProgressBar;
use serde::Serialize;

use super::control_chars;
use super::failure::Failure;
use super::rows::Rows;

/// Colors of words on a terminal. There are none if `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Color {
    Red,
    Yellow,
    Green,
}

impl Color {
    pub(super) fn style(self) -> Style {
        match self {
            Self::Red => Style::new().red(),
            Self::Yellow => Style::new().yellow(),
            Self::Green => Style::new().green(),
        }
    }
}

/// Prints according to `--quiet` and `--verbose`. Clones print to the same streams.
#[derive(Clone, Debug, Default)]
pub struct Printer(Arc<Streams>);

#[derive(Debug, Default)]
struct Streams {
    quiet: bool,
    verbose: bool,
    /// The current progress bar. Other lines are printed above it.
    bar: Mutex<Option<ProgressBar>>,
    /// The first error of stdout.
    stdout_error: OnceLock<std::io::Error>,
}

impl Printer {
    pub(super) fn new(quiet: bool, verbose: bool) -> Self {
        Self(Arc::new(Streams {
            quiet,
            verbose,
            ..Streams::default()
        }))
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.0.verbose
    }

    /// Prints a line of the result on stdout. A closed pipe (`| head`) is not an error; [`Printer::stdout_error`] returns
    /// the first other error.
    pub fn result(&self, text: impl AsRef<str>) {
        self.write_result(&control_chars::escape_line(&redacted(text.as_ref())));
    }

    /// Prints lines of the result. The line ends must come from the program, not from outside.
    pub(super) fn lines(&self, text: impl AsRef<str>) {
        self.write_result(&control_chars::escape_lines(&redacted(text.as_ref())));
    }

    /// Prints a line of the result that `--quiet` leaves out.
    pub(super) fn detail(&self, text: impl AsRef<str>) {
        if !self.0.quiet {
            self.result(text);
        }
    }

    /// Prints a table of the result that `--quiet` leaves out.
    pub(super) fn detail_rows(&self, rows: &Rows) {
        if !self.0.quiet {
            self.rows(rows);
        }
    }

    /// Prints the one line that `--quiet` leaves of a result.
    pub(super) fn only_quiet(&self, text: impl AsRef<str>) {
        if self.0.quiet {
            self.result(text);
        }
    }

    /// Prints a line of the result whose first word is in color on a terminal.
    pub(super) fn colored(&self, color: Color, word: &str, rest: impl AsRef<str>) {
        let rest = control_chars::escape_line(&redacted(rest.as_ref())).into_owned();
        self.write_result(&format!("{}{rest}", color.style().apply_to(word)));
    }

    /// Prints a table of the result.
    pub fn rows(&self, rows: &Rows) {
        self.write_result(&control_chars::escape_lines(&rows.lines()));
    }

    /// Prints the result as JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .context("cannot write JSON")
            .map_err(|e| Failure::new(FaultKind::Data, e))?;
        self.write_result(&control_chars::escape_json(&redacted(&text)));
        Ok(())
    }

    /// Prints the result, which is JSON text.
    pub(super) fn json_text(&self, text: &str) {
        self.write_result(&control_chars::escape_json(&redacted(text)));
    }

    /// Prints a script or a page: the program's own text, in which tabs are significant.
    pub(super) fn script(&self, text: &str) {
        self.write_result(text);
    }

    /// The first error of writing to stdout, if any.
    pub(super) fn stdout_error(&self) -> Option<&std::io::Error> {
        self.0.stdout_error.get()
    }

    /// Prints a progress message on stderr, unless `--quiet`. If stderr is no terminal, it begins with the time (UTC).
    pub fn note(&self, text: impl AsRef<str>) {
        if self.0.quiet {
            return;
        }
        let text = control_chars::escape_line(&redacted(text.as_ref())).into_owned();
        if std::io::stderr().is_terminal() {
            self.write_log(&text);
        } else {
            // A log is read later, and beside other logs.
            let now = humantime::format_rfc3339_seconds(SystemTime::now());
            self.write_log(&format!("{now} {text}"));
        }
    }

    /// Prints what the user can do next on stderr, unless `--quiet`.
    pub(super) fn hint(&self, text: impl AsRef<str>) {
        if !self.0.quiet {
            self.write_log(&control_chars::escape_line(&redacted(text.as_ref())));
        }
    }

    /// Prints a warning on stderr, even with `--quiet`.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = control_chars::escape_message(&redacted(text.as_ref()));
        let word = Color::Yellow.style().for_stderr().apply_to("warning:");
        self.write_log(&format!("{word} {text}"));
    }

    /// Whether to draw progress bars.
    pub(super) fn draws_bars(&self) -> bool {
        !self.0.quiet && std::io::stderr().is_terminal()
    }

    /// Whether to show progress.
    pub(super) fn shows_progress(&self) -> bool {
        !self.0.quiet
    }

    /// Sets or removes the current progress bar.
    pub(super) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.bar() = bar;
    }

    /// Writes to stderr. Errors are ignored: there is no other place to report them, and the exit code says how the work
    /// ended.
    pub(super) fn write_log(&self, text: &str) {
        let print = || drop(writeln!(std::io::stderr(), "{text}"));
        match &*self.bar() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn write_result(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        if let Err(e) = written
            && e.kind() != ErrorKind::BrokenPipe
        {
            let _ = self.0.stdout_error.set(e);
        }
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
