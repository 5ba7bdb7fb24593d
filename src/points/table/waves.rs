//! Blocks of a table, read one after the other, parsed in parallel and merged in their order.
//!
//! Several blocks are a wave. While one wave is parsed, the next one is read and the results of the previous one are merged, so that a slow
//! disk or server and decoding take no extra time. The merged results and the first error depend neither on the number of threads nor on
//! their speed. In memory are the blocks of two waves and the results of two waves. A wave with a large block is parsed alone: neither other
//! blocks nor other results are in memory then.

use rayon::prelude::*;

/// Bytes of a wave, unless its last block has more.
const WAVE_BYTES: u64 = 8 << 20;

/// Blocks of a wave, for each thread.
const BLOCKS_PER_THREAD: usize = 4;

/// Blocks that are parsed together.
struct Wave<B> {
    blocks: Vec<B>,
    bytes: u64,
    /// Whether a block alone has more than [`WAVE_BYTES`].
    has_large_block: bool,
}

/// Calls `read` until it returns `None`, `parse` with each block, and `merge` with the result of each block, in order. `read` returns the
/// bytes that the block takes while it is parsed, too.
///
/// # Errors
/// The first error in the order of the blocks, of `read` or of `merge`.
pub(super) fn parse_in_waves<B: Send, T: Send, E: Send>(
    mut read: impl FnMut() -> Option<Result<(B, u64), E>> + Send,
    parse: impl Fn(B) -> T + Sync,
    mut merge: impl FnMut(T) -> Result<(), E> + Send,
) -> Result<(), E> {
    let most_blocks = BLOCKS_PER_THREAD * rayon::current_num_threads();
    let mut end: Option<Result<(), E>> = None;
    let mut read_wave = || {
        let mut wave = Wave {
            blocks: Vec::new(),
            bytes: 0,
            has_large_block: false,
        };
        while end.is_none() && wave.bytes < WAVE_BYTES && wave.blocks.len() < most_blocks {
            match read() {
                Some(Ok((block, bytes))) => {
                    wave.blocks.push(block);
                    wave.bytes = wave.bytes.saturating_add(bytes);
                    wave.has_large_block |= bytes > WAVE_BYTES;
                }
                Some(Err(e)) => end = Some(Err(e)),
                None => end = Some(Ok(())),
            }
        }
        wave
    };
    let parse_wave = |wave: Wave<B>| -> Vec<T> {
        let blocks = wave.blocks.into_par_iter();
        blocks.map(&parse).collect()
    };
    let mut wave = read_wave();
    let mut parsed = Vec::new();
    while !wave.blocks.is_empty() || !parsed.is_empty() {
        let mut merge_all = || parsed.drain(..).try_for_each(&mut merge);
        if wave.has_large_block {
            merge_all()?;
            parse_wave(wave).into_iter().try_for_each(&mut merge)?;
            wave = read_wave();
        } else {
            let (merged, (results, next)) = rayon::join(merge_all, || {
                rayon::join(|| parse_wave(wave), &mut read_wave)
            });
            merged?;
            (parsed, wave) = (results, next);
        }
    }
    end.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    /// The blocks that are merged, until `read` or the block `fails` fails.
    fn merged(count: u32, fails: u32, bytes: u64) -> (Vec<u32>, Result<(), String>) {
        let mut next = 0;
        let read = || {
            next += 1;
            match next {
                n if n > count => Some(Err("read".to_owned())),
                n => Some(Ok((n, bytes))),
            }
        };
        let mut found = Vec::new();
        let done = parse_in_waves(
            read,
            |n| n * 10,
            |n| {
                if n == fails * 10 {
                    return Err(format!("block {n}"));
                }
                found.push(n);
                Ok(())
            },
        );
        (found, done)
    }

    #[test]
    fn results_are_merged_in_order_until_the_first_error() {
        for bytes in [1, WAVE_BYTES / 3, WAVE_BYTES, WAVE_BYTES + 1, u64::MAX] {
            let (found, done) = merged(1000, 0, bytes);
            assert_eq!(found, (1..=1000).map(|n| n * 10).collect::<Vec<_>>());
            assert_eq!(done, Err("read".to_owned()));
            let (found, done) = merged(1000, 700, bytes);
            assert_eq!((found.len(), done), (699, Err("block 7000".to_owned())));
        }
    }

    /// The most blocks that were read and not merged at the same time, and whether a block was read while one was parsed.
    fn held(bytes: u64) -> (u32, bool) {
        let (read, merged, most) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let (parsing, overlaps) = (AtomicU32::new(0), AtomicU32::new(0));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let done = pool.unwrap().install(|| {
            parse_in_waves(
                || {
                    overlaps.fetch_add(parsing.load(Ordering::SeqCst), Ordering::SeqCst);
                    let number = read.fetch_add(1, Ordering::SeqCst);
                    most.fetch_max(number + 1 - merged.load(Ordering::SeqCst), Ordering::SeqCst);
                    (number < 60).then_some(Ok(((), bytes)))
                },
                |()| {
                    parsing.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    parsing.fetch_sub(1, Ordering::SeqCst);
                },
                |()| {
                    merged.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, ()>(())
                },
            )
        });
        done.unwrap();
        (most.into_inner(), overlaps.into_inner() > 0)
    }

    #[test]
    fn the_next_wave_is_read_while_one_is_parsed_unless_a_block_is_large() {
        // Waves of 8 blocks, because of their number, and of 3 and 1, because of their bytes.
        for (bytes, in_wave) in [(1, 8), (WAVE_BYTES * 2 / 5, 3), (WAVE_BYTES, 1)] {
            let (most, overlaps) = held(bytes);
            assert!(overlaps && most <= 3 * in_wave, "{bytes}: {most}");
        }
        assert_eq!(held(WAVE_BYTES + 1), (1, false));
    }

    #[test]
    fn no_blocks_are_no_error() {
        let read = || None::<Result<((), u64), String>>;
        assert_eq!(parse_in_waves(read, |()| (), |()| Ok(())), Ok(()));
    }
}
