//! An HTTP server on loopback, scripted by tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::remote::{Connections, RemoteStore};
use super::stop_group::StopGroup;
use super::wait_reporter::WaitReporter;
use super::{Network, RemoteLocation, RetryPolicy, StorageError, Store};

/// The idle timeout in tests, and a longer silence of the server.
const IDLE: Duration = Duration::from_millis(300);
pub(crate) const SILENCE: Duration = Duration::from_millis(1200);

pub(crate) struct Server {
    pub url: String,
    requests: Arc<AtomicUsize>,
    /// The client's connections.
    connections: Arc<Connections>,
}

/// A request that the server received.
pub(crate) struct Request {
    /// `GET /path HTTP/1.1`.
    pub first: String,
    /// The headers, in lower case.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter_map(|line| {
            let (n, value) = line.split_once(": ")?;
            (n == name).then_some(value)
        });
        found.next()
    }
}

/// Responds to the n-th request with `answer(n, request)`. Each request has its own connection.
pub(crate) fn serve(answer: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static) -> Server {
    serve_by(move |n, request, stream| {
        let _ = stream.write_all(&answer(n, request));
    })
}

/// Like [`serve`], but `answer` writes to the stream itself.
pub(crate) fn serve_by(
    answer: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let (answer, count) = (Arc::new(answer), Arc::clone(&requests));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut lines = reader.by_ref().lines().map_while(Result::ok);
                let Some(first) = lines.next() else { return };
                let headers = lines.take_while(|line| !line.is_empty());
                let headers = headers.map(|line| line.to_ascii_lowercase()).collect();
                let mut request = Request {
                    first,
                    headers,
                    body: Vec::new(),
                };
                if let Some(length) = request.header("content-length") {
                    request.body = vec![0; length.parse().unwrap()];
                    if reader.read_exact(&mut request.body).is_err() {
                        return;
                    }
                }
                answer(count.fetch_add(1, Ordering::SeqCst), &request, &mut stream);
            });
        }
    });
    let connections = connections(network());
    Server {
        url,
        requests,
        connections,
    }
}

/// A response with a Content-Length.
pub(crate) fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n{headers}", body.len());
    reply_without_length(status, &length, body)
}

pub(crate) fn reply_without_length(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// `bytes` without the last `n`.
pub(crate) fn cut(mut bytes: Vec<u8>, n: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - n);
    bytes
}

impl Server {
    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The store at `/layer`.
    pub(super) fn store(&self) -> RemoteStore {
        store_with(&format!("{}/layer", self.url), &self.connections)
    }

    /// Reads the object `a/info`.
    pub fn read(&self, limit: u64) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = vec![1; 3];
        let found = self.store().read("a/info", limit, &mut bytes);
        contents_or_message(found, bytes)
    }

    /// Reads a range of `a/info`.
    pub fn read_range(&self, range: std::ops::Range<u64>) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = vec![1; 3];
        let found = self.store().read_range("a/info", range, &mut bytes);
        contents_or_message(found, bytes)
    }
}

/// The store at `url`.
pub(super) fn store(url: &str) -> RemoteStore {
    store_with(url, &connections(network()))
}

fn store_with(url: &str, connections: &Arc<Connections>) -> RemoteStore {
    let (scheme, rest) = url.split_once("://").unwrap();
    let location = RemoteLocation::new(scheme, rest).unwrap();
    RemoteStore::open(&location, connections, &StopGroup::default())
}

/// New connections.
pub(super) fn connections(network: Network) -> Arc<Connections> {
    Arc::new(Connections::new(network, WaitReporter::default()))
}

/// The network settings of tests: the usual ones with shorter times.
pub(crate) fn network() -> Network {
    let ms = Duration::from_millis;
    Network {
        idle_timeout: IDLE,
        retry: RetryPolicy {
            retry_for: ms(1000),
            first_pause: ms(10),
            longest_pause: ms(100),
            longest_retry_after: ms(500),
        },
        min_bytes_per_s: 5,
        ..Network::default()
    }
}

fn contents_or_message(
    found: Result<bool, StorageError>,
    bytes: Vec<u8>,
) -> Result<Option<Vec<u8>>, String> {
    match found {
        Ok(found) => Ok(found.then_some(bytes)),
        Err(e) => {
            assert!(bytes.is_empty(), "a failed read leaves no bytes");
            Err(e.to_string())
        }
    }
}
