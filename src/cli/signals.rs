//! Signals that ask the process to end.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Failure;
use super::printer::Printer;
use crate::fault::FaultKind;
use crate::storage::Storage;

/// How long work may take to end. Engines kill a process some seconds after SIGTERM.
const MAX_WAIT: Duration = Duration::from_secs(4);

/// A signal that ends the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signal(i32);

impl Signal {
    fn name(self) -> &'static str {
        match self.0 {
            SIGINT => "SIGINT",
            _ => "SIGTERM",
        }
    }

    /// The error of work that the signal ended.
    fn failure(self) -> Failure {
        let advice = "finished shards are kept: run the same command again to continue";
        let error = anyhow::anyhow!("interrupted by {}; {advice}", self.name());
        Failure::with_exit_code(self.exit_code(), error)
    }

    /// The exit code that shells give to a process that the signal killed.
    fn exit_code(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }
}

/// Runs `work`, which reads and writes through `storage`. SIGINT and SIGTERM end it: shards in progress are dropped. A second
/// signal, or work that does not end in time, ends the process at once.
pub(super) fn interruptible<T>(
    printer: &Printer,
    storage: &Storage,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let watched = [SIGINT, SIGTERM].into_iter().filter(|s| !is_ignored(*s));
    let failed = |e| Failure::new(FaultKind::Environment, e);
    let signals = Signals::new(watched).context("cannot handle signals");
    let signals = signals.map_err(failed)?;
    let watch = Watch {
        printer: printer.clone(),
        storage: storage.clone(),
        received: Arc::default(),
        is_done: Arc::default(),
    };
    let watcher = watch.clone();
    let thread = Builder::new().spawn(move || watcher.run(signals));
    thread.context("cannot start a thread").map_err(failed)?;
    let done = work();
    watch.is_done.store(true, Ordering::SeqCst);
    match (done, watch.received.get()) {
        (Err(_), Some(signal)) => Err(signal.failure()),
        (done, _) => done,
    }
}

/// What the thread that waits for signals needs. The thread runs until the process ends, because a signal that was handled
/// once does not end the process by itself any more.
#[derive(Clone)]
struct Watch {
    printer: Printer,
    storage: Storage,
    received: Arc<OnceLock<Signal>>,
    is_done: Arc<AtomicBool>,
}

impl Watch {
    fn run(self, mut signals: Signals) {
        for signal in signals.forever() {
            let signal = Signal(signal);
            if self.is_done() || self.received.set(signal).is_err() {
                give_up(&self.printer, signal);
            }
            self.printer
                .write_log(&format!("{}: stopping", signal.name()));
            self.storage.interrupt();
            let watch = self.clone();
            std::thread::spawn(move || {
                std::thread::sleep(MAX_WAIT);
                if !watch.is_done() {
                    give_up(&watch.printer, signal);
                }
            });
        }
    }

    fn is_done(&self) -> bool {
        self.is_done.load(Ordering::SeqCst)
    }
}

fn give_up(printer: &Printer, signal: Signal) -> ! {
    printer.write_log(&format!(
        "{}: ended without waiting for work in progress; run the same command again to continue",
        signal.name()
    ));
    process::exit(signal.exit_code().into())
}

/// Whether the parent process has this signal ignored, as shells do for SIGINT in the background.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_ignored_by(&status, signal)
}

fn is_ignored_by(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_the_parent_ignores_are_recognized() {
        let status = "Name:\tx\nSigIgn:\t0000000000000002\nSigCgt:\t0000000000004000\n";
        assert!(is_ignored_by(status, SIGINT));
        assert!(!is_ignored_by(status, SIGTERM));
        assert!(!is_ignored_by("", SIGINT));
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        let codes = [SIGINT, SIGTERM].map(|s| Signal(s).exit_code());
        assert_eq!(codes, [130, 143]);
    }
}
