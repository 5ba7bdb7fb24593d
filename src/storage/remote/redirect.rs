//! Redirects, followed one by one: no credential goes along to another place, or without encryption.

use object_store::client::{HttpClient, HttpError, HttpRequest, HttpResponse};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RANGE, USER_AGENT,
};
use reqwest::{StatusCode, Url};

use super::wire::{Outcome, Wire};

/// Most redirects that are followed one after the other.
const MAX_REDIRECTS: usize = 10;

/// Headers that say what is wanted, not who asks: these alone go along to another place.
const ANYBODYS: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, RANGE, USER_AGENT];

/// The answer to `request` where redirects lead to. One without a place to go to is an answer.
pub(super) async fn execute(
    client: &HttpClient,
    mut request: HttpRequest,
    wire: &Wire,
) -> Result<HttpResponse, HttpError> {
    for _ in 0..=MAX_REDIRECTS {
        let first = request.clone();
        let response = client.execute(request).await.map_err(|e| wire.failed(e))?;
        let Some(place) = place(&response) else {
            return Ok(response);
        };
        request = next(first, place, wire).map_err(|why| wire.unfit(Outcome::Redirect(why)))?;
    }
    let why = format!("more than {MAX_REDIRECTS} times");
    Err(wire.unfit(Outcome::Redirect(why)))
}

/// Where the response leads to, if it does.
fn place(response: &HttpResponse) -> Option<&HeaderValue> {
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

/// The request that `place` asks for instead, or why it is not made, after "the server redirects".
fn next(mut request: HttpRequest, place: &HeaderValue, wire: &Wire) -> Result<HttpRequest, String> {
    let shown = |url: &dyn ToString| wire.shown(&url.to_string());
    let not_url = || "to what is no URL".to_owned();
    let from: Url = request.uri().to_string().parse().map_err(|_| not_url())?;
    let place = place.to_str().map_err(|_| not_url())?;
    let mut to = from.join(place).map_err(|_| not_url())?;
    to.set_fragment(None);
    if !matches!(to.scheme(), "http" | "https") {
        return Err(format!("to {}, which is not http(s)", shown(&to)));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(format!("to {}, a URL with a name and password", shown(&to)));
    }
    let signed = wire.has_query() && to.query().is_some();
    if from.scheme() == "https"
        && to.scheme() == "http"
        && (has_credentials(request.headers()) || signed)
    {
        return Err(format!(
            "from https to {}, where credentials would go over the network unencrypted",
            shown(&to)
        ));
    }
    if from.origin() != to.origin() {
        let headers = request.headers_mut();
        let all: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in all.iter().filter(|name| !ANYBODYS.contains(name)) {
            headers.remove(name);
        }
    }
    *request.uri_mut() = to.as_str().parse().map_err(|_| not_url())?;
    Ok(request)
}

/// Whether the request says who asks.
fn has_credentials(headers: &HeaderMap) -> bool {
    secret_headers(headers).next().is_some()
}

/// The values of headers that say who asks.
pub(super) fn secret_headers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let named = headers.iter().filter(|(name, _)| {
        **name == AUTHORIZATION || **name == COOKIE || name.as_str() == "x-amz-security-token"
    });
    named.filter_map(|(_, value)| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    /// What comes of a redirect from `from` to `to`, of a request with these headers.
    fn redirected(
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
        next(
            request,
            &HeaderValue::from_static(to),
            &Wire::new(true, query),
        )
    }

    #[test]
    fn nothing_secret_goes_from_https_to_http() {
        for header in ["authorization", "cookie", "x-amz-security-token"] {
            let e = redirected("https://h/a", "http://h/a?hidden", &[header]).unwrap_err();
            assert!(e.contains("unencrypted") && !e.contains("hidden"), "{e}");
        }
        assert!(redirected("https://h/a?hidden", "http://h/a?hidden", &[]).is_err());
        let followed = redirected("https://h/a?hidden", "http://h/b", &["range"]).unwrap();
        assert_eq!(followed.uri().to_string(), "http://h/b");
        assert!(followed.headers().contains_key(RANGE));
    }

    #[test]
    fn another_host_port_or_scheme_gets_what_anybody_may_know() {
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
            let followed = redirected("http://h/a", to, &all).unwrap();
            let names: Vec<_> = followed.headers().keys().map(HeaderName::as_str).collect();
            let expected: &[&str] = match to.starts_with("http://h:80") {
                // A backslash is a slash here: it is the same host.
                true => &all,
                false => &["range"],
            };
            assert_eq!(names, expected, "{to}");
        }
        for to in ["/b", "http://H:80/b#c", "?x=1"] {
            let followed = redirected("http://h/a", to, &all).unwrap();
            assert_eq!(followed.headers().len(), all.len(), "{to}");
            assert_eq!(followed.uri().host(), Some("h"));
        }
    }
}
