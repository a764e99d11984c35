//! OpenBin's CSRF rule, for requests that the gateway answers or refuses in its place.
//!
//! A request that a browser can be made to send (it has a session's cookie, and no `Bearer`) must repeat
//! the CSRF cookie in a header, unless it changes nothing. The token is bound to nothing else.

use hyper::header::HeaderMap;
use hyper::{Method, Request};

use super::credential::{ACCESS_COOKIE, bearer, cookies};
use crate::http::Refusal;

const REFRESH_COOKIE: &[u8] = b"openbin-refresh";
const CSRF_COOKIE: &[u8] = b"openbin-csrf";
const CSRF_HEADER: &str = "x-csrf-token";

/// Lets a request through, or not.
///
/// # Errors
/// Where the header does not repeat the cookie.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    let has = |name| cookies(headers, name).next().is_some_and(|value| !value.is_empty());
    if is_safe || bearer(headers).is_some() || !(has(ACCESS_COOKIE) || has(REFRESH_COOKIE)) {
        return Ok(());
    }
    let mut repeated = headers.get_all(CSRF_HEADER).iter();
    // Node joins repeated fields into one, which no token equals.
    let (Some(repeated), None) = (repeated.next(), repeated.next()) else { return Err(Refusal::InvalidCsrf) };
    let token = cookies(headers, CSRF_COOKIE).next();
    if token.is_some_and(|token| !token.is_empty() && *token == *repeated.as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::InvalidCsrf)
    }
}

/// What a request is refused with that would be refused for its credential: OpenBin looks at the CSRF token first.
pub(super) fn before<B>(refusal: Refusal, request: &Request<B>) -> Refusal {
    let of_credential = matches!(refusal, Refusal::NoToken | Refusal::InvalidToken | Refusal::InvalidApiKey);
    match check(request.method(), request.headers()) {
        Err(earlier) if of_credential => earlier,
        Ok(()) | Err(_) => refusal,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn passes(method: &Method, fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        check(method, &headers).is_ok()
    }

    #[test]
    fn a_session_cookie_must_come_with_the_csrf_pair() {
        let pair = ("cookie", "openbin-access=t; openbin-csrf=c");
        assert!(passes(&Method::POST, &[pair, ("x-csrf-token", "c")]));
        assert!(!passes(&Method::POST, &[pair]));
        assert!(!passes(&Method::DELETE, &[pair, ("x-csrf-token", "d")]));
        assert!(!passes(&Method::POST, &[pair, ("x-csrf-token", "")]));
        assert!(!passes(&Method::POST, &[pair, ("x-csrf-token", "c"), ("x-csrf-token", "c")]));
        let no_token = ("cookie", "openbin-access=t");
        assert!(!passes(&Method::POST, &[no_token, ("x-csrf-token", "c")]));
        assert!(!passes(&Method::POST, &[no_token, ("x-csrf-token", "")]));
        let empty = ("cookie", "openbin-access=t; openbin-csrf=");
        assert!(!passes(&Method::POST, &[empty, ("x-csrf-token", "")]));
        let refresh_only = ("cookie", "openbin-refresh=r");
        assert!(!passes(&Method::POST, &[refresh_only]));
        let split = [("cookie", "openbin-access=t"), ("cookie", "openbin-csrf=c"), ("x-csrf-token", "c")];
        assert!(passes(&Method::POST, &split));
    }

    #[test]
    fn what_changes_nothing_or_brings_no_cookie_of_a_session_passes() {
        let session = ("cookie", "openbin-access=t");
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(passes(&method, &[session]), "{method}");
        }
        assert!(passes(&Method::POST, &[]));
        assert!(passes(&Method::POST, &[("cookie", "other=t; openbin-access=")]));
    }

    #[test]
    fn only_the_exact_bearer_scheme_passes_beside_a_cookie() {
        let session = ("cookie", "openbin-access=t");
        assert!(passes(&Method::POST, &[session, ("authorization", "Bearer junk")]));
        for other in ["bearer x", "Basic x", "Bearer", ""] {
            assert!(!passes(&Method::POST, &[session, ("authorization", other)]), "{other}");
        }
    }
}
