//! Connections to servers.

use std::time::Duration;

use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, StatusCode};

use super::tls;
use crate::storage::Network;

/// Longest that a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Connections as `object_store` would make them with `options`, but for redirects, which are followed above them.
pub(super) fn client(options: &ClientOptions, network: &Network) -> object_store::Result<Client> {
    let generic = |e: reqwest::Error| problem(e.without_url());
    let text = |key| options.get_config_value(&key);
    let is_set = |key| text(key).is_some_and(|value| value == "true");
    let http1_only = is_set(ClientConfigKey::Http1Only);
    let verify = !is_set(ClientConfigKey::AllowInvalidCertificates);
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::config(verify, http1_only).map_err(problem)?)
        .user_agent(concat!("pointshard/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_WITHIN.min(network.idle_timeout))
        .read_timeout(network.idle_timeout)
        // What is compressed on the way is undone where its length and its limit are known.
        .no_gzip();
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

/// The region of an S3 bucket, as Amazon says to anyone; `None` where it does not.
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
    let request = client(options, network).ok()?.head(url);
    let response = request.send().await.ok()?;
    if response.status() == StatusCode::NOT_FOUND {
        return None;
    }
    let region = response.headers().get("x-amz-bucket-region")?;
    Some(region.to_str().ok()?.to_owned())
}

fn problem(e: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "HTTP",
        source: Box::new(e),
    }
}
