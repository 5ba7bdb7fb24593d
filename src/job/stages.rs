//! How long each stage of a job takes.

use std::time::{Duration, Instant};

use crate::storage::Storage;

/// Measures stages, one after the other, and says which one it is.
#[derive(Debug)]
pub(super) struct Stages {
    finished: Vec<(&'static str, Duration)>,
    current: Option<(&'static str, Instant)>,
    storage: Storage,
}

impl Stages {
    /// After the stages that are `finished` already. People see the current stage through `storage`.
    pub fn new(finished: Vec<(&'static str, Duration)>, storage: &Storage) -> Self {
        Self {
            finished,
            current: None,
            storage: storage.clone(),
        }
    }

    /// Ends the current stage, if there is one, and begins the stage `name`.
    pub fn begin(&mut self, name: &'static str) {
        self.end();
        self.storage.stage().begin(name);
        self.current = Some((name, Instant::now()));
    }

    /// The stages that ended. The current one ends.
    pub fn finished(mut self) -> Vec<(&'static str, Duration)> {
        self.end();
        self.finished
    }

    fn end(&mut self) {
        let ended = self.current.take();
        self.finished
            .extend(ended.map(|(name, begun)| (name, begun.elapsed())));
    }
}
