//! What a job does now and how much of it is done, for people who wait. Any thread may update and read it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The current stage of a job.
#[derive(Debug, Default)]
pub(crate) struct CurrentStage {
    stage: Mutex<Option<Stage>>,
    done: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    name: &'static str,
    /// What is counted, in the plural, and how much there is, if that is known.
    counted: Option<(&'static str, Option<u64>)>,
}

/// How far a stage has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageStatus {
    pub name: &'static str,
    /// What is counted, how much of it is done, and how much there is, if that is known.
    pub counted: Option<(&'static str, u64, Option<u64>)>,
}

impl CurrentStage {
    /// Begins the stage `name`.
    pub fn begin(&self, name: &'static str) {
        let stage = Stage {
            name,
            counted: None,
        };
        *self.stage() = Some(stage);
    }

    /// Begins to count `what` (in the plural) in the current stage; `total` is how much there is, if that is known.
    pub fn count(&self, what: &'static str, total: Option<u64>) {
        let mut stage = self.stage();
        if let Some(stage) = &mut *stage {
            stage.counted = Some((what, total));
        }
        self.done.store(0, Ordering::Relaxed);
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
    }

    /// The stage now; `None` before the first one.
    pub fn status(&self) -> Option<StageStatus> {
        let stage = *self.stage();
        stage.map(|stage| StageStatus {
            name: stage.name,
            counted: stage
                .counted
                .map(|(what, total)| (what, self.done.load(Ordering::Relaxed), total)),
        })
    }

    fn stage(&self) -> MutexGuard<'_, Option<Stage>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_counts_from_zero_and_forgets_the_one_before() {
        let current = CurrentStage::default();
        assert_eq!(current.status(), None);
        current.begin("read annotations");
        current.count("annotations", None);
        current.add(3);
        current.add(4);
        let counted = |what, done, total| Some((what, done, total));
        let status = current.status().unwrap();
        assert_eq!(
            (status.name, status.counted),
            ("read annotations", counted("annotations", 7, None))
        );
        current.begin("select");
        assert_eq!(current.status().unwrap().counted, None);
        current.count("parts", Some(9));
        assert_eq!(
            current.status().unwrap().counted,
            counted("parts", 0, Some(9))
        );
    }
}
