//! Writes to buckets, simulated by the loopback server: what its failures mean, and what is sent to whom.

use std::time::{Duration, Instant};

use super::buckets::{bucket, env};
use super::range_response;
use crate::fault::{Fault, FaultKind};
use crate::storage::loopback::*;
use crate::storage::remote::RemoteStore;
use crate::storage::sink::PendingObject;
use crate::storage::{Network, StorageError};

const ETAG: &str = "ETag: \"1\"\r\n";

fn store(scheme: &str, url: &str) -> RemoteStore {
    store_with(scheme, url, network())
}

fn store_with(scheme: &str, url: &str, network: Network) -> RemoteStore {
    let vars = [
        ("STORAGE_EMULATOR_HOST", url),
        ("GOOGLE_BEARER_TOKEN", "hidden-token"),
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hidden-key"),
    ];
    bucket(scheme, &env(&vars), network)
}

fn put(scheme: &str, url: &str) -> Result<(), StorageError> {
    let sink = store(scheme, url).into_sink().unwrap();
    sink.put("a", b"bytes")
}

#[test]
fn the_bytes_are_sent_with_the_condition_of_the_service() {
    for (scheme, condition) in [
        ("s3", "if-none-match"),
        ("gs", "x-goog-if-generation-match"),
    ] {
        let server = serve(move |n, request| {
            assert!(
                request.first.starts_with("PUT /vnc/img"),
                "{}",
                request.first
            );
            assert_eq!(request.body, b"bytes");
            assert_eq!(request.header(condition).is_some(), n == 1);
            reply("200 OK", ETAG, b"")
        });
        put(scheme, &server.url).unwrap();
        let sink = store(scheme, &server.url).into_sink().unwrap();
        assert!(sink.create_new("a", b"bytes").unwrap());
    }
}

#[test]
fn a_write_beside_another_one_is_repeated() {
    let xml = b"<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>";
    let server = serve(move |n, _| match n {
        0 | 1 => reply("409 Conflict", "", xml),
        _ => reply("412 Precondition Failed", "", b""),
    });
    let sink = store("s3", &server.url).into_sink().unwrap();
    // Nothing was written by the rejected requests, so the object is not read.
    assert!(!sink.create_new("a", b"bytes").unwrap());
    assert_eq!(server.requests(), 3);
    let server = serve(move |_, _| reply("409 Conflict", "", xml));
    let sink = store("s3", &server.url).into_sink().unwrap();
    let e = sink.create_new("a", b"bytes").unwrap_err();
    assert_eq!(e.kind(), FaultKind::Environment);
    assert!(
        e.to_string().contains("ConditionalRequestConflict: again"),
        "{e}"
    );
}

#[test]
fn an_existing_object_is_own_only_if_a_lost_write_had_the_same_bytes() {
    for (found, own) in [("bytes", true), ("other", false), ("longer bytes", false)] {
        let server = serve(move |n, _| match n {
            0 => Vec::new(),
            1 => reply("412 Precondition Failed", "", b""),
            _ => {
                let meta = format!("{ETAG}Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
                reply("200 OK", &meta, found.as_bytes())
            }
        });
        let sink = store("s3", &server.url).into_sink().unwrap();
        assert_eq!(sink.create_new("a", b"bytes").unwrap(), own, "{found}");
    }
    let server = serve(|_, _| reply("412 Precondition Failed", "", b"bytes"));
    let sink = store("s3", &server.url).into_sink().unwrap();
    assert!(!sink.create_new("a", b"bytes").unwrap());
    assert_eq!(server.requests(), 1);
}

#[test]
fn errors_of_the_bucket_say_what_is_wrong_and_what_to_do() {
    let xml = b"<Error><Code>NoSuchBucket</Code><Message>There is no bucket.</Message></Error>";
    let server = serve(|_, _| reply("404 Not Found", "", xml));
    let e = put("s3", &server.url).unwrap_err();
    assert_eq!((e.kind(), server.requests()), (FaultKind::Usage, 1));
    let e = e.to_string();
    assert!(
        e.starts_with("cannot write s3://vnc/img/a: PUT (1 try, "),
        "{e}"
    );
    assert!(
        e.contains("NoSuchBucket: There is no bucket.; check the name of the bucket"),
        "{e}"
    );
    for (scheme, access) in [
        (
            "s3",
            "keys in the environment (AWS_ACCESS_KEY_ID): check that they can write to",
        ),
        ("gs", "check that they can write to the bucket"),
    ] {
        // Keys are not sent, but tokens are.
        let text: &[u8] = if scheme == "gs" {
            b"no hidden-token"
        } else {
            b"no"
        };
        let server = serve(move |_, _| reply("403 Forbidden", "", text));
        let e = put(scheme, &server.url).unwrap_err();
        assert_eq!((e.kind(), server.requests()), (FaultKind::Environment, 1));
        let e = e.to_string();
        assert!(e.contains(access) && !e.contains("forbidden`"), "{e}");
        assert!(!e.contains("hidden"), "{e}");
    }
    let server = serve(|_, _| reply("501 Not Implemented", "", b""));
    let e = put("s3", &server.url).unwrap_err();
    assert_eq!(e.kind(), FaultKind::Usage);
    assert!(e.to_string().contains("`If-None-Match: *`"), "{e}");
    let server = serve(|_, _| reply("403 Forbidden", "", b""));
    let e = store("s3", &server.url)
        .into_sink()
        .unwrap()
        .delete("a")
        .unwrap_err()
        .to_string();
    assert!(
        e.starts_with("cannot delete s3://vnc/img/a: DELETE (1 try, "),
        "{e}"
    );
}

#[test]
fn disabled_conditional_writes_are_an_error() {
    let vars = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_CONDITIONAL_PUT", "disabled"),
    ];
    let sink = bucket("s3", &env(&vars), network()).into_sink().unwrap();
    let e = sink.create_new("a", b"bytes").unwrap_err();
    assert_eq!(e.kind(), FaultKind::Usage);
    assert!(
        e.to_string()
            .contains("without AWS_CONDITIONAL_PUT=disabled"),
        "{e}"
    );
}

