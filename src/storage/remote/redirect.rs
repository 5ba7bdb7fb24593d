//! Follows redirects. Credentials are never sent to another server, or without encryption.

use object_store::client::{HttpClient, HttpError, HttpRequest, HttpResponse};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, USER_AGENT,
};
use reqwest::{StatusCode, Url};

use super::request_log::{RequestLog, RequestOutcome, secret_headers};

/// Most redirects that are followed for one request.
const MAX_REDIRECTS: usize = 10;

/// Headers without credentials. Only these are sent to another server.
const PUBLIC_HEADERS: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, RANGE, USER_AGENT];

/// Sends `request` and follows redirects. A redirect without a target is returned as it is.
pub(super) async fn execute(
    client: &HttpClient,
    mut request: HttpRequest,
    log: &RequestLog,
) -> Result<HttpResponse, HttpError> {
    for _ in 0..=MAX_REDIRECTS {
        let original = request.clone();
        let response = client
            .execute(request)
            .await
            .map_err(|e| log.record_failure(e))?;
        let Some(target) = target(&response) else {
            return Ok(response);
        };
        request = redirected(original, target, log)
            .map_err(|reason| log.reject(RequestOutcome::Redirect(reason)))?;
    }
    let reason = format!("more than {MAX_REDIRECTS} times");
    Err(log.reject(RequestOutcome::Redirect(reason)))
}

/// The target of a redirect.
fn target(response: &HttpResponse) -> Option<&HeaderValue> {
    let followed = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    response.headers().get(LOCATION).filter(|_| followed)
}

/// `request` for `target`, or the reason why the redirect is not followed, which continues "the server redirects ...".
fn redirected(
    mut request: HttpRequest,
    target: &HeaderValue,
    log: &RequestLog,
) -> Result<HttpRequest, String> {
    let shown = |url: &dyn ToString| log.without_secrets(&url.to_string());
    let not_url = || "to an invalid URL".to_owned();
    let from: Url = request.uri().to_string().parse().map_err(|_| not_url())?;
    let target = target.to_str().map_err(|_| not_url())?;
    let mut to = from.join(target).map_err(|_| not_url())?;
    to.set_fragment(None);
    if !matches!(to.scheme(), "http" | "https") {
        return Err(format!("to {}, which is not http(s)", shown(&to)));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(format!("to {}, a URL with a name and password", shown(&to)));
    }
    let signed = log.query.is_some() && to.query().is_some();
    if from.scheme() == "https"
        && to.scheme() == "http"
        && (has_credentials(request.headers()) || signed)
    {
        return Err(format!(
            "from https to {}, where credentials would be sent unencrypted",
            shown(&to)
        ));
    }
    if from.origin() != to.origin() {
        let headers = request.headers_mut();
        let all: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in all.iter().filter(|name| !PUBLIC_HEADERS.contains(name)) {
            headers.remove(name);
        }
    }
    *request.uri_mut() = to.as_str().parse().map_err(|_| not_url())?;
    Ok(request)
}

/// Whether the request has credentials.
fn has_credentials(headers: &HeaderMap) -> bool {
    secret_headers(headers).next().is_some()
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    /// The result of a redirect from `from` to `to` for a request with these headers.
    fn follow(
        from: &str,
        to: &'static str,
        headers: &[&'static str],
    ) -> Result<HttpRequest, String> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = from.parse().unwrap();
        for name in headers {
            let name = HeaderName::from_static(name);
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static("hidden"));
        }
        let query = from.split_once('?').map(|(_, query)| query);
        redirected(
            request,
            &HeaderValue::from_static(to),
            &RequestLog::new(true, query),
        )
    }

    #[test]
    fn credentials_are_not_sent_from_https_to_http() {
        for header in ["authorization", "cookie", "x-amz-security-token"] {
            let e = follow("https://h/a", "http://h/a?hidden", &[header]).unwrap_err();
            assert!(e.contains("unencrypted") && !e.contains("hidden"), "{e}");
        }
        assert!(follow("https://h/a?hidden", "http://h/a?hidden", &[]).is_err());
        let followed = follow("https://h/a?hidden", "http://h/b", &["range"]).unwrap();
        assert_eq!(followed.uri().to_string(), "http://h/b");
        assert!(followed.headers().contains_key(RANGE));
    }

    #[test]
    fn another_host_port_or_scheme_gets_public_headers_only() {
        let all = [
            "authorization",
            "cookie",
            "x-amz-date",
            "x-goog-user-project",
            "range",
            "x-other",
        ];
        for to in [
            "http://other/a",
            "//h:81/a",
            "https://h/a",
            "http://h.evil/a",
            "http://h:80\\@evil/a",
        ] {
            let followed = follow("http://h/a", to, &all).unwrap();
            let names: Vec<_> = followed.headers().keys().map(HeaderName::as_str).collect();
            // URLs treat a backslash as a slash, so this is the same host.
            let expected: &[&str] = if to.starts_with("http://h:80") {
                &all
            } else {
                &["range"]
            };
            assert_eq!(names, expected, "{to}");
        }
        for to in ["/b", "http://H:80/b#c", "?x=1"] {
            let followed = follow("http://h/a", to, &all).unwrap();
            assert_eq!(followed.headers().len(), all.len(), "{to}");
            assert_eq!(followed.uri().host(), Some("h"));
        }
    }
}
