//! Where a request belongs, as Express 4 matches paths.
//!
//! Literals match in any case, one trailing slash does not matter, and nothing is normalised. A
//! router mounted on a path swallows one slash more: `/api/auth//status` is `/api/auth/status`.

use hyper::Method;

use super::answer::Fault;
use super::cookie::percent_decoded;

/// Where a request belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Answered before everything but CSRF.
    Health,
    /// Needs no credential.
    Public(Public),
    /// Needs a credential.
    Protected(Protected),
    /// Not under `/api`.
    Static,
}

/// Places that need no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Public {
    Status,
    Register,
    Login,
    Refresh,
    Logout,
    Shared(Param),
    /// Signing in through somebody else, with the refusal of a server where that is not set up.
    OAuth(&'static str),
    OAuthCallback,
}

/// Places that need a credential; also everything under `/api` that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protected {
    Me,
    LogoutAll,
    Bins,
    NewBin,
    Bin(Param),
    NewPhoto(Param),
    Photo(Param),
    Keys,
    NewKey,
    RevokeKey(Param),
    Ask,
    /// The sample's own: shows the identity headers that reached it.
    SeenHeaders,
    Admin(Admin),
    /// `/api` itself: the page, for whom is signed in.
    BareApi,
    Unknown,
}

/// Places for administrators only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admin {
    Suspend(Param),
    Reactivate(Param),
    RevokeSessions(Param),
    RevokeKeys(Param),
    Unknown,
}

/// A segment of the path that the route leaves open; `None` where it cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Param(Option<String>);

impl Param {
    fn new(segment: &str) -> Self {
        Self(percent_decoded(segment))
    }

    /// The decoded text. OpenBin answers 500 where there is none.
    pub(super) fn text(&self) -> Result<&str, Fault> {
        self.0.as_deref().ok_or(Fault::Internal)
    }
}

/// Finds the place of a method and a path (without query).
pub(super) fn place(method: &Method, path: &str) -> Place {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    if below(path, "/api").is_none() {
        return Place::Static;
    }
    // Not mounted but matched whole, so `/api//health` and `/api/health//` are something else.
    if method == Method::GET && is(path.strip_suffix('/').unwrap_or(path), "/api/health") {
        return Place::Health;
    }
    auth(method, path)
        .or_else(|| shared(method, path))
        .or_else(|| inventory(method, path))
        .or_else(|| keys(method, path))
        .or_else(|| admin(path, method))
        .unwrap_or_else(|| {
            if path.len() == "/api".len() { Place::Protected(Protected::BareApi) } else { unknown() }
        })
}

fn unknown() -> Place {
    Place::Protected(Protected::Unknown)
}

fn auth(method: &Method, path: &str) -> Option<Place> {
    let segments = segments(below(path, "/api/auth")?)?;
    let [only] = segments.as_slice() else { return oauth(method, &segments) };
    let place = match (method.as_str(), only.to_ascii_lowercase().as_str()) {
        ("GET", "status") => Place::Public(Public::Status),
        ("POST", "register") => Place::Public(Public::Register),
        ("POST", "login") => Place::Public(Public::Login),
        ("POST", "refresh") => Place::Public(Public::Refresh),
        ("POST", "logout") => Place::Public(Public::Logout),
        ("GET", "me") => Place::Protected(Protected::Me),
        ("POST", "logout-all") => Place::Protected(Protected::LogoutAll),
        _ => return None,
    };
    Some(place)
}

fn oauth(method: &Method, segments: &[&str]) -> Option<Place> {
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let place = match (method.as_str(), lower.join("/").as_str()) {
        ("GET", "oauth/google") => Public::OAuth("Google login is not configured"),
        ("GET", "oauth/apple") => Public::OAuth("Apple login is not configured"),
        ("GET", "oauth/google/callback") | ("POST", "oauth/apple/callback") => Public::OAuthCallback,
        _ => return None,
    };
    Some(Place::Public(place))
}

fn shared(method: &Method, path: &str) -> Option<Place> {
    let segments = segments(below(path, "/api/shared")?)?;
    match (method.as_str(), segments.as_slice()) {
        ("GET", [token]) => Some(Place::Public(Public::Shared(Param::new(token)))),
        _ => None,
    }
}

fn inventory(method: &Method, path: &str) -> Option<Place> {
    let method = method.as_str();
    let place = if let Some(rest) = below(path, "/api/bins") {
        let segments = segments(rest)?;
        match (method, segments.as_slice()) {
            ("GET", []) => Protected::Bins,
            ("POST", []) => Protected::NewBin,
            ("GET", [id]) => Protected::Bin(Param::new(id)),
            ("POST", [id, last]) if is(last, "photos") => Protected::NewPhoto(Param::new(id)),
            _ => return None,
        }
    } else if let Some(rest) = below(path, "/api/photos") {
        match (method, segments(rest)?.as_slice()) {
            ("GET", [id, last]) if is(last, "file") => Protected::Photo(Param::new(id)),
            _ => return None,
        }
    } else if let Some(rest) = below(path, "/api/ai") {
        match (method, segments(rest)?.as_slice()) {
            ("POST", [ask, stream]) if is(ask, "ask") && is(stream, "stream") => Protected::Ask,
            _ => return None,
        }
    } else {
        match (method, segments(below(path, "/api/sample")?)?.as_slice()) {
            ("GET", [only]) if is(only, "headers") => Protected::SeenHeaders,
            _ => return None,
        }
    };
    Some(Place::Protected(place))
}

