//! What the admin listener answers: `/livez`, `/readyz`, `/metrics`, and the admin API.
//!
//! Routes are exact; the first three take `GET` and `HEAD` only. With a token, everything but `/livez`
//! needs it. The admin API needs one always, also on loopback, where every user of the machine can call.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use zeroize::Zeroizing;

use super::rest::ROOT;
use super::token::AdminToken;
use super::{Door, Health};
use crate::http::{Abort, Body, Handler, Line, Peer, Received, Refusal, reply};
use crate::observe::Metrics;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers the admin listener's requests. A clone shares everything.
#[derive(Debug, Clone)]
pub struct Admin {
    token: Option<AdminToken>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    door: Arc<Door>,
}

enum Route {
    Live,
    Ready,
    Metrics,
}

impl Admin {
    /// With a token, callers must send it; without one, the listener must be on loopback.
    #[must_use]
    pub fn new(
        token: Option<Zeroizing<String>>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        door: Arc<Door>,
    ) -> Self {
        Self { token: token.map(|text| AdminToken::new(&text)), metrics, health, door }
    }

    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body<Incoming>> {
        let route = match self.admit(method, path, headers) {
            Ok(route) => route,
            Err(refusal) => return refused(refusal),
        };
        match route {
            Route::Live => own(StatusCode::OK, JSON, r#"{"status":"ok"}"#),
            Route::Ready => {
                let readiness = self.health.readiness().await;
                own(readiness.http_status(), JSON, readiness.json())
            }
            Route::Metrics => match self.metrics.render() {
                Ok(text) => own(StatusCode::OK, PROMETHEUS, text),
                Err(error) => {
                    tracing::error!(%error, "metrics cannot be written as text");
                    refused(Refusal::Internal)
                }
            },
        }
    }

    fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Route, Refusal> {
        let route = match path {
            "/livez" => Route::Live,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            _ => return Err(Refusal::NotFound),
        };
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::MethodNotAllowed);
        }
        match (&route, &self.token) {
            (Route::Live, _) | (_, None) => Ok(route),
            (Route::Ready | Route::Metrics, Some(token)) if token.is_sent_in(headers) => Ok(route),
            (Route::Ready | Route::Metrics, Some(_)) => Err(Refusal::AdminUnauthorized),
        }
    }
}

impl Handler for Admin {
    type Body = Body<Incoming>;

    async fn handle(
        &self,
        request: &mut Option<Request<Received>>,
        peer: &Peer,
        _line: Line,
    ) -> Result<Response<Self::Body>, Abort> {
        let request = request.take().ok_or(Abort)?;
        if request.uri().path().starts_with(ROOT) {
            return Ok(self.door.answer(request, peer).await);
        }
        let response = self.answer(request.method(), request.uri().path(), request.headers()).await;
        let is_head = request.method() == Method::HEAD;
        Ok(if is_head { without_content(response) } else { response })
    }

    fn refuse(&self, refusal: Refusal, _: Version, _: &Peer) -> Response<Self::Body> {
        refused(refusal)
    }
}

