//! A sink that fails at one of its operations, for tests: every write, rename, deletion and flush is such a point. It does not
//! wait for the disk where it need not: tests run jobs many times.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::sink::{Depth, PendingObject, Sink, WriterAccess, WriterGuard};
use super::{Location, StorageError};

/// What happens at which operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InjectedFault {
    /// The number of the operation, from 0.
    pub operation: u64,
    /// Whether it does what it should before it fails.
    pub acts: bool,
    /// Whether all later operations fail, too, and do nothing: the process crashed.
    pub crashes: bool,
    /// The error.
    pub error: io::ErrorKind,
}

/// Counts the operations of sinks. One of them may fail.
#[derive(Debug)]
pub(crate) struct FaultPoints {
    fault: Option<InjectedFault>,
    operations: AtomicU64,
    crashed: AtomicBool,
}

impl FaultPoints {
    pub fn new(fault: Option<InjectedFault>) -> Arc<Self> {
        Arc::new(Self {
            fault,
            operations: AtomicU64::new(0),
            crashed: AtomicBool::new(false),
        })
    }

    /// The number of operations so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// A sink whose operations are counted.
    pub fn wrap(self: &Arc<Self>, sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(FaultySink {
            points: Arc::clone(self),
            sink,
        })
    }

    fn operation<T>(
        &self,
        action: &'static str,
        key: &str,
        act: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let Some(fault) = self.fault else {
            return act();
        };
        let is_here = number == fault.operation;
        if !is_here && !self.crashed.load(Ordering::SeqCst) {
            return act();
        }
        if is_here && fault.acts {
            act()?;
        }
        if is_here && fault.crashes {
            self.crashed.store(true, Ordering::SeqCst);
        }
        Err(StorageError::Write {
            action,
            object: format!("{key} (operation {number})"),
            source: fault.error.into(),
        })
    }
}

struct FaultySink {
    points: Arc<FaultPoints>,
    sink: Arc<dyn Sink>,
}

impl fmt::Debug for FaultySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultySink")
    }
}

impl Sink for FaultySink {
    fn create_root(&self) -> Result<bool, StorageError> {
        let act = || self.sink.create_root();
        self.points.operation("create", "the root", act)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let act = || self.sink.put_unflushed(key, bytes);
        self.points.operation("write", key, act)
    }

    fn put_unflushed(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let act = || self.sink.put_unflushed(key, bytes);
        self.points.operation("write", key, act)
    }

    fn create_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        let act = || self.sink.create_new(key, bytes);
        self.points.operation("create", key, act)
    }

    fn begin(&self, key: &str) -> Result<Box<dyn PendingObject>, StorageError> {
        let act = || self.sink.begin(key);
        let object = self.points.operation("begin", key, act)?;
        Ok(Box::new(FaultyObject {
            points: Arc::clone(&self.points),
            key: key.to_owned(),
            object,
        }))
    }

    fn copy_unread(&self, from: &Location, key: &str) -> Result<bool, StorageError> {
        let act = || self.sink.copy_unread(from, key);
        self.points.operation("copy", key, act)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let act = || self.sink.delete(key);
        self.points.operation("delete", key, act)
    }

    fn flush_folders(&self, _: &mut dyn Iterator<Item = &str>) -> Result<(), StorageError> {
        self.points.operation("flush", "folders", || Ok(()))
    }

    fn remove_abandoned(&self, folder: &str, depth: Depth) -> Result<(), StorageError> {
        let act = || self.sink.remove_abandoned(folder, depth);
        self.points.operation("clean", folder, act)
    }

    fn register_writer(
        &self,
        key: &str,
        access: WriterAccess,
    ) -> Result<Option<WriterGuard>, StorageError> {
        let act = || self.sink.register_writer(key, access);
        self.points.operation("register at", key, act)
    }
}

#[derive(Debug)]
struct FaultyObject {
    points: Arc<FaultPoints>,
    key: String,
    object: Box<dyn PendingObject>,
}

impl PendingObject for FaultyObject {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let act = || self.object.write(bytes);
        self.points.operation("write", &self.key, act)
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let Self {
            points,
            key,
            object,
        } = *self;
        points.operation("commit", &key, || object.commit())
    }
}
