//! A master that sentinels watch over: found, followed when it dies, and never mistaken for another.

use super::support::scripted::{Mode, Scripted};
use super::support::sentinel::Sentinels;
use super::*;

const PASSWORD: &str = "master-s3cret";
const OF_SENTINELS: &str = "sentinel-s3cret";
/// After the sentinels have agreed on another master, for so long.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

fn login(password: &str) -> Login {
    Login { user: None, password: Some(password.to_owned().into()) }
}

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

async fn ask<T: ::redis::FromRedisValue>(port: u16, password: &str, words: &[&str]) -> Option<T> {
    let client = ::redis::Client::open(format!("redis://:{password}@127.0.0.1:{port}")).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let mut command = ::redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection).await.ok()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A master, its replica, and three sentinels that know both.
struct Watched {
    servers: [RedisServer; 2],
    sentinels: Sentinels,
}

impl Watched {
    async fn start() -> Self {
        let arguments =
            ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"];
        // Once it was replaced, hasty sentinels must not take it back while it has nothing yet.
        let master = RedisServer::start_with(&[&arguments[..], &["--replica-priority", "0"]].concat());
        let port = master.port().to_string();
        let of_master = format!("127.0.0.1 {port}");
        let replica = RedisServer::start_with(&[&arguments[..], &["--replicaof", &of_master]].concat());
        let more = format!(
            "sentinel auth-pass mymaster {PASSWORD}\nrequirepass {OF_SENTINELS}\nsentinel sentinel-pass {OF_SENTINELS}\n\
             user gateway on >{OF_SENTINELS} -@all +ping +sentinel|get-master-addr-by-name"
        );
        let sentinels = Sentinels::start(3, master.port(), 1000, &more);
        let watched = Self { servers: [master, replica], sentinels };
        until("the replica", async || watched.is(1, "master_link_status:up").await).await;
        for sentinel in &watched.sentinels.ports {
            until("the sentinels to know each other and the replica", async || {
                let quorum: Option<String> =
                    ask(*sentinel, OF_SENTINELS, &["SENTINEL", "CKQUORUM", "mymaster"]).await;
                let replicas: Option<Vec<::redis::Value>> =
                    ask(*sentinel, OF_SENTINELS, &["SENTINEL", "REPLICAS", "mymaster"]).await;
                let known = quorum.is_some_and(|text| text.starts_with("OK 3"));
                known && replicas.is_some_and(|replicas| replicas.len() == 1)
            })
            .await;
        }
        watched
    }

    async fn is(&self, server: usize, what: &str) -> bool {
        let said: Option<String> = ask(self.servers[server].port(), PASSWORD, &["INFO", "replication"]).await;
        said.is_some_and(|text| text.contains(what))
    }

    async fn store(&self, timeout: Duration) -> Arc<dyn Ledger> {
        let place = Place::Sentinels {
            sentinels: self.sentinels.ports.iter().map(|port| address(*port)).collect(),
            master: "mymaster".to_owned(),
            sentinel_login: Login { user: Some("gateway".to_owned()), ..login(OF_SENTINELS) },
            login: login(PASSWORD),
            database: 0,
        };
        store_at(place, None, timeout).await
    }

    /// Asks the sentinels for another master. They give up a failover that takes them longer than they like, which
    /// on a busy machine it may, and say so to nobody: who asked has to ask again.
    async fn ask_for_failover(&self) {
        let words = ["SENTINEL", "FAILOVER", "mymaster"];
        ask::<String>(self.sentinels.ports[0], OF_SENTINELS, &words).await;
    }

    /// Waits until the sentinels say that this server is the master, while a key is looked up: what is found is
    /// right, or it is an error. Then it must be found, and another be learned, in time. `meanwhile` is done as long
    /// as a sentinel names another server.
    async fn follow(
        &self,
        store: &dyn Ledger,
        server: usize,
        (known, new): (&KeyRecord, &str),
        meanwhile: impl AsyncFn(),
    ) {
        let port = self.servers[server].port().to_string();
        let mut errors = 0_u32;
        let mut look = async || match store.find("home", &known.hash).await {
            Ok(found) => assert!(found.is_some(), "a key that is known was not found"),
            Err(_) => errors += 1,
        };
        let agreed = async |sentinel: u16| {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
            let said: Option<Vec<String>> = ask(sentinel, OF_SENTINELS, &words).await;
            said.is_some_and(|said| said[1] == port)
        };
        for sentinel in &self.sentinels.ports {
            until("another master", async || {
                look().await;
                let agreed = agreed(*sentinel).await;
                if !agreed {
                    meanwhile().await;
                }
                agreed
            })
            .await;
        }
        let since = Instant::now();
        let (new, mut learned) = (record(new), false);
        while !learned {
            look().await;
            learned = try_to_learn(store, &new).await.is_ok();
            assert!(since.elapsed() < FOLLOWED_WITHIN, "the new master is not followed");
        }
        assert_eq!(store.find("home", &known.hash).await.expect("an answer").as_ref(), Some(known));
        println!("followed {:?} after the sentinels had agreed, {errors} look-ups failed", since.elapsed());
    }
}

