//! Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::printer::Printer;

/// How much of the work is done.
pub(super) struct Status {
    /// Units done, those done before this run included.
    pub done: u64,
    /// All units; 0 while unknown.
    pub total: u64,
    /// Text to show instead of the rate.
    pub details: Option<String>,
}

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs `work` while another thread displays its progress, counted in `unit`s.
pub(super) fn with_progress<T>(
    printer: &Printer,
    unit: &str,
    status: impl Fn() -> Status + Send,
    work: impl FnOnce() -> T,
) -> T {
    if !printer.shows_progress() {
        return work();
    }
    std::thread::scope(|scope| {
        let (finished, wait) = mpsc::channel::<()>();
        scope.spawn(move || {
            if printer.draws_bars() {
                draw_bar(printer, unit, status, &wait);
            } else {
                print_lines(printer, unit, status, &wait);
            }
        });
        let result = work();
        drop(finished);
        result
    })
}

/// Units per second since the work began.
struct Rate {
    start: Instant,
    first: u64,
}

impl Rate {
    fn begin(status: &Status) -> Self {
        Self {
            start: Instant::now(),
            first: status.done,
        }
    }

    fn per_second(&self, status: &Status) -> f64 {
        let done = status.done.saturating_sub(self.first) as f64;
        done / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn describe(&self, status: &Status, unit: &str) -> String {
        match (&status.details, self.per_second(status)) {
            (Some(details), _) => details.clone(),
            (None, slow @ ..10.0) => format!("{slow:.1} {unit}/s"),
            (None, rate) => format!("{} {unit}/s", HumanCount(rate as u64)),
        }
    }

    fn time_left(&self, status: &Status) -> String {
        let left = status.total.saturating_sub(status.done) as f64;
        match self.per_second(status) {
            rate if rate > 0.0 => {
                HumanDuration(Duration::from_secs_f64((left / rate).min(1e9))).to_string()
            }
            _ => "unknown time".to_owned(),
        }
    }
}

fn draw_bar(printer: &Printer, unit: &str, status: impl Fn() -> Status, wait: &mpsc::Receiver<()>) {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template(
        "{bar:32} {human_pos}/{human_len} {prefix}  {msg}  {eta} left",
    );
    let unknown = ProgressStyle::with_template("{spinner} {msg}");
    if let Ok(style) = &unknown {
        bar.set_style(style.clone());
    }
    printer.set_bar(Some(bar.clone()));
    bar.set_prefix(unit.to_owned());
    bar.set_message("preparing");
    let mut rate = None;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(BAR_EVERY) {
        let now = status();
        if now.total == 0 {
            bar.tick();
            continue;
        }
        let rate = rate.get_or_insert_with(|| {
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            // Units done before this run don't count towards the rate.
            bar.set_position(now.done);
            bar.reset_eta();
            Rate::begin(&now)
        });
        bar.set_length(now.total);
        bar.set_position(now.done);
        bar.set_message(rate.describe(&now, unit));
    }
    printer.set_bar(None);
    bar.finish_and_clear();
}

fn print_lines(
    printer: &Printer,
    unit: &str,
    status: impl Fn() -> Status,
    wait: &mpsc::Receiver<()>,
) {
    let mut rate = None;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(LINE_EVERY) {
        let now = status();
        if now.total == 0 {
            printer.note("preparing");
            continue;
        }
        let rate = rate.get_or_insert_with(|| Rate::begin(&now));
        printer.note(format!(
            "{} of {} {unit}, {}, {} left",
            HumanCount(now.done),
            HumanCount(now.total),
            rate.describe(&now, unit),
            rate.time_left(&now)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(done: u64, details: Option<&str>) -> Status {
        Status {
            done,
            total: 100,
            details: details.map(str::to_owned),
        }
    }

    #[test]
    fn units_done_before_this_run_do_not_count_towards_the_rate() {
        let mut rate = Rate::begin(&status(60, None));
        rate.start -= Duration::from_secs(10);
        assert_eq!(rate.describe(&status(80, None), "windows"), "2.0 windows/s");
        assert_eq!(rate.time_left(&status(80, None)), "10 seconds");
        assert_eq!(rate.time_left(&status(60, None)), "unknown time");
        assert_eq!(
            rate.describe(&status(80, Some("loss 1")), "steps"),
            "loss 1"
        );
    }
}
