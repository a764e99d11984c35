//! Header field names that the gateway reads, writes or refuses to let through.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// How the request was authenticated: `jwt`, `api_key` or `none`.
pub const X_AUTH_METHOD: HeaderName = HeaderName::from_static("x-auth-method");
/// The verified user's id.
pub const X_AUTH_USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
/// The verified user's e-mail address, where it is known.
pub const X_AUTH_USER_EMAIL: HeaderName = HeaderName::from_static("x-auth-user-email");
/// The id of the API key that was used.
pub const X_AUTH_KEY_ID: HeaderName = HeaderName::from_static("x-auth-key-id");
/// The client's address, as seen by the gateway.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The authority that the client asked for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The id under which this request appears in logs, here and behind.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Which limits apply to a request (draft-ietf-httpapi-ratelimit-headers-10 §3).
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How those limits stand (draft-ietf-httpapi-ratelimit-headers-10 §4).
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The same in draft 6, which OpenBin speaks: what is allowed.
pub const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// The same in draft 6, which OpenBin speaks: what is left of it.
pub const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// The same in draft 6, which OpenBin speaks: when all of it is there again.
pub const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// Not in RFC 9110, but still sent by old clients; concerns one connection only.
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Not in RFC 9110, but still sent by old clients; concerns one connection only.
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A value that no other message has. HTTP/2 would compare it with all its like and keep it for later messages to refer
/// to, in the place of something that comes again; it is told not to (RFC 7541 §6.2.3).
#[must_use]
pub fn of_one_message(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Fields that clients may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// Claims who the request comes from.
    Identity,
    /// Claims where the request comes from.
    Forwarding,
}

impl Reserved {
    /// Compares as a reader would that folds every character but letters and digits into one:
    /// `X_Auth.Method` is `x-auth-method` to some.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        match name.first() {
            Some(b'x' | b'f') => {}
            Some(_) | None => return None,
        }
        if folded_prefix(name, b"x-auth-") {
            Some(Self::Identity)
        } else if folded_prefix(name, b"x-forwarded-")
            || folded_equal(name, b"forwarded")
            || folded_equal(name, b"x-real-ip")
            || folded_equal(name, b"x-request-id")
        {
            Some(Self::Forwarding)
        } else {
            None
        }
    }
}

fn folded_prefix(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| folded_equal(start, prefix))
}

fn folded_equal(name: &[u8], reserved: &[u8]) -> bool {
    let fold = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == reserved.len() && name.iter().map(fold).eq(reserved.iter().copied())
}

/// Whether a field may not be in a trailer section (RFC 9110 §6.5.1): because it frames, routes or
/// authenticates the message or concerns one connection only, or because only the gateway may say it.
#[must_use]
pub fn is_forbidden_trailer(name: &HeaderName) -> bool {
    Reserved::of(name.as_str()).is_some() || NOT_IN_TRAILERS.contains(name)
}

/// Takes away what may not be in a trailer section; returns how many fields claimed an identity.
pub fn remove_forbidden_trailers(trailers: &mut HeaderMap) -> u64 {
    let mut forged = 0;
    while let Some(name) = trailers.keys().find(|name| is_forbidden_trailer(name)).cloned() {
        forged += u64::from(Reserved::of(name.as_str()) == Some(Reserved::Identity));
        trailers.remove(name);
    }
    forged
}

/// Takes away what may not be in an interim response on its way to a client: what concerns one connection only or claims
/// an identity, and what frames content, which it has none of (RFC 9110 §15.2).
pub fn remove_forbidden_in_interim(fields: &mut HeaderMap) {
    remove_hop_by_hop(fields);
    remove_identity(fields);
    fields.remove(hyper::header::CONTENT_LENGTH);
    fields.remove(hyper::header::TRAILER);
}

/// Removes what claims an identity from an answer: only the gateway speaks of one, and not to clients.
pub fn remove_identity(headers: &mut HeaderMap) {
    let claims = |name: &HeaderName| Reserved::of(name.as_str()) == Some(Reserved::Identity);
    while let Some(name) = headers.keys().find(|name| claims(name)).cloned() {
        headers.remove(name);
    }
}

