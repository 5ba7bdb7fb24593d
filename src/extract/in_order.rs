//! Results that several threads compute, written in order by whichever thread has the next one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Results by position. No thread waits: one that comes too early is kept, and the thread that writes the one before it
/// writes it, too.
pub(super) struct InOrder<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Position of the next result to write.
    next: usize,
    is_writing: bool,
    early: BTreeMap<usize, T>,
}

impl<T> InOrder<T> {
    /// Results from position 0 on.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                next: 0,
                is_writing: false,
                early: BTreeMap::new(),
            }),
        }
    }

    /// Adds the result at `position`. Calls `write` with it and all later results that follow without a gap, in order, unless
    /// another thread does. Returns how many results were written. After an error nothing more is written.
    pub fn add<E>(
        &self,
        position: usize,
        result: T,
        mut write: impl FnMut(T) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut state = self.lock();
        state.early.insert(position, result);
        if state.is_writing {
            return Ok(0);
        }
        state.is_writing = true;
        let mut written = 0;
        loop {
            let next = state.next;
            let Some(result) = state.early.remove(&next) else {
                state.is_writing = false;
                return Ok(written);
            };
            drop(state);
            write(result)?;
            written += 1;
            state = self.lock();
            state.next += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every change below the lock is complete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn results_are_written_in_order_each_once() {
        let order = InOrder::new();
        let written = RefCell::new(Vec::new());
        let add = |position| {
            let write = |result| {
                written.borrow_mut().push(result);
                Ok::<_, Infallible>(())
            };
            order.add(position, position, write).unwrap()
        };
        assert_eq!([2, 0, 3, 1, 4].map(add), [0, 1, 0, 3, 1]);
        assert_eq!(*written.borrow(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_result_that_comes_while_another_one_is_written_is_written_by_the_same_thread() {
        let order = InOrder::new();
        let written = RefCell::new(Vec::new());
        let write = |result| {
            written.borrow_mut().push(result);
            if result == 0 {
                let other = |_| -> Result<(), Infallible> { panic!("two threads write") };
                assert_eq!(order.add(1, 1, other), Ok(0));
            }
            Ok::<_, Infallible>(())
        };
        assert_eq!(order.add(0, 0, write), Ok(2));
        assert_eq!(*written.borrow(), [0, 1]);
    }

    #[test]
    fn nothing_is_written_after_an_error() {
        let order = InOrder::new();
        assert_eq!(order.add(0, 0, |_| Err("full")), Err("full"));
        let other = |_| -> Result<(), &str> { panic!("written after an error") };
        assert_eq!(order.add(1, 1, other), Ok(0));
    }

    #[test]
    fn many_threads_write_every_result_in_order() {
        let order = InOrder::new();
        let written = Mutex::new(Vec::new());
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if n >= 1000 {
                            break;
                        }
                        let write = |result| {
                            written.lock().unwrap().push(result);
                            Ok::<_, Infallible>(())
                        };
                        order.add(n, n, write).unwrap();
                    }
                });
            }
        });
        assert!(written.into_inner().unwrap().into_iter().eq(0..1000));
    }
}
