//! A server for buckets on loopback: moto, in the Python of the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The Python that has moto.
const PYTHON: &str = "POINTSHARD_TEST_PYTHON";

/// Prints its port. Ends with this process, which closes the input.
const PROGRAM: &str = "
import os, sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
";

/// Objects in one response of a listing, and the smallest part of an upload in bytes.
pub(in crate::storage) const PAGE_OBJECTS: usize = 7;
const MIN_PART_BYTES: usize = 1 << 10;

struct BucketServer {
    address: String,
    _process: Child,
}

/// The address of the server; `None` if the test's Python is not known. Where CI is set, it must be known.
pub(in crate::storage) fn address() -> Option<&'static str> {
    static SERVER: OnceLock<Option<BucketServer>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match std::env::var_os(PYTHON) {
        Some(python) => Some(start(Command::new(python))),
        None => {
            assert!(
                std::env::var_os("CI").is_none(),
                "{PYTHON} is not set: it must be a Python that has moto"
            );
            None
        }
    });
    if server.is_none() {
        eprintln!("skipped: {PYTHON} is not set, run tests/run");
    }
    server.as_ref().map(|server| server.address.as_str())
}

fn start(mut python: Command) -> BucketServer {
    let mut process = python
        .args(["-c", PROGRAM])
        .env("MOTO_S3_DEFAULT_MAX_KEYS", PAGE_OBJECTS.to_string())
        .env("S3_UPLOAD_PART_MIN_SIZE", MIN_PART_BYTES.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    output.read_line(&mut port).unwrap();
    let port: u16 = port.trim().parse().expect("the server prints its port");
    BucketServer {
        address: format!("127.0.0.1:{port}"),
        _process: process,
    }
}

/// A new bucket.
pub(in crate::storage) fn new_bucket(address: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let bucket = format!("bucket{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let response = request(address, "PUT", &format!("/{bucket}"));
    assert!(response.contains(" 200 OK"), "{response}");
    bucket
}

/// The keys and ids of unfinished uploads in the bucket.
pub(in crate::storage) fn uploads(address: &str, bucket: &str) -> Vec<(String, String)> {
    let response = request(address, "GET", &format!("/{bucket}?uploads"));
    assert!(response.contains(" 200 OK"), "{response}");
    let uploads = response.split("<Upload>").skip(1);
    let element = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let uploads = uploads.map(|upload| (element(upload, "Key"), element(upload, "UploadId")));
    uploads.collect()
}

/// The response to a request without a body.
fn request(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}
