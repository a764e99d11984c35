//! Starting: a configuration is taken whole or refused whole, with everything that is wrong and how to mend it.

use crate::support::{Gateway, Instance, Recorder, Request, Setup, Via, jwt};

async fn setup() -> (Recorder, Setup) {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address());
    (upstream, setup)
}

#[tokio::test]
async fn a_secret_that_is_missing_empty_or_unreadable_is_refused() {
    let (upstream, setup) = setup().await;
    for (secret_line, named) in [
        ("jwt_secret_file: nowhere.secret", "nowhere.secret"),
        ("jwt_secret_file: empty.secret", "empty.secret"),
        ("jwt_secret_file: blank.secret", "blank.secret"),
        ("jwt_secret_file: folder.secret", "folder.secret"),
        ("jwt_secret_file: binary.secret", "binary.secret"),
        ("jwt_secret_env: OPENBIN_TEST_NO_SUCH_VARIABLE", "OPENBIN_TEST_NO_SUCH_VARIABLE"),
        ("jwt_secret_file: []", "jwt_secret_file"),
        ("jwt_secret_file: ''", "jwt_secret_file"),
        ("jwt_secret_file:", "jwt_secret"),
        ("cors_origin: https://bins.example.com", "jwt_secret"),
    ] {
        setup.file("empty.secret", "");
        setup.file("blank.secret", " \r\n\t");
        let _ = std::fs::create_dir(setup.directory().join("folder.secret"));
        std::fs::write(setup.directory().join("binary.secret"), [0xff, 0xfe, 0x00, 0xff]).expect("a file");
        let yaml = setup.yaml().replace("jwt_secret_file: home-0.secret", secret_line);
        let (status, said) = setup.refusal_of(&yaml).await;
        assert_eq!(status, Some(2), "{secret_line}: {said}");
        assert!(said.contains(named), "{secret_line}: {said}");
        assert!(said.contains("instances"), "it names the place: {said}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_its_line() {
    let (_upstream, setup) = setup().await;
    for (line, key) in
        [("acess_log: off", "acess_log"), ("listne: []", "listne"), ("timeouts: { drian: 1s }", "drian")]
    {
        let yaml = setup.clone().with(line).yaml();
        let number = yaml.lines().position(|own| own == line).expect("the line") + 1;
        let (status, said) = setup.refusal_of(&yaml).await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(key) && said.contains(&number.to_string()), "line {number}: {said}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let (_upstream, setup) = setup().await;
    let yaml = setup
        .yaml()
        .replace("jwt_secret_file: home-0.secret", "jwt_secret_file: nowhere.secret")
        .replace("workers: 2", "workers: many\nfrobnicate: true")
        .replace("upstream: http://", "upstream: gopher://");
    let (status, said) = setup.refusal_of(&yaml).await;
    assert_eq!(status, Some(2));
    for part in ["nowhere.secret", "workers", "frobnicate", "upstream"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused() {
    let (_upstream, setup) = setup().await;
    let yaml = setup.yaml();
    let other = crate::support::certificate::issue(&["localhost"]);
    for (name, content) in [
        ("privkey.pem", &*other.key),
        ("privkey.pem", ""),
        ("fullchain.pem", ""),
        ("fullchain.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"),
    ] {
        setup.yaml();
        setup.file(name, content);
        let (status, said) = setup.refusal_of(&yaml).await;
        assert_eq!(status, Some(2), "{name}: {said}");
        assert!(said.contains("tls") && said.contains("gateway.yaml"), "it names the place: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_configuration_is_refused() {
    let (_upstream, setup) = setup().await;
    for yaml in ["", "[]", "a: b: c", "\t{", "instances: 5", "instances: []"] {
        let (status, said) = setup.refusal_of(yaml).await;
        assert_eq!(status, Some(2), "{yaml:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let missing = setup.run(&["serve", "--config", "nowhere.yaml"]);
    assert_eq!(missing.exit().await.code(), Some(2));
    assert!(missing.stderr().join("\n").contains("nowhere.yaml"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let (_upstream, setup) = setup().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("address").to_string();
    let yaml = setup.yaml().replacen(
        "  - address: 127.0.0.1:0\nadmin",
        &format!("  - address: {address}\nadmin"),
        1,
    );
    let (status, said) = setup.refusal_of(&yaml).await;
    assert!(matches!(status, Some(1 | 2)), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[tokio::test]
async fn wrong_usage_is_exit_status_2() {
    let (_upstream, setup) = setup().await;
    for arguments in [&["frobnicate"][..], &["serve", "--frobnicate"], &["serve"], &[]] {
        let process = setup.run(arguments);
        assert_eq!(process.exit().await.code(), Some(2), "{arguments:?}: {}", process.stderr().join("\n"));
    }
}

#[tokio::test]
async fn it_runs_by_flags_and_environment_alone() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address())
        .with_environment("OPENBIN_GATEWAY__LOG__FORMAT", "json")
        .with_environment("OPENBIN_GATEWAY__ADMIN__ADDRESS", "127.0.0.1:0")
        .with_environment("OPENBIN_GATEWAY__LISTEN__0__ADDRESS", "127.0.0.1:0")
        .with_environment("OPENBIN_GATEWAY__LISTEN__0__TLS", "self_signed")
        .with_environment("OPENBIN_GATEWAY__LISTEN__1__ADDRESS", "127.0.0.1:0");
    setup.file("jwt.secret", jwt::SECRET);
    let address = format!("http://{}", upstream.address());
    let process = setup.run(&["serve", "--upstream", &address, "--jwt-secret-file", "jwt.secret"]);
    let gateway = Gateway::listening(setup, process).await;
    let response = gateway.send(&Request::get("/api/bins").bearer(&jwt::session())).await;
    assert_eq!(response.status, 200);
    assert_eq!(gateway.send(&Request::get("/api/bins")).await.status, 401);
}

#[tokio::test]
async fn the_environment_overrides_the_file() {
    let (upstream, setup) = setup().await;
    let setup = setup.with_environment("OPENBIN_GATEWAY__LIMITS__MAX_BODY", "1KiB");
    let gateway = setup.start().await;
    let response = gateway.send(&Request::post("/api/auth/login", vec![b'x'; 2000])).await;
    assert_eq!((response.status, upstream.count()), (413, 0));
}

#[tokio::test]
async fn a_secret_can_come_from_the_environment() {
    let (_upstream, setup) = setup().await;
    let setup = setup.with_environment("OPENBIN_TEST_SECRET", &format!("{}\n", jwt::SECRET));
    let yaml = setup.yaml().replace("jwt_secret_file: home-0.secret", "jwt_secret_env: OPENBIN_TEST_SECRET");
    let file = setup.file("environment.yaml", &yaml);
    let process = setup.run(&["serve", "--config", &file.to_string_lossy()]);
    let gateway = Gateway::listening(setup, process).await;
    assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&jwt::session())).await.status, 200);
}

#[tokio::test]
async fn two_instances_for_one_host_are_refused() {
    let upstream = Recorder::start().await;
    let at = |name: &str| Instance::at(upstream.address()).named(name);
    for pair in [
        vec![at("one").for_hosts(&["a.example"]), at("two").for_hosts(&["A.example"])],
        vec![at("one"), at("two")],
        vec![at("same").for_hosts(&["a.example"]), at("same").for_hosts(&["b.example"])],
    ] {
        let (status, said) = Setup::of_instances(pair).refusal().await;
        assert_eq!(status, Some(2), "{said}");
    }
}

#[tokio::test]
async fn check_tells_good_from_failing_from_wrong() {
    let (upstream, setup) = setup().await;
    let file = setup.file("good.yaml", &setup.yaml());
    let good = setup.run(&["check", "--config", &file.to_string_lossy()]);
    let status = good.exit().await.code();
    assert_eq!(status, Some(0), "{}\n{}", good.stdout().join("\n"), good.stderr().join("\n"));
    let down = setup.yaml().replace(&upstream.address().to_string(), "127.0.0.1:1");
    let file = setup.file("down.yaml", &down);
    let failing = setup.run(&["check", "--config", &file.to_string_lossy()]);
    assert_eq!(failing.exit().await.code(), Some(1), "{}", failing.stdout().join("\n"));
    let file = setup.file("wrong.yaml", &setup.yaml().replace("workers: 2", "wrokers: 2"));
    let wrong = setup.run(&["check", "--config", &file.to_string_lossy()]);
    assert_eq!(wrong.exit().await.code(), Some(2));
    for process in [&good, &failing, &wrong] {
        assert!(!process.stdout().join("\n").contains(jwt::SECRET));
    }
}

#[tokio::test]
async fn both_tls_versions_and_both_protocols_are_served() {
    let (_upstream, setup) = setup().await;
    let gateway = setup.start().await;
    for via in [Via::Tls, Via::H2] {
        assert_eq!(Request::get("/").send(&gateway, via).await.status, 200);
    }
    let mut wire = crate::support::Wire::plain(gateway.https).await;
    wire.send(Request::get("/").bytes()).await;
    let rest = wire.rest().await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "plain HTTP is not answered on a TLS port");
}
