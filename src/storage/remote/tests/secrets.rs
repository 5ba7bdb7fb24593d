//! Signed URLs, tokens, and servers that redirect or echo them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::storage::loopback::*;
use crate::storage::remote::client::Client;
use crate::storage::remote::credentials::testing::environment;
use crate::storage::remote::{RemoteLocation, RemoteStore};
use crate::storage::stop_group::StopGroup;
use crate::storage::{Location, SourceUrl, Storage, Store};

const SIGNATURE: &str = "sv=1&sig=hidden%2Fhidden%3D";

fn signed(server: &Server) -> Location {
    let text = format!("precomputed://{}/img/?{SIGNATURE}", server.url);
    SourceUrl::parse(&text, &Location::Local("".into()))
        .unwrap()
        .location
}

/// A server with `response`, and the headers of its requests.
fn recording_server(
    response: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let headers = Arc::clone(&seen);
    let server = serve(move |_, request| {
        headers.lock().unwrap().extend(request.headers.clone());
        response(request)
    });
    (server, seen)
}

#[test]
fn the_query_of_a_folder_is_sent_with_every_object_and_never_shown() {
    let server = serve(|_, request| reply("200 OK", "", request.first.as_bytes()));
    let folder = signed(&server);
    let mut bytes = Vec::new();
    assert!(
        Storage::default()
            .open(&folder)
            .read("info", 100, &mut bytes)
            .unwrap()
    );
    let first = format!("GET /img/info?{SIGNATURE} HTTP/1.1");
    assert_eq!(String::from_utf8_lossy(&bytes), first);
    assert!(
        Storage::default()
            .open(&folder.join("s/../8"))
            .read("0-4", 100, &mut bytes)
            .unwrap()
    );
    let first = format!("GET /img/8/0-4?{SIGNATURE} HTTP/1.1");
    assert_eq!(String::from_utf8_lossy(&bytes), first);
    let shown = format!(
        "{folder} {folder:?} {:?} {}",
        Storage::default().open(&folder),
        Storage::default().open(&folder).describe("info")
    );
    assert!(
        shown.contains("/img/info?<redacted>") && !shown.contains("hidden"),
        "{shown}"
    );
    // The query of a document belongs to the document.
    let document = folder.join("state.json?id=7");
    let (folder, name) = document.split_file().unwrap();
    assert_eq!(name, "state.json?id=7");
    assert!(!folder.identity().contains("hidden") && !folder.identity().contains("id=7"));
    assert!(document.identity().contains("id=7"));
    let bucket = Location::Local("".into())
        .resolve("s3://b/x?sig=hidden")
        .unwrap_err();
    assert!(!bucket.to_string().contains("hidden"), "{bucket}");
}

#[test]
fn errors_show_echoed_text_without_secrets_and_control_characters() {
    let echo =
        "\x1b[2Jdenied\u{202e} hidden/hidden= https://host/y?key=other for HIDDEN%2fhidden%3D";
    for status in ["403 Forbidden", "400 Bad Request", "404 Not Found"] {
        let server = serve(move |_, _| reply(status, "", echo.as_bytes()));
        let e = match Storage::default()
            .open(&signed(&server))
            .read("info", 100, &mut Vec::new())
        {
            Err(e) => format!("{e} {e:?}"),
            Ok(found) => {
                assert!(!found);
                continue;
            }
        };
        let lower = e.to_lowercase();
        assert!(!lower.contains("hidden") && !e.contains("other"), "{e}");
        assert!(
            e.contains("denied <redacted> https://host/y?<redacted> for <redacted>"),
            "{e}"
        );
        assert!(!e.contains('\x1b') && !e.contains('\u{202e}'), "{e:?}");
    }
}

/// The bucket at `server`, accessed with keys.
fn bucket(server: &Server) -> RemoteStore {
    let vars = [
        ("AWS_ENDPOINT_URL", server.url.as_str()),
        ("AWS_ACCESS_KEY_ID", "ID"),
        ("AWS_SECRET_ACCESS_KEY", "hidden-key"),
        ("AWS_SESSION_TOKEN", "hidden-token"),
        ("AWS_REQUEST_PAYER", "true"),
    ];
    let env = environment(Path::new("/none"), &vars);
    let connections = connections(network());
    RemoteStore {
        client: Client::new("s3://vnc", network(), &env, &connections.runtime).map(Arc::new),
        location: RemoteLocation::new("s3", "vnc/img").unwrap(),
        connections,
        stop_group: StopGroup::default(),
        retry_policy: None,
    }
}

#[test]
fn credentials_are_not_sent_to_another_server() {
    let meta = "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    let (other, seen) = recording_server(move |_| reply("200 OK", meta, b"12345"));
    let to = format!("Location: {}/elsewhere\r\n", other.url);
    let (server, first) = recording_server(move |_| reply("307 Temporary Redirect", &to, b""));
    let mut bytes = Vec::new();
    assert!(bucket(&server).read("info", 100, &mut bytes).unwrap());
    assert!(
        bucket(&server)
            .read_range("info", 0..5, &mut bytes)
            .unwrap()
    );
    let first = first.lock().unwrap().join("\n");
    assert!(
        first.contains("x-amz-security-token: hidden-token") && first.contains("authorization: ")
    );
    let seen = seen.lock().unwrap().join("\n");
    assert!(
        seen.contains("range: bytes=0-4") && seen.contains("accept-encoding: gzip"),
        "{seen}"
    );
    for header in ["authorization", "x-amz-", "cookie", "hidden"] {
        assert!(!seen.contains(header), "{seen}");
    }
    // They are sent to another path on the same server.
    let (server, seen) = recording_server(move |request| {
        if request.first.contains("/again") {
            reply("200 OK", meta, b"12345")
        } else {
            reply("302 Found", "Location: /again\r\n", b"")
        }
    });
    assert!(bucket(&server).read("info", 100, &mut bytes).unwrap());
    let seen = seen.lock().unwrap();
    let tokens = seen.iter().filter(|line| line.contains("hidden-token"));
    assert_eq!(tokens.count(), 2, "{seen:?}");
}

#[test]
fn a_bearer_token_is_not_sent_to_another_server() {
    let (other, seen) = recording_server(|_| reply("200 OK", "", b"12345"));
    let to = format!("Location: {}/elsewhere?hidden\r\n", other.url);
    let (server, first) = recording_server(move |_| reply("302 Found", &to, b""));
    let store = Storage::default().open_with_token(&server.url, Some("hidden-token"), network());
    let store = store.unwrap();
    assert!(store.read("a", 100, &mut Vec::new()).unwrap());
    assert!(
        first
            .lock()
            .unwrap()
            .contains(&"authorization: bearer hidden-token".to_owned())
    );
    assert!(
        !seen
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("authorization"))
    );
    assert!(!format!("{store:?}").contains("hidden"));
}

#[test]
fn errors_about_rejected_redirects_have_no_secrets() {
    for (to, expected) in [
        (
            "ftp://host/x?hidden",
            "to ftp://host/x?<redacted>, which is not http(s)",
        ),
        ("http://me:hidden@host/x", "a URL with a name and password"),
        ("http://[hidden/", "to an invalid URL"),
        ("/layer/a/info", "more than 10 times"),
    ] {
        let server = serve(move |_, _| reply("302 Found", &format!("Location: {to}\r\n"), b""));
        let e = server.read(100).unwrap_err();
        assert!(e.contains(expected) && !e.contains("hidden"), "{e}");
        assert!(e.contains("1 try"), "{e}");
    }
}
