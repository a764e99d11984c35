//! `key_issuer: gateway`: `/api/api-keys` through the gateway is what it is at OpenBin itself. The same
//! requests are put to both, each to its own keys, and the answers compared byte for byte.

use super::own_keys::{House, KEYS, house};
use crate::support::{EVERY_WAY, Request, Response, Wire};

/// The same request to both.
async fn both(house: &House, request: &Request) -> (Response, Response) {
    (request.to(house.openbin.address).await, house.gateway.send(request).await)
}

/// Puts the same request to both and compares the answers; returns the gateway's.
async fn assert_same(house: &House, what: &str, request: &Request) -> Response {
    let (own, through) = both(house, request).await;
    assert_alike(what, &own, &through);
    through
}

#[track_caller]
fn assert_alike(what: &str, own: &Response, through: &Response) {
    assert_eq!((through.status, masked(&through.text())), (own.status, masked(&own.text())), "{what}");
    assert_eq!(through.field("content-type"), own.field("content-type"), "{what}");
    let length = |response: &Response| response.field("content-length").map(str::to_owned);
    assert_eq!(length(through), length(own), "{what}");
    if own.status < 400 {
        assert_eq!(names(through), names(own), "{what}");
        assert_eq!(through.field("content-security-policy"), own.field("content-security-policy"), "{what}");
        assert!(through.field("etag").is_some_and(|tag| tag.starts_with("W/\"")), "{what}");
    }
}

/// The names of an answer's fields, but for those that belong to a hop.
fn names(response: &Response) -> Vec<&str> {
    let of_a_hop = ["connection", "keep-alive", "x-request-id", "date"];
    let mut names: Vec<_> = response.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| !of_a_hop.contains(name));
    names.sort_unstable();
    names
}

/// Hides what cannot be the same on both sides: ids, keys and times. Their shape stays.
fn masked(text: &str) -> String {
    let mut out: Vec<char> = text.chars().collect();
    let mut place = 0;
    while place < out.len() {
        let rest: String = out[place..].iter().take(75).collect();
        let length = [KEY, PREFIX, ID, TIME].iter().find(|shape| fits(&rest, shape)).map(|shape| shape.len());
        for character in &mut out[place..place + length.unwrap_or(0)] {
            *character = if character.is_ascii_hexdigit() { '#' } else { *character };
        }
        place += length.unwrap_or(1);
    }
    out.into_iter().collect()
}

const KEY: &str = "sk_openbin_################################################################";
const PREFIX: &str = "sk_openbin_#######";
const ID: &str = "########-####-####-####-############";
const TIME: &str = "####-##-## ##:##:##";

fn fits(text: &str, shape: &str) -> bool {
    let fit = |(wanted, found): (char, char)| match wanted {
        '#' => found.is_ascii_hexdigit() && !found.is_ascii_uppercase(),
        other => other == found,
    };
    text.len() >= shape.len() && shape.chars().zip(text.chars()).all(fit)
}

#[tokio::test]
async fn every_odd_name_becomes_what_openbin_makes_of_it() {
    let house = house().await;
    let bearer = house.session();
    assert_same(&house, "an empty list", &Request::get(KEYS).bearer(&bearer)).await;
    let long = format!("{{\"name\":\"{}\"}}", "n".repeat(300));
    let wide = format!("{{\"name\":\"{}\"}}", "\u{1f600}".repeat(100));
    let huge = format!("{{\"name\":\"{}\"}}", " ".repeat(1 << 20));
    for content in [
        r#"{"name":"  laptop  "}"#,
        &long,
        &wide,
        "",
        "{}",
        "[1]",
        "[]",
        "5",
        "null",
        "\"a\"",
        "{",
        "{]",
        "x",
        r#"{"name":null}"#,
        r#"{"name":""}"#,
        r#"{"name":0}"#,
        r#"{"name":-0.0}"#,
        r#"{"name":false}"#,
        r#"{"name":5}"#,
        r#"{"name":true}"#,
        r#"{"name":["a"]}"#,
        r#"{"name":{}}"#,
        r#"{"Name":"a"}"#,
        r#"{"name":"a\nb\t\u0000\u001f\"\\\/ä☃"}"#,
        r#"{"name":"a","name":"b"}"#,
        &huge,
    ] {
        let request = Request::post(KEYS, content).bearer(&bearer);
        let made = assert_same(&house, &content.chars().take(60).collect::<String>(), &request).await;
        house.forget_keys(&made).await;
    }
    assert_eq!(house.gateway.send(&Request::get(KEYS).bearer(&bearer)).await.json()["count"], 0);
}

