//! Servers that are out of order for a while, or for good. The policy is tested with a virtual clock in `retry`; here,
//! that it is followed.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{HELLO, found, part_of};
use crate::storage::loopback::*;
use crate::storage::remote::{RemoteLocation, RemoteStore};
use crate::storage::stop_group::StopGroup;
use crate::storage::{Network, RetryPolicy, Store};

/// The objects of the server, read with other settings than in most tests.
fn store_with(server: &Server, network: Network, group: &StopGroup) -> RemoteStore {
    let (_, rest) = server.url.split_once("://").unwrap();
    let location = RemoteLocation::new("http", rest).unwrap();
    RemoteStore::open(&location, &connections(network), group)
}

/// Settings with which a read is retried for `seconds`.
fn retrying_for(seconds: u64) -> Network {
    let network = network();
    let retry = RetryPolicy {
        retry_for: Duration::from_secs(seconds),
        ..network.retry
    };
    Network { retry, ..network }
}

fn patient(server: &Server, retry_for_s: u64) -> RemoteStore {
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
fn an_outage_of_many_failures_is_outlasted() {
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
        assert_eq!(read(&patient(&server, 600)).unwrap(), HELLO, "{status}");
        assert_eq!(server.requests(), 13);
        assert_eq!(patient(&server, 600).size("a").unwrap(), Some(11));
    }
    // Closed without an answer, and in the middle of one.
    for sent in [0, 63] {
        let server = serve(move |n, _| {
            let mut answer = reply("200 OK", "", HELLO);
            answer.truncate(if (1..13).contains(&n) {
                sent
            } else {
                usize::MAX
            });
            answer
        });
        let store = patient(&server, 600);
        assert_eq!(read(&store).unwrap(), HELLO);
        assert_eq!(read(&store).unwrap(), HELLO);
        assert_eq!(server.requests(), 14, "{sent}");
    }
}

#[test]
fn what_does_not_pass_is_told_at_once() {
    for status in ["400 Bad Request", "403 Forbidden", "501 Not Implemented"] {
        let server = serve(move |_, _| reply(status, "", b""));
        let e = read(&patient(&server, 600)).unwrap_err();
        assert!(e.contains(status) && e.contains("1 try"), "{e}");
    }
    let server = serve(|_, _| reply("404 Not Found", "", b""));
    assert_eq!(read(&patient(&server, 600)).unwrap_err(), "missing");
}

#[test]
fn a_server_is_given_the_time_that_it_asks_for_within_a_bound() {
    let longest = network().retry.longest_asked_pause;
    for (asked, least) in [
        ("3600", longest),
        ("Fri, 31 Dec 2100 23:59:59 GMT", longest),
        ("soon", Duration::ZERO),
    ] {
        let header = format!("Retry-After: {asked}\r\n");
        let server = serve(move |n, _| match n {
            0 => reply("503 Service Unavailable", &header, b""),
            _ => reply("200 OK", "", HELLO),
        });
        let clock = Instant::now();
        assert_eq!(read(&patient(&server, 600)).unwrap(), HELLO);
        assert!(clock.elapsed() >= least, "{asked}");
    }
}

#[test]
fn who_waits_for_a_server_stops_when_another_part_fails() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let busy = serve(move |_, _| {
        let _ = sender.send(());
        reply("503 Service Unavailable", "", b"")
    });
    let silent = serve_by(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello");
        std::thread::sleep(Duration::from_secs(2));
    });
    let group = &StopGroup::default();
    let work = group.begin_work();
    std::thread::scope(|scope| {
        let read = |server| read(&store_with(server, retrying_for(600), group)).unwrap_err();
        let (busy, silent) = (&busy, &silent);
        let reads = [
            scope.spawn(move || read(busy)),
            scope.spawn(move || read(silent)),
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
fn a_drip_is_given_up_by_its_rate() {
    let server = serve_by(|_, _, stream| {
        let answer = reply("200 OK", "", &[7; 100]);
        let (headers, body) = answer.split_at(answer.len() - 100);
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
    // A part of it that has to be thrown away counts as well.
    let e = store.read_range("a", 90..95, &mut Vec::new()).unwrap_err();
    assert!(e.to_string().contains("of --min-rate"), "{e}");
}

#[test]
fn a_page_in_place_of_data_is_named() {
    let page = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>";
    for headers in ["Content-Type: text/html\r\n", "ETag: \"1\"\r\n"] {
        let server = serve(move |_, _| reply("200 OK", headers, page));
        for read in [server.read(1000), server.read_range(3..8)] {
            let e = read.unwrap_err();
            assert!(e.contains("the server answered with an HTML page"), "{e}");
        }
        assert_eq!(server.requests(), 2, "it is not asked again");
    }
    // Voxels that begin like a page are no page, and neither is a part of one.
    let server = serve(|_, request| part_of(b"<html>\x00\x01", request));
    assert_eq!(server.read(100), found(b"<html>\x00\x01"));
    let server = serve(|_, request| part_of(b"voxels<html> </html>", request));
    assert_eq!(server.read_range(6..12), found(b"<html>"));
}

#[test]
fn what_is_stored_damaged_is_tried_a_few_times_only() {
    let headers = "Content-Encoding: gzip\r\n";
    let server = serve(move |_, _| reply("200 OK", headers, b"\x1f\x8b\x08 no more"));
    let e = read(&patient(&server, 600)).unwrap_err();
    assert!(
        e.contains("4 tries") && e.contains("Content-Encoding gzip"),
        "{e}"
    );
}
