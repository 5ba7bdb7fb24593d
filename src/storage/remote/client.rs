//! The client of one server or bucket: its credentials, and advice if the server denies access.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::http::HttpBuilder;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};

use super::Network;
use super::action::Action;
use super::credentials::{Choice, Environment, amazon, google};
use super::error_text::with_causes;
use super::http_adapter::HttpAdapterConnector;
use super::http_client::region_of;
use super::request_runtime::RequestRuntime;

/// Longest pause between two requests for credentials.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Settings for access to Google's buckets, for messages.
const GOOGLE_OPTIONS: &str = "GOOGLE_SKIP_SIGNATURE=true gives anonymous access, GOOGLE_CLOUD_QUOTA_PROJECT sets the \
                              project that pays";

/// Settings for access to Amazon's buckets, for messages.
const AMAZON_OPTIONS: &str =
    "AWS_SKIP_SIGNATURE=true gives anonymous access, AWS_REQUEST_PAYER=true agrees to pay";

/// Sends requests to one server or bucket.
#[derive(Debug)]
pub(super) struct Client {
    pub store: Arc<dyn ObjectStore>,
    /// Multipart uploads and pages of listings, which only buckets have.
    pub bucket: Option<Bucket>,
    pub network: Network,
    access: Access,
}

/// What a bucket can do besides [`ObjectStore`].
#[derive(Clone)]
pub(super) struct Bucket {
    pub uploads: Arc<dyn MultipartStore>,
    pub pages: Arc<dyn PaginatedListStore>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

/// The three views of one store.
fn views<S>(store: S) -> (Arc<dyn ObjectStore>, Option<Bucket>)
where
    S: ObjectStore + MultipartStore + PaginatedListStore,
{
    let store = Arc::new(store);
    let bucket = Bucket {
        uploads: Arc::clone(&store) as _,
        pages: Arc::clone(&store) as _,
    };
    (store, Some(bucket))
}

/// The credentials of a client.
#[derive(Debug)]
enum Access {
    /// None.
    Http,
    Google(Choice),
    Amazon(Choice),
}

impl Client {
    /// A client for `root`, or the reason why it cannot be created.
    pub(super) fn new(
        root: &str,
        network: Network,
        env: &Environment,
        runtime: &RequestRuntime,
    ) -> Result<Self, String> {
        Self::with_header(root, network, env, None, runtime)
    }

    /// As [`Client::new`]. The client sends `header` with every request for an object on an http(s) server.
    pub(super) fn with_header(
        root: &str,
        network: Network,
        env: &Environment,
        header: Option<(HeaderName, HeaderValue)>,
        runtime: &RequestRuntime,
    ) -> Result<Self, String> {
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout_disabled()
            .with_connect_timeout(network.idle_timeout)
            .with_read_timeout(network.idle_timeout);
        // For requests for credentials only. Requests for objects are retried by the caller of `object_store`.
        let retry = RetryConfig {
            backoff: BackoffConfig {
                max_backoff: LONGEST_PAUSE,
                ..BackoffConfig::default()
            },
            max_retries: 10,
            retry_timeout: network.retry.retry_for,
        };
        let (built, access): (object_store::Result<(Arc<dyn ObjectStore>, _)>, _) =
            match root.split_once("://") {
                Some(("gs", bucket)) => {
                    let (builder, choice) = google_builder(bucket, options, env, network)?;
                    let store = builder.with_url(root).with_retry(retry).build();
                    (store.map(views), Access::Google(choice))
                }
                Some(("s3", bucket)) => {
                    let (builder, choice) = amazon_builder(bucket, options, env, network, runtime)?;
                    let store = builder.with_url(root).with_retry(retry).build();
                    (store.map(views), Access::Amazon(choice))
                }
                _ => {
                    // By default object_store uses HTTP/1.1 only. With TLS the server chooses.
                    let store = HttpBuilder::new()
                        .with_url(root)
                        .with_client_options(options.with_allow_http2())
                        .with_retry(retry)
                        .with_http_connector(HttpAdapterConnector { network, header })
                        .build();
                    (store.map(|s| (Arc::new(s) as _, None)), Access::Http)
                }
            };
        let (store, bucket) = built.map_err(|e| match &access {
            Access::Http => with_causes(&e),
            Access::Google(choice) | Access::Amazon(choice) => {
                let description = &choice.description;
                format!("it cannot be accessed {description}: {}", with_causes(&e))
            }
        })?;
        Ok(Self {
            store,
            bucket,
            network,
            access,
        })
    }

