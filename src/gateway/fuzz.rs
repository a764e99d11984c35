//! What must hold of a request's head, whatever it is; for fuzzers and for the seeds that they start from.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use super::credential::{ACCESS_COOKIE, cookies, presented};
use super::origin::Scheme;
use super::request_id::{RequestIds, Trace};
use super::route::classify;
use super::stamp::{Stamp, all};
use super::{csrf, target};

/// Reads a head, judges it and stamps it. Lines that no server would let through are left out.
///
/// # Panics
/// Where something that claims an identity or concerns one connection is left over, where the bare case of a
/// path decides, or where a `Bearer` credential is not the one that is used.
pub fn head(text: &[u8]) {
    let Some(mut request) = read(text) else { return };
    let Ok(target) = target::take(&mut request, Scheme::Https) else { return };
    let method = request.method().clone();
    let written = Uri::from(target.clone()).to_string();
    assert!(written == target.as_str() && (written.starts_with('/') || written == "*"), "{written}");
    case_does_not_count(&method, target.path());
    credential_is_where_openbin_looks(request.headers());
    let _ = csrf::check(&method, request.headers());
    let trace = Trace { id: RequestIds::new().next(), from: std::net::IpAddr::from([127, 0, 0, 1]) };
    let authority = Some(HeaderValue::from_static("localhost"));
    let mut stamp = Stamp::new(None, Scheme::Https, authority, trace);
    stamp.clear(&mut request);
    nothing_is_forged(&all(&stamp, request.headers()));
}

/// Reads cookies from one field, and from the same field split in two.
///
/// # Panics
/// Where that makes a difference.
pub fn cookie(text: &[u8]) {
    let parts = || text.split(|byte| *byte == b';');
    let Ok(whole) = HeaderValue::from_bytes(text) else { return };
    let (mut one, mut many) = (HeaderMap::new(), HeaderMap::new());
    one.append(COOKIE, whole);
    for part in parts().filter_map(|part| HeaderValue::from_bytes(part).ok()) {
        many.append(COOKIE, part);
    }
    for name in [ACCESS_COOKIE, b"openbin-csrf", b"openbin-refresh"] {
        assert!(cookies(&one, name).eq(cookies(&many, name)), "cookies depend on their fields");
    }
    assert_eq!(presented(&one).ok(), presented(&many).ok());
}

fn read(text: &[u8]) -> Option<Request<Full<Bytes>>> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    let target = words.next()?;
    // In the forms of HTTP/1.1, or as the `:path` of HTTP/2.
    let path = || Uri::builder().scheme("https").authority("localhost").path_and_query(target).build();
    *request.uri_mut() = Uri::try_from(target).or_else(|_| path()).ok()?;
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    Some(request)
}

fn case_does_not_count(method: &Method, path: &str) {
    let shouted = path.to_ascii_uppercase();
    // Upper case may not reach into an encoded byte's meaning, and does not: hexadecimal has no case.
    let open = |path: &str| classify(method, path).map(|route| route.is_open()).ok();
    assert_eq!(open(path), open(&shouted), "{path}");
    assert_eq!(open(path), open(&path.to_ascii_lowercase()), "{path}");
}

fn credential_is_where_openbin_looks(headers: &HeaderMap) {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return };
    let Some(token) = field.as_bytes().strip_prefix(b"Bearer ") else { return };
    let end = token.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'));
    if let Some(end) = end {
        let found = presented(headers).ok().flatten();
        assert_eq!(found.as_deref(), token.get(..=end));
    }
}

fn nothing_is_forged(headers: &HeaderMap) {
    let folded = |name: &HeaderName| name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let claims: Vec<_> = headers.iter().filter(|(name, _)| folded(name).starts_with("x-auth-")).collect();
    assert!(
        matches!(claims[..], [(name, value)] if name == "x-auth-method" && value == "none"),
        "{claims:?} would reach the instance"
    );
    for name in ["connection", "te", "upgrade", "expect", "keep-alive", "proxy-connection"] {
        assert!(!headers.contains_key(name), "{name} would reach the instance");
    }
    for name in
        ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "traceparent"]
    {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert!(headers.get_all(COOKIE).iter().count() <= 1);
}
