//! The request target, in the one form in which it is forwarded, or refused (RFC 9112 §3.2).

use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version};
use tokio::time::timeout;

use super::denial::Stop;
use super::origin::Scheme;
use crate::http::{Received, Refusal};

/// Takes the target in origin form, or `*` of `OPTIONS`.
///
/// # Errors
/// Where it has a form that is not this request's to have, or bytes that could mean one thing here and
/// another behind.
pub(super) fn take<B>(request: &mut Request<B>, scheme: Scheme) -> Result<PathAndQuery, Refusal> {
    let uri = request.uri();
    let named = match uri.scheme_str() {
        // RFC 9112 §3.2.3: a target that is only an authority belongs to CONNECT.
        None if uri.authority().is_some() => false,
        None | Some("http") => true,
        // RFC 9110 §7.4: what asks for a secured connection must have come on one.
        Some("https") => scheme == Scheme::Https,
        Some(_) => false,
    };
    if !named {
        return Err(Refusal::Ambiguous("The request target does not belong here"));
    }
    let target = uri.path_and_query().cloned();
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    // RFC 9112 §3.2.1 and §3.2.4.
    let whole = target.as_str() == "*" && request.method() == Method::OPTIONS;
    // Of a `:path` that begins with `#` nothing is left, which reads as `/` and is written as nothing.
    let is_nothing = target.as_str() == "/" && Uri::from(target.clone()).path().is_empty();
    if is_nothing || (!whole && !target.as_str().starts_with('/')) {
        return Err(Refusal::Ambiguous("The request target is not a path"));
    }
    // RFC 3986 §2: what is not ASCII must be encoded.
    if !target.as_str().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Ambiguous("The request target has characters that must be percent-encoded"));
    }
    Ok(target)
}

/// Refuses what is longer than it may be.
pub(super) fn within(target: &PathAndQuery, max_bytes: usize) -> Result<(), Refusal> {
    if target.as_str().len() > max_bytes { Err(Refusal::TargetTooLong) } else { Ok(()) }
}

/// Refuses fields of HTTP/2 that HTTP/1.1 cannot carry: values with white space around them (RFC 9113 §8.2.1),
/// names with a quotation mark, which hyper lets pass (RFC 9110 §5.6.2), and more than one length (RFC 9110 §8.6)
/// would mean one thing here and another behind.
pub(super) fn carriable<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.version() < Version::HTTP_2 {
        return Ok(());
    }
    let headers = request.headers();
    let bare = |value: &HeaderValue| {
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let bytes = value.as_bytes();
        !blank(bytes.first()) && !blank(bytes.last())
    };
    if !headers.values().all(bare) {
        return Err(Refusal::Ambiguous("A header value begins or ends with white space"));
    }
    if headers.keys().any(|name| name.as_str().contains('"')) {
        return Err(Refusal::Ambiguous("A header name is not a token"));
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Refusal::Ambiguous("More than one Content-Length header"));
    }
    Ok(())
}

/// Waits for the end of a stream that says that it has no content, since content would be noticed too late:
/// the request would have been forwarded already (RFC 9113 §8.1.1).
pub(super) async fn empty_where_said(
    request: &mut Request<Received>,
    patience: Duration,
) -> Result<(), Stop> {
    let said = request.version() == Version::HTTP_2 && request.body().size_hint().exact() == Some(0);
    if !said || request.body().is_end_stream() {
        return Ok(());
    }
    let body = request.body_mut();
    let empty = async {
        while let Some(frame) = body.frame().await {
            if frame.map_or(true, |frame| frame.data_ref().is_some_and(|data| !data.is_empty())) {
                return false;
            }
        }
        true
    };
    if Box::pin(timeout(patience, empty)).await == Ok(true) { Ok(()) } else { Err(Stop::BrokenOff) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(method: &str, uri: &str, scheme: Scheme) -> Option<String> {
        let mut request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        take(&mut request, scheme).ok().map(|target| target.as_str().to_owned())
    }

    #[test]
    fn a_target_is_forwarded_in_origin_form() {
        for (method, uri, target) in [
            ("GET", "/", "/"),
            ("GET", "/a/../b;c?d=//e&f=%2f", "/a/../b;c?d=//e&f=%2f"),
            ("GET", "http://bins.example/a?b", "/a?b"),
            ("GET", "http://bins.example", "/"),
            ("OPTIONS", "*", "*"),
        ] {
            assert_eq!(taken(method, uri, Scheme::Http).as_deref(), Some(target), "{method} {uri}");
        }
    }

    #[test]
    fn a_target_in_a_form_that_is_not_its_own_is_refused() {
        for (method, uri) in
            [("GET", "*"), ("GET", "bins.example:80"), ("GET", "ftp://bins.example/"), ("GET", "/ü")]
        {
            assert_eq!(taken(method, uri, Scheme::Https), None, "{method} {uri}");
        }
        for path in ["#", "#/a"] {
            let uri = Uri::builder().scheme("https").authority("bins.example").path_and_query(path).build();
            let mut request = Request::new(());
            *request.uri_mut() = uri.expect("as h2 makes it");
            assert!(take(&mut request, Scheme::Https).is_err(), "{path}");
        }
        assert_eq!(taken("GET", "https://bins.example/", Scheme::Http), None);
        assert_eq!(taken("GET", "https://bins.example/", Scheme::Https).as_deref(), Some("/"));
    }
}
