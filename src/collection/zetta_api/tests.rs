//! Tests against a server on loopback, with good answers and with every kind of bad one.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// What the server does with one request.
#[derive(Clone, Debug)]
enum Answer {
    Json(Value),
    Status(&'static str, &'static str),
    /// A head with the right length, but only half of the body.
    Short(Value),
    /// The connection is closed at once.
    Hang,
    /// No answer.
    Silence,
}

/// A server that answers by path: each answer once, the last one repeatedly.
struct Server {
    url: String,
    /// Request lines and `authorization` headers, in order.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: impl IntoIterator<Item = (&'static str, Vec<Answer>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut answers: HashMap<String, Vec<Answer>> = answers
            .into_iter()
            .map(|(name, list)| (format!("/api/{name}/multiple"), list))
            .collect();
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                let line = head(&stream, &seen);
                let path = line.split([' ', '?']).nth(1).unwrap_or_default();
                let answer = match answers.get_mut(path) {
                    Some(list) if list.len() > 1 => list.remove(0),
                    Some(list) => list[0].clone(),
                    None => Answer::Status("404 Not Found", "no such path"),
                };
                std::thread::spawn(move || reply(stream, answer));
            }
        });
        Self { url, requests }
    }

    fn read(&self, change: impl FnOnce(&mut ZettaApiConfig)) -> Result<Collection, String> {
        let mut config = ZettaApiConfig {
            url: self.url.clone(),
            collection: "c".to_owned(),
            tags: Vec::new(),
            token_env: None,
        };
        change(&mut config);
        let settings = RequestSettings {
            network: crate::storage::loopback::network(),
            limit_bytes: 4000,
        };
        let base = Location::Local("/data".into());
        read_with(&config, &base, settings, &Storage::default()).map_err(|e| e.to_string())
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn head(stream: &TcpStream, seen: &Mutex<Vec<String>>) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    seen.lock().unwrap().push(first.clone());
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.to_lowercase().starts_with("authorization:") {
            seen.lock().unwrap().push(line);
        }
    }
    first
}

fn reply(mut stream: TcpStream, answer: Answer) {
    let send = |status: &str, body: &str, sent: usize| {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nRetry-After: 0\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body.as_bytes()[..sent]].concat()
    };
    let bytes = match answer {
        Answer::Json(value) => send("200 OK", &value.to_string(), value.to_string().len()),
        Answer::Status(status, body) => send(status, body, body.len()),
        Answer::Short(value) => send("200 OK", &value.to_string(), value.to_string().len() / 2),
        Answer::Hang => Vec::new(),
        Answer::Silence => {
            std::thread::sleep(Duration::from_secs(2));
            Vec::new()
        }
    };
    let _ = stream.write_all(&bytes);
}

fn a_box(id: &str, tags: &[&str], collection: &str) -> Value {
    json!({"type": "axis_aligned_bounding_box", "id": id, "pointA": [0, 0, 0], "pointB": [1, 1, 1],
        "tags": tags, "layer_group": "g", "collection": collection})
}

/// A collection of three boxes; the server filters nothing.
fn good() -> HashMap<&'static str, Vec<Answer>> {
    let lists = [
        (
            "collections",
            json!([{"id": "c", "name": "C"}, {"id": "other", "name": "o"}]),
        ),
        (
            "layer_groups",
            json!([{"id": "g", "layers": ["l"], "collection": "c"},
            {"id": "h", "layers": ["gone"], "collection": "other"}]),
        ),
        (
            "layers",
            json!([{"id": "l", "name": "img", "source": "precomputed://file://./img"}]),
        ),
        (
            "annotations",
            json!([
                a_box("a", &["train", "hard"], "c"),
                a_box("b", &["train"], "c"),
                a_box("x", &["train"], "other")
            ]),
        ),
    ];
    lists
        .into_iter()
        .map(|(name, rows)| (name, vec![Answer::Json(rows)]))
        .collect()
}

fn ids(collection: &Collection) -> Vec<&str> {
    collection.boxes.iter().map(|b| b.id.as_str()).collect()
}

#[test]
fn a_collection_is_read_with_its_layers_and_without_those_of_others() {
    let server = Server::new(good());
    let found = server.read(|_| ()).unwrap();
    assert_eq!(ids(&found), ["a", "b"]);
    let source = found.boxes[0].layers.source("img").unwrap();
    assert_eq!(source.location.to_string(), "/data/img");
    let requests = server.requests();
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(
        requests.contains(&"GET /api/annotations/multiple?collection_ids=c HTTP/1.1".to_owned())
    );
}

#[test]
fn boxes_with_only_one_of_two_tags_are_left_out() {
    let server = Server::new(good());
    let both = |c: &mut ZettaApiConfig| c.tags = vec!["train".to_owned(), "hard".to_owned()];
    assert_eq!(ids(&server.read(both).unwrap()), ["a"]);
    let query = "collection_ids=c&tags=train&tags=hard";
    assert!(server.requests().iter().any(|r| r.contains(query)));
}

#[test]
fn rows_by_id_as_older_servers_send_them_are_read() {
    let mut lists = good();
    let row = json!({"name": "img", "source": "precomputed://file://./img"});
    lists.insert("layers", vec![Answer::Json(json!({ "l": row }))]);
    assert_eq!(ids(&Server::new(lists).read(|_| ()).unwrap()), ["a", "b"]);
}

