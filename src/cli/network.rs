//! How servers are asked: the options that every command has that reads sources.

use std::time::Duration;

use crate::storage::{Network, RetryPolicy, on_wait};
use clap::Args;

use super::printer::Printer;

/// How servers are asked. None of it changes what comes out.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct NetworkArgs {
    /// How long a server may say nothing until a request is given up and made again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Requests to servers that are in flight at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    requests: u16,
    /// How long a read is retried while a server fails (429, 5xx, no connection), from its first failure on
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86400))]
    retry_for: u64,
    /// Give up an answer that brings fewer bytes per second over --idle-timeout; 0 accepts any rate
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    min_rate: u64,
}

impl NetworkArgs {
    /// From here on servers are asked so.
    pub(super) fn choose(self, printer: Printer) {
        on_wait(move |line| printer.note(line));
        Network {
            idle_timeout: Duration::from_secs(self.idle_timeout),
            requests: self.requests.into(),
            retry: RetryPolicy {
                retry_for: Duration::from_secs(self.retry_for),
                ..RetryPolicy::default()
            },
            min_bytes_per_s: self.min_rate,
        }
        .choose();
    }
}