fn keys(method: &Method, path: &str) -> Option<Place> {
    let segments = segments(below(path, "/api/api-keys")?)?;
    let place = match (method.as_str(), segments.as_slice()) {
        ("GET", []) => Protected::Keys,
        ("POST", []) => Protected::NewKey,
        ("DELETE", [id]) => Protected::RevokeKey(Param::new(id)),
        _ => return None,
    };
    Some(Place::Protected(place))
}

/// Everything below `/api/admin` asks for an administrator first, also what does not exist.
fn admin(path: &str, method: &Method) -> Option<Place> {
    below(path, "/api/admin")?;
    let segments = below(path, "/api/admin/security").and_then(segments);
    let action = match (method.as_str(), segments.as_deref()) {
        ("POST", Some([action, id])) => {
            let id = Param::new(id);
            match action.to_ascii_lowercase().as_str() {
                "suspend" => Admin::Suspend(id),
                "reactivate" => Admin::Reactivate(id),
                "revoke-sessions" => Admin::RevokeSessions(id),
                "revoke-all-api-keys" => Admin::RevokeKeys(id),
                _ => Admin::Unknown,
            }
        }
        _ => Admin::Unknown,
    };
    Some(Place::Protected(Protected::Admin(action)))
}

/// What is left of a path below a mounted router; `None` where the router is not on the way.
fn below<'a>(path: &'a str, mount: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(mount.len())?;
    if !head.eq_ignore_ascii_case(mount) {
        return None;
    }
    match rest.strip_prefix('/') {
        None if rest.is_empty() => Some("/"),
        None => None,
        Some("") => Some("/"),
        Some(after) if after.starts_with('/') => Some(after),
        Some(_) => Some(rest),
    }
}

/// Splits a path into segments, without one trailing slash; `None` where one is empty.
fn segments(path: &str) -> Option<Vec<&str>> {
    let inner = path.strip_prefix('/')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&str> = inner.strip_suffix('/').unwrap_or(inner).split('/').collect();
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

fn is(segment: &str, literal: &str) -> bool {
    segment.eq_ignore_ascii_case(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Place {
        place(&Method::GET, path)
    }

    const UNKNOWN: Place = Place::Protected(Protected::Unknown);

    #[test]
    fn case_and_one_trailing_slash_do_not_matter() {
        for path in ["/api/auth/status", "/API/AUTH/Status", "/api/auth/status/", "/api/auth//status"] {
            assert_eq!(get(path), Place::Public(Public::Status), "{path}");
        }
        for path in ["/api/api-keys", "/api/API-KEYS/", "/api/api-keys//"] {
            assert_eq!(get(path), Place::Protected(Protected::Keys), "{path}");
        }
        for path in ["/api/health", "/api/health/", "/api/HEALTH"] {
            assert_eq!(get(path), Place::Health, "{path}");
        }
        assert_eq!(place(&Method::HEAD, "/api/health"), Place::Health);
    }

    #[test]
    fn nothing_is_normalised_below_api() {
        for path in [
            "/api/auth///status",
            "/api/auth/status//",
            "/api//auth/status",
            "/api/auth/./status",
            "/api/auth/%73tatus",
            "/api/%61uth/status",
            "/api/auth/status;x",
            "/api/health//",
            "/api//health",
            "/api/healthz",
            "/api/",
            "/api//",
            "/api/api-keys///",
            "/api//api-keys",
            "/api/shared",
            "/api/shared/x/y",
        ] {
            assert_eq!(get(path), UNKNOWN, "{path}");
        }
        assert_eq!(place(&Method::POST, "/api/health"), UNKNOWN);
        assert_eq!(get("/api"), Place::Protected(Protected::BareApi));
    }

    #[test]
    fn what_only_looks_like_api_is_static() {
        for path in
            ["/", "*", "//api/bins", "/x/../api/bins", "/%61pi/bins", "/api%2Fhealth", "/apiX", "/api;x"]
        {
            assert_eq!(get(path), Place::Static, "{path}");
        }
    }

    #[test]
    fn open_segments_are_decoded_and_keep_their_case() {
        assert_eq!(get("/api/shared/aB%63"), Place::Public(Public::Shared(Param(Some("aBc".into())))));
        assert_eq!(get("/api/shared/%zz"), Place::Public(Public::Shared(Param(None))));
        let key = Place::Protected(Protected::RevokeKey(Param(Some("A-1".into()))));
        assert_eq!(place(&Method::DELETE, "/api/api-keys//A-1"), key);
        assert_eq!(place(&Method::DELETE, "/api/API-KEYS/A-1/"), key);
        assert_eq!(place(&Method::PATCH, "/api/api-keys/A-1"), UNKNOWN);
    }

    #[test]
    fn signing_in_through_others_is_public_where_the_method_fits() {
        let callback = Place::Public(Public::OAuthCallback);
        assert_eq!(get("/api/auth/oauth/google/callback"), callback);
        assert_eq!(place(&Method::POST, "/api/auth//OAuth/apple/callback/"), callback);
        assert_eq!(get("/api/auth/oauth/apple/callback"), UNKNOWN);
        assert_eq!(get("/api/auth/oauth/links"), UNKNOWN);
    }

    #[test]
    fn everything_below_admin_is_for_administrators() {
        for path in ["/api/admin", "/api/admin//users", "/api/ADMIN/nothing"] {
            assert_eq!(get(path), Place::Protected(Protected::Admin(Admin::Unknown)), "{path}");
        }
        let suspend = Place::Protected(Protected::Admin(Admin::Suspend(Param(Some("u".into())))));
        assert_eq!(place(&Method::POST, "/api/admin/security/suspend/u"), suspend);
    }
}
