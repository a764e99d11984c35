//! Who a request comes from: OpenBin's credential precedence, its checks in their order, and its CSRF rule.

use std::time::SystemTime;

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap};
use serde_json::Value;

use super::answer::Fault;
use super::cookie::{self, CookieValue};
use super::jwt::{Claims, Signer};
use super::record::latin1;
use super::state::{KeyLookup, Role, Standing, State, User};

const KEY_PREFIX: &str = "sk_openbin_";

/// What a request brings as its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    None,
    Key(String),
    Session(String),
    /// A cookie that is not text; OpenBin trips over it.
    Unusable,
}

/// A user who was let in, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) user_id: String,
    pub(super) role: Role,
    pub(super) method: &'static str,
}

impl Credential {
    /// `Authorization: Bearer ` wins, also when it is bad; otherwise the session cookie.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = match bearer(headers) {
            Some(token) => token,
            None => match cookie::value(headers, cookie::ACCESS) {
                None => return Self::None,
                Some(CookieValue::NotText) => return Self::Unusable,
                Some(CookieValue::Text(text)) => text,
            },
        };
        if text.starts_with(KEY_PREFIX) { Self::Key(text) } else { Self::Session(text) }
    }
}

/// What follows `Bearer ` in the first `Authorization` field. Node trims the field first, so that nothing
/// at all may follow.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let field = latin1(headers.get(AUTHORIZATION)?.as_bytes());
    field.trim_matches([' ', '\t']).strip_prefix("Bearer ").map(str::to_owned)
}

/// Lets a caller in, or says why not.
pub(super) fn authenticate(
    credential: &Credential,
    state: &mut State,
    signer: &Signer,
    now: SystemTime,
) -> Result<Caller, Fault> {
    match credential {
        Credential::None => Err(Fault::NoToken),
        Credential::Unusable => Err(Fault::Internal),
        Credential::Key(key) => by_key(key, state, now),
        Credential::Session(token) => {
            let claims = signer.verify(token, now).ok_or(Fault::InvalidToken)?;
            by_session(&claims, state)
        }
    }
}

fn by_key(text: &str, state: &mut State, now: SystemTime) -> Result<Caller, Fault> {
    if state.lookup == KeyLookup::Fails {
        return Err(Fault::LookupFailed);
    }
    let (id, user_id) = match state.active_key(text) {
        Some(key) => (key.id.clone(), key.user_id.clone()),
        None => return Err(Fault::InvalidApiKey),
    };
    let user = state.user(&user_id).ok_or(Fault::InvalidApiKey)?;
    match user.standing {
        Standing::Good => {}
        Standing::Deleted => return Err(Fault::AccountDeleted),
        Standing::Suspended => return Err(Fault::AccountSuspended),
        Standing::WithoutKeys => return Err(Fault::PlanRestricted),
    }
    let caller = Caller::new(user, "api_key");
    if let Some(key) = state.key_mut(&id) {
        key.last_used_at = Some(now);
    }
    Ok(caller)
}

fn by_session(claims: &Claims, state: &State) -> Result<Caller, Fault> {
    let id = match &claims.id {
        Value::String(id) => id,
        // The database driver cannot take these.
        Value::Bool(_) | Value::Object(_) => return Err(Fault::Internal),
        Value::Null | Value::Number(_) | Value::Array(_) => return Err(Fault::AccountDeleted),
    };
    let user = state.user(id).ok_or(Fault::AccountDeleted)?;
    match user.standing {
        Standing::Good | Standing::WithoutKeys => {}
        Standing::Deleted => return Err(Fault::AccountDeleted),
        Standing::Suspended => return Err(Fault::AccountSuspended),
    }
    // Not a number compares as false, so it passes.
    if claims.token_version < user.token_version as f64 {
        return Err(Fault::SessionRevoked);
    }
    Ok(Caller::new(user, "jwt"))
}

impl Caller {
    fn new(user: &User, method: &'static str) -> Self {
        Self { user_id: user.id.clone(), role: user.role, method }
    }
}

/// Whether the maintenance gate lets a request through: a session token of an administrator, never a key.
pub(super) fn passes_maintenance(
    credential: &Credential,
    state: &State,
    signer: &Signer,
    now: SystemTime,
) -> bool {
    let Credential::Session(token) = credential else { return false };
    let claims = signer.verify(token, now);
    let user = claims.and_then(|claims| state.user(claims.id.as_str()?));
    user.is_some_and(|user| user.role == Role::Admin)
}

/// What the CSRF rule makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Csrf {
    /// Nothing to do.
    Passes,
    /// A session without a CSRF cookie: give it one.
    Issue,
    /// The header does not repeat the cookie.
    Refused,
}

