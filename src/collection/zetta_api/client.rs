//! GET requests with a token, patience and a limit.
//!
//! A try ends in an answer, in a failure that another try may mend (429, 5xx, time-outs, broken connections,
//! bodies cut short), or in one that none will. Pauses double and are drawn at random, so that many tasks that
//! failed together do not return together.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::time::{Duration, Instant};

use reqwest::blocking::Response;
use reqwest::header::RETRY_AFTER;
use reqwest::{StatusCode, Url};

use super::ApiError;
use crate::config::ZettaApiConfig;

/// How long to wait, how often to try, how much to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Most tries of one request.
    pub(super) tries: u32,
    /// Longest first pause; each further one is twice as long.
    pub(super) first_pause: Duration,
    /// Longest pause, whatever the server asks for.
    pub(super) longest_pause: Duration,
    /// For one try, from connecting to the last byte.
    pub(super) timeout: Duration,
    /// Largest answer, in bytes.
    pub(super) limit_bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            timeout: Duration::from_secs(120),
            limit_bytes: 256 << 20,
        }
    }
}

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::blocking::Client,
    token: Option<String>,
    /// What to do where the server wants a token.
    token_advice: String,
    patience: Patience,
}

/// A try that brought no answer.
struct Failure {
    problem: String,
    /// Whether another try may bring one, and after how long if the server says so.
    again: Option<Option<Duration>>,
    advice: String,
}

impl Client {
    /// A client that sends the token that the config names.
    pub(super) fn new(config: &ZettaApiConfig, patience: Patience) -> Result<Self, ApiError> {
        let http = reqwest::blocking::Client::builder()
            .user_agent(concat!("pointshard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.timeout.min(Duration::from_secs(20)))
            .timeout(patience.timeout)
            .build()
            .map_err(ApiError::Client)?;
        let token = config
            .token_env
            .as_ref()
            .map(|name| token(name, &config.url))
            .transpose()?;
        let token_advice = match &config.token_env {
            Some(name) => format!(
                "renew the token in the environment variable {name}, or ask for access"
            ),
            None => "set `collection.zetta_api.token_env` to the name of an environment variable that holds a bearer token"
                .to_owned(),
        };
        Ok(Self {
            http,
            token,
            token_advice,
            patience,
        })
    }

    /// The body of the answer to a GET request.
    pub(super) fn get(&self, url: &Url) -> Result<Vec<u8>, ApiError> {
        let start = Instant::now();
        let mut tries = 1;
        loop {
            let failure = match self.try_once(url) {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            match failure.again {
                Some(wish) if tries < self.patience.tries => {
                    std::thread::sleep(self.pause(tries, wish));
                    tries += 1;
                }
                _ => {
                    return Err(ApiError::Request {
                        url: url.to_string(),
                        tries,
                        elapsed: start.elapsed(),
                        problem: failure.problem,
                        advice: failure.advice,
                    });
                }
            }
        }
    }

    fn try_once(&self, url: &Url) -> Result<Vec<u8>, Failure> {
        let mut request = self.http.get(url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().map_err(|e| broken(&e))?;
        match response.status() {
            status if status.is_success() => self.body(response),
            status => Err(self.refusal(status, response)),
        }
    }

    fn body(&self, response: Response) -> Result<Vec<u8>, Failure> {
        let limit = self.patience.limit_bytes;
        let too_large = || Failure {
            problem: format!("the answer has more than {limit} bytes"),
            again: None,
            advice: "check the address: no collection is that large".to_owned(),
        };
        if response.content_length().is_some_and(|n| n > limit) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        response
            .take(limit + 1)
            .read_to_end(&mut body)
            .map_err(|e| broken(&e))?;
        match body.len() as u64 > limit {
            true => Err(too_large()),
            false => Ok(body),
        }
    }

    fn refusal(&self, status: StatusCode, response: Response) -> Failure {
        let asked = response.headers().get(RETRY_AFTER);
        let pause = asked
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let advice = match status.as_u16() {
            401 | 403 => self.token_advice.as_str(),
            404 | 405 => "check `collection.zetta_api.url`: the API's address has no such path",
            422 => {
                "the server does not understand the question: is its version of zetta_utils another one?"
            }
            429 => "the server is asked too often: try again later",
            500.. => "the server fails: try again later, or see its logs",
            _ => "check `collection.zetta_api.url`",
        };
        let mut said = Vec::new();
        // What cannot be read of an explanation is done without.
        let _ = response.take(300).read_to_end(&mut said);
        let said: String = String::from_utf8_lossy(&said)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Failure {
            problem: match said.is_empty() {
                true => format!("the server answered {status}"),
                false => format!("the server answered {status}: {said}"),
            },
            again: (status.is_server_error() || matches!(status.as_u16(), 408 | 429))
                .then_some(pause),
            advice: advice.to_owned(),
        }
    }

    /// How long to wait after so many tries: what the server asks for, or at random up to a bound that doubles.
    fn pause(&self, tries: u32, wish: Option<Duration>) -> Duration {
        let bound = self
            .patience
            .first_pause
            .saturating_mul(1 << (tries - 1).min(16));
        // A hasher's random keys are all the chance that is needed.
        let chance = RandomState::new().hash_one(tries) as f64 / u64::MAX as f64;
        let random = bound.mul_f64(0.5 + chance / 2.0);
        wish.unwrap_or(random).min(self.patience.longest_pause)
    }
}

/// The failure of a connection: all but a request that could not even be made may be mended.
fn broken(error: &(dyn Error + 'static)) -> Failure {
    let http = error.downcast_ref::<reqwest::Error>();
    let hopeless = http.is_some_and(|e| e.is_builder() || e.is_redirect());
    // The innermost message says what happened, those around it repeat the URL.
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let timed_out = http.is_some_and(reqwest::Error::is_timeout);
    Failure {
        problem: match timed_out {
            true => "the server did not answer in time".to_owned(),
            false => format!("the connection failed: {innermost}"),
        },
        again: (!hopeless).then_some(None),
        advice: "check the address, the network and whether the server runs".to_owned(),
    }
}

/// The token in the environment variable `name`.
fn token(name: &str, url: &str) -> Result<String, ApiError> {
    let wrong = |problem| ApiError::Token {
        name: name.to_owned(),
        problem,
        url: url.to_owned(),
    };
    let value = std::env::var(name).map_err(|_| wrong("is not set"))?;
    let token = value.trim();
    let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if !is_token {
        return Err(wrong("holds no token"));
    }
    let host = url.strip_prefix("http://");
    let is_local = |host: &str| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
            host.strip_prefix(local)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        })
    };
    if host.is_some_and(|host| !is_local(host)) {
        return Err(wrong(
            "would go over the network unencrypted (http://, not https://)",
        ));
    }
    Ok(token.to_owned())
}
