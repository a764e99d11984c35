//! The header fields of a request on its way to an instance: what is not the client's to say is removed,
//! and said by the gateway. Nothing else is touched.

use http_body::Body;
use hyper::header::{COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Version};

use super::origin::Scheme;
use super::request_id::{Trace, is_traceparent};
use crate::auth::Identity;
use crate::http::append_address;
use crate::http::header::{
    Reserved, TRACEPARENT, X_AUTH_KEY_ID, X_AUTH_METHOD, X_AUTH_USER_EMAIL, X_AUTH_USER_ID, X_FORWARDED_FOR,
    X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID, remove_hop_by_hop,
};
use crate::upstream::Fields;

/// What the gateway says of a request. Most of it never is in a map: it goes straight into the head's text.
pub(super) struct Stamp<'r> {
    identity: Option<&'r Identity>,
    scheme: Scheme,
    authority: Option<HeaderValue>,
    trace: Trace,
    /// Whether the request is part of a trace that its client began.
    is_traced: bool,
}

impl<'r> Stamp<'r> {
    pub(super) fn new(
        identity: Option<&'r Identity>,
        scheme: Scheme,
        authority: Option<HeaderValue>,
        trace: Trace,
    ) -> Self {
        Self { identity, scheme, authority, trace, is_traced: false }
    }

    /// Who the request comes from.
    pub(super) fn identity(&self) -> Option<&'r Identity> {
        self.identity
    }

    /// Takes out of a request's head what is not the client's to say; returns how many forged identity fields there
    /// were.
    pub(super) fn clear<B: Body>(&mut self, request: &mut Request<B>) -> u64 {
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
        self.is_traced = is_traced(headers);
        // A client of HTTP/1.0 need not name a host, this hop must: none (RFC 9112 §3.2).
        let host = self.authority.clone().unwrap_or(HeaderValue::from_static(""));
        headers.insert(HOST, host);
        *request.version_mut() = Version::HTTP_11;
        forged
    }

    /// Says what only the gateway may, of a request whose head was cleared of it.
    pub(super) fn say(&self, fields: &mut Fields) {
        let method = self.identity.map_or("none", |identity| identity.method().as_str());
        fields.add(&X_AUTH_METHOD, method);
        if let Some(identity) = self.identity {
            fields.add(&X_AUTH_USER_ID, identity.user_id().as_bytes());
            if let Some(email) = identity.user_email() {
                fields.add(&X_AUTH_USER_EMAIL, email.as_bytes());
            }
            if let Some(key) = identity.active_key() {
                fields.add(&X_AUTH_KEY_ID, key.id.as_bytes());
            }
        }
        fields.add_with(&X_FORWARDED_FOR, |text| append_address(text, self.trace.from));
        fields.add(&X_FORWARDED_PROTO, self.scheme.as_str());
        if let Some(authority) = &self.authority {
            fields.add(&X_FORWARDED_HOST, authority);
        }
        fields.add(&X_REQUEST_ID, self.trace.id.0);
        if !self.is_traced {
            fields.add(&TRACEPARENT, self.trace.traceparent());
        }
    }
}

/// All fields that reach the instance.
///
/// # Panics
/// Where what is said of the request is no fields.
#[cfg(any(test, fuzzing))]
pub(super) fn all(stamp: &Stamp<'_>, cleared: &HeaderMap) -> HeaderMap {
    let (mut all, mut said) = (cleared.clone(), Fields::default());
    stamp.say(&mut said);
    let text = std::str::from_utf8(said.text()).expect("ASCII");
    for line in text.split_terminator("\r\n") {
        let (name, value) = line.split_once(": ").expect("a field");
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        all.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    all
}

/// Whether a client has said of which trace a request is part. What is none is removed.
fn is_traced(headers: &mut HeaderMap) -> bool {
    match headers.entry(TRACEPARENT) {
        Entry::Occupied(held) if held.iter().count() == 1 && is_traceparent(held.get()) => true,
        Entry::Occupied(held) => {
            held.remove_entry_mult();
            false
        }
        Entry::Vacant(_) => false,
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
    use hyper::header::HeaderName;

    use super::super::request_id::RequestId;
    use super::*;

    fn stamped(fields: &[(&str, &str)]) -> (HeaderMap, u64) {
        let mut request = Request::new(Empty::<bytes::Bytes>::new());
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let client = "203.0.113.9".parse().expect("address");
        let trace = Trace { id: RequestId(*b"0af7651916cd43dd8448eb211c80319c"), from: client };
        let authority = Some(HeaderValue::from_static("bins.example"));
        let mut stamp = Stamp::new(None, Scheme::Https, authority, trace);
        let forged = stamp.clear(&mut request);
        (all(&stamp, request.headers()), forged)
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
    fn an_address_is_said_in_the_form_of_its_family() {
        for client in ["203.0.113.9", "2001:db8:1111:2222:3333:4444:5555:6666", "::ffff:255.255.255.255"] {
            let from = client.parse().expect("an address");
            let trace = Trace { id: RequestId(*b"0af7651916cd43dd8448eb211c80319c"), from };
            let headers = all(&Stamp::new(None, Scheme::Https, None, trace), &HeaderMap::new());
            assert_eq!(values(&headers, "x-forwarded-for"), [client]);
        }
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
        for others in [&[valid, valid][..], &["junk"], &[]] {
            let fields: Vec<_> = others.iter().map(|value| ("traceparent", *value)).collect();
            let (headers, _) = stamped(&fields);
            let begun = "00-0af7651916cd43dd8448eb211c80319c-8448eb211c80319c-00";
            assert_eq!(values(&headers, "traceparent"), [begun], "{others:?}");
        }
    }
}
