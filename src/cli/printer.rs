//! The one place that prints: results on stdout, everything else on stderr. Nothing that a terminal obeys is printed.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::fault::FaultKind;
use crate::storage::redacted;
use anyhow::Context;
use indicatif::ProgressBar;
use serde::Serialize;

use super::Failure;
use super::escape;
use super::rows::Rows;

/// The first error of stdout.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// The bar that is drawn now.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says which bar is drawn from now on: other lines go above it.
pub(super) fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Prints above the bar, if there is one.
fn above_bar(print: impl FnOnce()) {
    match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Prints as much as the user asked for. What may be a secret in a URL is printed nowhere.
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

    /// A line of the result, on stdout. A reader that went away (`| head`) is no error; any other is reported by
    /// [`Printer::lost`] when the work is done.
    pub(super) fn result(self, text: impl AsRef<str>) {
        write_result(&escape::line(&redacted(text.as_ref())));
    }

    /// Lines of the result that are the program's own.
    pub(super) fn lines(self, text: impl AsRef<str>) {
        write_result(&escape::lines(&redacted(text.as_ref())));
    }

    /// A table of the result.
    pub(super) fn rows(self, rows: &Rows) {
        write_result(&escape::lines(&rows.lines()));
    }

    /// The result as JSON.
    pub(super) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .context("cannot write JSON")
            .map_err(|e| Failure::new(FaultKind::Data, e))?;
        write_result(&escape::json(&redacted(&text)));
        Ok(())
    }

    /// The result as JSON that is text already.
    pub(super) fn json_text(self, text: &str) {
        write_result(&escape::json(&redacted(text)));
    }

    /// What kept results from being written to stdout, if anything did.
    pub(super) fn lost() -> Option<&'static std::io::Error> {
        LOST.get()
    }

    /// What is being done, on stderr.
    pub(super) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            write_log(&escape::line(&redacted(text.as_ref())));
        }
    }

    /// What a person should look at, on stderr, also when quiet.
    pub(super) fn warn(self, text: impl AsRef<str>) {
        let text = format!("warning: {}", text.as_ref());
        write_log(&escape::message(&redacted(&text)));
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

fn write_result(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(e) = written
        && e.kind() != ErrorKind::BrokenPipe
    {
        let _ = LOST.set(e);
    }
}

/// Writes to stderr. Where that cannot be done there is nobody to tell, and the exit code says what came of the work.
pub(super) fn write_log(text: &str) {
    above_bar(|| drop(writeln!(std::io::stderr(), "{text}")));
}
