//! The work of an extraction: shards, which threads open in order, and pieces of open shards.
//!
//! A thread goes on with the shard that it opened, so that most shards have one thread each. When no shard is left to open, or
//! there are fewer shards than threads, threads help with the open ones.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Shards and pieces for threads.
pub(super) struct WorkQueue<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
    /// Most pieces that may wait until an earlier piece of their shard is encoded.
    most_waiting: usize,
}

struct State<S> {
    /// The next shard to open.
    next: usize,
    shards: usize,
    /// Shards that a thread is opening.
    opening: usize,
    open: Vec<Open<S>>,
    /// Pieces that are encoded and wait for an earlier one. Below 0 for a moment, if a piece is written before its own thread notes
    /// that it waits.
    waiting: isize,
    is_stopped: bool,
}

/// An open shard with pieces that are not done.
struct Open<S> {
    shard: Arc<S>,
    /// The next piece to take.
    next: usize,
    pieces: usize,
    in_progress: usize,
}

/// What a thread does next.
pub(super) enum Work<'q, S> {
    /// Open a shard, given by its number.
    Open(Opening<'q, S>),
    /// Cut and encode a piece.
    Piece(TakenPiece<'q, S>),
}

/// The duty to open a shard. If it is dropped before, no more work is handed out.
pub(super) struct Opening<'q, S> {
    queue: &'q WorkQueue<S>,
    pub number: usize,
    is_done: bool,
}

/// The duty to cut and encode a piece. If it is dropped before, no more work is handed out.
pub(super) struct TakenPiece<'q, S> {
    queue: &'q WorkQueue<S>,
    pub shard: Arc<S>,
    pub piece: usize,
    /// How many threads work on the shard.
    pub workers: usize,
    is_done: bool,
}

impl<S> WorkQueue<S> {
    /// Work on this many shards.
    pub fn new(shards: usize, most_waiting: usize) -> Self {
        let state = State {
            next: 0,
            shards,
            opening: 0,
            open: Vec::new(),
            waiting: 0,
            is_stopped: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            most_waiting,
        }
    }

    /// Waits for work of a thread whose last piece was of the shard `current`. `None` where no more work follows.
    pub fn next(&self, current: Option<&Arc<S>>) -> Option<Work<'_, S>> {
        let mut state = self.lock();
        while !state.is_stopped {
            let may_wait = state.waiting < self.most_waiting.cast_signed();
            let is_current =
                |open: &Open<S>| current.is_some_and(|current| Arc::ptr_eq(current, &open.shard));
            let own = state.open.iter_mut().find(|open| is_current(open));
            if let Some(open) = own.filter(|open| open.has_work(may_wait)) {
                return Some(Work::Piece(open.take(self)));
            }
            if state.next < state.shards {
                let number = state.next;
                state.next += 1;
                state.opening += 1;
                return Some(Work::Open(Opening {
                    queue: self,
                    number,
                    is_done: false,
                }));
            }
            let others = state.open.iter_mut().filter(|o| o.has_work(may_wait));
            if let Some(open) = others.max_by_key(|open| open.pieces - open.next) {
                return Some(Work::Piece(open.take(self)));
            }
            let may_follow = state.opening > 0 || state.open.iter().any(|o| o.next < o.pieces);
            if !may_follow {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Hands out no more work.
    fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // Every change below the lock is complete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Open<S> {
    /// Whether a thread can take a piece. Where others work on the shard, the piece may have to wait for theirs.
    fn has_work(&self, may_wait: bool) -> bool {
        self.next < self.pieces && (may_wait || self.in_progress == 0)
    }

    fn take<'q>(&mut self, queue: &'q WorkQueue<S>) -> TakenPiece<'q, S> {
        self.next += 1;
        self.in_progress += 1;
        TakenPiece {
            queue,
            shard: Arc::clone(&self.shard),
            piece: self.next - 1,
            workers: self.in_progress,
            is_done: false,
        }
    }
}

impl<S> Opening<'_, S> {
    /// Adds the open shard, and returns it.
    pub fn finish(mut self, shard: S, pieces: usize) -> Arc<S> {
        let shard = Arc::new(shard);
        let mut state = self.queue.lock();
        state.open.push(Open {
            shard: Arc::clone(&shard),
            next: 0,
            pieces,
            in_progress: 0,
        });
        state.opening -= 1;
        self.is_done = true;
        self.queue.changed.notify_all();
        shard
    }
}

impl<S> TakenPiece<'_, S> {
    /// Notes that the piece is encoded. `written` pieces of the shard were written with it; none where it waits for an
    /// earlier one.
    pub fn finish(mut self, written: usize) -> Arc<S> {
        let mut state = self.queue.lock();
        state.waiting += 1 - written.cast_signed();
        let at = |open: &Open<S>| Arc::ptr_eq(&open.shard, &self.shard);
        if let Some(i) = state.open.iter().position(at) {
            let open = &mut state.open[i];
            open.in_progress -= 1;
            if open.in_progress == 0 && open.next == open.pieces {
                state.open.swap_remove(i);
            }
        }
        self.is_done = true;
        self.queue.changed.notify_all();
        Arc::clone(&self.shard)
    }
}

