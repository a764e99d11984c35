//! The host that a request asks for (RFC 9110 §7.2), told in only one way or refused.

use std::net::Ipv6Addr;

use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Version};

use crate::http::{Peer, Refusal};

/// The authority of a request, as a `Host` field would carry it; `None` where a client of HTTP/1.0 gives none.
///
/// # Errors
/// Where the request names more than one host, names none although HTTP/1.1 demands it (RFC 9112 §3.2),
/// or names what cannot be a host.
pub(super) fn requested<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Refusal> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::Ambiguous("More than one Host header"));
    }
    // Also beside a target that names a host itself (RFC 9112 §3.2); HTTP/2 has `:authority` instead.
    if field.is_none() && request.version() == Version::HTTP_11 {
        return Err(Refusal::Ambiguous("No Host header"));
    }
    let Some(target) = request.uri().authority() else {
        if field.is_none() && request.version() != Version::HTTP_10 {
            return Err(Refusal::Ambiguous("No Host header"));
        }
        return field.cloned().map(checked).transpose();
    };
    if field.is_some_and(|field| !field.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes())) {
        return Err(Refusal::Ambiguous("The request target and the Host header name different hosts"));
    }
    let value = HeaderValue::from_str(target.as_str())
        .map_err(|_| Refusal::Ambiguous("The request target's host is not valid"))?;
    checked(value).map(Some)
}

fn checked(value: HeaderValue) -> Result<HeaderValue, Refusal> {
    if is_authority(value.as_bytes()) {
        Ok(value)
    } else {
        Err(Refusal::Ambiguous("The Host header is not a valid host"))
    }
}

/// A host that is not empty (RFC 9110 §4.2.1), and maybe a port (RFC 3986 §3.2). Nobody's name needs what
/// RFC 3986 allows beyond letters, digits and `-._~`.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text {
        [b'[', literal @ ..] => {
            let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
            let (address, rest) = literal.split_at(end);
            let is_address = std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
            (is_address, rest.get(1..).unwrap_or_default())
        }
        named => {
            let end = named.iter().position(|byte| *byte == b':').unwrap_or(named.len());
            let (name, rest) = named.split_at(end);
            let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            (!name.is_empty() && name.iter().all(valid), rest)
        }
    };
    host && match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    }
}

/// The host's name alone, without port and without a trailing dot; not folded to lower case.
pub(super) fn host_name(authority: &str) -> &str {
    let name = match authority.rfind(']') {
        Some(end) => authority.get(..=end).unwrap_or(authority),
        None => authority.split(':').next().unwrap_or(authority),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The name that decides which instance is meant: the request's own, else the one of the TLS handshake.
pub(super) fn deciding_name<'r>(authority: Option<&'r HeaderValue>, peer: &'r Peer) -> Option<&'r str> {
    let named = authority.and_then(|value| value.to_str().ok()).map(host_name);
    named.filter(|name| !name.is_empty()).or_else(|| peer.tls.as_ref()?.server_name.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, target: &str, hosts: &[&str]) -> Result<Option<String>, Refusal> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let found = requested(&request.body(()).expect("a request"))?;
        Ok(found.map(|value| value.to_str().expect("text").to_owned()))
    }

    #[test]
    fn the_host_field_names_the_host() {
        let found = asked(Version::HTTP_11, "/x", &["bins.example:8443"]);
        assert_eq!(found, Ok(Some("bins.example:8443".to_owned())));
        assert_eq!(asked(Version::HTTP_10, "/x", &[]), Ok(None));
    }

    #[test]
    fn a_request_that_names_no_host_or_two_is_refused() {
        let refused = |hosts: &[&str], target| {
            matches!(asked(Version::HTTP_11, target, hosts), Err(Refusal::Ambiguous(_)))
        };
        assert!(refused(&[], "/x"));
        assert!(refused(&["a", "a"], "/x"));
        assert!(refused(&["a"], "http://b/x"));
        assert!(refused(&["a,b"], "/x"));
        assert!(refused(&["user@a"], "/x"));
        assert!(refused(&["a/b"], "/x"));
        assert!(refused(&[], "http://a/x"));
        for host in
            ["", ":80", "a:b", "a:65536", "a:1:2", "a:+1", "[::1", "[x]", "[::1]x", "a]", "a b", "a%41"]
        {
            assert!(refused(&[host], "/x"), "{host:?}");
        }
        for host in ["a", "a:", "a.:443", "[::1]", "[::1]:8443", "127.0.0.1:1", "x_y"] {
            assert!(!refused(&[host], "/x"), "{host:?}");
        }
        assert!(!refused(&["A"], "http://a/x"));
    }

    #[test]
    fn a_host_name_has_no_port_and_no_trailing_dot() {
        for (authority, name) in [
            ("bins.example", "bins.example"),
            ("bins.example.:443", "bins.example"),
            ("[::1]:443", "[::1]"),
            ("127.0.0.1:1", "127.0.0.1"),
            (":1", ""),
        ] {
            assert_eq!(host_name(authority), name);
        }
    }
}
