//! Several instances behind one gateway: the host decides, and nobody is led to another's data.

use crate::support::client::H2;
use crate::support::{EVERY_WAY, Gateway, Instance, Recorder, Request, Setup, Via, Wire, jwt};

const BINS_SECRET: &str = "secret-of-the-bins-0123456789abcdef0123456789";
const TOOLS_SECRET: &str = "secret-of-the-tools-0123456789abcdef0123456789";

struct Bench {
    bins: Recorder,
    tools: Recorder,
    gateway: Gateway,
}

async fn bench() -> Bench {
    let (bins, tools) = (Recorder::start().await, Recorder::start().await);
    let setup = Setup::of_instances(vec![
        Instance::at(bins.address())
            .named("bins")
            .for_hosts(&["bins.example.com"])
            .with_secrets(&[BINS_SECRET]),
        Instance::at(tools.address())
            .named("tools")
            .for_hosts(&["tools.example.com"])
            .with_secrets(&[TOOLS_SECRET]),
    ]);
    let gateway = setup.start().await;
    Bench { bins, tools, gateway }
}

#[tokio::test]
async fn the_host_decides_which_instance_answers() {
    let bench = bench().await;
    for via in EVERY_WAY {
        for host in ["bins.example.com", "BINS.example.COM", "bins.example.com:8443"] {
            bench.bins.clear();
            assert_eq!(
                Request::get("/").host(host).send(&bench.gateway, via).await.status,
                200,
                "{via:?} {host}"
            );
            assert_eq!(bench.bins.count(), 1, "{via:?} {host}");
            let name = host.to_ascii_lowercase();
            assert_eq!(bench.bins.last().field("x-forwarded-host").map(str::to_ascii_lowercase), Some(name));
        }
        let before = bench.tools.count();
        assert_eq!(Request::get("/").host("tools.example.com").send(&bench.gateway, via).await.status, 200);
        assert_eq!(bench.tools.count(), before + 1);
    }
}

#[tokio::test]
async fn an_unknown_host_gets_421_and_nobodys_data() {
    let bench = bench().await;
    for via in EVERY_WAY {
        for host in
            ["other.example.com", "localhost", "127.0.0.1", "xbins.example.com", "bins.example.com.evil.org"]
        {
            let response = Request::get("/").host(host).send(&bench.gateway, via).await;
            response.assert_refused(421, "MISDIRECTED_REQUEST", "No instance is configured for this host");
        }
    }
    assert_eq!(bench.bins.count() + bench.tools.count(), 0);
}

#[tokio::test]
async fn a_session_of_one_instance_is_none_at_the_other() {
    let bench = bench().await;
    let token = jwt::signed(&jwt::claims(900), BINS_SECRET);
    let ask = |host: &str| Request::get("/api/bins").host(host).bearer(&token);
    assert_eq!(bench.gateway.send(&ask("bins.example.com")).await.status, 200);
    let other = bench.gateway.send(&ask("tools.example.com")).await;
    other.assert_refused(401, "UNAUTHORIZED", "Invalid token");
    assert_eq!(bench.tools.count(), 0);
}

#[tokio::test]
async fn two_hosts_or_none_are_a_bad_request() {
    let bench = bench().await;
    let (bins, tools) = ("Host: bins.example.com\r\n", "Host: tools.example.com\r\n");
    for (target, fields) in [
        ("/", format!("{bins}{tools}")),
        ("/", format!("{bins}{bins}")),
        ("/", String::new()),
        ("/", "Host: bins.example.com, tools.example.com\r\n".to_owned()),
        ("/", "Host: user@bins.example.com\r\n".to_owned()),
        ("http://tools.example.com/", bins.to_owned()),
    ] {
        let mut wire = Wire::plain(bench.gateway.http).await;
        wire.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).await;
        let response = wire.response().await;
        assert_eq!(response.status, 400, "{target} {fields:?}");
    }
    assert_eq!(bench.bins.count() + bench.tools.count(), 0);
}

#[tokio::test]
async fn over_http_2_a_host_field_cannot_contradict_the_authority() {
    let bench = bench().await;
    let connection = H2::connect(bench.gateway.https, "bins.example.com").await;
    let request = Request::get("/").host("bins.example.com").field("Host", "tools.example.com");
    if let Ok(response) = connection.try_send(&request).await {
        assert_eq!(response.status, 400);
    }
    assert_eq!(bench.bins.count() + bench.tools.count(), 0);
    let same = Request::get("/").host("bins.example.com").field("Host", "bins.example.com");
    assert_eq!(connection.send(&same).await.status, 200);
    assert_eq!(bench.bins.last().all("host"), ["bins.example.com"]);
}

#[tokio::test]
async fn one_connection_can_ask_for_several_hosts_and_each_is_judged() {
    let bench = bench().await;
    let connection = H2::connect(bench.gateway.https, "bins.example.com").await;
    let mut wire = Wire::tls(bench.gateway.https, "bins.example.com").await;
    for (host, status) in [("bins.example.com", 200), ("tools.example.com", 200), ("other.example.com", 421)]
    {
        let request = Request::get("/").host(host);
        assert_eq!(connection.send(&request).await.status, status, "{host}");
        assert_eq!(request.on(&mut wire).await.status, status, "{host}");
    }
    assert_eq!((bench.bins.count(), bench.tools.count()), (2, 2));
}

#[tokio::test]
async fn the_forwarded_host_of_a_stranger_does_not_choose_the_instance() {
    let bench = bench().await;
    for via in EVERY_WAY {
        let request =
            Request::get("/").host("bins.example.com").field("X-Forwarded-Host", "tools.example.com");
        assert_eq!(request.send(&bench.gateway, via).await.status, 200);
        assert_eq!(bench.bins.last().field("x-forwarded-host"), Some("bins.example.com"));
    }
    assert_eq!(bench.tools.count(), 0);
}

#[tokio::test]
async fn an_old_client_without_a_host_is_served_by_the_name_in_its_handshake() {
    let bench = bench().await;
    let mut wire = Wire::tls(bench.gateway.https, "tools.example.com").await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(wire.response().await.status, 200);
    assert_eq!(bench.tools.count(), 1);
    let mut wire = Wire::plain(bench.gateway.http).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(wire.response().await.status, 421);
}

#[tokio::test]
async fn one_instance_without_hosts_takes_every_host() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for host in ["anything.example", "127.0.0.1", "[::1]:8443", "localhost:1"] {
        assert_eq!(Request::get("/").host(host).send(&gateway, Via::Plain).await.status, 200, "{host}");
    }
}