    /// What to do about status 401 or 403.
    pub(super) fn access_advice(&self, action: Action, status: StatusCode) -> String {
        let access = match action {
            Action::Read => "read",
            Action::List => "list",
            Action::Write => "write to",
            Action::Delete => "delete objects in",
        };
        let advice = match &self.access {
            Access::Http => "http(s) requests send no credentials: check the URL, use one without access control, or the URL of a \
                 bucket (gs://, s3://)"
                .to_owned(),
            Access::Google(choice) => format!(
                "it was accessed {}: {}",
                choice.description,
                if choice.anonymous {
                    "provide credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, \
                     ~/.cloudvolume/secrets)"
                        .to_owned()
                } else {
                    format!("check that they can {access} the bucket; {GOOGLE_OPTIONS}")
                }
            ),
            Access::Amazon(choice) => format!(
                "it was accessed {}: {}",
                choice.description,
                if choice.anonymous {
                    "provide credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.cloudvolume/secrets)"
                        .to_owned()
                } else {
                    format!("check that they can {access} the bucket; {AMAZON_OPTIONS}")
                }
            ),
        };
        match status {
            StatusCode::FORBIDDEN if action == Action::Read => format!(
                "{advice}; if the server answers 403 for missing chunks, set `forbidden` in the config's `layers`"
            ),
            _ => advice,
        }
    }

    /// What to do if the credentials for a request are not available.
    pub(super) fn credentials_advice(&self) -> String {
        match &self.access {
            Access::Http => "check the URL".to_owned(),
            Access::Google(choice) => format!(
                "it should be accessed {}; for anonymous access to a public bucket, set GOOGLE_SKIP_SIGNATURE=true",
                choice.description
            ),
            Access::Amazon(choice) => format!(
                "it should be accessed {}; for anonymous access to a public bucket, set AWS_SKIP_SIGNATURE=true",
                choice.description
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
    let credentials = google::find(bucket, env)?;
    let payer = google::billing_project(env).filter(|_| !credentials.choice.anonymous);
    let header = payer.and_then(|project| {
        let value = HeaderValue::from_str(project).ok()?;
        Some((HeaderName::from_static("x-goog-user-project"), value))
    });
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(options)
        .with_http_connector(HttpAdapterConnector { network, header });
    for (key, value) in credentials.settings {
        builder = builder.with_config(key, value);
    }
    if credentials.choice.anonymous {
        // Prevents `object_store` from reading credential files.
        let none = GcpCredential {
            bearer: String::new(),
        };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(none)));
    }
    Ok((builder, credentials.choice))
}

fn amazon_builder(
    bucket: &str,
    options: ClientOptions,
    env: &Environment,
    network: Network,
    runtime: &RequestRuntime,
) -> Result<(AmazonS3Builder, Choice), String> {
    let found = amazon::find(bucket, env)?;
    let region = if found.region_unknown {
        let lookup = region_of(bucket, &options, &network);
        runtime.get()?.block_on(lookup)
    } else {
        None
    };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(options)
        // Not all S3 servers can delete several objects in one request.
        .with_disable_bulk_delete(true)
        .with_http_connector(HttpAdapterConnector {
            network,
            header: None,
        });
    for (key, value) in found.credentials.settings {
        builder = builder.with_config(key, value);
    }
    // If the lookup failed, the first request for an object fails with the reason.
    if let Some(region) = region.filter(|region| !region.is_empty()) {
        builder = builder.with_config(AmazonS3ConfigKey::Region, region);
    }
    Ok((builder, found.credentials.choice))
}