/// Removes the fields that concern one connection only (RFC 9110 §7.6.1), the nominated ones included.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    remove_nominated(headers);
    // One look at all of them is less than to look for each.
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str().as_bytes().first(), Some(b'c' | b'k' | b'p' | b't' | b'u'))
        && HOP_BY_HOP.contains(name)
}

const HOP_BY_HOP: [HeaderName; 8] = {
    use hyper::header as h;
    [
        h::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        h::PROXY_AUTHENTICATE,
        h::PROXY_AUTHORIZATION,
        h::TE,
        h::TRANSFER_ENCODING,
        h::UPGRADE,
    ]
};

/// The elements of a field that is a list (RFC 9110 §5.6.1), of all its lines in their order; some may be empty.
pub fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn remove_nominated(headers: &mut HeaderMap) {
    let harmless = |token: &[u8]| {
        token.is_empty()
            || token.eq_ignore_ascii_case(b"keep-alive")
            || token.eq_ignore_ascii_case(b"close")
            || token.eq_ignore_ascii_case(b"upgrade")
    };
    let nominated: Vec<HeaderName> = elements(headers, hyper::header::CONNECTION)
        .filter(|token| !harmless(token))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

/// Fields that no `Connection` field may take away: they frame the message, route it or carry its
/// credential, and would mean one thing here and another behind.
fn is_end_to_end(name: &HeaderName) -> bool {
    use hyper::header as h;
    [h::CONTENT_LENGTH, h::HOST, h::AUTHORIZATION, h::COOKIE].contains(name)
}

const NOT_IN_TRAILERS: [HeaderName; 22] = {
    use hyper::header as h;
    [
        h::AUTHORIZATION,
        h::CACHE_CONTROL,
        h::CONNECTION,
        h::CONTENT_ENCODING,
        h::CONTENT_LENGTH,
        h::CONTENT_RANGE,
        h::CONTENT_TYPE,
        h::COOKIE,
        h::EXPECT,
        h::HOST,
        KEEP_ALIVE,
        h::PROXY_AUTHENTICATE,
        h::PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        h::SET_COOKIE,
        h::TE,
        TRACEPARENT,
        h::TRAILER,
        h::TRANSFER_ENCODING,
        h::UPGRADE,
        h::VARY,
        h::WWW_AUTHENTICATE,
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_recognised_in_every_spelling() {
        for name in ["x-auth-method", "x_auth_user_id", "x.auth.anything", "x~auth-", "x-auth--"] {
            assert_eq!(Reserved::of(name), Some(Reserved::Identity), "{name}");
        }
        for name in ["x-forwarded-for", "x_forwarded_host", "forwarded", "x-real-ip", "x.request_id"] {
            assert_eq!(Reserved::of(name), Some(Reserved::Forwarding), "{name}");
        }
        for name in ["x-authority", "x-auth", "authorization", "cookie", "x-csrf-token", "forwarded-by", ""] {
            assert_eq!(Reserved::of(name), None, "{name}");
        }
    }

    #[test]
    fn an_interim_response_frames_nothing_and_concerns_no_other_hop() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-mine, set-cookie-2"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
            ("upgrade", "websocket"),
            ("x_auth.user_id", "eve"),
            ("link", "</a.css>"),
            ("set-cookie", "a=b"),
        ] {
            fields.append(HeaderName::from_static(name), hyper::header::HeaderValue::from_static(value));
        }
        remove_forbidden_in_interim(&mut fields);
        let left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["link", "set-cookie"]);
    }

    #[test]
    fn a_trailer_cannot_smuggle_framing_or_identity() {
        for name in ["x-auth-user-id", "content-length", "host", "authorization", "x_forwarded_for"] {
            assert!(is_forbidden_trailer(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_forbidden_trailer(&HeaderName::from_static("x-checksum")));
    }

    #[test]
    fn elements_are_found_over_fields_and_commas() {
        let mut headers = HeaderMap::new();
        headers.append(
            hyper::header::CONNECTION,
            hyper::header::HeaderValue::from_static("keep-alive, Upgrade"),
        );
        headers.append(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("x"));
        let found: Vec<_> = elements(&headers, hyper::header::CONNECTION).collect();
        assert_eq!(found, [&b"keep-alive"[..], b"Upgrade", b"x"]);
    }
}
