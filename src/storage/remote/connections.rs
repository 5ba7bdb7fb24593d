//! The connections of a program: a client for each server or bucket, and the threads that drive requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::Runtime;

use super::client::Client;
use super::credentials::Environment;
use crate::storage::Network;
use crate::storage::wait_reporter::WaitReporter;

/// A client that is made once; other threads that need it wait for that, but hold no lock.
type ClientCell = Arc<OnceLock<Result<Arc<Client>, String>>>;

/// Everything that reads of one program share.
#[derive(Debug)]
pub(in crate::storage) struct Connections {
    network: Network,
    pub(super) waits: WaitReporter,
    runtime: OnceLock<Option<OwnRuntime>>,
    clients: Mutex<HashMap<String, ClientCell>>,
}

/// A runtime that does not wait for its threads at the end: one of them may be looking up a host's name.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Connections {
    pub(in crate::storage) fn new(network: Network, waits: WaitReporter) -> Self {
        Self {
            network,
            waits,
            runtime: OnceLock::new(),
            clients: Mutex::default(),
        }
    }

    pub(in crate::storage) fn network(&self) -> Network {
        self.network
    }

    /// Drives requests with two threads of its own; the threads that read wait for them.
    pub(super) fn runtime(&self) -> Result<&Runtime, String> {
        let start = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().ok()?;
            Some(OwnRuntime(Some(runtime)))
        };
        let runtime = self.runtime.get_or_init(start).as_ref();
        runtime
            .and_then(|own| own.0.as_ref())
            .ok_or_else(|| "no threads could be started for requests".to_owned())
    }

    /// The client for `root`, a server or bucket, or why there can be none. Its first user makes it, which may take a
    /// request; a failure is not kept.
    pub(super) fn client(&self, root: &str) -> Result<Arc<Client>, String> {
        let cell = Arc::clone(self.clients().entry(root.to_owned()).or_default());
        let made = cell.get_or_init(|| {
            Client::new(root, self.network, &Environment::of_process(), self).map(Arc::new)
        });
        if made.is_err() {
            let mut clients = self.clients();
            if clients
                .get(root)
                .is_some_and(|known| Arc::ptr_eq(known, &cell))
            {
                clients.remove(root);
            }
        }
        made.clone()
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, ClientCell>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
