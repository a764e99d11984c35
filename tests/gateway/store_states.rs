//! Each kind of credential in each state of the store, as the manual's table says.

use std::time::{Duration, Instant};

use super::adoption::create;
use crate::support::port::free_port;
use crate::support::redis::RedisServer;
use crate::support::scripted::{Mode, Scripted};
use crate::support::sentinel::Sentinels;
use crate::support::{Gateway, Issuer, Request, Setup, Via, jwt, wait};

const MANUAL: &str = include_str!("../../docs/operations.md");
const LATENCY: Duration = Duration::from_millis(100);
/// Well above the latency, for a machine with much else to do.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The cells of this state's row.
fn row(state: &str) -> Vec<&'static str> {
    let head = "| store | cookie | JWT | cached | known | unknown | malformed | open | `/readyz` |";
    let table = MANUAL.split_once(head).expect("the table").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut rows = rows.map(cells);
    rows.find(|row| row[0] == state).unwrap_or_else(|| panic!("the manual has no row {state}")).split_off(1)
}

/// The gateway under test, its store and its instance.
struct Bench {
    gateway: Gateway,
    cached: Request,
    known: Request,
    _issuer: Issuer,
}

impl Bench {
    /// A gateway that has just started; of two keys that the store knows, it has met one.
    async fn start(redis: &RedisServer, store: &str) -> Self {
        let issuer = Issuer::start().await;
        let setup = Setup::of(issuer.address()).with("cache: { fresh_for: 60s }");
        let other = setup.clone().in_redis(&redis.url()).start().await;
        let mut keys = Vec::new();
        for _ in 0..2 {
            let (_, key) = create(&other).await;
            keys.push(Request::get("/api/bins").bearer(&key));
        }
        other.stop().await;
        let gateway = setup.in_servers(&format!("{store}, timeout: {}ms", TIMEOUT.as_millis())).start().await;
        let (known, cached) = (keys.pop().expect("a key"), keys.pop().expect("a key"));
        until_status(&gateway, &cached, 200).await;
        Self { gateway, cached, known, _issuer: issuer }
    }

    /// Holds every cell of the state's row.
    async fn judge(&self, state: &str) {
        let mut wanted = row(state);
        let ready = wanted.pop().expect("a last column");
        self.until_ready_says(ready).await;
        assert_eq!(self.gateway.ask_admin("/livez").await.status, 200, "{state}");
        let unknown = format!("sk_openbin_{}", "e".repeat(64));
        let requests = [
            ("cookie", Request::get("/api/bins").session(&jwt::session())),
            ("JWT", Request::get("/api/bins").bearer(&jwt::session())),
            ("cached", self.cached.clone()),
            ("known", self.known.clone()),
            ("unknown", Request::get("/api/bins").bearer(&unknown)),
            ("malformed", Request::get("/api/bins").bearer("sk_openbin_x")),
            ("open", Request::get("/assets/app.js")),
        ];
        assert_eq!(wanted.len(), requests.len());
        for ((kind, request), wanted) in requests.iter().zip(wanted) {
            for via in [Via::Plain, Via::Tls] {
                let asked = Instant::now();
                let response = request.send(&self.gateway, via).await;
                let cell = format!("{kind} key, store {state}");
                assert_eq!(response.status.to_string(), wanted, "{cell}: {}", response.text());
                assert!(asked.elapsed() < TIMEOUT * 3, "{cell}: {:?}", asked.elapsed());
                let retry = response.field("retry-after").and_then(|text| text.parse::<u32>().ok());
                match wanted {
                    "200" => assert_eq!(retry, None, "{cell}"),
                    "401" => {
                        assert_eq!(
                            (&response.json()["error"], retry),
                            (&"UNAUTHORIZED".into(), None),
                            "{cell}"
                        );
                    }
                    "503" => {
                        assert_eq!(response.json()["error"], "STORE_UNAVAILABLE", "{cell}");
                        assert!(retry.is_some_and(|seconds| seconds > 0), "{cell}");
                    }
                    other => panic!("{cell}: the manual says {other}"),
                }
            }
        }
    }

    async fn until_ready_says(&self, wanted: &str) {
        let ask = || async {
            let ready = self.gateway.ask_admin("/readyz").await;
            assert_eq!(ready.status, 200, "{}", ready.text());
            (ready.json()["status"] == wanted).then_some(())
        };
        wait::until_answer(&format!("/readyz to say {wanted}"), ask).await;
    }

    /// The trouble is over: all is well by itself.
    async fn recovers(&self) {
        let since = Instant::now();
        until_status(&self.gateway, &self.known, 200).await;
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        self.until_ready_says("ready").await;
        let links =
            || async { (self.gateway.metrics().await.sum("store_silent_links", &[]) == 0.0).then_some(()) };
        wait::until_answer("every link to be heard", links).await;
    }
}

async fn until_status(gateway: &Gateway, request: &Request, status: u16) {
    let ask = || async { (gateway.send(request).await.status == status).then_some(()) };
    wait::until_answer(&format!("status {status}"), ask).await;
}

