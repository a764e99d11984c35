//! The sample against OpenBin's contract, without sockets: places, content, streams, maintenance.

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;

/// A sample with a member and an administrator, and what a test says to it.
pub(super) struct Bench {
    pub(super) sample: Sample,
    pub(super) ann: String,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    pub(super) fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |name: &str| body[name].as_str().expect("text").to_owned();
        (self.status, text("error"), text("message"))
    }

    pub(super) fn cookies(&self) -> Vec<String> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().expect("text").to_owned())
            .collect()
    }

    /// The cookies that a browser would send back to any path.
    pub(super) fn cookie_field(&self) -> String {
        let pairs: Vec<_> =
            self.cookies().iter().filter_map(|c| c.split(';').next().map(str::to_owned)).collect();
        pairs.join("; ")
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        let users = vec![
            SampleUser::member("Ann@example.com", "correct horse"),
            SampleUser::admin("root@example.com", "battery staple"),
        ];
        let options = SampleOptions { users, max_photo_bytes: 100_000, ..SampleOptions::default() };
        let sample = Sample::new(options);
        let ann = sample.user_id("ann@example.com").expect("ann");
        Self { sample, ann }
    }

    pub(super) fn key(&self) -> NewKey {
        self.sample.create_key(&self.ann, "k").expect("a key")
    }

    pub(super) fn root_token(&self) -> String {
        let root = self.sample.user_id("root@example.com").expect("root");
        self.sample.session_token(&root).expect("a token")
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        content: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(content.as_bytes())));
        let answer = self.sample.answer(request.expect("a request")).await;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("content").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Reply {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    pub(super) async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.send("POST", path, &fields, &body.to_string()).await
    }

    pub(super) async fn login(&self) -> Reply {
        let body = json!({ "email": " ann@EXAMPLE.com", "password": "correct horse" });
        self.send("POST", "/api/auth/login", &[("content-type", "application/json")], &body.to_string()).await
    }
}

pub(super) fn error(status: u16, code: &str, message: &str) -> (u16, String, String) {
    (status, code.to_owned(), message.to_owned())
}

