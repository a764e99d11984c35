//! What a request target means to OpenBin, told on the very bytes that are forwarded.
//!
//! OpenBin routes with Express: names match without regard to case, one trailing slash is allowed, and
//! nothing is decoded or normalised before matching. So nothing is normalised here either. Stricter in one
//! thing: an empty segment under `/api` is refused, since Express takes `/api/auth//login` for the route
//! but not for its rate limit.

use hyper::Method;

use super::credential::percent_decode;
use crate::http::Refusal;

/// What a target means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Needs no credential: static files, the sign-in pages' calls, public shares, preflights.
    Open,
    /// Needs a credential.
    Protected,
    /// Lists the caller's API keys; needs a credential.
    ListKeys,
    /// Makes an API key; needs a credential.
    CreateKey,
    /// Revokes the API key with this id; needs a credential.
    RevokeKey(String),
    /// Revokes all API keys of the user with this id; needs an administrator's credential.
    RevokeAllKeys(String),
    /// Deletes the user with this id; needs an administrator's credential.
    DeleteUser(String),
    /// Deletes the account whose credential it carries.
    DeleteAccount,
    /// Signs out; works without a credential.
    SignOut,
}

impl Route {
    /// Whether it can be had without a credential.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Open | Self::SignOut => true,
            Self::Protected
            | Self::ListKeys
            | Self::CreateKey
            | Self::RevokeKey(_)
            | Self::RevokeAllKeys(_)
            | Self::DeleteUser(_)
            | Self::DeleteAccount => false,
        }
    }
}

/// Tells what a target means.
///
/// # Errors
/// Where a path under `/api` has an empty segment.
pub(super) fn classify(method: &Method, path: &str) -> Result<Route, Refusal> {
    let Some(rest) = under(path, "/api") else { return Ok(Route::Open) };
    // OpenBin's CORS handling answers every OPTIONS before it looks at anything else.
    if method == Method::OPTIONS {
        return Ok(Route::Open);
    }
    if rest.contains("//") {
        return Err(Refusal::Ambiguous("The request path has an empty segment"));
    }
    let auth = under(rest, "/auth");
    if method == Method::POST && auth.is_some_and(|tail| is(tail, "/logout")) {
        return Ok(Route::SignOut);
    }
    if is_open(method, rest) {
        return Ok(Route::Open);
    }
    if method == Method::DELETE && auth.is_some_and(|tail| is(tail, "/account")) {
        return Ok(Route::DeleteAccount);
    }
    if let Some(tail) = under(rest, "/api-keys") {
        return Ok(of_keys(method, tail));
    }
    Ok(under(rest, "/admin").and_then(|tail| of_admin(method, tail)).unwrap_or(Route::Protected))
}

fn of_keys(method: &Method, tail: &str) -> Route {
    match tail {
        "" | "/" if method == Method::POST => Route::CreateKey,
        "" | "/" if method == Method::GET || method == Method::HEAD => Route::ListKeys,
        _ if method == Method::DELETE => {
            parameter(tail).and_then(decoded).map_or(Route::Protected, Route::RevokeKey)
        }
        _ => Route::Protected,
    }
}

/// What administrators do to the keys of others.
fn of_admin(method: &Method, tail: &str) -> Option<Route> {
    let user = |tail| parameter(tail).and_then(decoded);
    if method == Method::POST {
        if let Some(tail) = under(tail, "/security").and_then(|tail| under(tail, "/revoke-all-api-keys")) {
            return user(tail).map(Route::RevokeAllKeys);
        }
        let tail = under(tail, "/users")?;
        let tail = tail.strip_suffix('/').unwrap_or(tail);
        let (id, action) = tail.strip_prefix('/')?.split_once('/')?;
        let is_new_key = action.eq_ignore_ascii_case("regenerate-api-key");
        return is_new_key.then(|| decoded(id)).flatten().map(Route::RevokeAllKeys);
    }
    let tail = under(tail, "/users")?;
    (method == Method::DELETE).then(|| user(tail)).flatten().map(Route::DeleteUser)
}

/// Whether OpenBin would look for an endpoint there, rather than for a page or an asset.
pub(super) fn is_endpoint(path: &str) -> bool {
    under(path, "/api").is_some()
}

