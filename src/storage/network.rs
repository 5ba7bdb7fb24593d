//! Network settings.

use std::time::Duration;

use super::RetryPolicy;

/// Network settings. They do not affect the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// A request is retried if the server sends no data for this time.
    pub idle_timeout: Duration,
    /// Maximum number of requests in progress.
    pub requests: usize,
    /// How failed requests are retried.
    pub retry: RetryPolicy,
    /// Minimum rate of a response, measured over `idle_timeout`. A slower response is an error. 0 accepts any rate.
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