impl<S> Drop for Opening<'_, S> {
    fn drop(&mut self) {
        if !self.is_done {
            self.queue.stop();
        }
    }
}

impl<S> Drop for TakenPiece<'_, S> {
    fn drop(&mut self) {
        if !self.is_done {
            self.queue.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done next: `Err` with a shard to open, or `Ok` with shard and piece.
    fn describe(work: &Option<Work<'_, usize>>) -> Option<Result<(usize, usize), usize>> {
        work.as_ref().map(|work| match work {
            Work::Open(opening) => Err(opening.number),
            Work::Piece(taken) => Ok((*taken.shard, taken.piece)),
        })
    }

    fn open(work: Option<Work<'_, usize>>, pieces: usize) -> Arc<usize> {
        match work {
            Some(Work::Open(opening)) => {
                let number = opening.number;
                opening.finish(number, pieces)
            }
            other => panic!("{:?}", describe(&other)),
        }
    }

    fn finish(work: Option<Work<'_, usize>>, written: usize) {
        match work {
            Some(Work::Piece(taken)) => drop(taken.finish(written)),
            other => panic!("{:?}", describe(&other)),
        }
    }

    #[test]
    fn a_thread_goes_on_with_its_shard_and_helps_where_most_is_left() {
        let queue = WorkQueue::new(2, 10);
        let a = open(queue.next(None), 2);
        let b = open(queue.next(None), 3);
        let of_a = queue.next(Some(&a));
        let of_b = queue.next(Some(&b));
        let more_of_a = queue.next(Some(&a));
        assert_eq!(describe(&of_a), Some(Ok((0, 0))));
        assert_eq!(describe(&of_b), Some(Ok((1, 0))));
        assert_eq!(describe(&more_of_a), Some(Ok((0, 1))));
        // Nothing is left of shard 0.
        let help = queue.next(Some(&a));
        assert_eq!(describe(&help), Some(Ok((1, 1))));
        let last = queue.next(None);
        assert_eq!(describe(&last), Some(Ok((1, 2))));
        assert!(queue.next(Some(&b)).is_none());
        for work in [of_a, of_b, more_of_a, help, last] {
            finish(work, 1);
        }
        assert!(queue.lock().open.is_empty());
    }

    #[test]
    fn few_pieces_wait_for_earlier_ones_but_a_shard_without_threads_can_be_worked_on() {
        let queue = WorkQueue::new(2, 1);
        let a = open(queue.next(None), 9);
        let first = queue.next(Some(&a));
        let b = open(queue.next(None), 9);
        finish(queue.next(Some(&a)), 0);
        assert_eq!(queue.lock().waiting, 1);
        // Another piece of shard 0 would have to wait, too.
        let other = queue.next(Some(&a));
        assert_eq!(describe(&other), Some(Ok((1, 0))));
        finish(first, 2);
        assert_eq!(queue.lock().waiting, 0);
        let next = queue.next(Some(&a));
        assert_eq!(describe(&next), Some(Ok((0, 2))));
        drop(b);
        finish(other, 1);
        finish(next, 1);
    }

    #[test]
    fn a_piece_may_be_written_by_another_thread_before_its_own_says_that_it_waits() {
        let queue = WorkQueue::new(1, 1);
        let a = open(queue.next(None), 3);
        let [first, second] = [queue.next(Some(&a)), queue.next(Some(&a))];
        // The second piece was encoded earlier, and the first one's thread wrote both.
        finish(first, 2);
        assert_eq!(queue.lock().waiting, -1);
        finish(second, 0);
        assert_eq!(queue.lock().waiting, 0);
        let third = queue.next(Some(&a));
        assert_eq!(describe(&third), Some(Ok((0, 2))));
        finish(third, 1);
    }

    #[test]
    fn threads_that_wait_go_on_when_a_shard_is_open_and_end_when_work_is_dropped() {
        let queue = WorkQueue::new(2, 1);
        let opening = queue.next(None);
        let second = open(queue.next(None), 0);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let piece = queue.next(Some(&second));
                let found = describe(&piece);
                // It is dropped before it is done.
                drop(piece);
                found
            });
            let first = open(opening, 2);
            assert_eq!(waiting.join().unwrap(), Some(Ok((0, 0))));
            assert!(queue.next(Some(&first)).is_none());
        });
    }

    #[test]
    fn threads_that_wait_end_when_a_shard_is_not_opened() {
        let queue = WorkQueue::<usize>::new(1, 1);
        let opening = queue.next(None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next(None).is_none());
            drop(opening);
            assert!(waiting.join().unwrap());
        });
    }
}
