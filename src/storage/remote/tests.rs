mod buckets;
mod outages;
mod secrets;

use std::io::Write;
use std::time::Instant;

use super::*;
use crate::storage::loopback::*;
use crate::storage::{Storage, forbidden_is_missing};

const HELLO: &[u8] = b"hello world";

fn found(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    Ok(Some(bytes.to_vec()))
}

/// A server that knows ranges.
fn part_of(body: &[u8], request: &Request) -> Vec<u8> {
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
    let place = format!("Content-Range: bytes {first}-{last}/{}\r\n", body.len());
    reply("206 Partial Content", &place, &body[first..=last])
}

#[test]
fn an_object_is_read_and_a_missing_one_is_no_error() {
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
fn a_range_is_read_whole_or_is_an_error() {
    let server = serve(|_, request| part_of(HELLO, request));
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.read_range(0..11), found(HELLO));
    for range in [3..12, 11..12, 100..200] {
        let e = server.read_range(range).unwrap_err();
        assert!(e.contains("has 11 bytes") && e.contains("truncated"), "{e}");
    }
    assert_eq!(server.store().size("a/info").unwrap(), Some(11));
}

#[test]
fn of_a_server_that_ignores_ranges_the_range_is_cut_out() {
    let server = serve(|_, _| reply("200 OK", "", HELLO));
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.requests(), 1, "it is asked once");
    assert_eq!(server.read_range(0..11), found(HELLO));
    for range in [3..12, 11..12] {
        let e = server.read_range(range).unwrap_err();
        assert!(e.contains("has 11 bytes") && e.contains("truncated"), "{e}");
    }
    let far = (257 << 20)..(257 << 20) + 5;
    let e = server.read_range(far).unwrap_err();
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
fn what_lies_behind_a_range_is_not_waited_for() {
    let server = serve_by(|_, _, stream| {
        let _ = stream.write_all(&cut(reply("200 OK", "", HELLO), 3));
        std::thread::sleep(SILENCE);
    });
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.requests(), 1);
}

