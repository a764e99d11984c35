//! A store that answers wrongly: errors, garbage, too much, too little, too slowly, or what nobody asked for. Never is
//! a refusal turned into an acceptance, trouble into "bad key", or one key's owner into another's.

use std::time::{Duration, Instant};

use super::adoption::create;
use crate::support::redis::RedisServer;
use crate::support::scripted::{Mode, Scripted};
use crate::support::{Gateway, Issuer, Request, Setup, jwt, wait};

const ERRORS: [&str; 14] = [
    "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "-READONLY You can't write against a read only replica.\r\n",
    "-NOAUTH Authentication required.\r\n",
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    "-LOADING Redis is loading the dataset in memory\r\n",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    "-CLUSTERDOWN Hash slot not served\r\n",
    "-BUSY Redis is busy running a script.\r\n",
    "-NOSCRIPT No matching script. Please use EVAL.\r\n",
    "-MOVED 1 127.0.0.1:1\r\n",
    "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "-NOREPLICAS Not enough good replicas to write.\r\n",
    "-MISCONF Redis is configured to save RDB snapshots\r\n",
    "-\r\n",
];

const ODDITIES: [&str; 10] = [
    "+OK\r\n",
    ":1\r\n",
    "$-1\r\n",
    "*0\r\n",
    "*-1\r\n",
    "$0\r\n\r\n",
    "*2\r\n$2\r\nid\r\n$1\r\nx\r\n",
    "junk\r\n",
    "$536870912\r\n",
    "*1000000000\r\n",
];

/// A gateway whose store is reached over a wire that can be spoiled, and three keys.
struct Bench {
    redis: RedisServer,
    between: Scripted,
    issuer: Issuer,
    gateway: Gateway,
    /// Good keys, with their ids.
    good: Vec<(String, String)>,
    /// One that was revoked here, although the instance would still take it.
    revoked: String,
    unknown: String,
}

impl Bench {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let between = Scripted::before(redis.port()).await;
        let issuer = Issuer::start().await;
        // Every request asks the store.
        let setup = Setup::of(issuer.address()).with("cache: { fresh_for: 1ms }");
        let setup = setup.with("limits: { bad_credentials: 100000/1m }");
        let gateway = setup.in_redis(&between.url()).start().await;
        let mut good = Vec::new();
        for _ in 0..2 {
            good.push(create(&gateway).await);
        }
        let (id, revoked) = create(&gateway).await;
        let ended = Request::delete(&format!("/api/api-keys/{id}")).bearer(&jwt::session());
        assert_eq!(gateway.send(&ended).await.status, 200);
        issuer.restore(&id);
        let bench = Self {
            redis,
            between,
            issuer,
            gateway,
            good,
            revoked,
            unknown: format!("sk_openbin_{}", "e".repeat(64)),
        };
        bench.until_well().await;
        bench
    }

    async fn status(&self, key: &str) -> u16 {
        self.gateway.send(&Request::get("/api/bins").bearer(key)).await.status
    }

    /// Everybody asks at once, several times over. Whether any good key was refused.
    async fn storm(&self, what: &str) -> bool {
        let mut troubled = false;
        for _ in 0..4 {
            let good = futures_util::future::join_all(self.good.iter().map(|(_, key)| self.status(key)));
            let bad = async { tokio::join!(self.status(&self.revoked), self.status(&self.unknown)) };
            let (good, (revoked, unknown)) = tokio::join!(good, bad);
            for status in good {
                assert!(matches!(status, 200 | 503), "{what}: a good key got {status}");
                troubled |= status == 503;
            }
            assert!(matches!(revoked, 401 | 503), "{what}: a revoked key got {revoked}");
            assert!(matches!(unknown, 401 | 503), "{what}: an unknown key got {unknown}");
        }
        self.nobody_is_mistaken(what);
        troubled
    }

    fn nobody_is_mistaken(&self, what: &str) {
        for seen in self.issuer.recorder.requests().iter().filter(|seen| seen.target == "/api/bins") {
            let key = seen.field("authorization").and_then(|field| field.strip_prefix("Bearer "));
            let owner = self.good.iter().find(|(_, good)| Some(good.as_str()) == key);
            let (id, _) = owner.unwrap_or_else(|| panic!("{what}: {key:?} was let through"));
            assert_eq!(seen.all("x-auth-key-id"), [id.as_str()], "{what}");
            assert_eq!(seen.all("x-auth-user-id"), [jwt::USER], "{what}");
        }
        self.issuer.recorder.clear();
    }

    /// All is as it was, without a restart, and soon.
    async fn until_well(&self) {
        let since = Instant::now();
        let ask = || async {
            let mut well = self.status(&self.revoked).await == 401;
            for (_, key) in &self.good {
                well &= self.status(key).await == 200;
            }
            well.then_some(())
        };
        wait::until_answer("all to be well", ask).await;
        assert!(since.elapsed() < Duration::from_secs(2), "it took {:?}", since.elapsed());
    }
}

