mod buckets;
mod outages;
mod secrets;
mod writes;

use std::io::Write;
use std::time::Instant;

use super::*;
use crate::storage::loopback::*;
use crate::storage::{Storage, access_denied_is_missing};

const HELLO: &[u8] = b"hello world";

fn found(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    Ok(Some(bytes.to_vec()))
}

/// The response of a server that supports ranges.
fn range_response(body: &[u8], request: &Request) -> Vec<u8> {
    let Some(range) = request.range() else {
        return reply("200 OK", "", body);
    };
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    if first >= body.len() {
        let size = format!("Content-Range: bytes */{}\r\n", body.len());
        return reply("416 Range Not Satisfiable", &size, b"");
    }
    let last = last.min(body.len() - 1);
    let header = format!("Content-Range: bytes {first}-{last}/{}\r\n", body.len());
    reply("206 Partial Content", &header, &body[first..=last])
}

#[test]
fn a_missing_object_is_not_an_error() {
    let server = serve(|_, request| match request.first.as_str() {
        "GET /layer/a/info HTTP/1.1" => reply("200 OK", "", HELLO),
        other => panic!("{other}"),
    });
    assert_eq!(server.read(11), found(HELLO));
    for status in ["404 Not Found", "410 Gone"] {
        let server = serve(move |_, _| reply(status, "", b"no \xff text"));
        assert_eq!(server.read(5), Ok(None));
        assert_eq!(server.read_range(3..8), Ok(None));
        assert_eq!(server.store().size("a/info").unwrap(), None);
    }
}

#[test]
fn a_range_past_the_end_of_the_object_is_an_error() {
    let server = serve(|_, request| range_response(HELLO, request));
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.read_range(0..11), found(HELLO));
    for range in [3..12, 11..12, 100..200] {
        let e = server.read_range(range).unwrap_err();
        assert!(e.contains("has 11 bytes") && e.contains("truncated"), "{e}");
    }
    assert_eq!(server.store().size("a/info").unwrap(), Some(11));
}

#[test]
fn the_range_is_cut_out_if_the_server_ignores_ranges() {
    let server = serve(|_, _| reply("200 OK", "", HELLO));
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.requests(), 1, "one request is sent");
    assert_eq!(server.read_range(0..11), found(HELLO));
    for range in [3..12, 11..12] {
        let e = server.read_range(range).unwrap_err();
        assert!(e.contains("has 11 bytes") && e.contains("truncated"), "{e}");
    }
    let distant = (257 << 20)..(257 << 20) + 5;
    let e = server.read_range(distant).unwrap_err();
    assert!(e.contains("ignores ranges") && e.contains("256 MiB"), "{e}");
    let chunked = |_: usize, _: &Request| {
        let body = b"4\r\nhell\r\n7\r\no world\r\n0\r\n\r\n";
        reply_without_length("200 OK", "Transfer-Encoding: chunked\r\n", body)
    };
    assert_eq!(serve(chunked).read_range(3..8), found(b"lo wo"));
    let e = serve(chunked).read_range(3..12).unwrap_err();
    assert!(e.contains("has 11 bytes") && e.contains("truncated"), "{e}");
}

