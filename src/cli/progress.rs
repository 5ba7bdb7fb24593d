//! Progress of the extraction: a bar with rate and time left on a terminal, plain lines in a log.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use pointshard::extract::Progress;

use super::printer::Printer;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs `work` while another thread tells how far `progress` is.
pub(super) fn told<T: Send>(printer: Printer, progress: &Progress, work: impl FnOnce() -> T) -> T {
    if !printer.tells_progress() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        scope.spawn(move || match printer.draws_bars() {
            true => draw_bar(progress, &wait),
            false => print_lines(printer, progress, &wait),
        });
        let result = work();
        drop(done);
        result
    })
}

fn counts(progress: &Progress) -> (u64, u64) {
    let done = progress.windows_done.load(Ordering::Relaxed);
    (done, progress.windows_total.load(Ordering::Relaxed))
}

fn draw_bar(progress: &Progress, wait: &mpsc::Receiver<()>) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:32} {human_pos}/{human_len} windows  {per_sec}  {eta} left",
    ) {
        bar.set_style(style);
    }
    let mut begun = false;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(Duration::from_millis(100)) {
        let (done, total) = counts(progress);
        if !begun && total > 0 {
            // What stood before this run is no part of the rate.
            bar.reset_eta();
            begun = true;
        }
        bar.set_length(total);
        bar.set_position(done);
    }
    bar.finish_and_clear();
}

fn print_lines(printer: Printer, progress: &Progress, wait: &mpsc::Receiver<()>) {
    let start = Instant::now();
    let mut first = None;
    while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(LINE_EVERY) {
        let (done, total) = counts(progress);
        let first = *first.get_or_insert(done);
        let rate = (done - first) as f64 / start.elapsed().as_secs_f64();
        let left = match rate > 0.0 {
            true => {
                HumanDuration(Duration::from_secs_f64((total - done) as f64 / rate)).to_string()
            }
            false => "unknown time".to_owned(),
        };
        printer.note(format!(
            "{} of {} windows, {} windows/s, {left} left",
            HumanCount(done),
            HumanCount(total),
            HumanCount(rate as u64)
        ));
    }
}
