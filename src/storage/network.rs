//! Settings of requests to servers.

use std::time::Duration;

use super::RetryPolicy;

/// Settings of requests to servers. None of them changes the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// How long a server may send no data, before or within a response, until the request is retried.
    pub idle_timeout: Duration,
    /// Requests in progress at once.
    pub requests: usize,
    /// How failed requests are retried.
    pub retry: RetryPolicy,
    /// A response that brings fewer bytes per second than this, over `idle_timeout`, is given up. 0 accepts any rate.
    pub min_bytes_per_s: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            requests: 64,
            retry: RetryPolicy::default(),
            min_bytes_per_s: 256,
        }
    }
}
