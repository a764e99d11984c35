//! What passes untouched: caching, ranges, compression, cookies, each field apart and in its order.

use crate::support::{EVERY_WAY, Gateway, Recorder, Request, jwt};

/// Bytes that are no text, as if they were compressed.
const CONTENT: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\xff\xfe\r\n\0\n";

async fn answering(
    status: &'static str,
    fields: &'static [(&'static str, &'static str)],
    content: &'static [u8],
) -> (Recorder, Gateway) {
    let upstream = Recorder::answering(move |_| {
        let mut answer = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in fields {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if status != "304 Not Modified" {
            answer.push_str(&format!("Content-Length: {}\r\n", content.len()));
        }
        [answer.as_bytes(), b"\r\n", content].concat()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    (upstream, gateway)
}

#[tokio::test]
async fn conditions_ranges_and_codings_are_the_clients_and_the_instances_own() {
    let asked = [
        ("If-None-Match", "W/\"a-1\", \"b\""),
        ("If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("If-Range", "\"a\""),
        ("Range", "bytes=0-6, 9-"),
        ("Accept-Encoding", "gzip;q=1.0, br, zstd, *;q=0"),
        ("Cache-Control", "no-cache"),
    ];
    let fields: &[(&str, &str)] = &[
        ("ETag", "W/\"a-1\""),
        ("Last-Modified", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("Content-Encoding", "gzip"),
        ("Vary", "Accept-Encoding, Origin"),
        ("Content-Range", "bytes 0-13/20"),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, max-age=0"),
    ];
    for (status, content) in
        [("200 OK", CONTENT), ("206 Partial Content", CONTENT), ("304 Not Modified", b"")]
    {
        let (upstream, gateway) = answering(status, fields, content).await;
        for via in EVERY_WAY {
            let response =
                Request::get("/api/bins").bearer(&jwt::session()).fields(&asked).send(&gateway, via).await;
            assert_eq!(response.status.to_string(), status[..3], "{via:?}");
            assert!(response.whole && response.body == content, "{via:?}: {:?}", response.body);
            for (name, value) in fields {
                assert_eq!(response.all(&name.to_lowercase()), [*value], "{via:?}");
            }
            for (name, value) in asked {
                assert_eq!(upstream.last().all(&name.to_lowercase()), [value], "{via:?}");
            }
        }
    }
}

#[tokio::test]
async fn several_cookies_stay_apart_and_in_their_order() {
    let fields: &[(&str, &str)] = &[
        ("Set-Cookie", "openbin-access=a, b; Path=/; HttpOnly; SameSite=Lax"),
        ("X-Between", "1"),
        ("Set-Cookie", "openbin-refresh=c; Path=/api/auth; Expires=Tue, 01 Jan 2030 00:00:00 GMT"),
        ("Set-Cookie", "z=; Max-Age=0"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "a=2"),
    ];
    let (_upstream, gateway) = answering("200 OK", fields, b"{}").await;
    let cookies: Vec<&str> =
        fields.iter().filter(|(name, _)| *name == "Set-Cookie").map(|(_, value)| *value).collect();
    for via in EVERY_WAY {
        let response = Request::get("/").send(&gateway, via).await;
        assert_eq!(response.all("set-cookie"), cookies, "{via:?}");
    }
}