#[tokio::test]
async fn the_next_master_is_followed_when_one_dies_and_again_when_it_is_replaced() {
    let mut watched = Watched::start().await;
    let (store, known) = (watched.store(Duration::from_millis(500)).await, record("a"));
    until_it_answers(|| store.probe()).await;
    try_to_learn(&*store, &known).await.expect("learned");
    until("the replica to have it", async || {
        ask::<i64>(watched.servers[0].port(), PASSWORD, &["WAIT", "1", "1000"]).await == Some(1)
            && watched.is(1, "role:slave").await
    })
    .await;
    watched.servers[0].stop();
    watched.follow(&*store, 1, (&known, "b"), async || {}).await;
    // It comes back empty and takes itself for a master, until the sentinels tell it what it is.
    watched.servers[0].restart();
    until("the old master to follow the new", async || {
        store.find("home", &known.hash).await.expect("the new master goes on").expect("a key that is known");
        watched.is(0, "role:slave").await && watched.is(0, "master_link_status:up").await
    })
    .await;
    let words = ["CONFIG", "SET", "replica-priority", "100"];
    ask::<()>(watched.servers[0].port(), PASSWORD, &words).await.expect("set");
    watched.follow(&*store, 0, (&known, "c"), async || watched.ask_for_failover().await).await;
}

#[tokio::test]
async fn a_master_that_hangs_is_replaced_and_not_used_again_when_it_goes_on() {
    let watched = Watched::start().await;
    let (store, known) = (watched.store(Duration::from_millis(500)).await, record("a"));
    until_it_answers(|| store.ping()).await;
    try_to_learn(&*store, &known).await.expect("learned");
    until("the replica to have it", async || {
        ask::<i64>(watched.servers[0].port(), PASSWORD, &["WAIT", "1", "1000"]).await == Some(1)
    })
    .await;
    watched.servers[0].suspend();
    watched.follow(&*store, 1, (&known, "b"), async || {}).await;
    watched.servers[0].resume();
    until("the old master to be told", async || {
        store.find("home", &record("b").hash).await.expect("the new master goes on").expect("a known key");
        watched.is(0, "role:slave").await
    })
    .await;
}

/// What a sentinel answers that takes the server on this port for the master.
fn says(port: u16) -> Mode {
    let port = port.to_string();
    Mode::Trouble(format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes())
}

#[tokio::test]
async fn most_sentinels_decide_and_a_connection_to_a_master_that_was_cut_off_is_given_up() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let mut sentinels = Vec::new();
    for port in [new.port(), old.port(), old.port()] {
        let sentinel = Scripted::before(old.port()).await;
        sentinel.set(says(port));
        sentinels.push(sentinel);
    }
    let place = Place::Sentinels {
        sentinels: sentinels.iter().map(|sentinel| address(sentinel.address.port())).collect(),
        master: "mymaster".to_owned(),
        sentinel_login: Login::default(),
        login: Login::default(),
        database: 0,
    };
    let (store, record) = (store_at(place, None, Duration::from_millis(500)).await, record("a"));
    try_to_learn(&*store, &record).await.expect("learned");
    let holds = async |server: &RedisServer| {
        let keys: i64 = raw(server, &mut ::redis::cmd("DBSIZE")).await;
        keys > 0
    };
    let (in_old, in_new) = (holds(&old).await, holds(&new).await);
    assert!(in_old && !in_new, "two of three say that it is the old one: {in_old}, {in_new}");
    // One that was cut off together with another server changes nothing.
    sentinels[1].set(Mode::Silent);
    sentinels[2].set(Mode::Silent);
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2500) {
        store.find("home", &record.hash).await.expect("an answer").expect("still the old one");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sentinels[2].set(says(old.port()));
    // Now two of three have another, while the old one goes on as if nothing had happened.
    sentinels[1].set(says(new.port()));
    until("the other master", async || {
        store.find("home", &record.hash).await.expect("both answer").is_none()
    })
    .await;
    try_to_learn(&*store, &record).await.expect("learned");
    assert!(holds(&new).await);
    // One sentinel that answers is enough where the others do not.
    sentinels[1].set(Mode::Silent);
    sentinels[2].set(Mode::Refuse);
    let () = raw(&new, ::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal")).await;
    until_it_answers(|| store.find("home", &record.hash)).await.expect("found");
}

#[tokio::test]
async fn a_replica_is_not_taken_for_a_master_whatever_a_sentinel_says() {
    let master = RedisServer::start();
    let of_master = format!("127.0.0.1 {}", master.port());
    let replica = RedisServer::start_with(&["--replicaof", &of_master]);
    let sentinel = Scripted::before(master.port()).await;
    sentinel.set(says(replica.port()));
    let place = || Place::Sentinels {
        sentinels: vec![address(sentinel.address.port())],
        master: "mymaster".to_owned(),
        sentinel_login: Login::default(),
        login: Login::default(),
        database: 0,
    };
    let store = store_at(place(), None, TIMEOUT).await;
    let error = store.find("home", &record("a").hash).await.expect_err("a replica");
    assert!(error.to_string().contains("is not the master"), "{error}");
    sentinel.set(Mode::Trouble(b"*-1\r\n".to_vec()));
    let error = store_at(place(), None, TIMEOUT).await.ping().await.expect_err("no master");
    assert!(error.to_string().contains("knows no master mymaster"), "{error}");
}
