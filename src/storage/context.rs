//! The context of all reads: settings, connections, memory budget and stop group. There is no global state: the program
//! creates one [`Storage`] and passes it to its parts.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use super::current_stage::CurrentStage;
use super::interrupt::Interrupt;
use super::listing::Listing;
use super::local::LocalStore;
use super::local_sink::LocalSink;
use super::network::Network;
use super::remote::{Connections, RemoteStore};
use super::shared_values::SharedValues;
use super::stop_group::{StopGroup, StoppableWork};
use super::url::Location;
use super::wait_reporter::WaitReporter;
use super::{MemoryBudget, Sink, StorageError, Store};

/// Memory limit if none is set. Equal to the default of `--memory`.
const DEFAULT_MEMORY_BYTES: u64 = 2 << 30;

/// Access to local and remote sources. Clones share connections, memory budget and stop group.
#[derive(Clone, Debug)]
pub struct Storage {
    connections: Arc<Connections>,
    budget: MemoryBudget,
    interrupt: Interrupt,
    stop_group: StopGroup,
    /// What the job does now.
    stage: Arc<CurrentStage>,
    shared: SharedValues,
    /// Through which sinks are opened.
    #[cfg(test)]
    fault_points: Option<Arc<super::fault_points::FaultPoints>>,
}

impl Storage {
    /// Access with these network settings.
    pub fn new(network: Network) -> Self {
        Self::with(network, WaitReporter::default())
    }

    /// Like [`Storage::new`]. While a server fails, `report` is called from time to time with a line that names the server
    /// and the problem.
    pub fn with_wait_report(
        network: Network,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self::with(network, WaitReporter::new(report))
    }

    fn with(network: Network, waits: WaitReporter) -> Self {
        let interrupt = Interrupt::default();
        Self {
            connections: Arc::new(Connections::new(network, waits)),
            budget: MemoryBudget::new(DEFAULT_MEMORY_BYTES),
            stop_group: interrupt.group(),
            interrupt,
            stage: Arc::default(),
            shared: SharedValues::default(),
            #[cfg(test)]
            fault_points: None,
        }
    }

    /// Counts the operations of sinks that are opened from now on; one of them may fail.
    #[cfg(test)]
    pub(crate) fn with_fault_points(self, points: &Arc<super::fault_points::FaultPoints>) -> Self {
        Self {
            fault_points: Some(Arc::clone(points)),
            ..self
        }
    }

    /// Access for one job. It shares the connections, but has its own stop group and its own memory budget for documents,
    /// which is part of `memory_bytes`.
    pub fn for_job(&self, memory_bytes: u64) -> Self {
        Self {
            connections: Arc::clone(&self.connections),
            budget: MemoryBudget::new(memory_bytes),
            stop_group: self.interrupt.group(),
            interrupt: self.interrupt.clone(),
            stage: Arc::clone(&self.stage),
            shared: SharedValues::default(),
            #[cfg(test)]
            fault_points: self.fault_points.clone(),
        }
    }

    /// What the job does now. All clones share it.
    pub(crate) fn stage(&self) -> &CurrentStage {
        &self.stage
    }

    /// The value that [`Storage::share`] got for `key`, if it has the type `T`.
    pub(crate) fn shared<T: Any + Send + Sync>(&self, key: &str) -> Option<Arc<T>> {
        self.shared.get(key)
    }

    /// All values of the type `T` that [`Storage::share`] got, in the order of their keys.
    pub(crate) fn all_shared<T: Any + Send + Sync>(&self) -> Vec<Arc<T>> {
        self.shared.all()
    }

    /// Keeps `value` until the end of the job, so that it is read once. It counts against the memory budget.
    pub(crate) fn share(&self, key: String, value: Arc<dyn Any + Send + Sync>) {
        self.shared.insert(key, value);
    }

    /// The network settings.
    pub fn network(&self) -> Network {
        self.connections.network()
    }

    /// The memory budget for documents.
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

    /// As [`Storage::open`], but it is an error to read a file through a symbolic link that leads out of a local folder.
    pub(crate) fn open_confined(&self, location: &Location) -> Arc<dyn Store> {
        match location {
            Location::Local(path) => Arc::new(LocalStore::confined(path.clone())),
            Location::Remote(_) => self.open(location),
        }
    }

    /// Write access to the objects below `location`.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub(crate) fn open_sink(&self, location: &Location) -> Result<Arc<dyn Sink>, StorageError> {
        let sink: Arc<dyn Sink> = match location {
            Location::Local(path) => Arc::new(LocalSink::new(path.clone())),
            Location::Remote(remote) => {
                let store = RemoteStore::open(remote, &self.connections, &self.stop_group);
                store.into_sink()?
            }
        };
        #[cfg(test)]
        if let Some(points) = &self.fault_points {
            return Ok(points.wrap(sink));
        }
        Ok(sink)
    }

    /// Lists the folders and files directly in `location`.
    pub(crate) fn list(&self, location: &Location) -> Result<Listing, StorageError> {
        let listing = match location {
            Location::Local(path) => Listing::of_folder(path)?,
            Location::Remote(remote) => {
                RemoteStore::open(remote, &self.connections, &self.stop_group).list_folder()?
            }
        };
        Ok(listing.sorted())
    }

    /// Opens the http(s) URL `url` with a bearer token and separate network settings. Redirects to other servers do not
    /// get the token.
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
            Location::Local(_) => Err("it is not a URL".to_owned()),
        }
    }

    /// Ends all work through this storage and those made from it, for good: extraction, and requests to servers. Work that is
    /// stopped fails, and keeps what is complete.
    pub fn interrupt(&self) {
        self.interrupt.set();
    }

    /// Begins some work. When it is stopped, all reads through this storage end.
    pub(crate) fn begin_work(&self) -> StoppableWork {
        self.stop_group.begin_work()
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new(Network::default())
    }
}
