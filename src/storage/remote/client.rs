//! The client of one server or bucket: its credentials, and advice where the server denies access.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};

use super::Network;
use super::connection::region_of;
use super::connections::Connections;
use super::credentials::{Choice, Environment, amazon, google};
use super::trouble::whole;
use super::wire::WatchedConnector;

/// Longest pause between two requests for credentials.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What asks one server.
#[derive(Debug)]
pub(super) struct Client {
    pub store: Arc<dyn ObjectStore>,
    pub network: Network,
    access: Access,
}

/// How a server is told who asks.
#[derive(Debug)]
enum Access {
    /// Not at all.
    Http,
    Google(Choice),
    Amazon(Choice),
}

impl Client {
    /// A client for `root`, or why there can be none.
    pub(super) fn new(
        root: &str,
        network: Network,
        env: &Environment,
        connections: &Connections,
    ) -> Result<Self, String> {
        Self::with_header(root, network, env, None, connections)
    }

    /// A client of its own that sends `header` with every request for an object on an http(s) server.
    pub(super) fn with_header(
        root: &str,
        network: Network,
        env: &Environment,
        header: Option<(HeaderName, HeaderValue)>,
        connections: &Connections,
    ) -> Result<Self, String> {
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout_disabled()
            .with_connect_timeout(network.idle_timeout)
            .with_read_timeout(network.idle_timeout);
        // Requests for objects are retried above `object_store`; these are for credentials.
        let retry = RetryConfig {
            backoff: BackoffConfig {
                max_backoff: LONGEST_PAUSE,
                ..BackoffConfig::default()
            },
            max_retries: 10,
            retry_timeout: network.retry.retry_for,
        };
        let (store, access): (object_store::Result<Arc<dyn ObjectStore>>, _) = match root
            .split_once("://")
        {
            Some(("gs", bucket)) => {
                let (builder, choice) = google_builder(bucket, options, env, network)?;
                let store = builder.with_url(root).with_retry(retry).build();
                (store.map(|s| Arc::new(s) as _), Access::Google(choice))
            }
            Some(("s3", bucket)) => {
                let (builder, choice) = amazon_builder(bucket, options, env, network, connections)?;
                let store = builder.with_url(root).with_retry(retry).build();
                (store.map(|s| Arc::new(s) as _), Access::Amazon(choice))
            }
            _ => {
                // object_store keeps to HTTP/1.1 unless told; with TLS the server chooses.
                let store = HttpBuilder::new()
                    .with_url(root)
                    .with_client_options(options.with_allow_http2())
                    .with_retry(retry)
                    .with_http_connector(WatchedConnector { network, header })
                    .build();
                (store.map(|s| Arc::new(s) as _), Access::Http)
            }
        };
        let store = store.map_err(|e| match &access {
            Access::Http => whole(&e),
            Access::Google(choice) | Access::Amazon(choice) => {
                format!("it cannot be accessed {}: {}", choice.words, whole(&e))
            }
        })?;
        Ok(Self {
            store,
            network,
            access,
        })
    }

    /// What to do about an answer of 401 or 403.
    pub(super) fn access_advice(&self, status: StatusCode) -> String {
        let advice = match &self.access {
            Access::Http => "http(s) requests send no credentials: check the URL, use one that needs none, or the URL of a \
                 bucket (gs://, s3://)"
                .to_owned(),
            Access::Google(choice) => format!(
                "it was accessed {}: {}",
                choice.words,
                match choice.anonymous {
                    true => "provide some (GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, \
                         ~/.cloudvolume/secrets)",
                    false => "check that they can read the bucket; GOOGLE_SKIP_SIGNATURE=true gives anonymous access, \
                         GOOGLE_CLOUD_QUOTA_PROJECT sets the project that pays",
                }
            ),
            Access::Amazon(choice) => format!(
                "it was accessed {}: {}",
                choice.words,
                match choice.anonymous {
                    true => "provide some (AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.cloudvolume/secrets)",
                    false => "check that they can read the bucket; AWS_SKIP_SIGNATURE=true gives anonymous access, \
                         AWS_REQUEST_PAYER=true agrees to pay",
                }
            ),
        };
        match status {
            StatusCode::FORBIDDEN => format!(
                "{advice}; if the server answers 403 for missing chunks, set `forbidden` in the config's `layers`"
            ),
            _ => advice,
        }
    }

    /// What to do where there could be no request for want of credentials.
    pub(super) fn credentials_advice(&self) -> String {
        match &self.access {
            Access::Http => "check the URL".to_owned(),
            Access::Google(choice) => format!(
                "it should be accessed {}; for anonymous access to a public bucket, set GOOGLE_SKIP_SIGNATURE=true",
                choice.words
            ),
            Access::Amazon(choice) => format!(
                "it should be accessed {}; for anonymous access to a public bucket, set AWS_SKIP_SIGNATURE=true",
                choice.words
            ),
        }
    }
}

fn google_builder(
    bucket: &str,
    options: ClientOptions,
    env: &Environment,
    network: Network,
) -> Result<(GoogleCloudStorageBuilder, Choice), String> {
    let found = google::find(bucket, env)?;
    let pays = google::who_pays(env).filter(|_| !found.choice.anonymous);
    let header = pays.and_then(|project| {
        let value = HeaderValue::from_str(project).ok()?;
        Some((HeaderName::from_static("x-goog-user-project"), value))
    });
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(options)
        .with_http_connector(WatchedConnector { network, header });
    for (key, value) in found.settings {
        builder = builder.with_config(key, value);
    }
    if found.choice.anonymous {
        // Or files of credentials would be read all the same.
        let none = GcpCredential {
            bearer: String::new(),
        };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(none)));
    }
    Ok((builder, found.choice))
}

fn amazon_builder(
    bucket: &str,
    options: ClientOptions,
    env: &Environment,
    network: Network,
    connections: &Connections,
) -> Result<(AmazonS3Builder, Choice), String> {
    let found = amazon::find(bucket, env)?;
    let region = match found.region_unknown {
        true => connections
            .runtime()?
            .block_on(region_of(bucket, &options, &network)),
        false => None,
    };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(options)
        .with_http_connector(WatchedConnector {
            network,
            header: None,
        });
    for (key, value) in found.credentials.settings {
        builder = builder.with_config(key, value);
    }
    // Where it could not be asked for, the first request will say what is wrong.
    if let Some(region) = region.filter(|region| !region.is_empty()) {
        builder = builder.with_config(AmazonS3ConfigKey::Region, region);
    }
    Ok((builder, found.credentials.choice))
}
