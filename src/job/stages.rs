//! How long each stage of a job takes.

use std::time::{Duration, Instant};

/// Measures stages, one after the other.
#[derive(Debug)]
pub(super) struct Stages {
    finished: Vec<(&'static str, Duration)>,
    begun: Instant,
}

impl Stages {
    /// Begins the first stage, after those that are `finished` already.
    pub fn begin(finished: Vec<(&'static str, Duration)>) -> Self {
        Self {
            finished,
            begun: Instant::now(),
        }
    }

    /// Ends the stage `name` and begins the next one.
    pub fn end(&mut self, name: &'static str) {
        let now = Instant::now();
        let begun = std::mem::replace(&mut self.begun, now);
        self.finished.push((name, now.duration_since(begun)));
    }

    /// The stages that ended.
    pub fn finished(self) -> Vec<(&'static str, Duration)> {
        self.finished
    }
}