#[test]
fn bytes_after_the_range_are_not_read() {
    let server = serve_by(|_, _, stream| {
        let _ = stream.write_all(&cut(reply("200 OK", "", HELLO), 3));
        std::thread::sleep(SILENCE);
    });
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_range_other_than_the_requested_one_is_rejected() {
    let headers = [
        "Content-Range: bytes 0-4/11\r\n",
        "Content-Range: bytes 3-8/11\r\n",
        "Content-Range: bytes 3-6/11\r\n",
        "Content-Range: bytes x-y/11\r\n",
        "Content-Range: bytes 3-18446744073709551615/11\r\n",
        "",
    ];
    std::thread::scope(|scope| {
        for header in headers {
            scope.spawn(move || {
                let server = serve(move |_, _| reply("206 Partial Content", header, b"hello"));
                let e = server.read_range(3..8).unwrap_err();
                assert!(
                    e.contains("bytes 3 to 8 were requested") && e.contains("4 tries"),
                    "{e}"
                );
            });
        }
    });
    let server = serve(|n, request| match n {
        0 => reply(
            "206 Partial Content",
            "Content-Range: bytes 0-4/11\r\n",
            b"hello",
        ),
        _ => range_response(HELLO, request),
    });
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    let part = |_: usize, _: &Request| {
        reply(
            "206 Partial Content",
            "Content-Range: bytes 0-4/11\r\n",
            b"hello",
        )
    };
    let e = serve(part).read(100).unwrap_err();
    assert!(
        e.contains("sent a part, but the whole object was requested"),
        "{e}"
    );
}

#[test]
fn content_encodings_are_decoded() {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut compress = |zlib: bool| {
        let mut compressed = vec![0; 100];
        let n = if zlib {
            compressor.zlib_compress(HELLO, &mut compressed)
        } else {
            compressor.gzip_compress(HELLO, &mut compressed)
        };
        compressed.truncate(n.unwrap());
        compressed
    };
    let zstd = zstd::encode_all(HELLO, 3).unwrap();
    // The output of `brotli`.
    let brotli = b"\x0b\x05\x80hello world\x03".to_vec();
    let (gzip, deflate) = (compress(false), compress(true));
    for (name, body) in [
        ("gzip", gzip.clone()),
        ("X-Gzip", gzip.clone()),
        ("gzip,aws-chunked", gzip.clone()),
        ("zstd", zstd.clone()),
        ("br", brotli),
        ("deflate", deflate),
        ("gzip, zstd", zstd::encode_all(&gzip[..], 3).unwrap()),
        ("identity", HELLO.to_vec()),
        ("aws-chunked", HELLO.to_vec()),
    ] {
        let headers = format!("Content-Encoding: {name}\r\n");
        let server = serve(move |_, _| reply("200 OK", &headers, &body));
        assert_eq!(server.read(100), found(HELLO), "{name}");
    }
    // A server that compresses while it sends does not know the length.
    let server = serve(move |_, request| {
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
        let mut body = format!("{:x}\r\n", gzip.len()).into_bytes();
        body.extend_from_slice(&gzip);
        body.extend_from_slice(b"\r\n0\r\n\r\n");
        let headers = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n";
        reply_without_length("200 OK", headers, &body)
    });
    assert_eq!(server.read(100), found(HELLO));
    let e = server.read(10).unwrap_err();
    assert!(e.contains("10"), "{e}");
    let unknown = |_: usize, _: &Request| reply("200 OK", "Content-Encoding: compress\r\n", HELLO);
    let e = serve(unknown).read(100).unwrap_err();
    assert!(
        e.contains("Content-Encoding compress is not supported"),
        "{e}"
    );
}

#[test]
fn a_range_with_a_content_encoding_is_rejected() {
    let server = serve(|_, request| {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        let headers = "Content-Range: bytes 3-7/11\r\nContent-Encoding: gzip\r\n";
        reply("206 Partial Content", headers, b"lo wo")
    });
    let e = server.read_range(3..8).unwrap_err();
    assert!(
        e.contains("Content-Encoding gzip") && e.contains("cannot be decoded from a range"),
        "{e}"
    );
    assert_eq!(server.requests(), 1);
    let whole = |_: usize, _: &Request| reply("200 OK", "Content-Encoding: br\r\n", HELLO);
    let e = serve(whole).read_range(3..8).unwrap_err();
    assert!(e.contains("Content-Encoding br"), "{e}");
}

#[test]
fn a_missing_length_is_accepted_only_if_the_end_is_marked() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let server = serve(move |_, _| {
        reply_without_length("200 OK", chunked, b"b\r\nhello world\r\n0\r\n\r\n")
    });
    assert_eq!(server.read(11), found(HELLO));
    let e = server.read(10).unwrap_err();
    assert!(e.contains("11 bytes") && e.contains("10"), "{e}");
    // Truncated before the last, empty chunk.
    let server = serve(move |_, _| reply_without_length("200 OK", chunked, b"5\r\nhello\r\n"));
    assert!(server.read(11).unwrap_err().contains("broke off"));
    let server = serve(|_, _| reply_without_length("200 OK", "", HELLO));
    let e = server.read(11).unwrap_err();
    assert!(e.contains("has no length"), "{e}");
}

