//! SIGHUP: a good configuration is taken on while requests run, a bad one changes nothing.

use crate::support::{Gateway, Recorder, Request, Setup, Wire, jwt, wait};

const NEXT: &str = "the-next-secret-0123456789abcdef0123456789abcdef";

async fn status(gateway: &Gateway, secret: &str) -> u16 {
    let token = jwt::signed(&jwt::claims(900), secret);
    gateway.send(&Request::get("/api/bins").bearer(&token)).await.status
}

#[tokio::test]
async fn a_new_secret_is_taken_on_without_closing_a_connection() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).start().await;
    let mut wire = Wire::plain(gateway.http).await;
    assert_eq!(Request::get("/").on(&mut wire).await.status, 200);
    assert_eq!((status(&gateway, jwt::SECRET).await, status(&gateway, NEXT).await), (200, 401));
    gateway.setup.file("home-0.secret", NEXT);
    gateway.process.signal("HUP");
    let taken = || async { (status(&gateway, NEXT).await == 200).then_some(()) };
    wait::until_answer("the new secret to be taken on", taken).await;
    assert_eq!(status(&gateway, jwt::SECRET).await, 401, "a token of the removed secret is refused at once");
    let remembered = Request::get("/api/bins").bearer(&jwt::signed(&jwt::claims(900), jwt::SECRET));
    assert_eq!(remembered.on(&mut wire).await.status, 401, "also on a connection that was open before");
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).start().await;
    let good = gateway.setup.yaml();
    for bad in [
        good.replace("workers: 2", "wrokers: 2"),
        String::new(),
        good.replace("home-0.secret", "nowhere.secret"),
    ] {
        let said = gateway.process.stderr().len();
        gateway.setup.file("gateway.yaml", &bad);
        gateway.process.signal("HUP");
        wait::until("the gateway to complain", || {
            gateway.process.stderr()[said..].iter().any(|line| line.contains("ERROR"))
        })
        .await;
        assert_eq!((status(&gateway, jwt::SECRET).await, status(&gateway, NEXT).await), (200, 401));
    }
    assert!(!gateway.process.stderr().join("\n").contains(jwt::SECRET));
}
