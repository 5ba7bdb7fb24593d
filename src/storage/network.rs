//! How servers are asked: one choice for the whole program, made before anything is opened.

use std::sync::OnceLock;
use std::time::Duration;

/// How servers are asked. None of it changes what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// How long a server may say nothing, before it answers or within an answer, until the request is given up
    /// and made again.
    pub idle_timeout: Duration,
    /// Requests in flight at once.
    pub requests: usize,
}

static CHOSEN: OnceLock<Network> = OnceLock::new();

impl Default for Network {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            requests: 64,
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
