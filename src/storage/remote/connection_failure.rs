//! Reasons why a server sent no response, or an incomplete one.

use std::error::Error as StdError;
use std::io::ErrorKind;

use object_store::client::{HttpError, HttpErrorKind};

/// Why a request has no complete response.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ConnectionFailure {
    /// No data within the idle timeout.
    Idle,
    /// Connecting timed out.
    ConnectTimeout,
    /// The host name cannot be resolved.
    UnknownHost,
    /// No server listens on the port.
    Refused,
    /// The TLS handshake failed; the reason.
    Tls(String),
    /// Fewer bytes per second than the limit.
    TooSlow(f64),
    /// Another error, as text.
    Other(String),
}

impl ConnectionFailure {
    /// The failure that `error` represents.
    pub(super) fn from_error(error: &HttpError) -> Self {
        let mut connecting = false;
        let mut innermost: &dyn StdError = error;
        let mut io = None;
        while let Some(cause) = innermost.source() {
            connecting |= cause
                .downcast_ref::<reqwest::Error>()
                .is_some_and(reqwest::Error::is_connect);
            io = io.or(cause.downcast_ref::<std::io::Error>().map(innermost_kind));
            // hyper-util has no type for this error.
            if cause.to_string() == "dns error" {
                return Self::UnknownHost;
            }
            innermost = cause;
        }
        match (error.kind(), io) {
            (HttpErrorKind::Timeout, _) if connecting => Self::ConnectTimeout,
            (HttpErrorKind::Timeout, _) => Self::Idle,
            (_, Some(ErrorKind::ConnectionRefused)) => Self::Refused,
            // rustls reports its own errors as InvalidData, and a closed connection as UnexpectedEof.
            (_, Some(ErrorKind::InvalidData | ErrorKind::UnexpectedEof)) if connecting => {
                Self::Tls(innermost.to_string())
            }
            _ => Self::Other(innermost.to_string()),
        }
    }

    /// Continues "server HOST ..." in the progress line of a pause.
    pub(super) fn short_text(&self) -> &'static str {
        match self {
            Self::Idle => "sends no data",
            Self::ConnectTimeout => "cannot be reached",
            Self::UnknownHost => "cannot be resolved",
            Self::Refused => "refuses connections",
            Self::Tls(_) => "fails to establish TLS",
            Self::TooSlow(_) => "sends too slowly",
            Self::Other(_) => "closes connections early",
        }
    }
}

/// The kind of the innermost I/O error. Connectors wrap it in one of kind `Other`, which `source` does not show.
fn innermost_kind(error: &std::io::Error) -> ErrorKind {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
        Some(inner) => innermost_kind(inner),
        None => error.kind(),
    }
}
