//! The connections of a program: one client for each server or bucket, and the threads that drive requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::client::Client;
use super::credentials::Environment;
use super::request_runtime::RequestRuntime;
use crate::storage::Network;
use crate::storage::wait_reporter::WaitReporter;

/// A client that is created once. Other threads that need it wait without holding the lock of the map.
type ClientCell = Arc<OnceLock<Result<Arc<Client>, String>>>;

/// State shared by all remote reads of a program.
#[derive(Debug)]
pub(in crate::storage) struct Connections {
    network: Network,
    pub(super) waits: WaitReporter,
    pub(super) runtime: RequestRuntime,
    clients: Mutex<HashMap<String, ClientCell>>,
}

impl Connections {
    pub(in crate::storage) fn new(network: Network, waits: WaitReporter) -> Self {
        Self {
            network,
            waits,
            runtime: RequestRuntime::default(),
            clients: Mutex::default(),
        }
    }

    pub(in crate::storage) fn network(&self) -> Network {
        self.network
    }

    /// The client for `root`, a server or bucket. The first caller creates it, which may send a request. An error is
    /// not kept.
    pub(super) fn client(&self, root: &str) -> Result<Arc<Client>, String> {
        let cell = Arc::clone(self.clients().entry(root.to_owned()).or_default());
        let client = cell.get_or_init(|| {
            let env = Environment::of_process();
            Client::new(root, self.network, &env, &self.runtime).map(Arc::new)
        });
        if client.is_err() {
            let mut clients = self.clients();
            if clients
                .get(root)
                .is_some_and(|known| Arc::ptr_eq(known, &cell))
            {
                clients.remove(root);
            }
        }
        client.clone()
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, ClientCell>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
