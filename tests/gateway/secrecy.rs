//! What is written down: one line a request, and never a secret.

use std::sync::Arc;

use tokio::sync::Notify;

use super::adoption::create;
use crate::support::redis::RedisServer;
use crate::support::{EVERY_WAY, Gateway, Instance, Issuer, Recorder, Request, Setup, Via, Wire, jwt, wait};

#[tokio::test]
async fn no_secret_is_written_anywhere() {
    let mut redis = RedisServer::start_with(&["--requirepass", "canary-redis-password"]);
    let issuer = Issuer::start().await;
    let old = "canary-old-secret-0123456789abcdef0123456789";
    let instance = Instance::at(issuer.address()).with_secrets(&[jwt::SECRET, old]);
    let url = redis.url().replace("redis://", "redis://:canary-redis-password@");
    let setup =
        Setup::of_instances(vec![instance]).in_redis(&url).with("log: { format: json, level: debug }");
    setup.file("admin.token", "canary-admin-token-0123456789abcdef");
    let gateway = setup.with_admin("address: 127.0.0.1:0, token_file: admin.token").start().await;
    let token = jwt::session();
    let (id, key) = create(&gateway).await;
    let adopted = issuer.issue().key;
    let bad = "sk_openbin_canarymalformedkey";
    let unknown = format!("sk_openbin_{}", "deadbeef".repeat(8));
    let share = "0123456789abcdef0123456789abcdef";
    for via in EVERY_WAY {
        for credential in [&*token, &key, &adopted, bad, &unknown, "canary.junk.token"] {
            let target = "/api/bins?token=canary-query-value&q=canary-second-value";
            let cookies = "openbin-refresh=canary-refresh; openbin-csrf=canary-csrf";
            Request::get(target).bearer(credential).field("Cookie", cookies).send(&gateway, via).await;
            Request::get("/")
                .session(credential)
                .field("X-CSRF-Token", "canary-csrf")
                .send(&gateway, via)
                .await;
        }
        // Where a client puts a secret by mistake; only its shape gives it away there.
        for misplaced in [&*token, &key, &adopted, &unknown] {
            Request::get(&format!("/api/{misplaced}")).send(&gateway, via).await;
            Request::get(&format!("/?{misplaced}")).send(&gateway, via).await;
        }
        Request::get(&format!("/api/shared/{share}")).send(&gateway, via).await;
        Request::post("/api/auth/login", r#"{"email":"a@b","password":"canary-password"}"#)
            .send(&gateway, via)
            .await;
        Request::get("/api/bins").field("Authorization", "Basic canary-basic").send(&gateway, via).await;
        Request::get("/")
            .field("User-Agent", &key)
            .field("Referer", &format!("/?k={key}"))
            .send(&gateway, via)
            .await;
    }
    gateway.send(&Request::delete(&format!("/api/api-keys/{id}")).bearer(&token)).await;
    Request::get("/metrics").bearer("canary-wrong-admin-token").to(gateway.admin).await;
    redis.stop();
    gateway.send(&Request::get("/api/bins").bearer(&unknown)).await;
    let mut shown = String::new();
    for target in ["/metrics", "/readyz", "/livez"] {
        let request = Request::get(target).bearer("canary-admin-token-0123456789abcdef");
        shown.push_str(&request.to(gateway.admin).await.text());
    }
    assert!(gateway.stop().await.success());
    let said = format!("{}\n{shown}", gateway.everything_said().await);
    assert!(
        said.contains("sk_openbin_") || said.contains("adopted") || said.contains("listening"),
        "something was said"
    );
    let mut secrets: Vec<&str> = token.split('.').skip(1).collect();
    secrets.extend([&key[18..], &adopted[18..], &unknown[18..], jwt::SECRET, old, share, "canary"]);
    for secret in secrets {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was written down");
    }
}

#[tokio::test]
async fn every_request_has_one_line_with_its_facts() {
    let upstream = Recorder::start().await;
    // The lines of one worker are in order.
    let gateway = Setup::of(upstream.address()).with("workers: 1").start().await;
    let token = jwt::session();
    Request::get("/assets/app.js?v=secret").field("User-Agent", "agent/1").send(&gateway, Via::Plain).await;
    Request::get("/api/bins").bearer(&token).send(&gateway, Via::H2).await;
    Request::post("/api/auth/login", "{}").send(&gateway, Via::Tls).await;
    Request::get("/api/bins").send(&gateway, Via::Plain).await;
    wait::until("four lines", || gateway.access_lines().len() == 4).await;
    let lines = gateway.access_lines();
    let [page, bins, login, refused] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(
        (&page["method"], &page["path"], &page["status"]),
        (&"GET".into(), &"/assets/app.js".into(), &200.into())
    );
    assert_eq!((&page["instance"], &page["client"]), (&"home".into(), &"127.0.0.1".into()));
    assert_eq!(page["user_agent"], "agent/1");
    assert!(!page.to_string().contains("secret"), "{page}");
    assert_eq!((&bins["auth"], &bins["user_id"]), (&"jwt".into(), &jwt::USER.into()));
    assert_eq!((&login["request_bytes"], &login["complete"]), (&2.into(), &true.into()));
    assert_eq!((&refused["status"], &refused["outcome"]), (&401.into(), &"missing".into()));
    assert!(bins["duration_ms"].as_f64().is_some_and(|took| took > 0.0));
}

#[tokio::test]
async fn an_exchange_that_broke_off_has_a_line_that_says_so() {
    let seen = Arc::new(Notify::new());
    let heard = Arc::clone(&seen);
    let upstream = Recorder::scripted(move |mut call| {
        let heard = Arc::clone(&heard);
        async move {
            call.request().await;
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart").await;
            heard.notified().await;
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(Request::get("/").bytes()).await;
    assert!(wire.head().await.is_some());
    assert_eq!(wire.exactly(4).await.as_deref(), Some(&b"part"[..]));
    seen.notify_one();
    assert!(wire.rest().await.is_empty());
    wait::until("a line", || gateway.access_lines().len() == 1).await;
    let line = &gateway.access_lines()[0];
    assert_eq!((&line["complete"], &line["response_bytes"]), (&false.into(), &4.into()), "{line}");
}

#[tokio::test]
async fn probes_of_the_admin_listener_leave_no_lines() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for _ in 0..20 {
        gateway.ask_admin("/livez").await;
        gateway.ask_admin("/readyz").await;
        gateway.ask_admin("/metrics").await;
    }
    let said = gateway.process.stderr().len();
    gateway.send(&Request::get("/")).await;
    wait::until("a line", || !gateway.access_lines().is_empty()).await;
    assert_eq!(gateway.access_lines().len(), 1);
    assert!(gateway.process.stderr().len() <= said + 1);
    assert!(said < 20, "{said} lines of diagnostics for 60 probes");
}

#[tokio::test]
async fn what_clients_send_cannot_forge_lines_or_speak_to_terminals() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    let agent = b"\x1b[31mred\x1b[0m \xff\xfe \"quoted\" \\ \xc2\x9b";
    wire.send(
        [b"GET /a%0Ab%1b[31m?x=%0d%0a HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ", &agent[..], b"\r\n\r\n"]
            .concat(),
    )
    .await;
    let status = wire.response().await.status;
    let lines = usize::from(status == 200);
    wait::until("the line", || gateway.access_lines().len() >= lines).await;
    let file = std::fs::read(gateway.setup.directory().join("access.log")).expect("the log");
    assert!(
        file.iter().all(|byte| *byte == b'\n' || (b' '..=b'~').contains(byte)),
        "{}",
        String::from_utf8_lossy(&file)
    );
}

#[tokio::test]
async fn the_log_can_go_to_standard_output_and_be_text() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address());
    let yaml = setup
        .yaml()
        .replace("access_log: { path: access.log, format: json }", "access_log: { format: text }");
    let file = setup.file("text.yaml", &yaml);
    let process = setup.run(&["serve", "--config", &file.to_string_lossy()]);
    let gateway = Gateway::listening(setup, process).await;
    gateway.send(&Request::get("/assets/app.js?v=secret")).await;
    wait::until("a line on standard output", || gateway.process.stdout().len() == 1).await;
    let line = &gateway.process.stdout()[0];
    assert!(line.contains("/assets/app.js") && line.contains("200") && !line.contains("secret"), "{line}");
}
