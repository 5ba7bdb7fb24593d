//! Why the API could not be read.

use std::time::Duration;

/// Why the API could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Its address is none.
    #[error("the address {url:?} is not a URL: {problem}")]
    Address {
        /// As written.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The environment variable that should hold the token does not.
    #[error(
        "the environment variable {name}, which `collection.zetta_api.token_env` names, {problem}; set it to a bearer token for {url}"
    )]
    Token {
        /// Its name.
        name: String,
        /// What is wrong with it; never its value.
        problem: &'static str,
        /// The API's address.
        url: String,
    },
    /// No client could be made.
    #[error("cannot make HTTP requests")]
    Client(#[source] reqwest::Error),
    /// A request failed for good.
    #[error("GET {url} failed after {tries} tries in {:.1} s: {problem}; {advice}", elapsed.as_secs_f64())]
    Request {
        /// The URL.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// How long that took.
        elapsed: Duration,
        /// What the last try ended in.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// There is no such collection.
    #[error("{url} lists no collection {collection:?} among its {count}{}", hint.as_ref().map(|h| format!("; did you mean {h:?}?")).unwrap_or_default())]
    NoCollection {
        /// The request.
        url: String,
        /// The collection asked for.
        collection: String,
        /// How many there are.
        count: usize,
        /// The nearest name.
        hint: Option<String>,
    },
    /// The answer is JSON, but no rows.
    #[error("GET {url} returned {found}; expected a list of rows: is this zetta_utils' web API?")]
    NotRows {
        /// The URL.
        url: String,
        /// The beginning of the answer.
        found: String,
    },
}
