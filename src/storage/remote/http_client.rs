//! The HTTP client that sends requests, and the lookup of an S3 bucket's region.

use std::time::Duration;

use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, StatusCode};

use super::tls;
use crate::storage::Network;

/// Longest time for connecting.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);

/// A client as `object_store` would build it from `options`, except that redirects are followed by the caller. It fails
/// after `read_timeout` without data from the server.
pub(super) fn build(
    options: &ClientOptions,
    network: &Network,
    read_timeout: Option<Duration>,
) -> object_store::Result<Client> {
    let generic = |e: reqwest::Error| generic_error(e.without_url());
    let text = |key| options.get_config_value(&key);
    let is_set = |key| text(key).is_some_and(|value| value == "true");
    let http1_only = is_set(ClientConfigKey::Http1Only);
    let verify = !is_set(ClientConfigKey::AllowInvalidCertificates);
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::config(verify, http1_only).map_err(generic_error)?)
        .user_agent(concat!("pointshard/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(MAX_CONNECT_TIME.min(network.idle_timeout))
        // The reader decodes Content-Encoding, because it knows the length and the limit.
        .no_gzip();
    if let Some(read_timeout) = read_timeout {
        builder = builder.read_timeout(read_timeout);
    }
    if let Some(url) = text(ClientConfigKey::ProxyUrl) {
        let proxy = Proxy::all(url).map_err(generic)?;
        let excluded = text(ClientConfigKey::ProxyExcludes);
        let excluded = excluded.and_then(|hosts| NoProxy::from_string(&hosts));
        builder = builder.proxy(proxy.no_proxy(excluded));
    }
    if http1_only {
        builder = builder.http1_only();
    }
    builder.build().map_err(generic)
}

/// The region of an S3 bucket, which Amazon publishes; `None` if the lookup fails.
pub(super) async fn region_of(
    bucket: &str,
    options: &ClientOptions,
    network: &Network,
) -> Option<String> {
    // The certificate of *.s3.amazonaws.com covers names without a dot.
    let url = if bucket.contains('.') {
        format!("https://s3.amazonaws.com/{bucket}")
    } else {
        format!("https://{bucket}.s3.amazonaws.com")
    };
    let request = build(options, network, Some(network.idle_timeout))
        .ok()?
        .head(url);
    let response = request.send().await.ok()?;
    if response.status() == StatusCode::NOT_FOUND {
        return None;
    }
    let region = response.headers().get("x-amz-bucket-region")?;
    Some(region.to_str().ok()?.to_owned())
}

fn generic_error(e: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "HTTP",
        source: Box::new(e),
    }
}
