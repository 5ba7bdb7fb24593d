//! What is said when a server could not be asked, or did not answer well: one line with method, URL, tries and
//! elapsed time, what the server said, and what to do.

use std::ops::Range;
use std::sync::Arc;

use object_store::Error;
use reqwest::StatusCode;

use super::RemoteStore;
use super::client::Client;
use super::failure::Failure;
use super::get::Failed;
use super::wire::{Outcome, Wire, is_transient};
use crate::fault::FaultKind;
use crate::storage::StorageError;

/// Most characters of a server's explanation that are told.
const SAID_CHARS: usize = 160;

/// One read, from the first try to the last.
pub(super) struct Question<'c> {
    pub method: &'static str,
    pub url: String,
    pub store: &'c RemoteStore,
    pub client: &'c Client,
    pub range: Option<Range<u64>>,
    pub limit_bytes: u64,
    pub wire: Arc<Wire>,
}

/// The error of a request that was not even made.
pub(super) fn not_asked(url: &str, problem: &str, advice: &str) -> StorageError {
    StorageError::Remote {
        url: url.to_owned(),
        status: None,
        problem: problem.to_owned(),
        advice: advice.to_owned(),
        kind: FaultKind::Data,
    }
}

impl Question<'_> {
    /// The error that tells what came of it.
    pub(super) fn trouble(&self, failed: Failed) -> StorageError {
        let log = self.wire.log();
        let kind = kind(&failed, log.last.as_ref());
        if let (Failed::Request(_) | Failed::Broken(_), Some(Outcome::Html)) = (&failed, &log.last)
        {
            return StorageError::Html {
                object: self.url.clone(),
            };
        }
        let (status, what, advice) = match failed {
            Failed::TooLarge(found_bytes) => {
                return StorageError::TooLarge {
                    object: self.url.clone(),
                    found_bytes,
                    limit_bytes: self.limit_bytes,
                };
            }
            Failed::Inflates(problem) => {
                return StorageError::Inflates {
                    object: self.url.clone(),
                    problem,
                    limit_bytes: self.limit_bytes,
                };
            }
            Failed::Short(found_bytes) => {
                let range = self.range.clone().unwrap_or_default();
                return StorageError::TooShort {
                    object: self.url.clone(),
                    found_bytes,
                    start: range.start,
                    end: range.end,
                };
            }
            Failed::Encoded(problem) => (None, problem, match self.range {
                Some(_) => "store it without, or use a server that decodes it: shards are compressed inside",
                None => "store it without, or with gzip, br, zstd or deflate",
            }
            .to_owned()),
            Failed::Damaged(problem) => (
                None,
                problem,
                "check the stored object, and how the server sends it".to_owned(),
            ),
            Failed::NoLength => (
                None,
                "the response has no length".to_owned(),
                "use a server that sends Content-Length".to_owned(),
            ),
            Failed::Stopped => {
                return StorageError::Stopped {
                    object: self.url.clone(),
                };
            }
            Failed::Broken(problem) => match &log.last {
                Some(Outcome::Failed(failure @ (Failure::Silent | Failure::Slow(_)))) => {
                    self.failure(failure, &log.host)
                }
                _ => (
                    None,
                    format!("the response broke off: {}", shortened(&self.wire.shown(&problem))),
                    "rerun to resume: finished shards are kept".to_owned(),
                ),
            },
            Failed::Request(e) => match &log.last {
                Some(Outcome::Status { status, said, .. }) => self.refusal(*status, said),
                Some(Outcome::Failed(failure)) => self.failure(failure, &log.host),
                Some(Outcome::Redirect(why)) => (
                    None,
                    format!("the server redirects {}, which is not followed", shortened(why)),
                    "check the URL; use the final URL".to_owned(),
                ),
                Some(Outcome::Unusable(problem)) => (
                    None,
                    problem.clone(),
                    "copy the data to a local folder, or use another server (nginx, rclone)".into(),
                ),
                Some(Outcome::Wrong(problem)) => (
                    None,
                    problem.clone(),
                    "check the server, and any proxy or cache in between".into(),
                ),
                Some(Outcome::Html) | None => self.unasked(&e),
            },
        };
        let tries = match log.tries {
            1 => "1 try".to_owned(),
            n => format!("{n} tries"),
        };
        let elapsed = self.wire.elapsed().as_secs_f64();
        StorageError::Remote {
            url: self.url.clone(),
            status: status.map(|status| status.as_u16()),
            problem: format!("{} ({tries}, {elapsed:.1} s): {what}", self.method),
            advice,
            kind,
        }
    }

    /// An answer that is an error.
    fn refusal(&self, status: StatusCode, said: &str) -> (Option<StatusCode>, String, String) {
        let said = shortened(said);
        let what = match said.is_empty() {
            true => format!("the server answered {status}"),
            false => format!("the server answered {status}: {said}"),
        };
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.client.access_advice(status),
            StatusCode::NOT_FOUND => "check the URL".to_owned(),
            StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT
                if self.url.starts_with("s3://") =>
            {
                "the bucket is in another region: set AWS_REGION".to_owned()
            }
            s if s == StatusCode::TOO_MANY_REQUESTS || s.is_server_error() => {
                "the server is overloaded or failing: rerun later to resume, with fewer --requests if it was overloaded; a longer \
                 --retry-for waits longer"
                    .to_owned()
            }
            _ => "check the URL and the server".to_owned(),
        };
        (Some(status), what, advice)
    }

    /// No answer.
    fn failure(&self, failure: &Failure, host: &str) -> (Option<StatusCode>, String, String) {
        let idle = self.client.network.idle_timeout.as_secs_f64();
        let (what, advice) = match failure {
            Failure::Silent => (
                format!("{host} sent no data for {idle} s"),
                "rerun to resume; a longer --idle-timeout or --retry-for waits longer, fewer --requests reduce the load",
            ),
            Failure::Unreachable => (
                format!("connecting to {host} timed out"),
                "check host, port, firewall and proxy",
            ),
            Failure::UnknownHost => (
                format!("the host name {host} cannot be resolved"),
                "check the URL and the DNS settings of this machine",
            ),
            Failure::Refused => (
                format!("{host} refused the connection: no server listens on this port"),
                "check host and port, and that the server is running",
            ),
            Failure::Tls(why) => (
                format!("no TLS connection to {host}: {}", shortened(why)),
                "check that the host is right and supports https; set SSL_CERT_FILE to trust your own certificate authority",
            ),
            Failure::Slow(bytes_per_s) => (
                format!(
                    "{host} sent {bytes_per_s:.0} bytes/s over {idle} s, fewer than the {} bytes/s of --min-rate",
                    self.client.network.min_bytes_per_s
                ),
                "rerun to resume; a smaller --min-rate accepts slower servers, fewer --requests reduce the load",
            ),
            Failure::Other(why) => (
                shortened(&self.wire.shown(why)),
                "check the network, then rerun to resume",
            ),
        };
        (None, what, advice.to_owned())
    }

    /// What failed before any request for the object: most often, getting at credentials.
    fn unasked(&self, error: &Error) -> (Option<StatusCode>, String, String) {
        (
            None,
            shortened(&self.wire.shown(&whole(error))),
            self.client.credentials_advice(),
        )
    }
}

