//! The HTTP client below `object_store`.
//!
//! `object_store` treats status 405 as a missing object, requires a length in every response, and rejects servers that
//! ignore ranges. [`HttpAdapter`] records every request in the operation's [`RequestLog`], follows redirects of reads, cuts
//! a range out of a response with the whole object, and rejects a range other than the requested one. It does not retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::header::{
    ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, StatusCode};

use super::http_client;
use super::redirect;
use super::request_log::{RequestLog, RequestOutcome, is_copy, is_transient, unusable_response};
use super::response::{SuccessResponse, content_range, requested_range};
use super::response_body::MonitoredBody;
use super::upload_client::UploadClient;
use crate::storage::Network;
use crate::storage::retry::{Rate, retry_after};

/// Most bytes that are read of the body of an error response.
const MAX_EXPLANATION_BYTES: usize = 16 << 10;

/// Creates [`HttpAdapter`] clients.
#[derive(Debug)]
pub(super) struct HttpAdapterConnector {
    pub network: Network,
    /// Sent with every request for an object.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl HttpConnector for HttpAdapterConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(HttpAdapter {
            inner: HttpClient::new(http_client::build(
                options,
                &self.network,
                Some(self.network.idle_timeout),
            )?),
            uploads: UploadClient::new(options, self.network),
            network: self.network,
            header: self.header.clone(),
            has_responded: AtomicBool::new(false),
        }))
    }
}

/// A client that adapts requests with a [`RequestLog`]. Requests for credentials have none and pass unchanged.
#[derive(Debug)]
struct HttpAdapter {
    inner: HttpClient,
    uploads: UploadClient,
    network: Network,
    header: Option<(HeaderName, HeaderValue)>,
    /// Whether the server has ever responded. The retry policy waits longer for such a server.
    has_responded: AtomicBool,
}

#[async_trait]
impl HttpService for HttpAdapter {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(log) = RequestLog::of(&request) else {
            return self.inner.execute(request).await;
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.change(request, &log).await;
        }
        let range = request.headers().get(RANGE).map(requested_range);
        if log.whole_object && range.is_some() {
            // `object_store` would continue an interrupted body. It may have been compressed by the server, and the
            // rest may be from another version. The whole object is requested again instead.
            return Err(unusable_response());
        }
        let is_head = request.method() == Method::HEAD;
        let request = self.prepare(request, &log)?;
        if !log.begin_request(&request, self.has_responded.load(Ordering::Relaxed)) {
            return Err(unusable_response());
        }
        let response = redirect::execute(&self.inner, request, &log).await?;
        self.responded(&log);
        if !response.status().is_success() {
            return self.error_response(response, &log).await;
        }
        let (mut parts, body) = response.into_parts();
        let mut body = self.monitored(body, parts.status, &log);
        let response = SuccessResponse {
            status: &mut parts.status,
            headers: &mut parts.headers,
            version: parts.version,
            body: &mut body,
        };
        match range {
            _ if is_head => {}
            None => response.require_whole_object(&log)?,
            Some(range) => response.limit_to_range(&log, range)?,
        }
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

impl HttpAdapter {
    /// Sends a request that changes something. Its redirects are not followed.
    async fn change(
        &self,
        request: HttpRequest,
        log: &Arc<RequestLog>,
    ) -> Result<HttpResponse, HttpError> {
        let ends_late = request.method() == Method::POST || is_copy(&request);
        let request = self.prepare(request, log)?;
        if !log.begin_request(&request, self.has_responded.load(Ordering::Relaxed)) {
            return Err(unusable_response());
        }
        let response = self.uploads.execute(request).await;
        let response = response.map_err(|e| log.record_failure(e))?;
        self.responded(log);
        if !response.status().is_success() {
            return self.error_response(response, log).await;
        }
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|e| log.record_failure(e))?;
        // S3 responds before it has joined the parts, or copied the object, and reports a failure in the body.
        if ends_late && body.windows(7).any(|text| text == b"<Error>") {
            return Err(log.reject(RequestOutcome::Status {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                explanation: log.without_secrets(&String::from_utf8_lossy(&body)),
                size: None,
            }));
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }

    fn responded(&self, log: &RequestLog) {
        self.has_responded.store(true, Ordering::Relaxed);
        log.update(|entries| entries.has_responded = true);
    }

    /// Adds headers and the query of the URL.
    fn prepare(
        &self,
        mut request: HttpRequest,
        log: &RequestLog,
    ) -> Result<HttpRequest, HttpError> {
        let encoding = if log.whole_object && request.method() != Method::HEAD {
            "gzip"
        } else {
            "identity"
        };
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.extend(self.header.clone());
        if let Some(query) = &log.query {
            let url = format!("{}?{}", request.uri(), percent_encoded(query)).parse();
            *request.uri_mut() = url.map_err(|_| unusable_response())?;
        }
        Ok(request)
    }

    fn monitored(
        &self,
        body: HttpResponseBody,
        status: StatusCode,
        log: &Arc<RequestLog>,
    ) -> MonitoredBody {
        MonitoredBody {
            inner: body,
            log: Arc::clone(log),
            skip: 0,
            remaining: None,
            rate: Rate::new(
                self.network.min_bytes_per_s,
                self.network.idle_timeout,
                log.elapsed(),
            ),
            at_object_start: status == StatusCode::OK,
        }
    }

    /// Records an error response. Returns it without its body, or an error if `object_store` would retry it.
    async fn error_response(
        &self,
        response: HttpResponse,
        log: &Arc<RequestLog>,
    ) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = response.into_parts();
        let mut body = self.monitored(body, parts.status, log);
        body.remaining = Some(MAX_EXPLANATION_BYTES as u64);
        let body = HttpResponseBody::new(body).bytes().await;
        let explanation = explanation(&parts.headers, &body.unwrap_or_default());
        let outcome = RequestOutcome::Status {
            status: parts.status,
            explanation: log.without_secrets(&explanation),
            size: content_range(&parts.headers).and_then(|(_, size)| size),
        };
        let pause = parts.headers.get(RETRY_AFTER);
        log.update(|entries| {
            entries.last = Some(outcome);
            entries.requested_pause =
                pause.and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
        });
        if is_transient(parts.status) || parts.status.is_server_error() {
            return Err(unusable_response());
        }
        parts.headers.remove(LOCATION);
        Ok(HttpResponse::from_parts(parts, Vec::new().into()))
    }
}

/// The query with percent-encoding for the characters that a request cannot contain.
fn percent_encoded(query: &str) -> String {
    let allowed = |b: u8| b.is_ascii_graphic() && !b"\"<>#`{}|\\^".contains(&b);
    query.bytes().fold(String::new(), |mut out, b| {
        if allowed(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

/// The explanation in an error response.
fn explanation(headers: &HeaderMap, body: &[u8]) -> String {
    let region = headers.get("x-amz-bucket-region");
    match region.and_then(|region| region.to_str().ok()) {
        Some(region) if body.is_empty() => format!("the bucket is in the region {region}"),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}
