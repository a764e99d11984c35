//! SIGHUP: a good configuration is taken on while requests run, a bad one changes nothing.

use crate::support::{Gateway, Instance, Recorder, Request, Setup, Wire, jwt, wait};

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

/// Writes a certificate that ends with that year, and its key.
fn certificate_until(setup: &Setup, name: &str, year: i32) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 12, 31);
    let certificate = params.self_signed(&key).expect("a certificate");
    setup.file(&format!("{name}.pem"), &certificate.pem());
    setup.file(&format!("{name}.key"), &key.serialize_pem());
}

/// In which year the certificate of the listener on that host ends.
async fn ends_in(gateway: &Gateway, host: &str) -> i64 {
    let text = gateway.ask_admin("/metrics").await.text();
    let line =
        text.lines().find(|line| line.contains("certificate_expiry") && line.contains(&format!("\"{host}:")));
    let seconds: f64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("an expiry");
    #[allow(clippy::cast_possible_truncation)]
    let years = (seconds / 31_556_952.0) as i64;
    1970 + years
}

#[tokio::test]
async fn a_renewed_certificate_goes_to_the_listener_that_it_is_named_for() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address());
    let (one, two) = (
        "  - { address: 127.0.0.1:0, tls: { certificate: one.pem, key: one.key } }\n",
        "  - { address: 127.0.0.2:0, tls: { certificate: two.pem, key: two.key } }\n",
    );
    let plain = "  - { address: 127.0.0.3:0 }\n";
    let yaml = setup.yaml();
    let rest = &yaml[yaml.find("admin:").expect("the admin listener")..];
    certificate_until(&setup, "one", 2040);
    certificate_until(&setup, "two", 2050);
    let file = setup.file("gateway.yaml", &format!("listen:\n{one}{two}{plain}{rest}"));
    let process = setup.run(&["serve", "--config", &file.to_string_lossy()]);
    let gateway = Gateway::listening(setup.clone(), process).await;
    assert_eq!((ends_in(&gateway, "127.0.0.1").await, ends_in(&gateway, "127.0.0.2").await), (2040, 2050));
    certificate_until(&setup, "one", 2060);
    setup.file("gateway.yaml", &format!("listen:\n{two}{one}{plain}{rest}"));
    gateway.process.signal("HUP");
    let taken = || async { (ends_in(&gateway, "127.0.0.1").await == 2060).then_some(()) };
    wait::until_answer("the renewed certificate to be taken on", taken).await;
    assert_eq!(ends_in(&gateway, "127.0.0.2").await, 2050);
    // Half of a renewal: the new chain is there, its key is not yet.
    let old_key = std::fs::read_to_string(setup.directory().join("one.key")).expect("a key");
    certificate_until(&setup, "one", 2070);
    setup.file("one.key", &old_key);
    let said = gateway.process.stderr().len();
    gateway.process.signal("HUP");
    wait::until("the gateway to complain", || {
        gateway.process.stderr()[said..].iter().any(|line| line.contains("ERROR"))
    })
    .await;
    assert_eq!(ends_in(&gateway, "127.0.0.1").await, 2060);
}

#[tokio::test]
async fn readiness_follows_the_instances_of_the_new_configuration() {
    let upstream = Recorder::start().await;
    let first = Instance::at(upstream.address()).for_hosts(&["localhost", "127.0.0.1"]);
    let second = Instance::at(upstream.address()).named("second").for_hosts(&["bins.example.com"]);
    let setup = Setup::of_instances(vec![first.clone()]);
    let gateway = setup.start().await;
    let both = Setup::of_instances(vec![first, second]);
    let yaml = both.yaml();
    for name in ["home-0.secret", "second-0.secret"] {
        setup.file(name, &std::fs::read_to_string(both.directory().join(name)).expect("a secret"));
    }
    setup.file("gateway.yaml", &yaml);
    gateway.process.signal("HUP");
    let named =
        || async { gateway.ask_admin("/readyz").await.text().contains("instance:second").then_some(()) };
    wait::until_answer("readiness to name the new instance", named).await;
}
