//! Progress of what takes long: a bar with rate and time left on a terminal, plain lines in a log.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::printer::{Printer, set_bar};

/// How far some work is.
pub(super) struct Reached {
    /// Of `total`; what was done before this run counts, too.
    pub done: u64,
    /// 0 as long as nobody knows.
    pub total: u64,
    /// What else there is to tell; how many units a second without.
    pub more: Option<String>,
}

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs `work` while another thread tells how far it is, in `unit`s.
pub(super) fn told<T>(
    printer: Printer,
    unit: &str,
    reached: impl Fn() -> Reached + Send,
    work: impl FnOnce() -> T,
) -> T {
    if !printer.tells_progress() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        scope.spawn(move || match printer.draws_bars() {
            true => draw_bar(unit, reached, &wait),
            false => print_lines(printer, unit, reached, &wait),
        });
        let result = work();
        drop(done);
        result
    })
}

/// Units a second since the work began.
struct Rate {
    start: Instant,
    first: u64,
}

impl Rate {
    fn begin(reached: &Reached) -> Self {
        Self {
            start: Instant::now(),
            first: reached.done,
        }
    }

    fn of(&self, reached: &Reached) -> f64 {
        let done = reached.done.saturating_sub(self.first) as f64;
        done / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn told(&self, reached: &Reached, unit: &str) -> String {
        match (&reached.more, self.of(reached)) {
            (Some(more), _) => more.clone(),
            (None, slow @ ..10.0) => format!("{slow:.1} {unit}/s"),
            (None, rate) => format!("{} {unit}/s", HumanCount(rate as u64)),
        }
    }

    fn left(&self, reached: &Reached) -> String {
        let left = reached.total.saturating_sub(reached.done) as f64;
        match self.of(reached) {
            rate if rate > 0.0 => {
                HumanDuration(Duration::from_secs_f64((left / rate).min(1e9))).to_string()
            }
            _ => "unknown time".to_owned(),
        }
    }
}

fn draw_bar(unit: &str, reached: impl Fn() -> Reached, wait: &mpsc::Receiver<()>) {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template(
        "{bar:32} {human_pos}/{human_len} {prefix}  {msg}  {eta} left",
    );
    let unknown = ProgressStyle::with_template("{spinner} {msg}");
    if let Ok(style) = &unknown {
        bar.set_style(style.clone());
    }
    set_bar(Some(bar.clone()));
    bar.set_prefix(unit.to_owned());
    bar.set_message("preparing");
    let mut rate = None;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(BAR_EVERY) {
        let now = reached();
        if now.total == 0 {
            bar.tick();
            continue;
        }
        let rate = rate.get_or_insert_with(|| {
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            // What stood before this run is no part of the rate.
            bar.set_position(now.done);
            bar.reset_eta();
            Rate::begin(&now)
        });
        bar.set_length(now.total);
        bar.set_position(now.done);
        bar.set_message(rate.told(&now, unit));
    }
    set_bar(None);
    bar.finish_and_clear();
}

fn print_lines(
    printer: Printer,
    unit: &str,
    reached: impl Fn() -> Reached,
    wait: &mpsc::Receiver<()>,
) {
    let mut rate = None;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(LINE_EVERY) {
        let now = reached();
        if now.total == 0 {
            printer.note("preparing");
            continue;
        }
        let rate = rate.get_or_insert_with(|| Rate::begin(&now));
        printer.note(format!(
            "{} of {} {unit}, {}, {} left",
            HumanCount(now.done),
            HumanCount(now.total),
            rate.told(&now, unit),
            rate.left(&now)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(done: u64, more: Option<&str>) -> Reached {
        Reached {
            done,
            total: 100,
            more: more.map(str::to_owned),
        }
    }

    #[test]
    fn what_stood_before_is_no_part_of_the_rate() {
        let mut rate = Rate::begin(&reached(60, None));
        rate.start -= Duration::from_secs(10);
        assert_eq!(rate.told(&reached(80, None), "windows"), "2.0 windows/s");
        assert_eq!(rate.left(&reached(80, None)), "10 seconds");
        assert_eq!(rate.left(&reached(60, None)), "unknown time");
        assert_eq!(rate.told(&reached(80, Some("loss 1")), "steps"), "loss 1");
    }
}
