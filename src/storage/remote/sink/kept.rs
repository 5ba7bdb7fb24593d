//! Objects that show that their writer lives. They are written again every minute, until they are removed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::PutPayload;

use super::super::RemoteStore;
use super::super::action::Action;
use super::super::list::BucketObject;
use super::super::request_error::not_sent;
use crate::storage::StorageError;

/// When a writer is believed to live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    /// How often a writer writes its objects again.
    pub rewrite_every: Duration,
    /// The age at which an object is not kept by a writer any more, by the server's clock.
    pub dead_after: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            rewrite_every: Duration::from_secs(60),
            dead_after: Duration::from_secs(300),
        }
    }
}

impl Liveness {
    /// Whether the writer of `object` may live, when the server's clock shows `now_ms`.
    pub(super) fn may_live(&self, object: &BucketObject, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(object.modified_ms);
        u128::try_from(age_ms).map_or(true, |age_ms| age_ms < self.dead_after.as_millis())
    }
}

/// The kept objects of this process below one location.
pub(super) struct KeptObjects(Arc<Shared>);

struct Shared {
    store: RemoteStore,
    rewrite_every: Duration,
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, Arc<Contents>>,
    has_thread: bool,
    is_closed: bool,
}

/// What is written again; `None` when the object is not kept any more. The lock is held while it is written.
type Contents = Mutex<Option<PutPayload>>;

/// An object that is kept until this is dropped, which deletes it.
pub(super) struct KeptObject {
    /// Also keeps the thread running.
    all: Arc<KeptObjects>,
    pub key: String,
}

impl KeptObjects {
    pub(super) fn new(store: RemoteStore, rewrite_every: Duration) -> Self {
        Self(Arc::new(Shared {
            store,
            rewrite_every,
            state: Mutex::default(),
            closed: Condvar::new(),
        }))
    }

    /// Writes an object with `store`, and keeps it.
    pub(super) fn keep(
        self: &Arc<Self>,
        store: &RemoteStore,
        key: String,
        contents: Vec<u8>,
    ) -> Result<KeptObject, StorageError> {
        let payload = PutPayload::from(contents);
        let kept = KeptObject {
            all: Arc::clone(self),
            key,
        };
        // From here on, the object is deleted after an error.
        store.put_object(&kept.key, &payload)?;
        let mut state = self.0.lock();
        if !state.has_thread {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("keep".to_owned());
            let spawned = thread.spawn(move || shared.keep_all());
            spawned.map_err(|e| {
                let url = store.location.join(&kept.key).to_string();
                let problem = format!("no thread could be started: {e}");
                not_sent(Action::Write, &url, &problem, "raise the limit on threads")
            })?;
            state.has_thread = true;
        }
        let contents = Arc::new(Mutex::new(Some(payload)));
        state.objects.insert(kept.key.clone(), contents);
        drop(state);
        Ok(kept)
    }
}

impl Drop for KeptObjects {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.closed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all objects again from time to time, until the sink is closed.
    fn keep_all(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            let waited = self.closed.wait_timeout(state, self.rewrite_every);
            let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = waited;
            if !timeout.timed_out() {
                continue;
            }
            let objects: Vec<(String, Arc<Contents>)> = state.objects.clone().into_iter().collect();
            drop(state);
            for (key, contents) in objects {
                let contents = contents.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(payload) = &*contents {
                    // If it fails for minutes, other processes believe that this one is dead.
                    let _ = self.store.put_object(&key, payload);
                }
            }
            state = self.lock();
        }
    }
}

impl KeptObject {
    /// Keeps the object no longer, but does not delete it.
    pub(super) fn leave(mut self) {
        self.release();
        self.key.clear();
    }

    fn release(&mut self) {
        let contents = self.all.0.lock().objects.remove(&self.key);
        if let Some(contents) = contents {
            // Waits while the object is written again: it would appear again after its deletion.
            *contents.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Drop for KeptObject {
    fn drop(&mut self) {
        self.release();
        if !self.key.is_empty() {
            // An object that remains is too old after some minutes.
            let _ = self.all.0.store.delete_object(&self.key);
        }
    }
}

/// A name that no other writer uses.
pub(super) fn unique_name() -> String {
    // The random keys of a hasher are enough for this.
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
