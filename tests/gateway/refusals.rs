//! Refusals look as OpenBin's own would, and as the protocol allows.

use crate::support::{EVERY_WAY, Gateway, Recorder, Request};

#[tokio::test]
async fn a_refused_head_has_no_content_over_any_protocol() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        let full = Request::get("/api/bins").send(&gateway, via).await;
        let bare = Request::new("HEAD", "/api/bins").send(&gateway, via).await;
        assert_eq!((bare.status, bare.whole, bare.body.len()), (401, true, 0), "{via:?}");
        assert_eq!(bare.field("content-length"), Some(full.body.len().to_string().as_str()), "{via:?}");
    }
}

#[tokio::test]
async fn a_bad_session_without_the_csrf_token_is_refused_for_the_token_as_openbin_does() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let post = |cookie: &str| Request::post("/api/bins", "{}").field("Cookie", cookie);
    for via in EVERY_WAY {
        for cookie in ["openbin-access=junk", "openbin-access=sk_openbin_junk", "openbin-refresh=junk"] {
            let response = post(cookie).send(&gateway, via).await;
            response.assert_refused(403, "CSRF_INVALID", "Invalid or missing CSRF token");
            let both = format!("{cookie}; openbin-csrf=c");
            let response = post(&both).field("X-CSRF-Token", "c").send(&gateway, via).await;
            assert_eq!(response.status, 401, "{via:?} {cookie}: {}", response.text());
        }
        let bearer = post("openbin-access=junk").bearer("junk").send(&gateway, via).await;
        bearer.assert_refused(401, "UNAUTHORIZED", "Invalid token");
        assert_eq!(upstream.count(), 0);
    }
}