async fn connection(redis: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(redis.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

/// Changes something at the server, judges, and changes it back.
async fn while_set(state: &str, on: &[&str], off: &[&str]) {
    let redis = RedisServer::start();
    // That everything is lost is noticed when the lease is renewed; else the lease must not end meanwhile.
    let lease = if state == "empty" { "1s" } else { "60s" };
    let bench = Bench::start(&redis, &format!("url: '{}', lease: {lease}", redis.url())).await;
    let mut server = connection(&redis).await;
    for commands in [on, off] {
        for command in commands {
            let mut words = command.split(' ');
            let mut sent = redis::cmd(words.next().expect("a command"));
            words.for_each(|word| {
                sent.arg(if word == "''" { "" } else { word });
            });
            let _: redis::Value = sent.query_async(&mut server).await.expect("done");
        }
        if commands == on {
            if state == "empty" {
                let unknown = Request::get("/api/bins").bearer(&format!("sk_openbin_{}", "d".repeat(64)));
                until_status(&bench.gateway, &unknown, 503).await;
            }
            bench.judge(state).await;
        }
    }
    if state != "empty" {
        bench.recovers().await;
    }
}

#[tokio::test]
async fn with_a_store_that_is_up_every_cell_is_as_the_manual_says() {
    while_set("up", &[], &[]).await;
}

#[tokio::test]
async fn with_an_empty_store_every_cell_is_as_the_manual_says() {
    while_set("empty", &["FLUSHALL"], &[]).await;
}

#[tokio::test]
async fn with_a_read_only_store_every_cell_is_as_the_manual_says() {
    while_set("read-only", &["REPLICAOF 127.0.0.1 1"], &["REPLICAOF NO ONE"]).await;
}

#[tokio::test]
async fn with_a_store_out_of_memory_every_cell_is_as_the_manual_says() {
    while_set("out of memory", &["CONFIG SET maxmemory 1"], &["CONFIG SET maxmemory 0"]).await;
}

#[tokio::test]
async fn with_a_wrong_password_every_cell_is_as_the_manual_says() {
    let on = ["CONFIG SET requirepass other", "CLIENT KILL TYPE normal"];
    while_set("wrong password", &on, &["CONFIG SET requirepass ''"]).await;
}

#[tokio::test]
async fn with_a_slow_store_every_cell_is_as_the_manual_says() {
    let redis = RedisServer::start();
    let between = Scripted::before(redis.port()).await;
    let bench = Bench::start(&redis, &format!("url: '{}', lease: 60s", between.url())).await;
    between.set(Mode::Late(LATENCY));
    bench.judge("slow").await;
    between.set(Mode::Pass);
    bench.recovers().await;
}

#[tokio::test]
async fn with_a_suspended_store_every_cell_is_as_the_manual_says() {
    let redis = RedisServer::start();
    let bench = Bench::start(&redis, &format!("url: '{}', lease: 60s", redis.url())).await;
    redis.suspend();
    bench.judge("suspended").await;
    redis.resume();
    bench.recovers().await;
}

#[tokio::test]
async fn with_a_store_that_refuses_connections_every_cell_is_as_the_manual_says() {
    let mut redis = RedisServer::start_lasting();
    let bench = Bench::start(&redis, &format!("url: '{}', lease: 60s", redis.url())).await;
    redis.stop();
    bench.judge("refusing connections").await;
    redis.restart();
    bench.recovers().await;
}

#[tokio::test]
async fn with_a_store_that_is_failing_over_every_cell_is_as_the_manual_says() {
    let mut redis = RedisServer::start_lasting();
    let sentinels = Sentinels::start(1, redis.port(), 60_000, "");
    let nobody = free_port();
    let store = format!(
        "sentinels: ['127.0.0.1:{nobody}', '127.0.0.1:{}'], master: mymaster, lease: 60s",
        sentinels.ports[0]
    );
    let bench = Bench::start(&redis, &store).await;
    redis.stop();
    bench.judge("failing over").await;
    redis.restart();
    bench.recovers().await;
}

/// How long requests of sessions take, the slowest of a hundred left out.
async fn slowest_session(gateway: &Gateway) -> Duration {
    let request = Request::get("/api/bins").bearer(&jwt::session());
    let mut times = Vec::new();
    for _ in 0..300 {
        let asked = Instant::now();
        assert_eq!(gateway.send(&request).await.status, 200);
        times.push(asked.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100 - 1]
}

#[tokio::test]
async fn while_the_store_is_suspended_sessions_are_as_fast_as_ever_and_keys_are_refused_at_once() {
    let redis = RedisServer::start();
    let bench = Bench::start(&redis, &format!("url: '{}', lease: 60s", redis.url())).await;
    let idle = slowest_session(&bench.gateway).await;
    redis.suspend();
    until_status(&bench.gateway, &bench.known, 503).await;
    let keys = async {
        let (mut slow, mut all) = (0, 0);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            assert_eq!(bench.gateway.send(&bench.known).await.status, 503);
            all += 1;
            slow += u32::from(asked.elapsed() > TIMEOUT / 2);
        }
        (slow, all)
    };
    let (during, (slow, all)) = tokio::join!(slowest_session(&bench.gateway), keys);
    println!(
        "p99 of sessions: idle {idle:?}, store suspended {during:?}; {slow} of {all} key requests waited"
    );
    assert!(during < idle * 2 + Duration::from_millis(50), "{idle:?}, then {during:?}");
    assert!(slow <= 8 && all > slow * 5, "{slow} of {all} waited");
    let metrics = bench.gateway.metrics().await;
    assert!(metrics.sum("store_silent_links", &[]) >= 1.0);
    assert!(metrics.sum("store_failures_total", &[("kind", "turned_away")]) > 0.0);
    assert!(metrics.sum("store_failures_total", &[("kind", "timeout")]) > 0.0);
    redis.resume();
    bench.recovers().await;
}
