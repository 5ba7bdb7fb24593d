//! Many small files, written in parallel while little of them is in memory.

use super::wait_in_parallel;

/// Bytes of files that are written at once.
const BATCH_BYTES: usize = 8 << 20;

/// Writes files by calling `write` with several of them at a time, and collects what it returns.
pub(crate) struct WriteBatches<W, R> {
    write: W,
    batch: Vec<(String, Vec<u8>)>,
    bytes: usize,
    written: Vec<R>,
}

impl<W, R: Send, E: Send> WriteBatches<W, R>
where
    W: Fn(&str, &[u8]) -> Result<R, E> + Send + Sync,
{
    pub(crate) fn new(write: W) -> Self {
        Self {
            write,
            batch: Vec::new(),
            bytes: 0,
            written: Vec::new(),
        }
    }

    /// Adds a file. It may be written later.
    pub(crate) fn add(&mut self, key: String, bytes: Vec<u8>) -> Result<(), E> {
        self.bytes += bytes.len();
        self.batch.push((key, bytes));
        if self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the files that are left. Returns the results in the order of the files.
    pub(crate) fn finish(mut self) -> Result<Vec<R>, E> {
        self.flush()?;
        Ok(self.written)
    }

    fn flush(&mut self) -> Result<(), E> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let write = &self.write;
        let written = wait_in_parallel(&batch, |(key, bytes)| write(key, bytes))?;
        self.written.extend(written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn files_are_written_once_in_order_before_they_take_much_memory() {
        let written = Mutex::new(0);
        let write = |key: &str, bytes: &[u8]| {
            *written.lock().unwrap() += bytes.len();
            Ok::<_, ()>(key.to_owned())
        };
        let mut batches = WriteBatches::new(write);
        for n in 0..100 {
            let size = if n % 10 == 9 { BATCH_BYTES / 3 } else { 10 };
            batches.add(n.to_string(), vec![0; size]).unwrap();
            assert!(batches.bytes < BATCH_BYTES);
        }
        assert!(*written.lock().unwrap() >= 3 * BATCH_BYTES);
        let keys: Vec<_> = (0..100).map(|n: usize| n.to_string()).collect();
        assert_eq!(batches.finish(), Ok(keys));
    }

    #[test]
    fn an_error_is_returned() {
        let mut batches = WriteBatches::new(|_: &str, _: &[u8]| Err::<(), _>("full"));
        batches.add("a".into(), Vec::new()).unwrap();
        assert_eq!(batches.finish(), Err("full"));
    }
}
