//! Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::printer::Printer;
use crate::storage::StageStatus;

/// How much of the work is done.
pub struct Status {
    /// Units done, those done before this run included.
    pub done: u64,
    /// All units; 0 while unknown.
    pub total: u64,
    /// Text to show instead of the rate.
    pub details: Option<String>,
    /// What is done while the total is unknown.
    pub preparing: Option<StageStatus>,
}

impl Status {
    /// The status of work whose units are not counted, only its stages.
    pub fn of_stage(preparing: Option<StageStatus>) -> Self {
        Self {
            done: 0,
            total: 0,
            details: None,
            preparing,
        }
    }

    /// What is done while the total is unknown: `read annotations: 1,234 annotations in boxes`.
    fn preparing(&self) -> String {
        let Some(StageStatus { name, counted }) = self.preparing else {
            return "preparing".to_owned();
        };
        match counted {
            None => name.to_owned(),
            Some((what, done, None)) => format!("{name}: {} {what}", HumanCount(done)),
            Some((what, done, Some(total))) => {
                format!(
                    "{name}: {} of {} {what}",
                    HumanCount(done),
                    HumanCount(total)
                )
            }
        }
    }
}

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs `work` while another thread displays its progress, counted in `unit`s.
pub fn with_progress<T>(
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

/// How fast the work goes: over the last minute, because a server is slow at first, and later slow from time to time.
struct Rate {
    /// Times, and the units that were done, from the oldest to the latest.
    history: VecDeque<(Instant, u64)>,
}

/// Time over which the rate is measured.
const RATE_OVER: Duration = Duration::from_secs(60);

impl Rate {
    /// A rate from now on: units done before this run do not count.
    fn begin(status: &Status) -> Self {
        Self {
            history: [(Instant::now(), status.done)].into(),
        }
    }

    fn update(&mut self, now: Instant, status: &Status) {
        self.history.push_back((now, status.done));
        // The oldest one that stays is at least as old as the time over which the rate is measured.
        while let Some((second, _)) = self.history.get(1)
            && now.duration_since(*second) >= RATE_OVER
        {
            self.history.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let (Some((start, first)), Some((end, last))) = (self.history.front(), self.history.back())
        else {
            return 0.0;
        };
        let seconds = end.duration_since(*start).as_secs_f64();
        last.saturating_sub(*first) as f64 / seconds.max(1e-9)
    }

    fn describe(&self, status: &Status, unit: &str) -> String {
        match (&status.details, self.per_second()) {
            (Some(details), _) => details.clone(),
            (None, slow @ ..10.0) => format!("{slow:.1} {unit}/s"),
            (None, rate) => format!("{} {unit}/s", HumanCount(rate as u64)),
        }
    }

    /// The time that the rest takes at this rate. Nothing is known before the first unit is done, nor while a server does not respond.
    fn time_left(&self, status: &Status) -> String {
        let left = status.total.saturating_sub(status.done) as f64;
        match self.per_second() {
            rate if rate > 0.0 => {
                let left = Duration::from_secs_f64((left / rate).min(1e9));
                format!("{} left", HumanDuration(left))
            }
            _ => "time left unknown".to_owned(),
        }
    }
}

fn draw_bar(printer: &Printer, unit: &str, status: impl Fn() -> Status, wait: &mpsc::Receiver<()>) {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} {prefix}  {msg}");
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
            bar.set_message(now.preparing());
            bar.tick();
            continue;
        }
        let rate = rate.get_or_insert_with(|| {
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            Rate::begin(&now)
        });
        rate.update(Instant::now(), &now);
        bar.set_length(now.total);
        bar.set_position(now.done);
        let left = rate.time_left(&now);
        bar.set_message(format!("{}, {left}", rate.describe(&now, unit)));
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
            printer.note(now.preparing());
            continue;
        }
        let rate = rate.get_or_insert_with(|| Rate::begin(&now));
        rate.update(Instant::now(), &now);
        printer.note(format!(
            "{} of {} {unit}, {}, {}",
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
            preparing: None,
        }
    }

    #[test]
    fn stages_are_shown_with_what_is_counted() {
        let text = |counted| {
            let stage = StageStatus {
                name: "select",
                counted,
            };
            Status::of_stage(Some(stage)).preparing()
        };
        assert_eq!(text(None), "select");
        assert_eq!(text(Some(("boxes", 1234, None))), "select: 1,234 boxes");
        assert_eq!(text(Some(("boxes", 2, Some(9)))), "select: 2 of 9 boxes");
        assert_eq!(Status::of_stage(None).preparing(), "preparing");
    }

    #[test]
    fn units_done_before_this_run_do_not_count_towards_the_rate() {
        let mut rate = Rate::begin(&status(60, None));
        let start = rate.history[0].0;
        assert_eq!(rate.time_left(&status(60, None)), "time left unknown");
        let now = status(80, None);
        rate.update(start + Duration::from_secs(10), &now);
        assert_eq!(rate.describe(&now, "windows"), "2.0 windows/s");
        assert_eq!(rate.time_left(&now), "10 seconds left");
        let details = status(80, Some("loss 1"));
        assert_eq!(rate.describe(&details, "steps"), "loss 1");
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut rate = Rate::begin(&status(0, None));
        let start = rate.history[0].0;
        let at = |seconds| start + Duration::from_secs(seconds);
        // A server that was slow for an hour.
        for second in (10..=3600).step_by(10) {
            rate.update(at(second), &status(1, None));
        }
        assert_eq!(rate.time_left(&status(1, None)), "time left unknown");
        for second in 1..=9 {
            rate.update(at(3600 + 10 * second), &status(1 + second, None));
        }
        assert_eq!(rate.describe(&status(10, None), "windows"), "0.1 windows/s");
        assert_eq!(rate.time_left(&status(10, None)), "15 minutes left");
        assert_eq!(rate.history.len(), 7);
    }
}
