//! Messages about servers that the program waits for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two lines about one server.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A pause is not reported if it ends within this time after the first failure.
const MIN_FAILING: Duration = Duration::from_secs(1);

type Report = Box<dyn Fn(&str) + Send + Sync>;

/// Reports waits, at most one line per server in ten seconds. Without a report function, it does nothing.
#[derive(Default)]
pub(super) struct WaitReporter {
    report: Option<Report>,
    /// When each server was last reported.
    last: Mutex<HashMap<String, Instant>>,
}

impl WaitReporter {
    pub(super) fn new(report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            report: Some(Box::new(report)),
            last: Mutex::default(),
        }
    }

    /// Reports that a read waits for `server`. `problem` continues "server HOST". By the end of the next pause the read
    /// has failed for `failing`; it is retried for `remaining` at most.
    pub(super) fn report(
        &self,
        server: &str,
        problem: &str,
        failing: Duration,
        remaining: Duration,
    ) {
        let Some(report) = self.report.as_ref().filter(|_| failing >= MIN_FAILING) else {
            return;
        };
        if self.is_due(server, Instant::now()) {
            let seconds = remaining.as_secs_f64().ceil();
            report(&format!(
                "server {server} {problem}; retrying for up to {seconds} s"
            ));
        }
    }

    /// Whether a line about `server` is due; then none is due for a while, for any thread.
    fn is_due(&self, server: &str, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last
            .get(server)
            .is_none_or(|last| now.saturating_duration_since(*last) >= LINE_EVERY);
        if due {
            last.insert(server.to_owned(), now);
        }
        due
    }
}

impl fmt::Debug for WaitReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitReporter({})", self.report.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_server_is_reported_once_in_ten_seconds() {
        let reporter = WaitReporter::default();
        let now = Instant::now();
        assert!(reporter.is_due("few.invalid", now));
        assert!(!reporter.is_due("few.invalid", now + LINE_EVERY / 2));
        assert!(reporter.is_due("other.invalid", now + LINE_EVERY / 2));
        assert!(reporter.is_due("few.invalid", now + LINE_EVERY));
    }

    #[test]
    fn a_line_names_the_server_the_problem_and_the_time_that_remains() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let reporter = WaitReporter::new(move |line| seen.lock().unwrap().push(line.to_owned()));
        let second = Duration::from_secs(1);
        reporter.report("host:1", "answers 503", second / 2, 59 * second);
        assert!(lines.lock().unwrap().is_empty());
        reporter.report("host:1", "answers 503", 2 * second, 58 * second);
        let expected = ["server host:1 answers 503; retrying for up to 58 s"];
        assert_eq!(*lines.lock().unwrap(), expected);
    }
}