/// What is at fault when a read failed for good, `last` being the outcome of its last request.
fn kind(failed: &Failed, last: Option<&Outcome>) -> FaultKind {
    match (failed, last) {
        (Failed::Broken(_) | Failed::Stopped, _) => FaultKind::Environment,
        (Failed::Request(_), Some(Outcome::Failed(_))) => FaultKind::Environment,
        (Failed::Request(_), Some(Outcome::Status { status, .. })) if is_transient(*status) => {
            FaultKind::Environment
        }
        _ => FaultKind::Data,
    }
}

/// The error with all its causes in one line.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// What a server said, in one short line without control characters. Of the XML of a bucket's error, code and message; of a page, nothing.
fn shortened(said: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = said.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0)
    };
    let text = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ if said.trim_start().starts_with('<') => String::new(),
        _ => said.to_owned(),
    };
    // Those that only a terminal sees are control characters, too.
    let printable = |c: char| {
        if c.is_control() || is_format(c) {
            ' '
        } else {
            c
        }
    };
    let text: String = text.chars().map(printable).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(SAID_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Whether `c` changes how the characters around it are shown.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_becomes_one_short_line() {
        assert_eq!(shortened(" no,\n\tnot \u{1b}[31myou "), "no, not [31myou");
        assert_eq!(shortened("<!DOCTYPE html><html>..."), "");
        let xml = "<?xml?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        assert_eq!(shortened(xml), "AccessDenied: Access Denied");
        assert_eq!(shortened(&"é".repeat(1000)).chars().count(), SAID_CHARS + 3);
    }
}
