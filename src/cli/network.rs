//! How servers are asked: the options that every command has that reads sources.

use std::time::Duration;

use clap::Args;
use pointshard::storage::Network;

/// How servers are asked. None of it changes what comes out.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct NetworkArgs {
    /// How long a server may say nothing until a request is given up and made again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Requests to servers that are in flight at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    requests: u16,
}

impl NetworkArgs {
    /// From here on servers are asked so.
    pub(super) fn choose(self) {
        Network {
            idle_timeout: Duration::from_secs(self.idle_timeout),
            requests: self.requests.into(),
        }
        .choose();
    }
}