#[tokio::test(flavor = "current_thread")]
async fn public_places_ignore_a_junk_credential() {
    let bench = Bench::new();
    for path in ["/api/health", "/api/auth/status", "/", "/api/shared/"] {
        let path = if path == "/api/shared/" {
            format!("{path}{}", bench.sample.share_token())
        } else {
            path.to_owned()
        };
        assert_eq!(bench.get(&path, "junk").await.status, 200, "{path}");
    }
    assert_eq!(bench.get("/api/health", "junk").await.text, r#"{"status":"ok"}"#);
}

#[tokio::test(flavor = "current_thread")]
async fn unknown_api_paths_are_401_to_strangers_and_404_to_users() {
    let bench = Bench::new();
    let key = bench.key().key;
    for (method, path) in [("GET", "/api/nothing"), ("PURGE", "/api/bins"), ("GET", "/api/auth/login")] {
        let stranger = bench.send(method, path, &[], "").await;
        assert_eq!(stranger.error(), error(401, "UNAUTHORIZED", "No token provided"), "{path}");
        let user = bench.send(method, path, &[("authorization", &format!("Bearer {key}"))], "").await;
        assert_eq!(user.error(), error(404, "NOT_FOUND", "Endpoint not found"), "{path}");
    }
    assert!(!bench.get("/api/nothing", "x").await.headers.contains_key("www-authenticate"));
}

#[tokio::test(flavor = "current_thread")]
async fn options_is_204_anywhere_without_a_credential() {
    let bench = Bench::new();
    for path in ["/api/bins", "/", "*", "/api/nothing"] {
        let fields =
            [("access-control-request-headers", "x-a, authorization"), ("cookie", "openbin-access=x")];
        let reply = bench.send("OPTIONS", path, &fields, "").await;
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(reply.headers["access-control-allow-methods"], "GET,POST,PUT,DELETE,PATCH");
        assert_eq!(reply.headers["access-control-allow-headers"], "x-a, authorization");
        assert!(reply.cookies().is_empty());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn everything_else_is_the_page_for_get_and_404_otherwise() {
    let bench = Bench::new();
    for path in ["/", "/.env", "/metrics", "/assets/gone.js", "//api/bins", "/api%2Fbins"] {
        let reply = bench.send("GET", path, &[], "").await;
        assert_eq!(
            (reply.status, &reply.headers[CONTENT_TYPE]),
            (200, &HeaderValue::from_static(HTML)),
            "{path}"
        );
    }
    assert_eq!(bench.send("POST", "/apix", &[], "").await.status, 404);
    assert_eq!(bench.get("/api", &bench.key().key).await.headers[CONTENT_TYPE], HTML);
}

#[tokio::test(flavor = "current_thread")]
async fn content_and_csrf_are_judged_before_the_credential() {
    let bench = Bench::new();
    let fields = [("cookie", "openbin-access=junk"), ("content-type", "application/json")];
    assert_eq!(bench.send("POST", "/api/bins", &fields, "{").await.status, 500);
    let csrf = error(403, "CSRF_INVALID", "Invalid or missing CSRF token");
    assert_eq!(bench.send("POST", "/api/bins", &fields, "{}").await.error(), csrf);
    assert_eq!(bench.send("POST", "/api/auth/login", &fields, "{}").await.error(), csrf);
    assert_eq!(bench.send("POST", "/x", &fields, "{}").await.error(), csrf);
}

#[tokio::test(flavor = "current_thread")]
async fn a_csrf_cookie_is_issued_on_any_safe_request_with_a_session() {
    let bench = Bench::new();
    for path in ["/", "/api/health", "/api/bins"] {
        let reply = bench.send("GET", path, &[("cookie", "openbin-access=junk")], "").await;
        let cookies = reply.cookies();
        assert!(cookies.iter().any(|c| c.starts_with("openbin-csrf=")), "{path}");
    }
    assert!(bench.send("GET", "/", &[], "").await.cookies().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_cookie_that_is_no_text_is_a_500_below_api_only() {
    let bench = Bench::new();
    let fields = [("cookie", "openbin-access=j:[1]; openbin-csrf=x")];
    for (path, status) in [("/api/auth/status", 500), ("/api/bins", 500), ("/api/health", 200), ("/", 200)] {
        assert_eq!(bench.send("GET", path, &fields, "").await.status, status, "{path}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn maintenance_lets_only_an_administrators_session_through() {
    let bench = Bench::new();
    let root = bench.sample.user_id("root@example.com").expect("root");
    let root_key = bench.sample.create_key(&root, "").expect("a key").key;
    bench.sample.set_maintenance(Some("Back at noon"));
    let closed = error(503, "MAINTENANCE", "Back at noon");
    assert_eq!(bench.get("/api/bins", &root_key).await.error(), closed);
    assert_eq!(bench.get("/api/AUTH/me", &root_key).await.error(), closed);
    assert_eq!(bench.get("/api/shared/x", "").await.error(), closed);
    assert_eq!(bench.get("/api/bins", &bench.root_token()).await.status, 200);
    assert_eq!(bench.get("/api/health", "").await.status, 200);
    assert_eq!(bench.get("/api/auth/me", &root_key).await.status, 200);
    assert_eq!(bench.get("/", "").await.status, 200);
    bench.sample.set_maintenance(None);
    assert_eq!(bench.get("/api/bins", &root_key).await.status, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn bins_are_listed_made_and_shown() {
    let bench = Bench::new();
    let key = bench.key().key;
    assert_eq!(bench.get("/api/bins", &key).await.json()["count"], 3);
    let made = bench.post("/api/bins", &key, json!({ "name": "Skis" })).await;
    assert_eq!(made.status, 201);
    let path = format!("/api/bins/{}", made.json()["id"].as_str().expect("an id"));
    assert_eq!(bench.get(&path, &key).await.json()["name"], "Skis");
    assert_eq!(bench.post("/api/bins", &key, json!({})).await.status, 422);
    assert_eq!(bench.get("/api/bins/nothing", &key).await.status, 404);
}

#[tokio::test(flavor = "current_thread")]
async fn an_upload_is_counted_and_hashed_and_its_limits_hold() {
    let bench = Bench::new();
    let bearer = format!("Bearer {}", bench.key().key);
    let path = format!("/api/bins/{}/photos", bench.sample.bin_ids()[0]);
    let send = async |content: &str, length: Option<&str>| {
        let mut fields = vec![("authorization", bearer.as_str()), ("content-type", "multipart/form-data")];
        fields.extend(length.map(|length| ("content-length", length)));
        bench.send("POST", &path, &fields, content).await
    };
    let content = "x".repeat(50_000);
    let stored = send(&content, None).await;
    assert_eq!((stored.status, stored.json()["size"].as_u64()), (201, Some(50_000)));
    let sha256 = body::hex(&Sha256::digest(content.as_bytes()));
    assert_eq!(stored.json()["sha256"], sha256.as_str());
    assert_eq!(bench.sample.requests().last().and_then(|r| r.body_bytes), Some(50_000));
    assert_eq!(send("", Some("101025")).await.status, 413);
    assert_eq!(send(&"x".repeat(101_025), None).await.status, 422);
    assert_eq!(bench.send("POST", &path, &[], "x").await.status, 401);
    assert_eq!(bench.sample.uploads(), Counts { started: 2, finished: 1, aborted: 1 });
}

#[tokio::test(flavor = "current_thread")]
async fn photos_and_answers_stream_without_a_length_or_a_tag() {
    let bench = Bench::new();
    let key = bench.key().key;
    let photo = bench.get("/api/photos/1/file", &key).await;
    assert_eq!(photo.headers["cache-control"], "private, max-age=31536000, immutable");
    assert!(!photo.headers.contains_key("etag") && !photo.headers.contains_key(CONTENT_LENGTH));
    let told = bench.post("/api/ai/ask/stream", &key, json!({ "question": "where?" })).await;
    assert_eq!(told.headers[CONTENT_TYPE], "text/event-stream");
    assert_eq!(told.headers["x-accel-buffering"], "no");
    assert_eq!(told.text.matches("data: {\"type\":\"delta\"").count(), 10);
    assert_eq!(bench.sample.streams().finished, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn the_headers_page_shows_what_arrived_and_who_was_let_in() {
    let bench = Bench::new();
    let bearer = format!("Bearer {}", bench.key().key);
    let fields = [("authorization", bearer.as_str()), ("x-auth-user-id", "someone"), ("x-other", "1")];
    let seen = bench.send("GET", "/api/sample/headers", &fields, "").await.json();
    assert_eq!(seen["user_id"], bench.ann.as_str());
    assert_eq!(seen["authenticated_by"], "api_key");
    assert_eq!(seen["headers"], json!({ "x-auth-user-id": "someone" }));
}

#[tokio::test(flavor = "current_thread")]
async fn requests_are_recorded_as_they_arrived() {
    let bench = Bench::new();
    let fields = [("x-b", "1"), ("x-a", "2"), ("content-type", "application/json")];
    bench.send("POST", "/api/bins?q=%20", &fields, "{}").await;
    let all = bench.sample.requests();
    let [only] = all.as_slice() else { panic!("one request") };
    assert_eq!((only.method.as_str(), only.target.as_str()), ("POST", "/api/bins?q=%20"));
    assert_eq!(only.headers.first(), Some(&("x-b".to_owned(), "1".to_owned())));
    assert_eq!(only.body_bytes, Some(2));
    bench.sample.forget_requests();
    assert!(bench.sample.requests().is_empty());
}

#[test]
fn secrets_never_show_in_debug() {
    let users = vec![SampleUser::member("ann@example.com", "correct horse")];
    let options = SampleOptions { users, secret: "top secret".to_owned(), ..SampleOptions::default() };
    let text = format!("{options:?} {:?}", Sample::new(options.clone()));
    assert!(!text.contains("correct horse") && !text.contains("top secret"), "{text}");
}
