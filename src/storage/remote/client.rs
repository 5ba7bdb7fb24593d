//! Clients by root, so that everything on one server shares its connections.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use reqwest::StatusCode;
use tokio::runtime::Runtime;

use super::Network;
use super::trouble::whole;
use super::wire::WatchedConnector;

/// Longest that a request is retried.
const RETRY_FOR: Duration = Duration::from_secs(180);

/// Longest that a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What asks one server.
#[derive(Debug)]
pub(super) struct Client {
    pub store: Arc<dyn ObjectStore>,
    pub network: Network,
}

static CLIENTS: LazyLock<Mutex<HashMap<String, Arc<Client>>>> = LazyLock::new(Mutex::default);

/// Requests are driven by two threads of their own; the threads that ask wait for them.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().ok()
});

/// Where requests are driven.
pub(super) fn runtime() -> Result<&'static Runtime, String> {
    let runtime = RUNTIME.as_ref();
    runtime.ok_or_else(|| "no threads could be started for requests".to_owned())
}

impl Client {
    /// The client for `root`, or why there can be none.
    pub(super) fn of(root: &str, network: Network) -> Result<Arc<Self>, String> {
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(root) {
            return Ok(Arc::clone(known));
        }
        let store = store(root, network).map_err(|e| whole(&e))?;
        let client = Arc::new(Self { store, network });
        clients.insert(root.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// What to do about an answer of 401 or 403.
    pub(super) fn access_advice(&self, _: StatusCode) -> String {
        "give credentials (GOOGLE_APPLICATION_CREDENTIALS, AWS_ACCESS_KEY_ID, ...), or for a public bucket ask without \
         (GOOGLE_SKIP_SIGNATURE=true, AWS_SKIP_SIGNATURE=true); some buckets answer so for objects that are not there"
            .to_owned()
    }

    /// What to do where there could be no request for want of credentials.
    pub(super) fn credentials_advice(&self) -> String {
        "check the URL, and the credentials in environment and files".to_owned()
    }
}

fn store(root: &str, network: Network) -> object_store::Result<Arc<dyn ObjectStore>> {
    let options = ClientOptions::new()
        .with_allow_http(true)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_WITHIN.min(network.idle_timeout))
        .with_read_timeout(network.idle_timeout);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 8,
        retry_timeout: RETRY_FOR,
    };
    let connector = WatchedConnector::default();
    Ok(match root.split_once("://") {
        Some(("gs", _)) => {
            let builder = GoogleCloudStorageBuilder::from_env()
                .with_url(root)
                .with_client_options(options)
                .with_retry(retry)
                .with_http_connector(connector);
            Arc::new(builder.build()?)
        }
        Some(("s3", _)) => {
            let builder = AmazonS3Builder::from_env()
                .with_url(root)
                .with_client_options(options)
                .with_retry(retry)
                .with_http_connector(connector);
            Arc::new(builder.build()?)
        }
        _ => {
            let builder = HttpBuilder::new()
                .with_url(root)
                .with_client_options(options)
                .with_retry(retry)
                .with_http_connector(connector);
            Arc::new(builder.build()?)
        }
    })
}
