//! Waiting for servers: threads that work on one job stop waiting when one of them fails, and the user is told why
//! nothing happens.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// A group of threads that work on one thing. Reads of remote objects within [`Together::run`] end when the group is
/// stopped, in the middle of a request as well as between two tries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Together(Arc<Group>);

#[derive(Debug, Default)]
struct Group {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Those who are in the middle of a request, each by a number of its own.
    requests: HashMap<u64, Waker>,
    next: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<Together>> = const { RefCell::new(None) };
}

impl Together {
    /// Does `work` as a part of the group.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Together>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// Ends every read of the group that waits.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.requests.drain().for_each(|(_, waker)| waker.wake());
        self.0.changed.notify_all();
    }

    /// Whether the group has stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// The group that this thread works for; one of its own where there is none.
    pub(super) fn current() -> Self {
        CURRENT.with_borrow(|current| current.clone().unwrap_or_default())
    }

    /// Waits for `duration`; `false` where the group stops before.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), duration, |state| !state.stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// What `request` comes to; `None` where the group stops before.
    pub(super) async fn unless_stopped<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let mut request = pin!(request);
        let mut place = Place {
            group: self,
            number: None,
        };
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = request.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            match place.take(cx.waker()) {
                true => Poll::Pending,
                false => Poll::Ready(None),
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below the lock is complete.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of one piece of work that are done by several threads: the first failure is the one that counts, and stops the
/// others.
#[derive(Debug)]
pub(crate) struct Parts<E> {
    together: Together,
    /// In the order in which they came.
    failures: Mutex<Vec<E>>,
}

/// A part failed: why, is in the [`Parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartFailed;

impl<E> Parts<E> {
    /// Parts of what this thread works on.
    pub(crate) fn new() -> Self {
        Self {
            together: Together::current(),
            failures: Mutex::default(),
        }
    }

    /// The threads that do the parts.
    pub(crate) fn together(&self) -> &Together {
        &self.together
    }

    /// Does one part.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, PartFailed> {
        self.together.run(work).map_err(|e| {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(e);
            self.together.stop();
            PartFailed
        })
    }

    /// What the parts came to: `done`, or the first failure.
    pub(crate) fn finish<T: Default>(self, done: Result<T, PartFailed>) -> Result<T, E> {
        self.finish_but(|_| false, done)
    }

    /// As [`Parts::finish`]: the first failure of which `follows` does not say that it follows from another one, if there
    /// is one.
    pub(crate) fn finish_but<T: Default>(
        self,
        follows: impl Fn(&E) -> bool,
        done: Result<T, PartFailed>,
    ) -> Result<T, E> {
        let mut failures = self
            .failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() {
            return Ok(done.unwrap_or_default());
        }
        let first = failures.iter().position(|e| !follows(e));
        Err(failures.swap_remove(first.unwrap_or(0)))
    }
}

/// A request's place among those that are woken when the group stops.
struct Place<'g> {
    group: &'g Together,
    number: Option<u64>,
}

impl Place<'_> {
    /// Takes the place, once; `false` where the group has stopped.
    fn take(&mut self, waker: &Waker) -> bool {
        if self.number.is_some() && !self.group.lock().stopped {
            return true;
        }
        let mut state = self.group.lock();
        if state.stopped {
            return false;
        }
        let number = state.next;
        state.next += 1;
        state.requests.insert(number, waker.clone());
        self.number = Some(number);
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.group.lock().requests.remove(&number);
        }
    }
}

type Tell = Box<dyn Fn(&str) + Send + Sync>;

static TELL: OnceLock<Tell> = OnceLock::new();

/// Has `tell` called, once in a while, with a line that says which server is waited for and why. The first caller
/// counts.
pub fn on_wait(tell: impl Fn(&str) + Send + Sync + 'static) {
    let _ = TELL.set(Box::new(tell));
}

/// Shortest time between two lines about one server.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A pause that ends sooner after the first failure than this is not worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

static TOLD: LazyLock<Mutex<HashMap<String, Instant>>> = LazyLock::new(Mutex::default);

/// Says that `server` is waited for. `problem` continues "server HOST"; a read has failed for `failing` by the end of
/// its next pause, and goes on for `remaining` at most.
pub(super) fn tell(server: &str, problem: &str, failing: Duration, remaining: Duration) {
    let Some(tell) = TELL.get().filter(|_| failing >= WORTH_A_LINE) else {
        return;
    };
    if is_due(server, Instant::now()) {
        let seconds = remaining.as_secs_f64().ceil();
        tell(&format!(
            "server {server} {problem}; retrying for up to {seconds} s"
        ));
    }
}

/// Whether a line about `server` is due; then none is for a while, whichever thread asks.
fn is_due(server: &str, now: Instant) -> bool {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let due = told
        .get(server)
        .is_none_or(|last| now.saturating_duration_since(*last) >= TELL_EVERY);
    if due {
        told.insert(server.to_owned(), now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn who_waits_is_woken_when_another_one_fails() {
        let group = Together::default();
        std::thread::scope(|scope| {
            let paused = scope.spawn(|| group.run(|| Together::current().pause(LONG)));
            let runtime = crate::storage::remote::runtime().unwrap();
            let asked = scope.spawn(|| {
                group.run(|| {
                    let group = Together::current();
                    runtime.block_on(group.unless_stopped(std::future::pending::<()>()))
                })
            });
            let parts = group.run(Parts::new);
            assert_eq!(parts.run(|| Ok(())), Ok(()));
            assert_eq!(parts.run(|| Err::<(), _>(7)), Err(PartFailed));
            assert_eq!(parts.run(|| Err::<(), _>(8)), Err(PartFailed));
            assert_eq!(
                parts.finish_but(|e| *e == 7, Err::<(), _>(PartFailed)),
                Err(8)
            );
            assert!(!paused.join().unwrap());
            assert_eq!(asked.join().unwrap(), None);
        });
        // Also who comes later; nobody else.
        assert!(!group.run(|| Together::current().pause(LONG)));
        assert!(Together::current().pause(Duration::ZERO));
        assert!(group.lock().requests.is_empty());
    }

    #[test]
    fn lines_about_one_server_are_few() {
        let now = Instant::now();
        assert!(is_due("few.invalid", now));
        assert!(!is_due("few.invalid", now + TELL_EVERY / 2));
        assert!(is_due("other.invalid", now + TELL_EVERY / 2));
        assert!(is_due("few.invalid", now + TELL_EVERY));
    }
}
