//! The header fields of a request on its way to an instance: what is not the client's to say is removed,
//! and said by the gateway. Nothing else is touched.

use http_body::Body;
use hyper::header::{COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Version};

use super::origin::Scheme;
use super::request_id::{Trace, is_traceparent};
use crate::auth::Identity;
use crate::http::header::{
    Reserved, TRACEPARENT, X_AUTH_KEY_ID, X_AUTH_METHOD, X_AUTH_USER_EMAIL, X_AUTH_USER_ID, X_FORWARDED_FOR,
    X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID, remove_hop_by_hop,
};
use crate::keys::Label;

/// What the gateway says of a request.
pub(super) struct Stamp<'r> {
    pub(super) identity: Option<&'r Identity>,
    pub(super) scheme: Scheme,
    pub(super) authority: Option<HeaderValue>,
    pub(super) trace: &'r Trace,
}

/// Rewrites a request's head for the instance; returns how many forged identity fields were dropped.
pub(super) fn stamp<B: Body>(request: &mut Request<B>, stamp: Stamp<'_>) -> u64 {
    let chunked = !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
    let headers = request.headers_mut();
    let forged = remove_reserved(headers);
    remove_hop_by_hop(headers);
    // Met by this hop: the body is asked for as soon as the instance's connection can take it.
    headers.remove(EXPECT);
    join_cookies(headers);
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    identify(headers, stamp.identity);
    trace(headers, &stamp);
    if let Some(authority) = stamp.authority {
        headers.insert(X_FORWARDED_HOST, authority.clone());
        headers.insert(HOST, authority);
    } else {
        // A client of HTTP/1.0 need not name a host, this hop must: none (RFC 9112 §3.2).
        headers.insert(HOST, HeaderValue::from_static(""));
    }
    *request.version_mut() = Version::HTTP_11;
    forged
}

fn identify(headers: &mut HeaderMap, identity: Option<&Identity>) {
    let method = identity.map_or("none", |identity| identity.method().as_str());
    headers.insert(X_AUTH_METHOD, HeaderValue::from_static(method));
    let Some(identity) = identity else { return };
    set(headers, X_AUTH_USER_ID, identity.user_id());
    if let Some(email) = identity.user_email() {
        set(headers, X_AUTH_USER_EMAIL, email);
    }
    if let Some(key) = identity.active_key() {
        set(headers, X_AUTH_KEY_ID, &key.id);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, label: &Label) {
    // A label is visible ASCII, which every header value may be.
    if let Ok(value) = HeaderValue::from_maybe_shared(label.bytes()) {
        headers.insert(name, value);
    }
}

fn trace(headers: &mut HeaderMap, stamp: &Stamp<'_>) {
    headers.insert(X_FORWARDED_FOR, stamp.trace.client());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(stamp.scheme.as_str()));
    headers.insert(X_REQUEST_ID, stamp.trace.id());
    match headers.entry(TRACEPARENT) {
        Entry::Occupied(mut held) => {
            if held.iter().count() != 1 || !is_traceparent(held.get()) {
                held.insert(stamp.trace.traceparent());
            }
        }
        Entry::Vacant(free) => {
            free.insert(stamp.trace.traceparent());
        }
    }
}

/// Removes what only the gateway may say; returns how many fields claimed an identity.
fn remove_reserved(headers: &mut HeaderMap) -> u64 {
    if !headers.keys().any(|name| Reserved::of(name.as_str()).is_some()) {
        return 0;
    }
    let reserved: Vec<_> = headers
        .keys()
        .filter_map(|name| Reserved::of(name.as_str()).map(|kind| (name.clone(), kind)))
        .collect();
    let mut forged = 0;
    for (name, kind) in reserved {
        if kind == Reserved::Identity {
            forged += headers.get_all(&name).iter().count() as u64;
        }
        headers.remove(name);
    }
    forged
}

