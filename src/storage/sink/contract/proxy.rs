//! A proxy in front of a server for buckets. It injects faults, and translates what differs between Google's and Amazon's
//! protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum ServerFault {
    /// The answer is 500, and nothing happens.
    InternalError,
    /// The connection is closed, and nothing happens.
    CutBefore,
    /// The server does what is requested, but the answer is lost.
    CutAfter,
}

/// Which requests have a fault.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct FaultPlan {
    pub fault: ServerFault,
    /// The index of the first request with the fault.
    pub first: usize,
    /// Whether all later ones have it, too.
    pub forever: bool,
}

#[derive(Default)]
struct State {
    plan: Option<FaultPlan>,
    /// The first lines of requests since the plan was set.
    requests: Vec<String>,
}

pub(in crate::storage) struct Proxy {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    google: bool,
    state: Mutex<State>,
    /// moto checks conditions and writes in two steps, so requests are passed on one after another.
    order: Mutex<()>,
}

impl Proxy {
    /// A proxy for the server at `upstream`. With `google`, its clients use Google's protocol.
    pub(in crate::storage) fn start(upstream: &str, google: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            google,
            state: Mutex::default(),
            order: Mutex::default(),
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.answer(client));
            }
        });
        Self { url, shared }
    }

    /// Sets the plan, and returns the first lines of the requests since the last one was set.
    pub(in crate::storage) fn set(&self, plan: Option<FaultPlan>) -> Vec<String> {
        let mut state = self.shared.state.lock().unwrap();
        state.plan = plan;
        std::mem::take(&mut state.requests)
    }
}

impl Shared {
    /// Answers one request, and closes the connection.
    fn answer(&self, mut client: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = reader.read_until(b'\n', &mut head).ok()?;
            (read > 0).then_some(())?;
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
        let first = lines.next()?;
        let headers: Vec<String> = lines.filter_map(|line| self.translated(line)).collect();
        let length = headers.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok()).flatten()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let fault = self.begin(&first);
        match fault {
            Some(ServerFault::CutBefore) => return None,
            Some(ServerFault::InternalError) => {
                let text = "<Error><Code>InternalError</Code><Message>not now</Message></Error>";
                let length = text.len();
                let answer = format!(
                    "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}"
                );
                return client.write_all(answer.as_bytes()).ok();
            }
            _ => {}
        }
        let answer = self.pass_on(&first, &headers, &body)?;
        if fault.is_none() {
            client.write_all(&answer).ok()?;
        }
        Some(())
    }

    /// The fault of the next request.
    fn begin(&self, first: &str) -> Option<ServerFault> {
        let mut state = self.state.lock().unwrap();
        let index = state.requests.len();
        state.requests.push(first.to_owned());
        let plan = state.plan?;
        let has_fault = index == plan.first || (plan.forever && index > plan.first);
        has_fault.then_some(plan.fault)
    }

    fn translated(&self, line: String) -> Option<String> {
        let lower = line.to_ascii_lowercase();
        match lower.split_once(':')? {
            ("connection", _) => None,
            ("authorization", _) if self.google => Some(
                "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                 SignedHeaders=host, Signature=0"
                    .to_owned(),
            ),
            ("x-goog-copy-source", _) => Some(format!("x-amz{}", &line["x-goog".len()..])),
            ("x-goog-if-generation-match", " 0") => Some("If-None-Match: *".to_owned()),
            _ => Some(line),
        }
    }

    /// The server's answer.
    fn pass_on(&self, first: &str, headers: &[String], body: &[u8]) -> Option<Vec<u8>> {
        let _order = self.order.lock().unwrap();
        let mut server = TcpStream::connect(&self.upstream).ok()?;
        let headers = headers.join("\r\n");
        let head = format!("{first}\r\nConnection: close\r\n{headers}\r\n\r\n");
        server.write_all(head.as_bytes()).ok()?;
        server.write_all(body).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}