#[tokio::test]
async fn errors_of_the_store_are_told_as_trouble_and_nothing_else() {
    let bench = Bench::start().await;
    for error in ERRORS {
        for mode in [Mode::Answer(error.into()), Mode::Trouble(error.into())] {
            bench.between.set(mode.clone());
            assert!(bench.storm(&format!("{mode:?}")).await, "{error:?} was overlooked");
            bench.between.set(Mode::Pass);
            bench.until_well().await;
        }
    }
}

#[tokio::test]
async fn answers_to_something_else_are_never_believed() {
    let bench = Bench::start().await;
    for answer in ODDITIES {
        for mode in [Mode::Answer(answer.into()), Mode::Trouble(answer.into()), Mode::Unasked(answer.into())]
        {
            bench.between.set(mode.clone());
            let troubled = bench.storm(&format!("{mode:?}")).await;
            assert!(troubled || matches!(mode, Mode::Unasked(_)), "{mode:?} was overlooked");
            assert!(bench.gateway.process.resident_bytes() < 256 << 20, "{mode:?}");
            bench.between.set(Mode::Pass);
            bench.until_well().await;
        }
    }
}

#[tokio::test]
async fn a_wire_that_spoils_answers_spoils_no_decision() {
    let bench = Bench::start().await;
    let corrupt = [3, 7, 23, 61, 97, 211].map(Mode::Corrupt);
    let reset = [1, 2, 3, 5, 8, 13, 40, 90, 150, 200].map(Mode::Reset);
    let rest = [Mode::Drip(Duration::from_millis(1)), Mode::Silent, Mode::Refuse];
    for mode in corrupt.into_iter().chain(reset).chain(rest) {
        bench.between.set(mode.clone());
        // What is connected already is not made anew by itself.
        let mut server = redis::Client::open(bench.redis.url()).expect("a URL");
        let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
        let _: redis::Value = kill.query(&mut server).expect("killed");
        bench.storm(&format!("{mode:?}")).await;
        bench.between.set(Mode::Pass);
        bench.until_well().await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_again_and_again_is_made_at_most_twenty_times_a_second() {
    let bench = Bench::start().await;
    for mode in [Mode::Refuse, Mode::Reset(1), Mode::Reset(400)] {
        bench.between.set(mode.clone());
        let mut server = redis::Client::open(bench.redis.url()).expect("a URL");
        let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
        let _: redis::Value = kill.query(&mut server).expect("killed");
        let (before, since) = (bench.between.connections(), Instant::now());
        while since.elapsed() < Duration::from_secs(2) {
            futures_util::future::join_all((0..20).map(|_| bench.status(&bench.good[0].1))).await;
        }
        let (made, time) = (bench.between.connections() - before, since.elapsed().as_secs_f64());
        println!("{mode:?}: {made} connections in {time:.1} s");
        assert!(made >= 2 && (made as f64) < time * 20.0 + 2.0, "{mode:?}: {made} in {time} s");
        bench.between.set(Mode::Pass);
        bench.until_well().await;
    }
}

#[tokio::test]
async fn a_store_that_evicts_or_is_too_old_is_refused_at_the_start_and_by_check() {
    let redis = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let issuer = Issuer::start().await;
    let setup = Setup::of(issuer.address()).in_redis(&redis.url());
    let (status, said) = setup.refusal().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("allkeys-lru") && said.contains("noeviction"), "{said}");
    let file = setup.directory().join("gateway.yaml");
    let check = async || {
        let process = setup.run(&["check", "--config", &file.to_string_lossy()]);
        let status = process.exit().await.code();
        (status, process.stdout().join("\n"))
    };
    let (status, said) = check().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("allkeys-lru"), "{said}");
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut server = client.get_multiplexed_async_connection().await.expect("a connection");
    let set = redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("noeviction").to_owned();
    let () = set.query_async(&mut server).await.expect("set");
    let forbid = redis::cmd("ACL").arg("SETUSER").arg("default").arg("-info").to_owned();
    let () = forbid.query_async(&mut server).await.expect("set");
    let (_, said) = check().await;
    assert!(said.contains("may not run INFO") && !said.contains("allkeys"), "{said}");
    let old = Scripted::before(redis.port()).await;
    old.set(Mode::Answer(b"-ERR unknown command `HELLO`\r\n".to_vec()));
    let (status, said) = Setup::of(issuer.address()).in_redis(&old.url()).refusal().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("6.2"), "{said}");
}
