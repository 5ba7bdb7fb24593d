//! Objects on http(s) servers, Google Cloud Storage and S3, through `object_store`.
//!
//! `object_store` keeps connections alive and retries, with backoff and jitter, on 429, 5xx and connections that
//! break before an answer; what breaks within a body is retried here. A server that goes silent is given up
//! after [`SILENCE`]. Every error says method, URL, tries and elapsed time, and what to do.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use object_store::aws::AmazonS3Builder;
use object_store::client::ClientOptions;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    Attribute, BackoffConfig, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};
use tokio::runtime::Runtime;

use super::{Compression, StorageError, Store};

/// How long a server may say nothing before the connection is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest that a request is retried.
const RETRY_FOR: Duration = Duration::from_secs(180);

/// Tries of a request whose body breaks off.
const TRIES: u32 = 4;

/// A place on a server: `root` is `https://HOST[:PORT]`, `gs://BUCKET` or `s3://BUCKET`, `path` is relative to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteLocation {
    root: String,
    path: String,
}

/// The objects below a place on a server.
pub(super) struct RemoteStore {
    /// Or why there can be no client: told when something is read.
    client: Result<Arc<dyn ObjectStore>, String>,
    location: RemoteLocation,
}

/// Clients by root, so that everything on one server shares its connections.
static CLIENTS: LazyLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> =
    LazyLock::new(Mutex::default);

/// Requests are driven by two threads of their own; the threads that ask wait for them.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().ok()
});

impl RemoteLocation {
    /// Schemes that are read.
    pub(super) const SCHEMES: [&str; 4] = ["http", "https", "gs", "s3"];

    /// The place `scheme://rest`.
    pub(super) fn new(scheme: &str, rest: &str) -> Option<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        (!authority.is_empty()).then(|| Self {
            root: format!("{scheme}://{authority}"),
            path: normal(path),
        })
    }

    /// The place that `path`, found in a document in this folder, means.
    pub(super) fn join(&self, path: &str) -> Self {
        let joined = match path.strip_prefix('/') {
            Some(absolute) => normal(absolute),
            None => normal(&format!("{}/{path}", self.path)),
        };
        Self {
            root: self.root.clone(),
            path: joined,
        }
    }

    /// The folder that this is in, and the last step of its path.
    pub(super) fn split(&self) -> (Self, String) {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let folder = Self {
            root: self.root.clone(),
            path: folder.to_owned(),
        };
        (folder, name.to_owned())
    }
}

/// The path without empty, `.` and `..` steps; none of them leads above the root.
fn normal(path: &str) -> String {
    let mut steps = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

impl fmt::Display for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.root),
            false => write!(f, "{}/{}", self.root, self.path),
        }
    }
}

impl RemoteStore {
    pub(super) fn new(location: &RemoteLocation) -> Self {
        let mut clients = CLIENTS.lock().unwrap_or_else(|e| e.into_inner());
        let client = match clients.get(&location.root) {
            Some(known) => Ok(Arc::clone(known)),
            None => client(&location.root)
                .inspect(|made| {
                    clients.insert(location.root.clone(), Arc::clone(made));
                })
                .map_err(|e| whole(&e)),
        };
        Self {
            client,
            location: location.clone(),
        }
    }

    fn client(&self, url: &str) -> Result<&Arc<dyn ObjectStore>, StorageError> {
        self.client
            .as_ref()
            .map_err(|problem| StorageError::Remote {
                url: url.to_owned(),
                problem: problem.clone(),
                advice: "check the URL and the credentials in the environment",
            })
    }

    /// The object's bytes, or those in `range`; `false` where there is no such object.
    fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        into.clear();
        let url = self.describe(key);
        let inside = key.split('/').all(|step| !matches!(step, "" | "." | ".."));
        if !inside {
            return Err(StorageError::KeyLeavesRoot {
                key: key.to_owned(),
                root: self.location.to_string(),
            });
        }
        let runtime = runtime(&url)?;
        let client = self.client(&url)?;
        let start = Instant::now();
        let path = Path::from(self.location.join(key).path);
        let mut tries = 0;
        loop {
            tries += 1;
            let once = get_once(client, &path, range.clone(), limit_bytes, into);
            match runtime.block_on(once) {
                Ok(found) => return Ok(found),
                Err(Failed::TooLarge(found_bytes)) => {
                    return Err(StorageError::TooLarge {
                        object: url,
                        found_bytes,
                        limit_bytes,
                    });
                }
                Err(Failed::Body(_)) if tries < TRIES => std::thread::sleep(backoff(tries)),
                Err(Failed::Body(problem)) => {
                    return Err(StorageError::Remote {
                        problem: format!(
                            "GET broke off {tries} times in {:.1?}: {problem}",
                            start.elapsed()
                        ),
                        url,
                        advice: "try again: what is done is kept",
                    });
                }
                Err(Failed::Short(found_bytes)) => {
                    let range = range.unwrap_or_default();
                    return Err(StorageError::TooShort {
                        object: url,
                        found_bytes,
                        start: range.start,
                        end: range.end,
                    });
                }
                Err(Failed::Request(e)) => return Err(refused(&e, "GET", start, url)),
            }
        }
    }
}

