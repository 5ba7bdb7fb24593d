//! Servers that fail for a while or permanently. `retry` tests the policy with a virtual clock; these tests check that
//! reads follow it.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{HELLO, found, range_response};
use crate::storage::loopback::*;
use crate::storage::remote::{RemoteLocation, RemoteStore};
use crate::storage::stop_group::StopGroup;
use crate::storage::{Network, RetryPolicy, Store};

/// The objects of the server, read with the given settings.
fn store_with(server: &Server, network: Network, group: &StopGroup) -> RemoteStore {
    let (_, rest) = server.url.split_once("://").unwrap();
    let location = RemoteLocation::new("http", rest).unwrap();
    RemoteStore::open(&location, &connections(network), group)
}

/// Settings that retry a read for `seconds`.
fn retrying_for(seconds: u64) -> Network {
    let network = network();
    let retry = RetryPolicy {
        retry_for: Duration::from_secs(seconds),
        ..network.retry
    };
    Network { retry, ..network }
}

fn store_retrying_for(server: &Server, retry_for_s: u64) -> RemoteStore {
    store_with(server, retrying_for(retry_for_s), &StopGroup::default())
}

fn read(store: &RemoteStore) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match store.read("a", 100, &mut bytes) {
        Ok(true) => Ok(bytes),
        Ok(false) => Err("missing".into()),
        Err(e) => Err(e.to_string()),
    }
}

#[test]
fn many_transient_failures_are_retried() {
    for status in [
        "503 Service Unavailable",
        "500 Oh",
        "408 Request Timeout",
        "429 Slow",
    ] {
        let server = serve(move |n, _| match n {
            0..12 => reply(status, "", b"not now"),
            _ => reply("200 OK", "", HELLO),
        });
        assert_eq!(
            read(&store_retrying_for(&server, 600)).unwrap(),
            HELLO,
            "{status}"
        );
        assert_eq!(server.requests(), 13);
        assert_eq!(
            store_retrying_for(&server, 600).size("a").unwrap(),
            Some(11)
        );
    }
    // Closed without a response, and in the middle of one.
    for sent in [0, 63] {
        let server = serve(move |n, _| {
            let mut response = reply("200 OK", "", HELLO);
            response.truncate(if (1..13).contains(&n) {
                sent
            } else {
                usize::MAX
            });
            response
        });
        let store = store_retrying_for(&server, 600);
        assert_eq!(read(&store).unwrap(), HELLO);
        assert_eq!(read(&store).unwrap(), HELLO);
        assert_eq!(server.requests(), 14, "{sent}");
    }
}

#[test]
fn permanent_failures_are_not_retried() {
    for status in ["400 Bad Request", "403 Forbidden", "501 Not Implemented"] {
        let server = serve(move |_, _| reply(status, "", b""));
        let e = read(&store_retrying_for(&server, 600)).unwrap_err();
        assert!(e.contains(status) && e.contains("1 try"), "{e}");
    }
    let server = serve(|_, _| reply("404 Not Found", "", b""));
    assert_eq!(
        read(&store_retrying_for(&server, 600)).unwrap_err(),
        "missing"
    );
}

#[test]
fn retry_after_is_respected_up_to_a_limit() {
    let longest = network().retry.longest_retry_after;
    for (retry_after, least) in [
        ("3600", longest),
        ("Fri, 31 Dec 2100 23:59:59 GMT", longest),
        ("soon", Duration::ZERO),
    ] {
        let header = format!("Retry-After: {retry_after}\r\n");
        let server = serve(move |n, _| match n {
            0 => reply("503 Service Unavailable", &header, b""),
            _ => reply("200 OK", "", HELLO),
        });
        let clock = Instant::now();
        assert_eq!(read(&store_retrying_for(&server, 600)).unwrap(), HELLO);
        assert!(clock.elapsed() >= least, "{retry_after}");
    }
}

#[test]
fn a_waiting_read_stops_if_another_part_of_the_job_fails() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let busy = serve(move |_, _| {
        let _ = sender.send(());
        reply("503 Service Unavailable", "", b"")
    });
    let idle = serve_by(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello");
        std::thread::sleep(Duration::from_secs(2));
    });
    let group = &StopGroup::default();
    let work = group.begin_work();
    std::thread::scope(|scope| {
        let read = |server| read(&store_with(server, retrying_for(600), group)).unwrap_err();
        let (busy, idle) = (&busy, &idle);
        let reads = [
            scope.spawn(move || read(busy)),
            scope.spawn(move || read(idle)),
        ];
        receiver.recv().unwrap();
        work.stop();
        for read in reads {
            let e = read.join().unwrap();
            assert!(e.contains("another part of the job failed"), "{e}");
        }
    });
}

#[test]
fn a_rate_below_the_limit_is_an_error() {
    let server = serve_by(|_, _, stream| {
        let response = reply("200 OK", "", &[7; 100]);
        let (headers, body) = response.split_at(response.len() - 100);
        let _ = stream.write_all(headers);
        for byte in body {
            std::thread::sleep(Duration::from_millis(50));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    let network = Network {
        min_bytes_per_s: 256,
        ..network()
    };
    let store = store_with(&server, network, &StopGroup::default());
    let e = read(&store).unwrap_err();
    assert!(
        e.contains(" tries, ") && e.contains("bytes/s over 0.3 s"),
        "{e}"
    );
    assert!(e.contains("256 bytes/s of --min-rate"), "{e}");
    assert!(server.requests() >= 2, "it is retried once");
    // Discarded bytes count as well.
    let e = store.read_range("a", 90..95, &mut Vec::new()).unwrap_err();
    assert!(e.to_string().contains("of --min-rate"), "{e}");
}

#[test]
fn an_html_page_instead_of_data_is_an_error() {
    let page = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>";
    for headers in ["Content-Type: text/html\r\n", "ETag: \"1\"\r\n"] {
        let server = serve(move |_, _| reply("200 OK", headers, page));
        for read in [server.read(1000), server.read_range(3..8)] {
            let e = read.unwrap_err();
            assert!(e.contains("the server answered with an HTML page"), "{e}");
        }
        assert_eq!(server.requests(), 2, "the read is not retried");
    }
    // Voxels that start like a page are not a page, and a range is not checked.
    let server = serve(|_, request| range_response(b"<html>\x00\x01", request));
    assert_eq!(server.read(100), found(b"<html>\x00\x01"));
    let server = serve(|_, request| range_response(b"voxels<html> </html>", request));
    assert_eq!(server.read_range(6..12), found(b"<html>"));
}

#[test]
fn a_malformed_content_encoding_is_retried_a_few_times() {
    let headers = "Content-Encoding: gzip\r\n";
    let server = serve(move |_, _| reply("200 OK", headers, b"\x1f\x8b\x08 no more"));
    let e = read(&store_retrying_for(&server, 600)).unwrap_err();
    assert!(
        e.contains("4 tries") && e.contains("Content-Encoding gzip"),
        "{e}"
    );
}
