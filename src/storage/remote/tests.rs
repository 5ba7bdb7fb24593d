use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::storage::Location;

/// A server on loopback that answers its n-th request with `answer(n, the request's first line)`.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

fn serve(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let (answer, count) = (Arc::new(answer), Arc::clone(&requests));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || answer_one(stream, &*answer, &count));
        }
    });
    Server { url, requests }
}

fn answer_one(mut stream: TcpStream, answer: &dyn Fn(usize, &str) -> Vec<u8>, count: &AtomicUsize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    let _ = stream.write_all(&answer(count.fetch_add(1, Ordering::SeqCst), &first));
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn read(server: &Server, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let place = Location::Local("".into())
        .resolve(&format!("{}/layer", server.url))
        .unwrap();
    let mut bytes = vec![1; 3];
    let found = place.open().read("a/info", limit, &mut bytes);
    found
        .map(|found| found.then_some(bytes))
        .map_err(|e| e.to_string())
}

#[test]
fn an_object_is_read_and_a_missing_one_is_no_error() {
    let server = serve(|_, first| match first {
        "GET /layer/a/info HTTP/1.1" => reply("200 OK", "", b"hello"),
        other => panic!("{other}"),
    });
    assert_eq!(read(&server, 5), Ok(Some(b"hello".to_vec())));
    let server = serve(|_, _| reply("404 Not Found", "", b"no"));
    assert_eq!(read(&server, 5), Ok(None));
}

#[test]
fn what_was_compressed_for_the_way_is_undone() {
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut packed = vec![0; 100];
    let n = packer.gzip_compress(b"hello", &mut packed).unwrap();
    packed.truncate(n);
    let server = serve(move |_, _| reply("200 OK", "Content-Encoding: gzip\r\n", &packed));
    assert_eq!(read(&server, 100), Ok(Some(b"hello".to_vec())));
}

#[test]
fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let server = serve(|n, _| match n {
        0 => reply("503 Service Unavailable", "", b""),
        1 => reply("429 Too Many Requests", "", b""),
        _ => reply("200 OK", "", b"hello"),
    });
    assert_eq!(read(&server, 5), Ok(Some(b"hello".to_vec())));
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
}

#[test]
fn a_body_that_breaks_off_is_asked_for_again_and_never_taken_for_whole() {
    let cut = |n: usize| {
        let mut bytes = reply("200 OK", "", b"hello");
        bytes.truncate(bytes.len() - n);
        bytes
    };
    let server = serve(move |n, _| cut(if n < 2 { 3 } else { 0 }));
    assert_eq!(read(&server, 5), Ok(Some(b"hello".to_vec())));
    let server = serve(move |_, _| cut(1));
    let e = read(&server, 5).unwrap_err();
    assert!(
        e.contains("/layer/a/info") && e.contains("broke off 4 times"),
        "{e}"
    );
}

#[test]
fn a_refusal_says_what_to_do_and_is_not_retried() {
    let server = serve(|_, _| reply("403 Forbidden", "", b"who are you"));
    let e = read(&server, 5).unwrap_err();
    assert!(e.contains("403") && e.contains("AWS_SKIP_SIGNATURE"), "{e}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn an_object_over_the_limit_is_not_read() {
    let server = serve(|_, _| reply("200 OK", "", &[0; 1000]));
    let e = read(&server, 999).unwrap_err();
    assert!(e.contains("1000 bytes") && e.contains("999"), "{e}");
}

#[test]
fn a_key_cannot_leave_its_root() {
    let server = serve(|_, _| reply("200 OK", "", b""));
    let place = Location::Local("".into()).resolve(&server.url).unwrap();
    let e = place.open().read("../a", 5, &mut Vec::new()).unwrap_err();
    assert!(matches!(e, StorageError::KeyLeavesRoot { .. }), "{e}");
}
