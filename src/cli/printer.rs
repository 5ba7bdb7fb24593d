//! The one place that prints: results on stdout, everything else on stderr. Nothing that a terminal obeys is printed.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::fault::FaultKind;
use crate::storage::redacted;
use anyhow::Context;
use indicatif::ProgressBar;
use serde::Serialize;

use super::Failure;
use super::escape;
use super::rows::Rows;

/// Prints as much as the user asked for. What may be a secret in a URL is printed nowhere.
/// Clones print to the same streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Printer(Arc<Streams>);

#[derive(Debug, Default)]
struct Streams {
    quiet: bool,
    verbose: bool,
    /// The progress bar that is drawn now: other lines go above it.
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

    /// A line of the result, on stdout. A reader that went away (`| head`) is no error; any other is reported by
    /// [`Printer::stdout_error`] when the work is done.
    pub(super) fn result(&self, text: impl AsRef<str>) {
        self.write_result(&escape::line(&redacted(text.as_ref())));
    }

    /// Lines of the result that are the program's own.
    pub(super) fn lines(&self, text: impl AsRef<str>) {
        self.write_result(&escape::lines(&redacted(text.as_ref())));
    }

    /// A table of the result.
    pub(super) fn rows(&self, rows: &Rows) {
        self.write_result(&escape::lines(&rows.lines()));
    }

    /// The result as JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .context("cannot write JSON")
            .map_err(|e| Failure::new(FaultKind::Data, e))?;
        self.write_result(&escape::json(&redacted(&text)));
        Ok(())
    }

    /// The result as JSON that is text already.
    pub(super) fn json_text(&self, text: &str) {
        self.write_result(&escape::json(&redacted(text)));
    }

    /// Why results could not be written to stdout, if they could not.
    pub(super) fn stdout_error(&self) -> Option<&std::io::Error> {
        self.0.stdout_error.get()
    }

    /// What is being done, on stderr.
    pub(super) fn note(&self, text: impl AsRef<str>) {
        if !self.0.quiet {
            self.write_log(&escape::line(&redacted(text.as_ref())));
        }
    }

    /// What a person should look at, on stderr, also when quiet.
    pub(super) fn warn(&self, text: impl AsRef<str>) {
        let text = format!("warning: {}", text.as_ref());
        self.write_log(&escape::message(&redacted(&text)));
    }

    /// Whether a bar can be drawn.
    pub(super) fn draws_bars(&self) -> bool {
        !self.0.quiet && std::io::stderr().is_terminal()
    }

    /// Whether progress is told at all.
    pub(super) fn tells_progress(&self) -> bool {
        !self.0.quiet
    }

    /// Sets the bar that is drawn from now on.
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
