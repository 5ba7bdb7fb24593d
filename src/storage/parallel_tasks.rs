//! Tasks of several threads. The first failure stops them all.

use std::sync::{Mutex, PoisonError};

use super::Storage;
use super::stop_group::StoppableWork;

/// Tasks of one piece of work. The first failure is the one to report; it stops the other tasks.
#[derive(Debug)]
pub(crate) struct ParallelTasks<E> {
    work: StoppableWork,
    /// In the order in which they occurred.
    failures: Mutex<Vec<E>>,
}

/// A task failed; [`ParallelTasks`] has its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskFailed;

impl<E> ParallelTasks<E> {
    /// Tasks that read through `storage`.
    pub(crate) fn new(storage: &Storage) -> Self {
        Self {
            work: storage.begin_work(),
            failures: Mutex::default(),
        }
    }

    /// The work that the tasks are part of.
    pub(crate) fn work(&self) -> &StoppableWork {
        &self.work
    }

    /// Runs one task.
    pub(crate) fn run<T>(&self, task: impl FnOnce() -> Result<T, E>) -> Result<T, TaskFailed> {
        task().map_err(|e| {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(e);
            self.work.stop();
            TaskFailed
        })
    }

    /// The result of all tasks: `done`, or the first failure.
    pub(crate) fn finish<T: Default>(self, done: Result<T, TaskFailed>) -> Result<T, E> {
        self.finish_with_cause(|_| false, done)
    }

    /// Like [`ParallelTasks::finish`], but reports the first failure that is not a consequence of another one, if there is
    /// one.
    pub(crate) fn finish_with_cause<T: Default>(
        self,
        is_consequence: impl Fn(&E) -> bool,
        done: Result<T, TaskFailed>,
    ) -> Result<T, E> {
        let mut failures = self
            .failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() {
            return Ok(done.unwrap_or_default());
        }
        let first = failures.iter().position(|e| !is_consequence(e));
        Err(failures.swap_remove(first.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stops_the_others_and_the_first_cause_is_reported() {
        let storage = Storage::default();
        let outer = storage.begin_work();
        let tasks = ParallelTasks::new(&storage);
        assert_eq!(tasks.run(|| Ok(())), Ok(()));
        assert!(!outer.is_stopped());
        assert_eq!(tasks.run(|| Err::<(), _>(7)), Err(TaskFailed));
        assert_eq!(tasks.run(|| Err::<(), _>(8)), Err(TaskFailed));
        assert!(outer.is_stopped());
        let result = tasks.finish_with_cause(|e| *e == 7, Err::<(), _>(TaskFailed));
        assert_eq!(result, Err(8));
    }

    #[test]
    fn without_a_failure_the_result_of_the_tasks_is_returned() {
        let tasks = ParallelTasks::<()>::new(&Storage::default());
        let done = (0..3).map(|i| tasks.run(|| Ok(i))).collect();
        assert_eq!(tasks.finish::<Vec<i32>>(done), Ok(vec![0, 1, 2]));
    }
}