/// The routes under `/api` that OpenBin answers without a credential.
fn is_open(method: &Method, rest: &str) -> bool {
    let get = method == Method::GET || method == Method::HEAD;
    let post = method == Method::POST;
    if get && (is(rest, "/health") || is(rest, "/plans")) {
        return true;
    }
    if let Some(tail) = under(rest, "/auth") {
        let any = |names: &[&str]| names.iter().any(|name| is(tail, name));
        return (get && any(&["/status", "/oauth/google", "/oauth/google/callback", "/oauth/apple"]))
            || (post
                && any(&[
                    "/register",
                    "/login",
                    "/demo-login",
                    "/refresh",
                    "/forgot-password",
                    "/reset-password",
                    "/recover-deletion",
                    "/oauth/apple/callback",
                ]));
    }
    if let Some(tail) = under(rest, "/shared") {
        return get && is_share(tail);
    }
    post && is(rest, "/subscriptions/callback")
}

/// `/:token`, `/:token/photos/:photoId/file` and `/:token/photos/:photoId/thumb`.
fn is_share(tail: &str) -> bool {
    let Some(tail) = tail.strip_prefix('/') else { return false };
    let tail = tail.strip_suffix('/').unwrap_or(tail);
    let mut parts = tail.split('/');
    let named = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    let token = parts.next();
    if !named(token) {
        return false;
    }
    match parts.next() {
        None => true,
        Some(photos) if photos.eq_ignore_ascii_case("photos") => {
            let photo = parts.next();
            let kind = parts.next();
            let kind = kind
                .is_some_and(|kind| kind.eq_ignore_ascii_case("file") || kind.eq_ignore_ascii_case("thumb"));
            named(photo) && kind && parts.next().is_none()
        }
        Some(_) => false,
    }
}

