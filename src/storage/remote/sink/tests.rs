//! The contract of sinks in buckets, also with faults of the server.

mod faults;
mod writers;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::*;
use crate::storage::loopback::{connections, network};
use crate::storage::remote::RemoteLocation;
use crate::storage::remote::client::Client;
use crate::storage::remote::credentials::testing::environment;
use crate::storage::sink::contract::proxy::Proxy;
use crate::storage::sink::contract::{
    Place, bucket_server, bytes, contents, contract_tests, listed,
};
use crate::storage::{Location, Network, Store};

/// An empty bucket, behind its own proxy.
struct TestBucket {
    scheme: &'static str,
    bucket: String,
    address: &'static str,
    proxy: Proxy,
    network: Network,
    liveness: Liveness,
    part_size: PartSize,
    /// Clients take long to create, because they load certificates.
    client: OnceLock<Result<Arc<Client>, String>>,
}

fn bucket(scheme: &'static str) -> Option<TestBucket> {
    let address = bucket_server::address()?;
    let network = network();
    let retry = RetryPolicy {
        retry_for: Duration::from_secs(20),
        ..network.retry
    };
    Some(TestBucket {
        scheme,
        bucket: bucket_server::new_bucket(address),
        address,
        proxy: Proxy::start(address, scheme == "gs"),
        network: Network {
            idle_timeout: Duration::from_secs(20),
            retry,
            ..network
        },
        liveness: Liveness::default(),
        part_size: PartSize::in_steps_of(16 << 10),
        client: OnceLock::new(),
    })
}

fn s3() -> Option<TestBucket> {
    bucket("s3")
}

fn gs() -> Option<TestBucket> {
    bucket("gs")
}

impl TestBucket {
    fn remote_sink(&self) -> RemoteSink {
        let store = self.store();
        RemoteSink::new(store, self.liveness, self.part_size)
    }

    fn store(&self) -> RemoteStore {
        let url = self.proxy.url.as_str();
        let vars: &[(&str, &str)] = match self.scheme {
            "s3" => &[
                ("AWS_ENDPOINT_URL", url),
                ("AWS_ACCESS_KEY_ID", "id"),
                ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ],
            _ => &[
                ("STORAGE_EMULATOR_HOST", url),
                ("GOOGLE_BEARER_TOKEN", "hidden"),
            ],
        };
        let environment = environment(Path::new("/none"), vars);
        let connections = connections(self.network);
        let root = format!("{}://{}", self.scheme, self.bucket);
        let client = self.client.get_or_init(|| {
            let client = Client::new(&root, self.network, &environment, &connections.runtime);
            client.map(Arc::new)
        });
        RemoteStore {
            client: client.clone(),
            location: RemoteLocation::new(self.scheme, &format!("{}/out put", self.bucket))
                .unwrap(),
            connections,
            stop_group: StopGroup::default(),
            retry_policy: None,
        }
    }

    /// The keys of all objects in the folder of unfinished uploads, and the uploads.
    fn unfinished(&self) -> Vec<String> {
        let records = listed(&self.store(), ".pointshard")
            .into_iter()
            .map(|(key, _)| key);
        let uploads = bucket_server::uploads(self.address, &self.bucket);
        records
            .chain(uploads.into_iter().map(|(key, _)| key))
            .collect()
    }

    /// Aborts all uploads, recorded or not.
    fn abort_all(&self) {
        let sink = self.remote_sink();
        for (key, upload) in bucket_server::uploads(self.address, &self.bucket) {
            let key = key.strip_prefix("out put/").unwrap();
            sink.abort_upload(key, &upload).unwrap();
        }
    }

    /// Changes the records of uploads, as if their writers had ended.
    fn abandon_all(&self) {
        let (sink, store) = self.open();
        for (key, _) in listed(&*store, ".pointshard/uploads") {
            let mut record: serde_json::Value =
                serde_json::from_slice(&contents(&*store, &key).unwrap()).unwrap();
            record["writer"]["start"] = 1.into();
            sink.put(&key, record.to_string().as_bytes()).unwrap();
        }
    }
}

impl Place for TestBucket {
    fn open(&self) -> (Arc<dyn Sink>, Arc<dyn Store>) {
        (Arc::new(self.remote_sink()), Arc::new(self.store()))
    }

    fn location(&self) -> Location {
        Location::Remote(self.store().location)
    }

    fn leftovers(&self) -> Vec<String> {
        self.unfinished()
    }

    fn many_objects(&self) -> usize {
        3 * bucket_server::PAGE_OBJECTS + 1
    }
}

mod amazon {
    use super::*;

    contract_tests!(s3);
}

mod google {
    use super::*;

    contract_tests!(gs);
}
