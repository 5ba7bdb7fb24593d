//! Stops all remote reads of a job when one of its threads fails, or when the process is asked to end.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// The reads of one job. Stopping work of the group ends all of them, both during a request and between two attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopGroup(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The same as in the state, for threads that ask often.
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Whether it remains stopped.
    for_good: bool,
    /// Amount of work in progress. When it becomes 0, the group is no longer stopped.
    works: usize,
    /// Requests in progress, each with a unique number.
    requests: HashMap<u64, Waker>,
    next_request: u64,
}

/// Work in progress, until this is dropped.
#[derive(Debug)]
pub(crate) struct StoppableWork(StopGroup);

impl StopGroup {
    /// Begins some work. Work can be nested.
    pub(crate) fn begin_work(&self) -> StoppableWork {
        self.lock().works += 1;
        StoppableWork(self.clone())
    }

    /// Waits for `duration`; `false` if the group is stopped earlier.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), duration, |state| !state.stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// The output of `request`; `None` if the group is stopped earlier.
    pub(super) async fn unless_stopped<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let mut request = pin!(request);
        let mut registration = Registration {
            group: self,
            number: None,
        };
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = request.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if registration.register(cx.waker()) {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        })
        .await
    }

    /// Ends all waiting reads of the group, and all later ones.
    pub(super) fn stop_for_good(&self) {
        self.lock().for_good = true;
        self.stop();
    }

    /// Whether there are other clones of this.
    pub(super) fn is_used_elsewhere(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.0.stopped.store(true, Ordering::Relaxed);
        state.requests.drain().for_each(|(_, waker)| waker.wake());
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid even if a thread panicked, because no change is partial.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoppableWork {
    /// Ends all waiting reads of the group.
    pub(crate) fn stop(&self) {
        self.0.stop();
    }

    /// Whether the group is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.0.stopped.load(Ordering::Relaxed)
    }
}

impl Drop for StoppableWork {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.works = state.works.saturating_sub(1);
        if state.works == 0 {
            state.stopped = state.for_good;
            self.0.0.stopped.store(state.stopped, Ordering::Relaxed);
        }
    }
}

/// Registers a request, to be woken when the group is stopped.
struct Registration<'g> {
    group: &'g StopGroup,
    number: Option<u64>,
}

impl Registration<'_> {
    /// Registers `waker`, once; `false` if the group is stopped.
    fn register(&mut self, waker: &Waker) -> bool {
        let mut state = self.group.lock();
        if state.stopped {
            return false;
        }
        if self.number.is_none() {
            let number = state.next_request;
            state.next_request += 1;
            state.requests.insert(number, waker.clone());
            self.number = Some(number);
        }
        true
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.group.lock().requests.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn waiting_reads_end_when_the_work_is_stopped() {
        let group = StopGroup::default();
        let work = group.begin_work();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        std::thread::scope(|scope| {
            let paused = scope.spawn(|| group.pause(LONG));
            let request = std::future::pending::<()>();
            let requesting = scope.spawn(|| runtime.block_on(group.unless_stopped(request)));
            while group.lock().requests.is_empty() {
                std::thread::yield_now();
            }
            work.stop();
            assert!(!paused.join().unwrap());
            assert_eq!(requesting.join().unwrap(), None);
        });
        assert!(!group.pause(LONG), "later reads end as well");
        assert!(group.lock().requests.is_empty());
        assert!(StopGroup::default().pause(Duration::ZERO));
    }

    #[test]
    fn reads_work_again_after_all_stopped_work_has_ended() {
        let group = StopGroup::default();
        let outer = group.begin_work();
        let inner = group.begin_work();
        inner.stop();
        drop(inner);
        assert!(outer.is_stopped());
        drop(outer);
        assert!(group.pause(Duration::ZERO));
    }
}