/// What follows `name` where the path is that name or lies below it.
fn under<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let (start, rest) = path.split_at_checked(name.len())?;
    (start.eq_ignore_ascii_case(name) && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

/// Whether a path is that route, with or without one trailing slash.
fn is(path: &str, route: &str) -> bool {
    let bare = |text: &'_ str| text.strip_suffix('/').map_or(text.len(), str::len);
    let (path, route) = (&path[..bare(path)], &route[..bare(route)]);
    path.eq_ignore_ascii_case(route)
}

/// The one segment of `/:id`.
fn parameter(tail: &str) -> Option<&str> {
    let id = tail.strip_prefix('/')?;
    let id = id.strip_suffix('/').unwrap_or(id);
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// A parameter as Express hands it to OpenBin: decoded.
fn decoded(parameter: &str) -> Option<String> {
    String::from_utf8(percent_decode(parameter.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(method: &Method, path: &str) -> bool {
        classify(method, path).is_ok_and(|route| route.is_open())
    }

    #[test]
    fn everything_outside_api_is_static() {
        for path in [
            "/",
            "/index.html",
            "/apiX",
            "/ap",
            "//api/bins",
            "/x/../api/bins",
            "/%61pi/bins",
            "/api%2Fbins",
            "/api\\bins",
            "*",
            "",
        ] {
            assert!(open(&Method::GET, path), "{path}");
            assert!(open(&Method::DELETE, path), "{path}");
        }
    }

    #[test]
    fn pages_and_assets_are_no_endpoints() {
        for path in ["/api", "/API/", "/api/health", "/Api/Bins/"] {
            assert!(is_endpoint(path), "{path}");
        }
        for path in ["/", "/apiX", "/assets/app.js", "/x/../api/bins", "/%61pi/bins", "*", ""] {
            assert!(!is_endpoint(path), "{path}");
        }
    }

    #[test]
    fn what_is_under_api_is_protected_unless_listed() {
        for path in [
            "/api",
            "/api/",
            "/API",
            "/api/bins",
            "/Api/Bins/",
            "/api/health/x",
            "/api/%68ealth",
            "/api/./health",
            "/api/auth",
            "/api/auth/me",
            "/api/auth/status/x",
            "/api/auth/%73tatus",
            "/api/shared",
            "/api/shared/",
            "/api/shared/t/photos",
            "/api/shared/t/photos/p",
            "/api/shared/t/photos/p/raw",
            "/api/shared/t/photos/p/file/x",
            "/api/shared/t/../bins",
            "/api/sharedx/t",
            "/api/bins;/api/health",
            "/api/auth/status;x",
            "/api/auth/oauth/unknown",
            "/api/api-keys",
        ] {
            assert!(!open(&Method::GET, path), "{path}");
        }
    }

    #[test]
    fn the_public_list_is_open_for_its_own_methods_only() {
        for path in [
            "/api/health",
            "/API/Health/",
            "/api/auth/status",
            "/api/auth/STATUS/",
            "/api/plans",
            "/api/plans/",
            "/api/shared/0123456789abcdef0123456789abcdef",
            "/api/shared/t/",
            "/api/shared/..",
            "/api/shared/t/photos/p/file",
            "/api/SHARED/t/PHOTOS/p/Thumb/",
            "/api/auth/oauth/google",
        ] {
            assert!(open(&Method::GET, path), "GET {path}");
            assert!(open(&Method::HEAD, path), "HEAD {path}");
            assert!(!open(&Method::POST, path), "POST {path}");
            assert!(!open(&Method::DELETE, path), "DELETE {path}");
        }
        for path in [
            "/api/auth/login",
            "/api/Auth/Refresh/",
            "/api/auth/logout",
            "/api/auth/oauth/apple/callback",
            "/api/subscriptions/callback",
        ] {
            assert!(open(&Method::POST, path), "POST {path}");
            assert!(!open(&Method::GET, path), "GET {path}");
        }
    }

    #[test]
    fn an_empty_segment_under_api_is_refused() {
        // Express routes the first two, and the rate limits of sign-in do not see them.
        for path in ["/api/auth//login", "/api/api-keys//k-1", "/api//health", "/API/health//", "/api//"] {
            assert!(matches!(classify(&Method::POST, path), Err(Refusal::Ambiguous(_))), "{path}");
        }
        assert!(open(&Method::POST, "//api/bins"));
    }

    #[test]
    fn options_is_open_everywhere() {
        assert!(open(&Method::OPTIONS, "/api/bins"));
        assert!(open(&Method::OPTIONS, "/api/api-keys/x"));
    }

    #[test]
    fn key_routes_are_recognised_as_express_would() {
        for path in ["/api/api-keys", "/api/api-keys/", "/API/Api-Keys"] {
            assert_eq!(classify(&Method::POST, path), Ok(Route::CreateKey), "{path}");
            assert_eq!(classify(&Method::GET, path), Ok(Route::ListKeys), "{path}");
            assert_eq!(classify(&Method::HEAD, path), Ok(Route::ListKeys), "{path}");
            assert_eq!(classify(&Method::PUT, path), Ok(Route::Protected), "{path}");
        }
        for path in ["/api/api-keys/k-1", "/api/api-keys/k-1/", "/api/API-keys/%6b-1"] {
            assert_eq!(classify(&Method::DELETE, path), Ok(Route::RevokeKey("k-1".to_owned())), "{path}");
        }
        for path in ["/api/api-keys/a/b", "/api/api-keys/", "/api/api-keys/%zz", "/api/api-keys/%ff"] {
            assert_eq!(classify(&Method::DELETE, path), Ok(Route::Protected), "{path}");
        }
    }

    #[test]
    fn every_way_in_which_keys_and_sessions_end_is_recognised() {
        let user = || "u 1".to_owned();
        for (method, path, route) in [
            ("POST", "/api/admin/security/revoke-all-api-keys/u%201", Route::RevokeAllKeys(user())),
            ("POST", "/API/Admin/Security/Revoke-All-Api-Keys/u%201/", Route::RevokeAllKeys(user())),
            ("POST", "/api/admin/users/u%201/regenerate-api-key", Route::RevokeAllKeys(user())),
            ("POST", "/api/admin/users/u%201/REGENERATE-API-KEY/", Route::RevokeAllKeys(user())),
            ("DELETE", "/api/admin/users/u%201", Route::DeleteUser(user())),
            ("DELETE", "/api/auth/account/", Route::DeleteAccount),
            ("POST", "/api/auth/logout", Route::SignOut),
            ("GET", "/api/admin/users/u%201", Route::Protected),
            ("POST", "/api/admin/users/u%201/other", Route::Protected),
            ("POST", "/api/admin/security/revoke-all-api-keys", Route::Protected),
            ("POST", "/api/admin/security/suspend/u%201", Route::Protected),
            ("DELETE", "/api/admin/users/u%201/x", Route::Protected),
            ("DELETE", "/api/admin/users/", Route::Protected),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(classify(&method, path), Ok(route), "{method} {path}");
        }
    }
}
