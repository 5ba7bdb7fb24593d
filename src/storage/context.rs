//! Everything that reading needs: settings, connections, memory, and the way to stop. There is no global state: the
//! program makes one [`Storage`] and passes it down.

use std::path::PathBuf;
use std::sync::Arc;

use super::listing::Listing;
use super::local::LocalStore;
use super::network::Network;
use super::remote::{Connections, RemoteStore};
use super::stop_group::{StopGroup, StoppableWork};
use super::url::Location;
use super::wait_reporter::WaitReporter;
use super::{MemoryBudget, StorageError, Store};

/// Memory for documents if no limit is set: the default of `--memory`.
const DEFAULT_MEMORY_BYTES: u64 = 2 << 30;

/// Access to local and remote sources. Clones share connections, memory and the way to stop.
#[derive(Clone, Debug)]
pub struct Storage {
    connections: Arc<Connections>,
    budget: MemoryBudget,
    stop_group: StopGroup,
}

impl Storage {
    /// Access with these settings of requests.
    pub fn new(network: Network) -> Self {
        Self::with(network, WaitReporter::default())
    }

    /// As [`Storage::new`]. While a server fails, `report` is called now and then with a line that says which server the
    /// program waits for, and why.
    pub fn with_wait_report(
        network: Network,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self::with(network, WaitReporter::new(report))
    }

    fn with(network: Network, waits: WaitReporter) -> Self {
        Self {
            connections: Arc::new(Connections::new(network, waits)),
            budget: MemoryBudget::new(DEFAULT_MEMORY_BYTES),
            stop_group: StopGroup::default(),
        }
    }

    /// Access for one job: it shares the connections, has its own memory for documents, part of `memory_bytes`, and is
    /// stopped on its own.
    pub fn for_job(&self, memory_bytes: u64) -> Self {
        Self {
            connections: Arc::clone(&self.connections),
            budget: MemoryBudget::new(memory_bytes),
            stop_group: StopGroup::default(),
        }
    }

    /// The settings of requests.
    pub fn network(&self) -> Network {
        self.connections.network()
    }

    /// Memory for documents.
    pub(crate) fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Read access to the objects below `location`.
    pub fn open(&self, location: &Location) -> Arc<dyn Store> {
        match location {
            Location::Local(path) => Arc::new(LocalStore::new(path.clone())),
            Location::Remote(remote) => {
                let store = RemoteStore::open(remote, &self.connections, &self.stop_group);
                Arc::new(store)
            }
        }
    }

    /// What is directly below `location`.
    pub(crate) fn list(&self, location: &Location) -> Result<Listing, StorageError> {
        let listing = match location {
            Location::Local(path) => Listing::of_folder(path)?,
            Location::Remote(remote) => {
                RemoteStore::open(remote, &self.connections, &self.stop_group).list()?
            }
        };
        Ok(listing.sorted())
    }

    /// The objects below the http(s) URL `url`, requested with a bearer token and with settings of their own. No
    /// redirect to another server gets the token.
    pub(crate) fn open_with_token(
        &self,
        url: &str,
        token: Option<&str>,
        network: Network,
    ) -> Result<Arc<dyn Store>, String> {
        let location = Location::Local(PathBuf::new()).resolve(url);
        match location.map_err(|e| e.to_string())? {
            Location::Remote(location) => {
                let (connections, group) = (&self.connections, &self.stop_group);
                let store = RemoteStore::with_token(&location, token, network, connections, group)?;
                Ok(Arc::new(store))
            }
            Location::Local(_) => Err("it is no URL".to_owned()),
        }
    }

    /// Begins some work. When it is stopped, all reads end that were opened here.
    pub(crate) fn begin_work(&self) -> StoppableWork {
        self.stop_group.begin_work()
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new(Network::default())
    }
}
