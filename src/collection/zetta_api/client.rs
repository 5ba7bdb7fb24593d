//! GET requests to the API, with a token, through `storage`, which retries requests, limits answers and redacts URLs.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::ApiError;
use crate::config::ZettaApiConfig;
use crate::storage::{Network, Storage, StorageError, Store, redacted_source};

/// Maximum size of an answer, in bytes.
const LIMIT_BYTES: u64 = 256 << 20;

/// Minimum idle timeout, because the API's database is slower than a file server.
const LEAST_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Settings of requests to the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestSettings {
    pub(super) network: Network,
    pub(super) limit_bytes: u64,
}

impl RequestSettings {
    /// The settings `network`, with more time for the API to answer.
    pub(super) fn of(network: Network) -> Self {
        Self {
            network: Network {
                idle_timeout: network.idle_timeout.max(LEAST_IDLE_TIMEOUT),
                ..network
            },
            limit_bytes: LIMIT_BYTES,
        }
    }
}

#[derive(Debug)]
pub(super) struct Client {
    store: Arc<dyn Store>,
    limit_bytes: u64,
    /// What to do if the server requires a token.
    token_advice: String,
}

impl Client {
    /// A client of the API at `root` that sends the token in the environment variable that the config names.
    pub(super) fn new(
        config: &ZettaApiConfig,
        root: &Url,
        settings: RequestSettings,
        storage: &Storage,
    ) -> Result<Self, ApiError> {
        let token = config.token_env.as_ref();
        let token = token.map(|name| token_for(root, name)).transpose()?;
        let store = storage.open_with_token(root.as_str(), token.as_deref(), settings.network);
        let token_advice = match &config.token_env {
            Some(name) => format!(
                "renew the token in the environment variable {name}, or ask for access"
            ),
            None => "set `collection.zetta_api.token_env` to the name of an environment variable that holds a bearer token"
                .to_owned(),
        };
        Ok(Self {
            store: store.map_err(|problem| ApiError::Address {
                url: redacted_source(&config.url).into_owned(),
                problem,
            })?,
            limit_bytes: settings.limit_bytes,
            token_advice,
        })
    }

    /// The URL of `key` for messages.
    pub(super) fn describe(&self, key: &str) -> String {
        self.store.describe(key)
    }

    /// Sends a GET request for `key`, a path below the API's address with its query. Returns the body and the URL for
    /// messages.
    pub(super) fn get(&self, key: &str) -> Result<(Vec<u8>, String), ApiError> {
        let url = self.store.describe(key);
        let mut body = Vec::new();
        match self.store.read(key, self.limit_bytes, &mut body) {
            Ok(true) => Ok((body, url)),
            Ok(false) => Err(ApiError::NoApi { url }),
            Err(e) => Err(ApiError::Request(self.with_api_advice(e))),
        }
    }

    /// The error, with advice that fits the API where the advice for a file server does not.
    fn with_api_advice(&self, error: StorageError) -> StorageError {
        match error.status() {
            Some(401 | 403) => error.with_advice(&self.token_advice),
            Some(405) => error.with_advice(
                "check `collection.zetta_api.url`: is it the address of zetta_utils' web API?",
            ),
            Some(422) => error.with_advice(
                "the server does not understand the request: does it run another version of zetta_utils?",
            ),
            _ => error,
        }
    }
}

/// The token in the environment variable `name`, if it may be sent to `root`.
fn token_for(root: &Url, name: &str) -> Result<String, ApiError> {
    let wrong = |problem| ApiError::Token {
        name: name.to_owned(),
        problem,
        url: root.to_string(),
    };
    let value = std::env::var(name).map_err(|_| wrong("is not set"))?;
    let token = value.trim();
    let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if !is_token {
        return Err(wrong("holds no token"));
    }
    if root.scheme() != "https" && !is_this_machine(root) {
        return Err(wrong(
            "would be sent over the network unencrypted (http://, not https://)",
        ));
    }
    Ok(token.to_owned())
}

/// Whether the URL's host is this machine.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_over_plain_http_to_this_machine_only() {
        let sent = |url: &str| {
            let config = ZettaApiConfig {
                url: url.to_owned(),
                collection: "c".to_owned(),
                tags: Vec::new(),
                token_env: None,
            };
            // Cargo sets this variable for every test.
            let address = config.address();
            address.is_some_and(|root| token_for(&root, "CARGO_PKG_NAME").is_ok())
        };
        for url in [
            "https://host/api",
            "http://localhost",
            "http://LOCALHOST:8000/api",
            "http://127.0.0.1:8000",
            "http://127.1/",
            "http://[::1]:8000/api",
            "http://%6cocalhost/",
            "HTTP://localhost",
        ] {
            assert!(sent(url), "{url}");
        }
        for url in [
            "http://host",
            "http://localhost.evil.com",
            "http://localhost:pw@evil.com",
            "http://localhost@evil.com",
            "http://localhost%40evil.com",
            "http://evil.com\\@localhost",
            "http://localhost\\@evil.com",
            "http://127.0.0.1.evil",
            "http://127.0.0.1.evil.com:80",
            "http://[::ffff:1.2.3.4]/",
            "http://0.0.0.0",
            "http://evil.com/localhost",
            "http:/evil.com",
            "http://evil.com#@localhost",
            "http://evil.com?@localhost",
            "ftp://localhost",
        ] {
            assert!(!sent(url), "{url}");
        }
    }
}