impl Csrf {
    /// Safe methods, Bearer requests and requests without a session's cookie pass; others must repeat the
    /// CSRF cookie in `X-CSRF-Token`.
    pub(super) fn of(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let present = |name| cookie::value(headers, name).is_some();
        let session = present(cookie::ACCESS) || present(cookie::REFRESH);
        if method == Method::GET || method == Method::HEAD || method == Method::OPTIONS {
            return if session && !present(cookie::CSRF) { Self::Issue } else { Self::Passes };
        }
        if bearer(headers).is_some() || !session || path.starts_with("/api/auth/oauth/") {
            return Self::Passes;
        }
        let fields: Vec<String> =
            headers.get_all("x-csrf-token").iter().map(|field| latin1(field.as_bytes())).collect();
        // Node joins repeated fields so.
        let repeated = fields.join(", ");
        match cookie::text(headers, cookie::CSRF) {
            Some(token) if token == repeated => Self::Passes,
            Some(_) | None => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{COOKIE, HeaderName, HeaderValue};

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(name, value)| {
            (name.clone(), HeaderValue::from_bytes(value.as_bytes()).expect("a field value"))
        });
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    fn credential(fields: &[(HeaderName, &str)]) -> Credential {
        Credential::of(&headers(fields))
    }

    fn session(text: &str) -> Credential {
        Credential::Session(text.to_owned())
    }

    #[test]
    fn bearer_wins_over_the_cookie_even_when_it_is_bad() {
        let cookie = (COOKIE, "openbin-access=good");
        assert_eq!(credential(&[(AUTHORIZATION, "Bearer junk"), cookie.clone()]), session("junk"));
        let key = credential(&[(AUTHORIZATION, "Bearer sk_openbin_junk"), cookie]);
        assert_eq!(key, Credential::Key("sk_openbin_junk".to_owned()));
    }

    #[test]
    fn other_schemes_fall_through_to_the_cookie() {
        for field in ["bearer x", "BEARER x", "Bearer\tx", "Basic eA==", "Bearer ", "Bearer", ""] {
            let cookie = (COOKIE, "openbin-access=good");
            assert_eq!(credential(&[(AUTHORIZATION, field), cookie]), session("good"), "{field:?}");
            assert_eq!(credential(&[(AUTHORIZATION, field)]), Credential::None, "{field:?}");
        }
    }

    #[test]
    fn white_space_and_repetition_count_as_node_counts_them() {
        assert_eq!(credential(&[(AUTHORIZATION, "Bearer  x")]), session(" x"));
        assert_eq!(credential(&[(AUTHORIZATION, "Bearer x  ")]), session("x"));
        let two = [(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")];
        assert_eq!(credential(&two), session("a"));
    }

    #[test]
    fn a_key_as_the_cookies_value_is_a_key() {
        let key = credential(&[(COOKIE, "openbin-access=sk_openbin_x")]);
        assert_eq!(key, Credential::Key("sk_openbin_x".to_owned()));
        assert_eq!(credential(&[(COOKIE, "openbin-access=j:[1]")]), Credential::Unusable);
    }

    #[test]
    fn an_unsafe_request_with_a_session_cookie_must_repeat_the_csrf_cookie() {
        let token = HeaderName::from_static("x-csrf-token");
        let csrf = |fields: &[(HeaderName, &str)]| Csrf::of(&Method::POST, "/api/bins", &headers(fields));
        for cookies in ["openbin-access=x; openbin-csrf=c", "openbin-refresh=x; openbin-csrf=c"] {
            assert_eq!(csrf(&[(COOKIE, cookies)]), Csrf::Refused);
            assert_eq!(csrf(&[(COOKIE, cookies), (token.clone(), "d")]), Csrf::Refused);
            assert_eq!(csrf(&[(COOKIE, cookies), (token.clone(), "c")]), Csrf::Passes);
            assert_eq!(csrf(&[(COOKIE, cookies), (AUTHORIZATION, "Bearer x")]), Csrf::Passes);
            assert_eq!(csrf(&[(COOKIE, cookies), (AUTHORIZATION, "Basic x")]), Csrf::Refused);
        }
        assert_eq!(csrf(&[(COOKIE, "openbin-access=x"), (token, "")]), Csrf::Refused);
        assert_eq!(csrf(&[(COOKIE, "openbin-csrf=c")]), Csrf::Passes);
        assert_eq!(csrf(&[]), Csrf::Passes);
    }

    #[test]
    fn a_safe_request_with_a_session_but_no_csrf_cookie_is_given_one() {
        let with = |cookies: &str| Csrf::of(&Method::GET, "/", &headers(&[(COOKIE, cookies)]));
        assert_eq!(with("openbin-access=garbage"), Csrf::Issue);
        assert_eq!(with("openbin-access=x; openbin-csrf=c"), Csrf::Passes);
        assert_eq!(with("other=x"), Csrf::Passes);
    }

    #[test]
    fn the_oauth_exemption_counts_case() {
        let fields = headers(&[(COOKIE, "openbin-access=x")]);
        let of = |path: &str| Csrf::of(&Method::POST, path, &fields);
        assert_eq!(of("/api/auth/oauth/apple/callback"), Csrf::Passes);
        assert_eq!(of("/api/auth/OAuth/apple/callback"), Csrf::Refused);
    }
}
