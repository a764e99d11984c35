//! What every key store must do: one suite, run against the embedded file and against a real Redis server;
//! then what only one of them can get wrong.

#[path = "../support/redis.rs"]
mod redis_server;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use openbin_gateway::keys::{
    Issuer, KeyHash, KeyRecord, KeyStore, Learned, RedisUrl, Revocation, RevokedBy, StoreError,
    StoreSettings, Use, open,
};
use redis_server::RedisServer;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A store with the means to look behind it.
struct Backend {
    store: Arc<dyn KeyStore>,
    behind: Behind,
}

enum Behind {
    Embedded(Folder),
    Redis(RedisServer),
}

impl Backend {
    async fn embedded() -> Self {
        let folder = Folder::new();
        let store = open(&StoreSettings::Embedded { path: folder.file() }).await.expect("a store");
        Self { store, behind: Behind::Embedded(folder) }
    }

    async fn redis() -> Self {
        let server = RedisServer::start();
        Self { store: redis(&server.url(), TIMEOUT).await, behind: Behind::Redis(server) }
    }

    /// Spoils the record of this key.
    async fn damage(&self, record: &KeyRecord) {
        match &self.behind {
            Behind::Embedded(folder) => {
                let db = rusqlite::Connection::open(folder.file()).expect("the file");
                let changed = db
                    .execute("UPDATE keys SET issuer = 'nobody' WHERE hash = ?1", [record.hash.as_bytes()])
                    .expect("an update");
                assert_eq!(changed, 1);
            }
            Behind::Redis(server) => {
                let name = format!("ns:key:{}:{}", record.instance, record.hash);
                let () = raw(server, redis::cmd("HSET").arg(name).arg("issuer").arg("nobody")).await;
            }
        }
    }

    /// How many entries the store has, of whatever kind.
    async fn entries(&self) -> i64 {
        match &self.behind {
            Behind::Embedded(folder) => {
                let db = rusqlite::Connection::open(folder.file()).expect("the file");
                let count = "SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM tombstones)";
                db.query_row(count, [], |row| row.get(0)).expect("a count")
            }
            Behind::Redis(server) => raw(server, &mut redis::cmd("DBSIZE")).await,
        }
    }
}

async fn redis(url: &str, timeout: Duration) -> Arc<dyn KeyStore> {
    let url = RedisUrl::new(url.to_owned());
    open(&StoreSettings::Redis { url, namespace: "ns".to_owned(), timeout }).await.expect("a store")
}

async fn raw<T: redis::FromRedisValue>(server: &RedisServer, command: &mut redis::Cmd) -> T {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    command.query_async(&mut connection).await.expect("an answer")
}

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("gateway-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("gateway.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

fn record(key: &str) -> KeyRecord {
    KeyRecord {
        hash: KeyHash::of(key),
        id: format!("id-{key}"),
        instance: "home".into(),
        user_id: "u1".to_owned(),
        user_email: Some("ann@example.com".to_owned()),
        name: "läptop \"1\"\n".to_owned(),
        prefix: "sk_openbin_0011223".to_owned(),
        issuer: Issuer::Openbin,
        created_at: Some(at(0)),
        last_used_at: None,
        revoked: None,
    }
}

fn operator(seconds: u64) -> Revocation {
    Revocation { at: at(seconds), by: RevokedBy::Operator }
}

async fn found(backend: &Backend, record: &KeyRecord) -> Option<KeyRecord> {
    backend.store.find(&record.instance, &record.hash).await.expect("an answer")
}

async fn learn(backend: &Backend, record: &KeyRecord) -> Learned {
    backend.store.learn(record).await.expect("an answer")
}

async fn used(backend: &Backend, record: &KeyRecord, seconds: u64) {
    let used = Use { instance: record.instance.clone(), hash: record.hash, at: at(seconds) };
    backend.store.note_used(&[used]).await.expect("noted");
}

mod rules;

macro_rules! suite {
    ($($rule:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $rule() {
                super::rules::$rule(&super::Backend::embedded().await).await;
            })*
        }
        mod redis_server_suite {
            $(#[tokio::test]
            async fn $rule() {
                super::rules::$rule(&super::Backend::redis().await).await;
            })*
        }
    };
}

suite! {
    a_learned_key_is_found_as_it_was_written
    a_known_record_stays_as_it_is
    a_revoked_key_is_found_revoked
    the_first_revocation_stays
    a_key_revoked_before_it_is_known_is_learned_as_revoked
    a_revoked_key_never_comes_back
    all_keys_with_the_same_id_are_revoked
    a_record_that_is_learned_revoked_buries_its_id
    learning_and_revoking_at_once_always_ends_revoked
    last_use_only_moves_forward
    many_uses_are_written_together
    a_use_of_an_unknown_key_is_passed_over
    instances_do_not_see_each_others_keys
    a_record_that_cannot_be_read_is_an_error
    a_probe_leaves_nothing_behind
}

mod only_embedded;

mod only_redis;
