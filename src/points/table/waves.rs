//! Blocks of a table, read one after the other, parsed in parallel and merged in their order.
//!
//! Several blocks are a wave. While one wave is parsed, the next one is read and the previous one is merged, so the result and the first
//! error depend neither on the number of threads nor on their speed, and at most three waves are in memory.

use rayon::prelude::*;

/// Bytes of a wave. A block with more is a wave of its own, and no other one is read while it is parsed.
const WAVE_BYTES: u64 = 4 << 20;

/// Blocks of a wave, for each thread.
const BLOCKS_PER_THREAD: usize = 4;

/// Blocks that are parsed together.
struct Wave<B> {
    blocks: Vec<B>,
    bytes: u64,
}

impl<B> Wave<B> {
    fn is_large(&self) -> bool {
        self.bytes > WAVE_BYTES
    }
}

/// Calls `read` until it returns `None`, `parse` with each block, and `merge` with the result of each block, in order. `read` returns the
/// bytes of the block, too.
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
        };
        while end.is_none() && wave.bytes < WAVE_BYTES && wave.blocks.len() < most_blocks {
            match read() {
                Some(Ok((block, bytes))) => {
                    wave.blocks.push(block);
                    wave.bytes += bytes;
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
        let (merged, (results, next)) = if wave.is_large() {
            let merged = merge_all();
            (merged, (parse_wave(wave), None))
        } else {
            rayon::join(merge_all, || {
                rayon::join(|| parse_wave(wave), || Some(read_wave()))
            })
        };
        merged?;
        parsed = results;
        wave = next.unwrap_or_else(&mut read_wave);
    }
    end.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
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
        for bytes in [1, WAVE_BYTES / 3, WAVE_BYTES + 1] {
            let (found, done) = merged(1000, 0, bytes);
            assert_eq!(found, (1..=1000).map(|n| n * 10).collect::<Vec<_>>());
            assert_eq!(done, Err("read".to_owned()));
            let (found, done) = merged(1000, 700, bytes);
            assert_eq!((found.len(), done), (699, Err("block 7000".to_owned())));
        }
    }

    #[test]
    fn no_blocks_are_no_error() {
        let read = || None::<Result<((), u64), String>>;
        assert_eq!(parse_in_waves(read, |()| (), |()| Ok(())), Ok(()));
    }
}
