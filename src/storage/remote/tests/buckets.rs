//! Buckets of Google and Amazon, simulated by the loopback server.

use std::path::Path;
use std::sync::Arc;

use crate::storage::loopback::*;
use crate::storage::remote::client::Client;
use crate::storage::remote::credentials::Environment;
use crate::storage::remote::credentials::testing::environment;
use crate::storage::remote::{RemoteLocation, RemoteStore};
use crate::storage::stop_group::StopGroup;
use crate::storage::{Network, Store};

/// Headers that buckets send with every object.
const META: &str = "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";

pub(super) fn env(vars: &[(&str, &str)]) -> Environment {
    environment(Path::new("/none"), vars)
}

/// The objects below `scheme://vnc/img`.
pub(super) fn bucket(scheme: &str, env: &Environment, network: Network) -> RemoteStore {
    let location = RemoteLocation::new(scheme, "vnc/img").unwrap();
    let root = format!("{scheme}://vnc");
    let connections = connections(network);
    RemoteStore {
        client: Client::new(&root, network, env, &connections.runtime).map(Arc::new),
        location,
        connections,
        stop_group: StopGroup::default(),
        retry_policy: None,
    }
}

fn read(store: &RemoteStore) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match store.read("a b~/info", 4096, &mut bytes) {
        Ok(true) => Ok(bytes),
        Ok(false) => Err("missing".into()),
        Err(e) => Err(e.to_string()),
    }
}

/// A server that returns the request line and headers.
fn echo_server() -> Server {
    serve(|_, request| {
        let header = |name| format!("{name}={} ", request.header(name).unwrap_or("-"));
        let names = [
            "authorization",
            "x-goog-user-project",
            "x-amz-request-payer",
        ];
        let headers: String = names.into_iter().map(header).collect();
        let body = format!("{} {headers}", request.first);
        reply("200 OK", META, body.as_bytes())
    })
}

#[test]
fn a_google_bucket_is_read_with_and_without_credentials() {
    let server = echo_server();
    let host = ("STORAGE_EMULATOR_HOST", server.url.as_str());
    let request = read(&bucket("gs", &env(&[host]), Network::default())).unwrap();
    let request = String::from_utf8(request).unwrap();
    assert!(
        request.starts_with("GET /vnc/img%2Fa%20b%7E%2Finfo HTTP/1.1 authorization=- "),
        "{request}"
    );
    let vars = [
        host,
        ("GOOGLE_BEARER_TOKEN", "token"),
        ("GOOGLE_CLOUD_QUOTA_PROJECT", "payer"),
    ];
    let request =
        String::from_utf8(read(&bucket("gs", &env(&vars), Network::default())).unwrap()).unwrap();
    assert!(
        request.contains("=bearer token x-goog-user-project=payer"),
        "{request}"
    );
}

#[test]
fn an_amazon_bucket_is_read_with_and_without_credentials() {
    let server = echo_server();
    let host = ("AWS_ENDPOINT_URL", server.url.as_str());
    let request =
        String::from_utf8(read(&bucket("s3", &env(&[host]), Network::default())).unwrap()).unwrap();
    assert!(
        request.starts_with("GET /vnc/img/a%20b~/info HTTP/1.1 authorization=- "),
        "{request}"
    );
    let vars = [
        host,
        ("AWS_ACCESS_KEY_ID", "ID"),
        ("AWS_SECRET_ACCESS_KEY", "hidden"),
        ("AWS_REQUEST_PAYER", "true"),
    ];
    let signed = bucket("s3", &env(&vars), Network::default());
    let request = String::from_utf8(read(&signed).unwrap()).unwrap();
    assert!(
        request.contains("authorization=aws4-hmac-sha256 credential=id/"),
        "{request}"
    );
    assert!(
        request.contains("x-amz-request-payer=requester"),
        "{request}"
    );
}

#[test]
fn the_error_for_denied_access_names_the_credentials() {
    let xml = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
    let server = serve(|_, _| reply("403 Forbidden", "", xml));
    let url = server.url.as_str();
    let e = read(&bucket(
        "gs",
        &env(&[("STORAGE_EMULATOR_HOST", url)]),
        Network::default(),
    ))
    .unwrap_err();
    assert!(
        e.contains("gs://vnc/img/a b~/info: GET (1 try, ")
            && e.contains("AccessDenied: Access Denied."),
        "{e}"
    );
    assert!(
        e.contains("without credentials (none were found): provide credentials (GOOGLE_"),
        "{e}"
    );
    let vars = [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "ID"),
        ("AWS_SECRET_ACCESS_KEY", "hidden"),
    ];
    let e = read(&bucket("s3", &env(&vars), Network::default())).unwrap_err();
    assert!(
        e.contains("with the keys in the environment") && e.contains("AWS_REQUEST_PAYER=true"),
        "{e}"
    );
    assert!(!e.contains("hidden"), "{e}");
    let server = serve(|_, _| reply("404 Not Found", "", xml));
    let vars = [("AWS_ENDPOINT_URL", server.url.as_str())];
    assert_eq!(
        read(&bucket("s3", &env(&vars), Network::default())).unwrap_err(),
        "missing"
    );
}

#[test]
fn the_first_read_reports_unusable_credentials() {
    let vars = [("AWS_PROFILE", "lab")];
    let e = read(&bucket("s3", &env(&vars), Network::default())).unwrap_err();
    assert!(
        e.contains("cannot read s3://vnc/img") && e.contains("`lab`"),
        "{e}"
    );
    let vars = [("AWS_ACCESS_KEY_ID", "ID"), ("AWS_REGION", "r")];
    let e = read(&bucket("s3", &env(&vars), Network::default())).unwrap_err();
    assert!(e.contains("with the keys in the environment"), "{e}");
}