#[tokio::test]
async fn every_kind_of_content_is_read_as_openbin_reads_it() {
    let house = house().await;
    let bearer = house.session();
    for (kind, content) in [
        (None, r#"{"name":"a"}"#),
        (Some("text/plain"), r#"{"name":"a"}"#),
        (Some("multipart/form-data; boundary=x"), "--x--"),
        (Some("Application/JSON; charset=UTF-8"), r#"{"name":"a"}"#),
        (Some("application/x-www-form-urlencoded"), "name=url+enc%21&x"),
        (Some("application/x-www-form-urlencoded"), ""),
    ] {
        let request = Request::post(KEYS, content).without("Content-Type").bearer(&bearer);
        let request = kind.into_iter().fold(request, |request, kind| request.field("Content-Type", kind));
        let made = assert_same(&house, &format!("{kind:?} {content}"), &request).await;
        assert_eq!(made.status, 201);
    }
    let bare = Request::new("POST", KEYS).bearer(&bearer);
    assert_eq!(assert_same(&house, "no content", &bare).await.status, 201);
    let list = assert_same(&house, "seven keys", &Request::get(KEYS).bearer(&bearer)).await;
    assert_eq!(list.json()["count"], 7);
    let empty = Request::post("/api/api-keys/x", "").method("DELETE").bearer(&bearer);
    assert_eq!(assert_same(&house, "DELETE with empty JSON", &empty).await.status, 404);
}

#[tokio::test]
async fn the_eleventh_key_is_refused_before_its_name_is_looked_at() {
    let house = house().await;
    let bearer = house.session();
    for number in 0..10 {
        let request = Request::post(KEYS, format!("{{\"name\":\"{number}\"}}")).bearer(&bearer);
        assert_eq!(assert_same(&house, "one of ten", &request).await.status, 201);
    }
    let list = assert_same(&house, "ten, the newest first", &Request::get(KEYS).bearer(&bearer)).await;
    assert_eq!((&list.json()["count"], &list.json()["results"][0]["name"]), (&10.into(), &"9".into()));
    for content in [r#"{"name":"one too many"}"#, r#"{"name":5}"#, ""] {
        let request = Request::post(KEYS, content).bearer(&bearer);
        assert_eq!(assert_same(&house, content, &request).await.status, 422);
    }
    assert_eq!(assert_same(&house, "broken", &Request::post(KEYS, "{").bearer(&bearer)).await.status, 500);
}

#[tokio::test]
async fn every_spelling_of_the_route_leads_where_it_leads_at_openbin() {
    let house = house().await;
    let bearer = house.session();
    for (method, target) in [
        ("GET", "/API/Api-Keys/"),
        ("GET", "/api/api-keys?x=1"),
        ("HEAD", KEYS),
        ("GET", "/api/api-keys/x"),
        ("PATCH", "/api/api-keys/x"),
        ("POST", "/api/api-keys/x"),
        ("PUT", KEYS),
        ("PATCH", KEYS),
        ("DELETE", KEYS),
        ("DELETE", "/api/api-keys/"),
        ("DELETE", "/api/api-keys/a/b"),
        ("DELETE", "/api/api-keys/%zz"),
        ("DELETE", "/api/api-keys/unknown"),
        ("DELETE", "/api/api-keys/a%00b"),
        ("DELETE", "/api/api-keys/a%2Fb/?y"),
        ("DELETE", "/api/api-keys/D396A9D0-0000-4000-8000-000000000000"),
        ("POST", "/Api/API-KEYS/?z"),
        ("GET", "/api/%61pi-keys"),
    ] {
        let request = Request::new(method, target).bearer(&bearer);
        assert_same(&house, &format!("{method} {target}"), &request).await;
    }
}

#[tokio::test]
async fn who_may_not_is_told_as_openbin_tells_it() {
    let house = house().await;
    let session = house.session();
    let cookies = |access: &str| format!("openbin-access={access}; openbin-csrf=c");
    for (method, target) in [("GET", KEYS), ("POST", KEYS), ("DELETE", "/api/api-keys/x")] {
        let bare = Request::new(method, target);
        let good = bare.clone().field("Cookie", &cookies(&session));
        for (what, request) in [
            ("no credential", bare.clone()),
            ("a junk Bearer", bare.clone().bearer("junk")),
            ("a junk key", bare.clone().bearer("sk_openbin_junk")),
            ("an unknown key", bare.clone().bearer(&format!("sk_openbin_{}", "e".repeat(64)))),
            ("a junk Bearer beside a good cookie", good.clone().bearer("junk")),
            ("a cookie without the header", good.clone()),
            ("a cookie with a wrong header", good.clone().field("X-CSRF-Token", "d")),
            ("a cookie with the header", good.clone().field("X-CSRF-Token", "c")),
            ("no CSRF cookie", bare.clone().session(&session).field("X-CSRF-Token", "c")),
            ("a junk cookie, no header", bare.clone().field("Cookie", &cookies("junk"))),
            (
                "a junk cookie with the header",
                bare.clone().field("Cookie", &cookies("junk")).field("X-CSRF-Token", "c"),
            ),
            ("a refresh cookie only", bare.clone().field("Cookie", "openbin-refresh=r")),
            ("a cookie and the wrong scheme", good.clone().field("Authorization", "bearer x")),
        ] {
            assert_same(&house, &format!("{method} {target} with {what}"), &request).await;
        }
    }
    let broken = Request::post(KEYS, "{").field("Cookie", &cookies(&session));
    assert_eq!(assert_same(&house, "content comes before CSRF", &broken).await.status, 500);
    assert_eq!(assert_same(&house, "content comes before all", &Request::post(KEYS, "{")).await.status, 500);
}

#[tokio::test]
async fn a_list_that_the_client_has_already_is_not_sent_again() {
    let house = house().await;
    let bearer = house.session();
    let (own, through) = both(&house, &Request::get(KEYS).bearer(&bearer)).await;
    assert_eq!(through.field("etag"), own.field("etag"), "the same content has the same tag");
    let tag = through.field("etag").expect("a tag").to_owned();
    for (what, request) in [
        ("the tag", Request::get(KEYS).field("If-None-Match", &tag)),
        ("the strong tag", Request::get(KEYS).field("If-None-Match", tag.trim_start_matches("W/"))),
        ("another tag", Request::get(KEYS).field("If-None-Match", "\"x\"")),
        ("anything", Request::get(KEYS).field("If-None-Match", "*")),
        ("no-cache", Request::get(KEYS).field("If-None-Match", &tag).field("Cache-Control", "no-cache")),
        ("HEAD", Request::new("HEAD", KEYS).field("If-None-Match", &tag)),
        ("DELETE", Request::delete("/api/api-keys/x").field("If-None-Match", "*")),
    ] {
        assert_same(&house, what, &request.bearer(&bearer)).await;
    }
    for via in EVERY_WAY {
        let known = Request::get(KEYS).bearer(&bearer).field("If-None-Match", &tag);
        let response = known.send(&house.gateway, via).await;
        assert_eq!((response.status, response.body.len()), (304, 0), "{via:?}");
        let head = Request::new("HEAD", KEYS).bearer(&bearer).send(&house.gateway, via).await;
        assert_eq!((head.status, head.field("content-length")), (200, Some("24")), "{via:?}");
    }
}

#[tokio::test]
async fn a_browser_without_a_csrf_cookie_gets_one_with_its_list() {
    let house = house().await;
    let request = Request::get(KEYS).session(&house.session());
    let (own, through) = both(&house, &request).await;
    assert_eq!((own.all("set-cookie").len(), through.all("set-cookie").len()), (1, 1));
    assert!(through.field("set-cookie").is_some_and(|cookie| cookie.starts_with("openbin-csrf=")));
}

#[tokio::test]
async fn content_that_is_too_long_leaves_the_connection_usable() {
    let house = house().await;
    let long = format!("[\"{}\"]", "a".repeat(3 << 20));
    let mut wire = Wire::plain(house.gateway.http).await;
    for bearer in [house.session(), "junk".to_owned()] {
        let wanted = if bearer == "junk" { 401 } else { 500 };
        let refused = Request::post(KEYS, long.as_str()).bearer(&bearer).on(&mut wire).await;
        assert_eq!(refused.status, wanted, "{}", refused.text());
        let next = Request::get(KEYS).bearer(&house.session()).on(&mut wire).await;
        assert_eq!(next.status, 200, "{}", next.text());
    }
}
