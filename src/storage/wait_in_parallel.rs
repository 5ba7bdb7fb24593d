//! Many operations that wait for a disk or a server.

use rayon::prelude::*;

/// How many operations wait at the same time. Disks flush several files at once, and servers take most of the time of a
/// small request to answer.
const WAITING: usize = 16;

/// Runs `operation` on each item, with more threads than cores, and returns the results in the order of the items.
///
/// # Errors
/// One of the errors; operations that have not begun are left out then.
pub(crate) fn wait_in_parallel<T: Sync, R: Send, E: Send>(
    items: &[T],
    operation: impl Fn(&T) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    run_with_threads(WAITING, items, operation)
}

/// Like [`wait_in_parallel`], with this number of threads.
pub(crate) fn run_with_threads<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    operation: impl Fn(&T) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    let run = || items.par_iter().map(&operation).collect();
    let threads = threads.min(items.len()).max(1);
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(run),
        // The system allows no more threads.
        Err(_) => run(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn operations_wait_at_the_same_time_and_results_keep_their_order() {
        let items: Vec<usize> = (0..WAITING).collect();
        let all = Barrier::new(WAITING);
        let done = wait_in_parallel(&items, |item| {
            all.wait();
            Ok::<_, ()>(item * 2)
        });
        assert_eq!(
            done.unwrap(),
            (0..WAITING).map(|i| i * 2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_error_is_returned() {
        let check = |item: &u32| if *item == 7 { Err("seven") } else { Ok(()) };
        assert_eq!(wait_in_parallel(&[1, 7, 3], check), Err("seven"));
        assert_eq!(wait_in_parallel(&[], check), Ok(vec![]));
    }
}
