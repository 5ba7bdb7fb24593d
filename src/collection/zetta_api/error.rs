//! Why the API cannot be used.

use crate::fault::{Fault, FaultKind};
use crate::storage::{OverBudget, StorageError};

/// Why the API cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is invalid.
    #[error("the address {url:?} cannot be one of zetta_utils' web API: {problem}")]
    Address {
        /// As written, without secrets.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The environment variable with the token is missing or invalid.
    #[error(
        "the environment variable {name}, which `collection.zetta_api.token_env` names, {problem}; set it to a bearer token for {url}"
    )]
    Token {
        /// Its name.
        name: String,
        /// What is wrong with it, without its value.
        problem: &'static str,
        /// The API's address.
        url: String,
    },
    /// A request failed.
    #[error(transparent)]
    Request(StorageError),
    /// The API is not at the address.
    #[error(
        "zetta_utils' web API is not at {url}: the server answers 404 Not Found; check `collection.zetta_api.url`"
    )]
    NoApi {
        /// The URL.
        url: String,
    },
    /// There is no such collection.
    #[error("{url} has no collection {collection:?}; it has {count} others{}", hint.as_ref().map(|h| format!("; did you mean {h:?}?")).unwrap_or_default())]
    NoCollection {
        /// The request.
        url: String,
        /// The collection in the config.
        collection: String,
        /// The number of collections.
        count: usize,
        /// The closest id.
        hint: Option<String>,
    },
    /// The rows exceed the memory budget.
    #[error(
        "GET {url}: the rows take more than {over}; allow more with --memory, or list fewer with `tags`"
    )]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit.
        over: OverBudget,
    },
    /// The answer is JSON, but not rows.
    #[error("GET {url} returned {found}; expected a list of rows: is this zetta_utils' web API?")]
    NotRows {
        /// The URL.
        url: String,
        /// The beginning of the answer.
        found: String,
    },
}

impl Fault for ApiError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Request(e) => e.kind(),
            Self::Token { .. } | Self::NoCollection { .. } => FaultKind::Usage,
            Self::Address { .. }
            | Self::NoApi { .. }
            | Self::TooLarge { .. }
            | Self::NotRows { .. } => FaultKind::Data,
        }
    }
}