#[test]
fn the_size_is_read_from_a_server_without_head_requests() {
    let server = serve(|_, request| {
        if request.first.starts_with("HEAD") {
            reply("405 Method Not Allowed", "", b"")
        } else {
            range_response(HELLO, request)
        }
    });
    assert_eq!(server.store().size("a/info").unwrap(), Some(11));
    let server = serve(|_, request| {
        if request.first.starts_with("HEAD") {
            reply_without_length("200 OK", "", b"")
        } else {
            range_response(b"", request)
        }
    });
    assert_eq!(server.store().size("a/info").unwrap(), Some(0));
    // `object_store` reports 405 as a missing object, which would be read as zeros.
    let server = serve(|_, _| reply("405 Method Not Allowed", "", b""));
    let e = server.store().size("a/info").unwrap_err().to_string();
    assert!(e.contains("405"), "{e}");
    assert!(server.read(11).unwrap_err().contains("405"));
}

#[test]
fn a_busy_server_is_retried() {
    let server = serve(|n, _| match n {
        0 => reply("503 Service Unavailable", "", b""),
        1 => reply("429 Too Many Requests", "", b""),
        _ => reply("200 OK", "", HELLO),
    });
    assert_eq!(server.read(11), found(HELLO));
    assert_eq!(server.requests(), 3);
}

#[test]
fn a_truncated_body_is_retried_and_never_accepted() {
    let etag = "ETag: \"1\"\r\n";
    for headers in ["", etag] {
        let server =
            serve(move |n, _| cut(reply("200 OK", headers, HELLO), if n < 2 { 3 } else { 0 }));
        assert_eq!(server.read(11), found(HELLO));
        let server = serve(move |_, _| cut(reply("200 OK", headers, HELLO), 1));
        let e = server.read(11).unwrap_err();
        assert!(
            e.contains("/layer/a/info: GET (")
                && e.contains(" tries, 1.")
                && e.contains("broke off"),
            "{e}"
        );
        let server =
            serve(move |n, request| cut(range_response(HELLO, request), if n < 1 { 2 } else { 0 }));
        assert_eq!(server.read_range(3..8), found(b"lo wo"));
        let server = serve(move |_, request| cut(range_response(HELLO, request), 2));
        let e = server.read_range(3..8).unwrap_err();
        assert!(e.contains(" tries, 1.") && e.contains("broke off"), "{e}");
    }
}

#[test]
fn the_rest_of_a_range_is_requested_if_the_object_is_unchanged() {
    let server = serve(|n, request| {
        let mut response = range_response(HELLO, request);
        let at = response.iter().position(|b| *b == b'\n').unwrap() + 1;
        response.splice(
            at..at,
            *b"ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
        );
        match n {
            0 => cut(response, 2),
            _ => {
                assert_eq!(request.range(), Some("bytes=6-7"));
                response
            }
        }
    });
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.requests(), 2);
}

#[test]
fn a_connection_reset_in_the_body_is_retried() {
    // Closing with unread bytes of the request resets the connection.
    let server = serve_by(|n, _, stream| match n {
        0 => {
            let _ = stream.write_all(&cut(reply("200 OK", "", &[7; 100_000]), 1));
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        _ => drop(stream.write_all(&reply("200 OK", "", HELLO))),
    });
    assert_eq!(server.read(100_000), found(HELLO));
    assert_eq!(server.requests(), 2);
}

#[test]
fn an_idle_server_is_an_error_after_several_tries() {
    for start in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello",
    ] {
        let server = serve_by(move |n, _, stream| match n {
            0 => {
                let _ = stream.write_all(start);
                std::thread::sleep(SILENCE);
            }
            _ => drop(stream.write_all(&reply("200 OK", "", HELLO))),
        });
        assert_eq!(server.read(11), found(HELLO));
        assert_eq!(server.requests(), 2);
        let server = serve_by(move |_, _, stream| {
            let _ = stream.write_all(start);
            std::thread::sleep(SILENCE);
        });
        let clock = Instant::now();
        let e = server.read(11).unwrap_err();
        assert!(
            e.contains(" tries, ") && e.contains("127.0.0.1 sent no data for 0.3 s"),
            "{e}"
        );
        assert!(e.contains("--idle-timeout"), "{e}");
        assert!(server.requests() > 1);
        assert!(clock.elapsed().as_secs() < 10, "{:?}", clock.elapsed());
    }
}