/// One try.
async fn get_once(
    client: &Arc<dyn ObjectStore>,
    path: &Path,
    range: Option<Range<u64>>,
    limit_bytes: u64,
    into: &mut Vec<u8>,
) -> Result<bool, Failed> {
    into.clear();
    let options = GetOptions {
        range: range.clone().map(GetRange::Bounded),
        ..GetOptions::default()
    };
    let got = match client.get_opts(path, options).await {
        Ok(got) => got,
        Err(Error::NotFound { .. }) => return Ok(false),
        Err(e) => return Err(Failed::Request(e)),
    };
    if let Some(range) = &range
        && got.range != *range
    {
        return Err(Failed::Short(got.meta.size));
    }
    let expected = got.range.end - got.range.start;
    if expected > limit_bytes {
        return Err(Failed::TooLarge(expected));
    }
    let encoding = got
        .attributes
        .get(&Attribute::ContentEncoding)
        .map(|v| v.to_string());
    let mut body = got.into_stream();
    // The size is what the server claims; it is within the limit.
    into.reserve(expected as usize);
    while let Some(piece) = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await {
        let piece = piece.map_err(|e| Failed::Body(whole(&e)))?;
        if (into.len() + piece.len()) as u64 > expected {
            return Err(Failed::Body(format!(
                "more than the {expected} bytes announced"
            )));
        }
        into.extend_from_slice(&piece);
    }
    if into.len() as u64 != expected {
        return Err(Failed::Body(format!(
            "{} of {expected} bytes came",
            into.len()
        )));
    }
    match encoding.as_deref() {
        None | Some("" | "identity") => Ok(true),
        Some(name) => match Compression::from_content_encoding(name) {
            Some(compression) if range.is_none() => {
                let mut inflated = Vec::new();
                compression
                    .undo(into, limit_bytes as usize, &mut inflated)
                    .map_err(Failed::Body)?;
                *into = inflated;
                Ok(true)
            }
            _ => Err(Failed::Body(format!(
                "its Content-Encoding {name:?} cannot be undone here"
            ))),
        },
    }
}

/// Why a try failed.
enum Failed {
    /// No answer, or one that is an error; retried already.
    Request(Error),
    /// The object ends before the range does: its size.
    Short(u64),
    /// The answer broke off or was not what was announced.
    Body(String),
    /// More bytes than the caller allows.
    TooLarge(u64),
}

impl Store for RemoteStore {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.get(key, None, limit_bytes, into)
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        if range.is_empty() {
            into.clear();
            return Ok(self.size(key)?.is_some());
        }
        let length = range.end - range.start;
        self.get(key, Some(range), length, into)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let url = self.describe(key);
        let client = self.client(&url)?;
        let path = Path::from(self.location.join(key).path);
        let start = Instant::now();
        match runtime(&url)?.block_on(client.head(&path)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(refused(&e, "HEAD", start, url)),
        }
    }

    fn is_far(&self) -> bool {
        true
    }

    fn describe(&self, key: &str) -> String {
        self.location.join(key).to_string()
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.location)
    }
}

fn runtime(url: &str) -> Result<&'static Runtime, StorageError> {
    RUNTIME.as_ref().ok_or_else(|| StorageError::Remote {
        url: url.to_owned(),
        problem: "no threads could be started for requests".into(),
        advice: "raise the limit on threads",
    })
}

fn refused(error: &Error, method: &str, start: Instant, url: String) -> StorageError {
    StorageError::Remote {
        problem: format!(
            "{method} failed after {:.1?}: {}",
            start.elapsed(),
            whole(error)
        ),
        advice: advice(error),
        url,
    }
}

/// 0.2, 0.4, 0.8 s, spread by up to a half so that many readers do not come back at once.
fn backoff(tries: u32) -> Duration {
    let spread = Instant::now().elapsed().subsec_nanos() ^ std::process::id();
    let base = Duration::from_millis(100 << tries);
    base + base * (spread % 512) / 1024
}

/// The error with all its causes in one line.
fn whole(error: &dyn std::error::Error) -> String {
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

fn advice(error: &Error) -> &'static str {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "the server refuses: give credentials (GOOGLE_APPLICATION_CREDENTIALS, AWS_ACCESS_KEY_ID, ...), or for a \
             public bucket ask without (GOOGLE_SKIP_SIGNATURE=true, AWS_SKIP_SIGNATURE=true); some buckets answer \
             so for objects that are not there"
        }
        _ => "check the URL and the network; run again to resume",
    }
}

fn client(root: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let options = ClientOptions::new()
        .with_allow_http(true)
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(SILENCE);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 8,
        retry_timeout: RETRY_FOR,
    };
    Ok(match root.split_once("://") {
        Some(("gs", _)) => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(root);
            Arc::new(
                builder
                    .with_client_options(options)
                    .with_retry(retry)
                    .build()?,
            )
        }
        Some(("s3", _)) => {
            let builder = AmazonS3Builder::from_env().with_url(root);
            Arc::new(
                builder
                    .with_client_options(options)
                    .with_retry(retry)
                    .build()?,
            )
        }
        _ => {
            // object_store keeps to HTTP/1.1 unless told; with TLS the server chooses.
            let builder = HttpBuilder::new().with_url(root);
            Arc::new(
                builder
                    .with_client_options(options.with_allow_http2())
                    .with_retry(retry)
                    .build()?,
            )
        }
    })
}

#[cfg(test)]
mod tests;