fn own(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Response<Body<Incoming>> {
    let mut response = Response::new(Body::Own(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn refused(refusal: Refusal) -> Response<Body<Incoming>> {
    let mut response = reply(refusal, None);
    if refusal == Refusal::MethodNotAllowed {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// What `HEAD` is answered with: the head that `GET` would get (RFC 9110 §9.3.2).
fn without_content(response: Response<Body<Incoming>>) -> Response<Body<Incoming>> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use hyper::header::AUTHORIZATION;

    use super::super::{Check, Rest};
    use super::*;
    use crate::keys::{self, Keyring, Settings, StoreSettings};

    async fn admin(token: Option<&str>) -> Admin {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let down = Check::instance("home", || Box::pin(async { Err("connection refused".to_owned()) }));
        let token = token.map(|text| Zeroizing::new(text.to_owned()));
        let health = Arc::new(Health::new(vec![down]));
        let settings = Settings {
            store: StoreSettings::Embedded { path: std::path::PathBuf::new() },
            cache_entries: 1,
            cache_for: Duration::ZERO,
            lease_for: Duration::from_secs(1),
            serve_stale_for: Duration::ZERO,
            copies: 0,
            site: crate::keys::Site::of(&[]),
            usage_interval: Duration::from_secs(2),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.db");
        let ledger = keys::open(&StoreSettings::Embedded { path }).await.expect("a store");
        let keyring = Arc::new(Keyring::new(settings, ledger, Arc::clone(&metrics)));
        let door = Arc::new(Door::new(token.as_ref(), Rest::new(keyring, Vec::new())));
        Admin::new(token, metrics, health, door)
    }

    async fn status(admin: &Admin, method: &str, path: &str, credentials: &[&str]) -> u16 {
        let method = Method::from_bytes(method.as_bytes()).expect("a token");
        let mut headers = HeaderMap::new();
        for credential in credentials {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(credential.as_bytes()).expect("a value"));
        }
        admin.answer(&method, path, &headers).await.status().as_u16()
    }

    fn content(response: Response<Body<Incoming>>) -> String {
        match response.into_body() {
            Body::Own(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
            Body::Upstream(_) => panic!("the admin listener forwards nothing"),
        }
    }

    #[tokio::test]
    async fn only_the_three_routes_exist_and_only_by_their_exact_names() {
        let admin = admin(None).await;
        for (path, wanted) in [("/livez", 200), ("/readyz", 503), ("/metrics", 200)] {
            assert_eq!(status(&admin, "GET", path, &[]).await, wanted, "{path}");
            assert_eq!(status(&admin, "HEAD", path, &[]).await, wanted, "{path}");
            for method in ["POST", "DELETE", "OPTIONS", "TRACE", "get", "BREW"] {
                assert_eq!(status(&admin, method, path, &[]).await, 405, "{method} {path}");
            }
        }
        for path in ["", "/", "*", "/livez/", "/LIVEZ", "//livez", "/metrics/x", "/%6divez", "/api/bins"] {
            assert_eq!(status(&admin, "GET", path, &[]).await, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn with_a_token_only_livez_is_open() {
        let admin = admin(Some("s3cret\n")).await;
        assert_eq!(status(&admin, "GET", "/livez", &[]).await, 200);
        for path in ["/readyz", "/metrics"] {
            for right in ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret"] {
                assert_ne!(status(&admin, "GET", path, &[right]).await, 401, "{right}");
            }
            assert_eq!(status(&admin, "GET", path, &[]).await, 401);
            for wrong in [
                "Bearer s3cre",
                "Bearer s3cret1",
                "Bearer S3CRET",
                "s3cret",
                "Basic s3cret",
                "Bearer",
                "Bearer ",
                "ä",
            ] {
                assert_eq!(status(&admin, "GET", path, &[wrong]).await, 401, "{wrong}");
            }
            assert_eq!(status(&admin, "GET", path, &["Bearer s3cret", "Bearer s3cret"]).await, 401);
        }
    }

    #[tokio::test]
    async fn an_empty_token_lets_nobody_in() {
        let admin = admin(Some(" \n")).await;
        for credential in ["Bearer ", "Bearer", "Bearer  "] {
            assert_eq!(status(&admin, "GET", "/metrics", &[credential]).await, 401, "{credential:?}");
        }
    }

    #[tokio::test]
    async fn nothing_may_be_stored_and_405_says_what_is_allowed() {
        let admin = admin(Some("s3cret")).await;
        for (method, path) in [
            (Method::GET, "/livez"),
            (Method::GET, "/metrics"),
            (Method::PUT, "/metrics"),
            (Method::GET, "/"),
        ] {
            let response = admin.answer(&method, path, &HeaderMap::new()).await;
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{method} {path}");
            assert_eq!(response.headers().contains_key(ALLOW), response.status() == 405);
            if let Some(allowed) = response.headers().get(ALLOW) {
                assert_eq!(allowed, "GET, HEAD");
            }
        }
    }

    #[tokio::test]
    async fn head_has_the_length_of_get_and_no_content() {
        let admin = admin(None).await;
        let response = admin.answer(&Method::HEAD, "/livez", &HeaderMap::new()).await;
        let response = without_content(response);
        assert_eq!(response.headers()[CONTENT_LENGTH], "15");
        assert_eq!(content(response), "");
    }

    #[tokio::test]
    async fn metrics_and_health_are_told_as_text_and_json() {
        let admin = admin(None).await;
        let metrics = admin.answer(&Method::GET, "/metrics", &HeaderMap::new()).await;
        assert_eq!(metrics.headers()[CONTENT_TYPE], PROMETHEUS);
        assert!(content(metrics).contains("openbin_gateway_build_info{version="));
        let health = admin.answer(&Method::GET, "/readyz", &HeaderMap::new()).await;
        assert!(
            content(health).contains(r#""instance:home":{"error":"connection refused","status":"down"}"#)
        );
    }

    #[tokio::test]
    async fn debug_does_not_show_the_token() {
        assert!(!format!("{:?}", admin(Some("s3cret")).await).contains("s3cret"));
    }
}
