//! Network options of the commands that read sources.

use std::time::Duration;

use crate::storage::{Network, RetryPolicy, Storage};
use clap::Args;

use super::printer::Printer;

const NETWORK_OPTIONS: &str = "Network options";

/// Network options. They don't change the output.
#[derive(Clone, Copy, Debug, Args)]
pub struct NetworkArgs {
    /// Retry after this many seconds without data
    #[arg(long, help_heading = NETWORK_OPTIONS, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Maximum number of concurrent requests
    #[arg(long, help_heading = NETWORK_OPTIONS, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    requests: u16,
    /// Keep retrying a failing read for this many seconds (status 429 or 5xx, no connection)
    #[arg(long, help_heading = NETWORK_OPTIONS, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86400))]
    retry_for: u64,
    /// Retry if a response is slower than this many bytes per second over --idle-timeout; 0 accepts any rate
    #[arg(long, help_heading = NETWORK_OPTIONS, value_name = "BYTES", default_value_t = 256)]
    min_rate: u64,
}

impl NetworkArgs {
    /// Access to sources with these settings; `printer` prints which server it waits for.
    pub fn storage(self, printer: &Printer) -> Storage {
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
