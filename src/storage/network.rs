//! How servers are asked: one choice for the whole program, made before anything is opened.

use std::sync::OnceLock;
use std::time::Duration;

use super::RetryPolicy;

/// How servers are asked. None of it changes what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// How long a server may say nothing, before it answers or within an answer, until the request is given up
    /// and made again.
    pub idle_timeout: Duration,
    /// Requests in flight at once.
    pub requests: usize,
    /// How failed requests are made again.
    pub retry: RetryPolicy,
    /// An answer that brings fewer bytes a second than this, over `idle_timeout`, is given up. 0 for any rate.
    pub min_bytes_per_s: u64,
}

static CHOSEN: OnceLock<Network> = OnceLock::new();

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

impl Network {
    /// Makes this the program's choice. The first choice stands: servers that are known keep their connections.
    pub fn choose(self) {
        let _ = CHOSEN.set(self);
    }

    /// The program's choice; without one, the default becomes it.
    pub fn chosen() -> Self {
        *CHOSEN.get_or_init(Self::default)
    }
}