#[test]
fn http_servers_are_not_written_to() {
    let server = serve(|_, _| reply("200 OK", "", b""));
    let e = server.store().into_sink().unwrap_err();
    assert_eq!((e.kind(), server.requests()), (FaultKind::Usage, 0));
    let e = e.to_string();
    assert!(
        e.starts_with("cannot write http://127.0.0.1") && e.contains("s3://, gs://"),
        "{e}"
    );
}

#[test]
fn a_write_is_not_redirected() {
    let target = serve(|_, _| reply("200 OK", ETAG, b""));
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let to = format!("Location: {}/elsewhere\r\n", target.url);
        let server = serve(move |_, _| reply(status, &to, b""));
        let e = put("s3", &server.url).unwrap_err().to_string();
        assert!(e.contains(status), "{e}");
    }
    assert_eq!(target.requests(), 0);
}

#[test]
fn a_write_ends_when_the_job_is_stopped() {
    let server = serve(|_, _| reply("503 Service Unavailable", "", b""));
    let network = network();
    let retry = crate::storage::RetryPolicy {
        retry_for: Duration::from_secs(600),
        ..network.retry
    };
    let store = store_with("s3", &server.url, Network { retry, ..network });
    let work = store.stop_group.begin_work();
    let sink = store.clone().into_sink().unwrap();
    std::thread::scope(|scope| {
        let put = scope.spawn(|| sink.put("a", b"bytes").unwrap_err());
        while server.requests() == 0 {
            std::thread::yield_now();
        }
        work.stop();
        assert!(put.join().unwrap().is_stopped());
    });
}

/// A server that gives an upload an id, and then answers with `complete`.
fn upload_server(complete: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let completions = std::sync::atomic::AtomicUsize::new(0);
    serve(move |_, request| {
        let is = |method: &str, query: &str| {
            request.first.starts_with(method) && request.first.contains(query)
        };
        if is("POST", "uploads") {
            let id = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
            reply("200 OK", "", id)
        } else if is("POST", "uploadId") {
            complete(
                completions.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                request,
            )
        } else if is("DELETE", "") {
            reply("204 No Content", "", b"")
        } else if is("PUT", "") {
            reply("200 OK", ETAG, b"")
        } else {
            // The object is read.
            complete(0, request)
        }
    })
}

/// Writes an object of two parts.
fn write_parts(server: &Server) -> Result<(), StorageError> {
    let sink = store("s3", &server.url).into_sink().unwrap();
    let mut pending: Box<dyn PendingObject> = sink.begin("large").unwrap();
    pending.write(&vec![7; 9 << 20])?;
    pending.commit()
}

#[test]
fn a_failure_that_is_reported_with_status_200_is_not_a_success() {
    const FAILURE: &[u8] = b"<Error><Code>InternalError</Code><Message>not now</Message></Error>";
    const DONE: &[u8] =
        b"<CompleteMultipartUploadResult><ETag>\"1-2\"</ETag></CompleteMultipartUploadResult>";
    let server = upload_server(|n, _| reply("200 OK", "", if n == 0 { FAILURE } else { DONE }));
    write_parts(&server).unwrap();
    let server = upload_server(|_, _| reply("200 OK", "", FAILURE));
    let e = write_parts(&server).unwrap_err();
    assert_eq!(e.kind(), FaultKind::Environment);
    assert!(e.to_string().contains("InternalError: not now"), "{e}");
}

#[test]
fn an_upload_that_was_removed_is_a_clear_error() {
    let server = upload_server(|_, _| reply("404 Not Found", "", b""));
    let e = write_parts(&server).unwrap_err().to_string();
    assert!(
        e.contains("404") && e.contains("unfinished upload was removed"),
        "{e}"
    );
}

#[test]
fn an_upload_whose_end_is_unknown_is_finished_if_the_object_has_its_bytes() {
    for (size, byte, finished) in [(9 << 20, 7, true), (9 << 20, 8, false), (5, 7, false)] {
        let server = upload_server(move |n, request| {
            let meta = format!("{ETAG}Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
            match request.first.split(' ').next() {
                Some("POST") if n == 0 => Vec::new(),
                Some("POST") => reply("404 Not Found", "", b""),
                Some("HEAD") => reply_without_length(
                    "200 OK",
                    &format!("Content-Length: {size}\r\n{meta}"),
                    b"",
                ),
                _ => {
                    let mut response = range_response(&vec![byte; size], request);
                    let at = response.iter().position(|b| *b == b'\n').unwrap() + 1;
                    response.splice(at..at, meta.into_bytes());
                    response
                }
            }
        });
        let result = write_parts(&server);
        assert_eq!(result.is_ok(), finished, "{size} {byte} {result:?}");
    }
}

#[test]
fn a_server_that_takes_the_bytes_but_does_not_answer_is_an_error() {
    let server = serve_by(|_, _, _| std::thread::sleep(SILENCE));
    let clock = Instant::now();
    let e = put("s3", &server.url).unwrap_err();
    assert_eq!(e.kind(), FaultKind::Environment);
    assert!(
        e.to_string().contains("127.0.0.1 sent no data for 0.3 s"),
        "{e}"
    );
    assert!(server.requests() > 1 && clock.elapsed().as_secs() < 10);
}