#[test]
fn a_slow_server_that_keeps_sending_does_not_time_out() {
    let server = serve_by(|_, _, stream| {
        let response = reply("200 OK", "", &[7; 12]);
        let (headers, body) = response.split_at(response.len() - 12);
        let _ = stream.write_all(headers);
        for piece in body.chunks(2) {
            std::thread::sleep(SILENCE / 12);
            let _ = stream.write_all(piece);
        }
    });
    assert_eq!(server.read(12), found(&[7; 12]));
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_denied_request_is_not_retried_and_its_error_has_advice() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let server = serve(move |_, _| reply(status, "", b"who are\nyou"));
        let e = server.read(11).unwrap_err();
        assert!(
            e.contains("/layer/a/info: GET (1 try, ") && e.contains(status),
            "{e}"
        );
        assert!(
            e.contains("who are you") && e.contains("credentials"),
            "{e}"
        );
        assert_eq!(server.requests(), 1);
    }
}

#[test]
fn status_403_means_missing_if_configured() {
    let server = serve(|_, _| reply("403 Forbidden", "", b""));
    let store = access_denied_is_missing(Arc::new(server.store()));
    let mut bytes = Vec::new();
    assert!(!store.read("a", 5, &mut bytes).unwrap());
    assert!(!store.read_range("a", 0..5, &mut bytes).unwrap());
    assert_eq!(store.size("a").unwrap(), None);
    let server = serve(|_, _| reply("401 Unauthorized", "", b""));
    let store = access_denied_is_missing(Arc::new(server.store()));
    assert!(store.read("a", 5, &mut bytes).is_err());
}

#[test]
fn the_error_for_an_unreachable_server_has_the_reason() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let read = |url: &str| {
        let found = store(url).read("info", 5, &mut Vec::new());
        found.unwrap_err().to_string()
    };
    let e = read(&format!("http://{address}"));
    assert!(e.contains("(4 tries, ") && e.contains("refused"), "{e}");
    let e = read("http://pointshard.invalid");
    assert!(
        e.contains("the host name pointshard.invalid cannot be resolved"),
        "{e}"
    );
    let server = serve(|_, _| reply("200 OK", "", HELLO));
    let e = read(&server.url.replace("http:", "https:"));
    assert!(e.contains("no TLS connection to 127.0.0.1"), "{e}");
}

#[test]
fn a_redirect_is_followed_with_its_range() {
    let target = serve(|_, request| range_response(HELLO, request));
    let to = format!("Location: {}/elsewhere\r\n", target.url);
    let server = serve(move |_, _| reply("302 Found", &to, b""));
    assert_eq!(server.read(11), found(HELLO));
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    let server = serve(|_, _| reply("301 Moved Permanently", "", b""));
    assert!(server.read(11).unwrap_err().contains("301"));
}

#[test]
fn an_object_over_the_limit_is_an_error() {
    let server = serve(|_, _| reply("200 OK", "", &[0; 1000]));
    let e = server.read(999).unwrap_err();
    assert!(e.contains("1000 bytes") && e.contains("999"), "{e}");
}

#[test]
fn the_path_of_a_url_is_sent_unchanged() {
    let server = serve(|_, request| reply("200 OK", "", request.first.as_bytes()));
    let mut bytes = Vec::new();
    let folder_store = store(&format!("{}/~me/a%20b/x+y", server.url));
    assert!(folder_store.read("c", 100, &mut bytes).unwrap());
    assert_eq!(bytes, b"GET /~me/a%20b/x+y/c HTTP/1.1");
    let url = format!("{}//v1/../v2/state?url=https://x/../y%20z", server.url);
    let base = crate::storage::Location::Local("".into());
    let (folder, name) = base.resolve(&url).unwrap().split_file().unwrap();
    assert!(
        Storage::default()
            .open(&folder)
            .read(&name, 100, &mut bytes)
            .unwrap()
    );
    assert_eq!(bytes, b"GET /v2/state?url=https://x/../y%20z HTTP/1.1");
    let e = base
        .resolve("https://me:hidden@host/x")
        .unwrap_err()
        .to_string();
    assert!(e.contains("password") && !e.contains("hidden"), "{e}");
}

#[test]
fn a_key_cannot_leave_its_root() {
    let server = serve(|_, _| reply("200 OK", "", b""));
    for key in ["../a", "a/../../b", "", "/etc/passwd"] {
        let e = server.store().read(key, 5, &mut Vec::new()).unwrap_err();
        assert!(matches!(e, StorageError::KeyLeavesRoot { .. }), "{e}");
    }
    assert_eq!(server.requests(), 0);
}