#[test]
fn temporary_failures_are_retried() {
    for bad in [
        Answer::Status("503 Service Unavailable", "busy"),
        Answer::Status("429 Too Many Requests", "slow down"),
        Answer::Short(json!([a_box("a", &[], "c")])),
        Answer::Hang,
        Answer::Silence,
    ] {
        let mut lists = good();
        lists.get_mut("annotations").unwrap().insert(0, bad.clone());
        let server = Server::new(lists);
        assert_eq!(ids(&server.read(|_| ()).unwrap()), ["a", "b"], "{bad:?}");
        assert_eq!(server.requests().len(), 5);
    }
}

#[test]
fn a_server_that_keeps_failing_is_an_error_with_url_attempts_and_time() {
    let mut lists = good();
    lists.insert(
        "layers",
        vec![Answer::Status("503 Service Unavailable", "busy")],
    );
    let e = Server::new(lists).read(|_| ()).unwrap_err();
    assert!(
        e.contains("cannot read http://127.0.0.1") && e.contains("/api/layers/multiple: GET ("),
        "{e}"
    );
    assert!(e.contains(" tries, 1."), "{e}");
    assert!(
        e.contains("503 Service Unavailable: busy") && e.contains("rerun later to resume"),
        "{e}"
    );
    let mut lists = good();
    lists.insert("layers", vec![Answer::Short(json!([1, 2, 3]))]);
    let e = Server::new(lists).read(|_| ()).unwrap_err();
    assert!(e.contains(" tries") && e.contains("broke off"), "{e}");
}

#[test]
fn a_refusal_is_not_retried_and_says_what_to_do() {
    let refusal = |status| {
        let mut lists = good();
        lists.insert(
            "collections",
            vec![Answer::Status(status, "Missing auth token.")],
        );
        let server = Server::new(lists);
        let e = server.read(|_| ()).unwrap_err();
        assert_eq!(server.requests().len(), 1);
        e
    };
    let e = refusal("401 Unauthorized");
    assert!(
        e.contains("Missing auth token.") && e.contains("token_env"),
        "{e}"
    );
    let e = refusal("404 Not Found");
    assert!(e.contains("`collection.zetta_api.url`"), "{e}");
}

#[test]
fn the_token_comes_from_the_environment_and_is_in_no_message() {
    // Cargo sets this variable for every test.
    let server = Server::new(good());
    let with = |name: &str| {
        let name = name.to_owned();
        move |c: &mut ZettaApiConfig| c.token_env = Some(name)
    };
    server.read(with("CARGO_PKG_NAME")).unwrap();
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .any(|r| r.to_lowercase() == "authorization: bearer pointshard"),
        "{requests:?}"
    );
    let e = server
        .read(with("POINTSHARD_NO_SUCH_VARIABLE"))
        .unwrap_err();
    assert!(
        e.contains("POINTSHARD_NO_SUCH_VARIABLE") && e.contains("is not set"),
        "{e}"
    );
    let plain = |c: &mut ZettaApiConfig| {
        c.token_env = Some("CARGO_PKG_NAME".to_owned());
        c.url = "http://localhost.example.org".to_owned();
    };
    let e = server.read(plain).unwrap_err();
    assert!(
        e.contains("unencrypted") && !e.contains("pointshard"),
        "{e}"
    );
}

#[test]
fn an_answer_without_rows_is_an_error() {
    let with = |answer: Answer| {
        let mut lists = good();
        lists.insert("layer_groups", vec![answer]);
        Server::new(lists).read(|_| ()).unwrap_err()
    };
    let e = with(Answer::Json(json!("hello")));
    assert!(
        e.contains("layer_groups/multiple") && e.contains("expected a list of rows"),
        "{e}"
    );
    let e = with(Answer::Status("200 OK", "<html>Sign in</html>"));
    assert!(
        e.contains("layer_groups/multiple") && e.contains("answered with an HTML page"),
        "{e}"
    );
    let e = with(Answer::Json(json!([{"id": "g", "layers": "l"}])));
    assert!(
        e.contains("layer_groups[0] (id \"g\")") && e.contains("`layers`"),
        "{e}"
    );
    let e = with(Answer::Json(json!(vec!["x"; 2000])));
    assert!(e.contains("more than the limit of 4000"), "{e}");
}

#[test]
fn a_collection_is_found_by_its_name_too_and_a_typo_gets_a_suggestion() {
    let server = Server::new(good());
    assert_eq!(
        ids(&server.read(|c| c.collection = "C".to_owned()).unwrap()),
        ["a", "b"]
    );
    let e = server
        .read(|c| c.collection = "othr".to_owned())
        .unwrap_err();
    assert!(
        e.contains("no collection \"othr\"; it has 2 others; did you mean \"other\"?"),
        "{e}"
    );
}

#[test]
fn no_message_contains_a_query_or_token_that_the_server_echoes() {
    let mut lists = good();
    let echo = "no access for Bearer pointshard with tag hidden_tag";
    lists.insert("annotations", vec![Answer::Status("403 Forbidden", echo)]);
    let e = Server::new(lists).read(|c| {
        c.token_env = Some("CARGO_PKG_NAME".to_owned());
        c.tags = vec!["hidden_tag".to_owned()];
    });
    let e = e.unwrap_err();
    assert!(
        !e.contains("pointshard") && !e.contains("hidden_tag"),
        "{e}"
    );
    assert!(
        e.contains("?<redacted>") && e.contains("no access for"),
        "{e}"
    );
}

#[test]
fn a_password_in_the_address_is_an_error_that_does_not_show_it() {
    let server = Server::new(good());
    let e = server.read(|c| c.url = c.url.replace("://", "://me:hidden@"));
    let e = e.unwrap_err();
    assert!(
        e.contains("cannot be one of") && !e.contains("hidden"),
        "{e}"
    );
    assert!(server.requests().is_empty());
}
