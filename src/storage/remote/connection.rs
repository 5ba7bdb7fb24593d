//! Connections to servers.

use std::time::Duration;

use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};

use crate::storage::Network;

/// Longest that a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Connections as `object_store` would make them with `options`, but for redirects, which are followed above them.
pub(super) fn client(options: &ClientOptions, network: &Network) -> object_store::Result<Client> {
    let generic = |e: reqwest::Error| object_store::Error::Generic {
        store: "HTTP",
        source: Box::new(e.without_url()),
    };
    let text = |key| options.get_config_value(&key);
    let is_set = |key| text(key).is_some_and(|value| value == "true");
    let mut builder = Client::builder()
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
    if is_set(ClientConfigKey::AllowInvalidCertificates) {
        builder = builder.danger_accept_invalid_certs(true);
    }
    if is_set(ClientConfigKey::Http1Only) {
        builder = builder.http1_only();
    }
    builder.build().map_err(generic)
}