#[test]
fn another_range_than_asked_for_is_never_taken() {
    let places = [
        "Content-Range: bytes 0-4/11\r\n",
        "Content-Range: bytes 3-8/11\r\n",
        "Content-Range: bytes 3-6/11\r\n",
        "Content-Range: bytes x-y/11\r\n",
        "Content-Range: bytes 3-18446744073709551615/11\r\n",
        "",
    ];
    std::thread::scope(|scope| {
        for place in places {
            scope.spawn(move || {
                let server = serve(move |_, _| reply("206 Partial Content", place, b"hello"));
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
        _ => part_of(HELLO, request),
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
fn what_was_compressed_for_the_way_is_undone() {
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut pack = |zlib: bool| {
        let mut packed = vec![0; 100];
        let n = match zlib {
            true => packer.zlib_compress(HELLO, &mut packed),
            false => packer.gzip_compress(HELLO, &mut packed),
        };
        packed.truncate(n.unwrap());
        packed
    };
    let zstd = zstd::encode_all(HELLO, 3).unwrap();
    // What `brotli` makes of it.
    let brotli = b"\x0b\x05\x80hello world\x03".to_vec();
    let (gzip, deflate) = (pack(false), pack(true));
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
    // Made on the way, a length is not known beforehand.
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
fn a_range_of_what_is_compressed_for_the_way_is_refused() {
    let server = serve(|_, request| {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        let place = "Content-Range: bytes 3-7/11\r\nContent-Encoding: gzip\r\n";
        reply("206 Partial Content", place, b"lo wo")
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
fn a_length_that_is_not_told_is_found_out_or_refused() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let server = serve(move |_, _| {
        reply_without_length("200 OK", chunked, b"b\r\nhello world\r\n0\r\n\r\n")
    });
    assert_eq!(server.read(11), found(HELLO));
    let e = server.read(10).unwrap_err();
    assert!(e.contains("11 bytes") && e.contains("10"), "{e}");
    // Cut off before the last, empty chunk.
    let server = serve(move |_, _| reply_without_length("200 OK", chunked, b"5\r\nhello\r\n"));
    assert!(server.read(11).unwrap_err().contains("broke off"));
    let server = serve(|_, _| reply_without_length("200 OK", "", HELLO));
    let e = server.read(11).unwrap_err();
    assert!(e.contains("has no length"), "{e}");
}

#[test]
fn a_size_is_had_from_a_server_that_knows_no_head() {
    let server = serve(|_, request| match request.first.starts_with("HEAD") {
        true => reply("405 Method Not Allowed", "", b""),
        false => part_of(HELLO, request),
    });
    assert_eq!(server.store().size("a/info").unwrap(), Some(11));
    let server = serve(|_, request| match request.first.starts_with("HEAD") {
        true => reply_without_length("200 OK", "", b""),
        false => part_of(b"", request),
    });
    assert_eq!(server.store().size("a/info").unwrap(), Some(0));
    // `object_store` takes 405 for "not there": zeros would be read.
    let server = serve(|_, _| reply("405 Method Not Allowed", "", b""));
    let e = server.store().size("a/info").unwrap_err().to_string();
    assert!(e.contains("405"), "{e}");
    assert!(server.read(11).unwrap_err().contains("405"));
}

#[test]
fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let server = serve(|n, _| match n {
        0 => reply("503 Service Unavailable", "", b""),
        1 => reply("429 Too Many Requests", "", b""),
        _ => reply("200 OK", "", HELLO),
    });
    assert_eq!(server.read(11), found(HELLO));
    assert_eq!(server.requests(), 3);
}

#[test]
fn a_body_that_breaks_off_is_asked_for_again_and_never_taken_for_whole() {
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
            serve(move |n, request| cut(part_of(HELLO, request), if n < 1 { 2 } else { 0 }));
        assert_eq!(server.read_range(3..8), found(b"lo wo"));
        let server = serve(move |_, request| cut(part_of(HELLO, request), 2));
        let e = server.read_range(3..8).unwrap_err();
        assert!(e.contains(" tries, 1.") && e.contains("broke off"), "{e}");
    }
}

#[test]
fn the_rest_of_a_range_is_asked_for_where_the_object_is_known_to_be_the_same() {
    let server = serve(|n, request| {
        let mut answer = part_of(HELLO, request);
        let at = answer.iter().position(|b| *b == b'\n').unwrap() + 1;
        answer.splice(
            at..at,
            *b"ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
        );
        match n {
            0 => cut(answer, 2),
            _ => {
                assert_eq!(request.range(), Some("bytes=6-7"));
                answer
            }
        }
    });
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    assert_eq!(server.requests(), 2);
}

#[test]
fn a_connection_reset_in_a_body_is_a_body_that_breaks_off() {
    // Closed with bytes of the request unread, a connection is reset.
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
fn a_silent_server_is_given_up_after_a_few_tries() {
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
fn a_slow_server_that_keeps_talking_is_waited_for() {
    let server = serve_by(|_, _, stream| {
        let answer = reply("200 OK", "", &[7; 12]);
        let (headers, body) = answer.split_at(answer.len() - 12);
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
fn a_refusal_says_what_to_do_and_is_not_retried() {
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
fn a_403_means_missing_where_that_is_said() {
    let server = serve(|_, _| reply("403 Forbidden", "", b""));
    let store = forbidden_is_missing(Arc::new(server.store()));
    let mut bytes = Vec::new();
    assert!(!store.read("a", 5, &mut bytes).unwrap());
    assert!(!store.read_range("a", 0..5, &mut bytes).unwrap());
    assert_eq!(store.size("a").unwrap(), None);
    let server = serve(|_, _| reply("401 Unauthorized", "", b""));
    let store = forbidden_is_missing(Arc::new(server.store()));
    assert!(store.read("a", 5, &mut bytes).is_err());
}

#[test]
fn a_server_that_cannot_be_reached_is_told_by_its_trouble() {
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
    let target = serve(|_, request| part_of(HELLO, request));
    let to = format!("Location: {}/elsewhere\r\n", target.url);
    let server = serve(move |_, _| reply("302 Found", &to, b""));
    assert_eq!(server.read(11), found(HELLO));
    assert_eq!(server.read_range(3..8), found(b"lo wo"));
    let server = serve(|_, _| reply("301 Moved Permanently", "", b""));
    assert!(server.read(11).unwrap_err().contains("301"));
}

#[test]
fn an_object_over_the_limit_is_not_read() {
    let server = serve(|_, _| reply("200 OK", "", &[0; 1000]));
    let e = server.read(999).unwrap_err();
    assert!(e.contains("1000 bytes") && e.contains("999"), "{e}");
}

#[test]
fn a_url_is_asked_for_as_it_is_written() {
    let server = serve(|_, request| reply("200 OK", "", request.first.as_bytes()));
    let mut bytes = Vec::new();
    let place = store(&format!("{}/~me/a%20b/x+y", server.url));
    assert!(place.read("c", 100, &mut bytes).unwrap());
    assert_eq!(bytes, b"GET /~me/a%20b/x+y/c HTTP/1.1");
    let url = format!("{}//v1/../v2/state?url=https://x/../y%20z", server.url);
    let here = crate::storage::Location::Local("".into());
    let (folder, name) = here.resolve(&url).unwrap().split_file().unwrap();
    assert!(
        Storage::default()
            .open(&folder)
            .read(&name, 100, &mut bytes)
            .unwrap()
    );
    assert_eq!(bytes, b"GET /v2/state?url=https://x/../y%20z HTTP/1.1");
    let e = here
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
