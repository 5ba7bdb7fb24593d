//! Settings of requests: the options of every command that reads sources.

use std::time::Duration;

use crate::storage::{Network, RetryPolicy, Storage};
use clap::Args;

use super::printer::Printer;

/// Settings of requests to servers. None of them changes the output.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct NetworkArgs {
    /// Retry a request after this many seconds without data
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Number of concurrent requests to servers
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    requests: u16,
    /// Retry a failing read (429, 5xx, no connection) for this many seconds, counted from its first failure
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86400))]
    retry_for: u64,
    /// Give up a response with fewer bytes per second over --idle-timeout; 0 accepts any rate
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    min_rate: u64,
}

impl NetworkArgs {
    /// Access to sources with these settings; `printer` prints which server it waits for.
    pub(super) fn storage(self, printer: &Printer) -> Storage {
        let network = Network {
            idle_timeout: Duration::from_secs(self.idle_timeout),
            requests: self.requests.into(),
            retry: RetryPolicy {
                retry_for: Duration::from_secs(self.retry_for),
                ..RetryPolicy::default()
            },
            min_bytes_per_s: self.min_rate,
        };
        let printer = printer.clone();
        Storage::with_wait_report(network, move |line| printer.note(line))
    }
}