/// One `Cookie` field, as HTTP/1.1 demands (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let mut joined = Vec::new();
    for field in headers.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(field.as_bytes());
    }
    if let Ok(joined) = HeaderValue::try_from(joined) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::super::request_id::RequestId;
    use super::*;

    fn stamped(fields: &[(&str, &str)]) -> (HeaderMap, u64) {
        let mut request = Request::new(Empty::<bytes::Bytes>::new());
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let client = "203.0.113.9".parse().expect("address");
        let trace = Trace::new(&RequestId(*b"0af7651916cd43dd8448eb211c80319c"), client);
        let authority = Some(HeaderValue::from_static("bins.example"));
        let ours = Stamp { identity: None, scheme: Scheme::Https, authority, trace: &trace };
        let forged = stamp(&mut request, ours);
        (request.into_parts().0.headers, forged)
    }

    fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
        headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
    }

    #[test]
    fn forged_identity_fields_are_dropped_in_every_spelling() {
        let (headers, forged) = stamped(&[
            ("X-Auth-Method", "jwt"),
            ("X_Auth_User_Id", "root"),
            ("x-auth.user.email", "a@b"),
            ("x~auth!anything", "1"),
            ("x-auth-user-id", "one"),
            ("x-auth-user-id", "two"),
            ("x-authority", "kept"),
        ]);
        assert_eq!(forged, 6);
        assert_eq!(values(&headers, "x-auth-method"), ["none"]);
        assert_eq!(values(&headers, "x-authority"), ["kept"]);
        let left = headers.keys().filter(|name| Reserved::of(name.as_str()) == Some(Reserved::Identity));
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn where_a_request_comes_from_is_said_by_the_gateway_alone() {
        let (headers, _) = stamped(&[
            ("X-Forwarded-For", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("X-Forwarded-Uri", "/api/health"),
            ("Forwarded", "for=6.6.6.6"),
            ("X-Real-IP", "6.6.6.6"),
            ("X-Request-Id", "mine"),
            ("Host", "evil.example"),
        ]);
        assert_eq!(values(&headers, "x-forwarded-for"), ["203.0.113.9"]);
        assert_eq!(values(&headers, "x-forwarded-proto"), ["https"]);
        assert_eq!(values(&headers, "x-forwarded-host"), ["bins.example"]);
        assert_eq!(values(&headers, "host"), ["bins.example"]);
        assert_eq!(values(&headers, "x-request-id"), ["0af7651916cd43dd8448eb211c80319c"]);
        assert!(headers.values().all(|value| value != "6.6.6.6" && value != "/api/health"));
    }

    #[test]
    fn connection_takes_away_what_it_nominates_but_never_what_frames_or_identifies() {
        let (headers, _) = stamped(&[
            ("Connection", "close, X-Auth-Method, x-forwarded-for, Content-Length, COOKIE, x-mine"),
            ("Connection", "authorization"),
            ("Content-Length", "0"),
            ("Cookie", "a=b"),
            ("Authorization", "Bearer x"),
            ("X-Mine", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
        ]);
        assert_eq!(values(&headers, "x-auth-method"), ["none"]);
        assert_eq!(values(&headers, "x-forwarded-for"), ["203.0.113.9"]);
        assert_eq!(values(&headers, "content-length"), ["0"]);
        assert_eq!(values(&headers, "cookie"), ["a=b"]);
        assert_eq!(values(&headers, "authorization"), ["Bearer x"]);
        for gone in ["x-mine", "connection", "keep-alive", "proxy-connection", "te", "upgrade"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn split_cookies_are_joined_in_their_order() {
        let (headers, _) = stamped(&[("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")]);
        assert_eq!(values(&headers, "cookie"), ["a=b; c=d; e=f"]);
    }

    #[test]
    fn a_valid_traceparent_goes_on_and_anything_else_is_begun_anew() {
        let valid = "00-11111111111111111111111111111111-2222222222222222-01";
        let (headers, _) = stamped(&[("traceparent", valid)]);
        assert_eq!(values(&headers, "traceparent"), [valid]);
        let (headers, _) = stamped(&[("traceparent", valid), ("traceparent", valid)]);
        assert!(values(&headers, "traceparent")[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    }
}
