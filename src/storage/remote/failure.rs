//! Why a server gave no answer, or not a whole one.

use std::error::Error as StdError;
use std::io::ErrorKind;

use object_store::client::{HttpError, HttpErrorKind};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// Nothing came for as long as the server may be silent.
    Silent,
    /// No connection came about in time.
    Unreachable,
    /// The host's name is not known.
    UnknownHost,
    /// Nothing listens there.
    Refused,
    /// TLS could not be agreed on; why.
    Tls(String),
    /// So few bytes a second came that it made no sense to go on.
    Slow(f64),
    /// Something else, in words.
    Other(String),
}

impl Failure {
    /// Continues "server HOST ..." while it is waited for.
    pub(super) fn in_short(&self) -> &'static str {
        match self {
            Self::Silent => "sends no data",
            Self::Unreachable => "cannot be reached",
            Self::UnknownHost => "has an unknown name",
            Self::Refused => "refuses connections",
            Self::Tls(_) => "makes no TLS connection",
            Self::Slow(_) => "sends too slowly",
            Self::Other(_) => "breaks connections",
        }
    }
}

/// What the error means.
pub(super) fn failure(error: &HttpError) -> Failure {
    let mut connecting = false;
    let mut innermost: &dyn StdError = error;
    let mut io = None;
    while let Some(cause) = innermost.source() {
        connecting |= cause
            .downcast_ref::<reqwest::Error>()
            .is_some_and(reqwest::Error::is_connect);
        io = io.or(cause.downcast_ref::<std::io::Error>().map(innermost_kind));
        // hyper-util has no type for it.
        if cause.to_string() == "dns error" {
            return Failure::UnknownHost;
        }
        innermost = cause;
    }
    match (error.kind(), io) {
        (HttpErrorKind::Timeout, _) if connecting => Failure::Unreachable,
        (HttpErrorKind::Timeout, _) => Failure::Silent,
        (_, Some(ErrorKind::ConnectionRefused)) => Failure::Refused,
        // rustls hands its own errors on as invalid data, and calls a server that hangs up an early end.
        (_, Some(ErrorKind::InvalidData | ErrorKind::UnexpectedEof)) if connecting => {
            Failure::Tls(innermost.to_string())
        }
        _ => Failure::Other(innermost.to_string()),
    }
}

/// Connectors wrap an error of input and output in another of kind `Other`, which hides it from `source`.
fn innermost_kind(error: &std::io::Error) -> ErrorKind {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
        Some(inner) => innermost_kind(inner),
        None => error.kind(),
    }
}
