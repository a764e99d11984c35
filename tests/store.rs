//! What every key store must do: one suite, run against the embedded file and against a real Redis server;
//! then what only one of them can get wrong.

#[path = "support/redis.rs"]
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

mod rules {
    use super::*;

    pub async fn a_learned_key_is_found_as_it_was_written(backend: &Backend) {
        let sparse = KeyRecord {
            user_email: None,
            name: String::new(),
            issuer: Issuer::Gateway,
            created_at: None,
            last_used_at: Some(at(7)),
            ..record("b")
        };
        for record in [record("a"), sparse] {
            assert_eq!(found(backend, &record).await, None);
            assert_eq!(learn(backend, &record).await, Learned::Written);
            assert_eq!(found(backend, &record).await, Some(record));
        }
    }

    pub async fn a_known_record_stays_as_it_is(backend: &Backend) {
        let first = record("a");
        learn(backend, &first).await;
        let second = KeyRecord { name: "other".to_owned(), user_id: "u2".to_owned(), ..record("a") };
        assert_eq!(learn(backend, &second).await, Learned::Known(first.clone()));
        assert_eq!(found(backend, &first).await, Some(first));
    }

    pub async fn a_revoked_key_is_found_revoked(backend: &Backend) {
        let record = record("a");
        learn(backend, &record).await;
        let hash = backend.store.revoke("home", &record.id, operator(1)).await.expect("revoked");
        assert_eq!(hash, Some(record.hash));
        let revoked = found(backend, &record).await.expect("a record").revoked;
        assert_eq!(revoked, Some(operator(1)));
    }

    pub async fn the_first_revocation_stays(backend: &Backend) {
        let record = record("a");
        learn(backend, &record).await;
        for revocation in [operator(1), Revocation { at: at(2), by: RevokedBy::Mirror }] {
            let hash = backend.store.revoke("home", &record.id, revocation).await.expect("revoked");
            assert_eq!(hash, Some(record.hash));
        }
        assert_eq!(found(backend, &record).await.expect("a record").revoked, Some(operator(1)));
    }

    pub async fn a_key_revoked_before_it_is_known_is_learned_as_revoked(backend: &Backend) {
        let record = record("a");
        assert_eq!(backend.store.revoke("home", &record.id, operator(1)).await.expect("buried"), None);
        assert_eq!(backend.store.revoke("home", &record.id, operator(2)).await.expect("buried"), None);
        assert_eq!(learn(backend, &record).await, Learned::Revoked);
        let buried = KeyRecord { revoked: Some(operator(1)), ..record };
        assert_eq!(found(backend, &buried).await, Some(buried.clone()));
    }

    pub async fn a_revoked_key_never_comes_back(backend: &Backend) {
        let record = record("a");
        learn(backend, &record).await;
        backend.store.revoke("home", &record.id, operator(1)).await.expect("revoked");
        used(backend, &record, 9).await;
        let Learned::Known(known) = learn(backend, &record).await else { panic!("the record is known") };
        assert_eq!(known.revoked, Some(operator(1)));
        assert_eq!(found(backend, &record).await.expect("a record").revoked, Some(operator(1)));
    }

    pub async fn all_keys_with_the_same_id_are_revoked(backend: &Backend) {
        let records =
            [record("a"), record("b"), record("c")].map(|r| KeyRecord { id: "same".to_owned(), ..r });
        learn(backend, &records[0]).await;
        learn(backend, &records[1]).await;
        backend.store.revoke("home", "same", operator(1)).await.expect("revoked");
        assert_eq!(learn(backend, &records[2]).await, Learned::Revoked);
        for record in &records {
            assert!(found(backend, record).await.expect("a record").revoked.is_some());
        }
    }

    pub async fn a_record_that_is_learned_revoked_buries_its_id(backend: &Backend) {
        let gone = KeyRecord { revoked: Some(operator(1)), ..record("a") };
        assert_eq!(learn(backend, &gone).await, Learned::Written);
        assert_eq!(found(backend, &gone).await, Some(gone.clone()));
        let other = KeyRecord { id: gone.id.clone(), ..record("b") };
        assert_eq!(learn(backend, &other).await, Learned::Revoked);
    }

    pub async fn learning_and_revoking_at_once_always_ends_revoked(backend: &Backend) {
        for round in 0..50 {
            let record = record(&round.to_string());
            let (learned, revoked) = tokio::join!(
                backend.store.learn(&record),
                backend.store.revoke("home", &record.id, operator(1))
            );
            learned.expect("learned");
            revoked.expect("revoked");
            assert!(found(backend, &record).await.expect("a record").revoked.is_some());
        }
    }

    pub async fn last_use_only_moves_forward(backend: &Backend) {
        let record = record("a");
        learn(backend, &record).await;
        for (seconds, expected) in [(5, 5), (3, 5), (9, 9)] {
            used(backend, &record, seconds).await;
            let last = found(backend, &record).await.expect("a record").last_used_at;
            assert_eq!(last, Some(at(expected)));
        }
    }

    pub async fn many_uses_are_written_together(backend: &Backend) {
        let records: Vec<_> = (0..2_500).map(|n| record(&n.to_string())).collect();
        learn(backend, &records[0]).await;
        learn(backend, &records[2_499]).await;
        let use_of = |record: &KeyRecord| Use { instance: "home".into(), hash: record.hash, at: at(3) };
        let uses: Vec<_> = records.iter().map(use_of).collect();
        backend.store.note_used(&uses).await.expect("noted");
        for record in [&records[0], &records[2_499]] {
            assert_eq!(found(backend, record).await.expect("a record").last_used_at, Some(at(3)));
        }
        assert_eq!(found(backend, &records[1]).await, None);
    }

    pub async fn a_use_of_an_unknown_key_is_passed_over(backend: &Backend) {
        used(backend, &record("a"), 5).await;
        assert_eq!(backend.entries().await, 0);
    }

    pub async fn instances_do_not_see_each_others_keys(backend: &Backend) {
        let home = record("a");
        let away = KeyRecord { instance: "away".into(), user_id: "u2".to_owned(), ..record("a") };
        learn(backend, &home).await;
        assert_eq!(found(backend, &away).await, None);
        assert_eq!(learn(backend, &away).await, Learned::Written);
        backend.store.revoke("away", &away.id, operator(1)).await.expect("revoked");
        used(backend, &away, 5).await;
        assert_eq!(found(backend, &home).await, Some(home));
        assert!(found(backend, &away).await.expect("a record").revoked.is_some());
    }

    pub async fn a_record_that_cannot_be_read_is_an_error(backend: &Backend) {
        let record = record("a");
        learn(backend, &record).await;
        backend.damage(&record).await;
        let find = backend.store.find("home", &record.hash).await;
        assert!(matches!(find, Err(StoreError::Corrupt(_))), "{find:?}");
        let learn = backend.store.learn(&record).await;
        assert!(matches!(learn, Err(StoreError::Corrupt(_))), "{learn:?}");
        backend.store.revoke("home", &record.id, operator(1)).await.expect("it can still be revoked");
    }

    pub async fn a_probe_leaves_nothing_behind(backend: &Backend) {
        backend.store.ping().await.expect("an answer");
        backend.store.probe().await.expect("all works");
        assert_eq!(backend.entries().await, 0);
    }
}

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

mod only_embedded {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn refusal(path: PathBuf) -> String {
        let Err(error) = open(&StoreSettings::Embedded { path }).await else { panic!("it opened") };
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        error.to_string()
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_the_store_is_dropped_and_opened_again() {
        let folder = Folder::new();
        let settings = StoreSettings::Embedded { path: folder.file() };
        let record = record("a");
        {
            let store = open(&settings).await.expect("a store");
            store.learn(&record).await.expect("learned");
            // Nobody waits for this one.
            let mut asked = store.revoke("home", &record.id, operator(1));
            assert!(futures_util::poll!(&mut asked).is_pending());
        }
        let store = open(&settings).await.expect("the store again");
        let found = store.find("home", &record.hash).await.expect("an answer").expect("a record");
        assert_eq!(found.revoked, Some(operator(1)));
    }

    #[tokio::test]
    async fn only_the_owner_may_read_the_files() {
        let folder = Folder::new();
        let store = open(&StoreSettings::Embedded { path: folder.file() }).await.expect("a store");
        store.learn(&record("a")).await.expect("learned");
        let mut files = 0;
        for file in std::fs::read_dir(&folder.0).expect("the folder") {
            let file = file.expect("a file");
            let mode = file.metadata().expect("its mode").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
            files += 1;
        }
        assert!(files >= 3, "file, lock and log");
    }

    #[tokio::test]
    async fn a_second_process_is_told_that_the_file_is_in_use() {
        let folder = Folder::new();
        let settings = StoreSettings::Embedded { path: folder.file() };
        let store = open(&settings).await.expect("a store");
        let Err(error) = open(&settings).await else { panic!("it opened twice") };
        assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
        assert!(error.to_string().contains("gateway.db"), "{error}");
        drop(store);
        open(&settings).await.expect("free again");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_made_is_refused_with_the_reason() {
        let folder = Folder::new();
        std::fs::write(folder.0.join("plain"), "").expect("a file");
        for (path, reason) in [
            (folder.0.join("missing/gateway.db"), "does not exist"),
            (folder.0.join("plain/gateway.db"), "is not a folder"),
            (PathBuf::from("/proc/gateway.db"), "/proc"),
        ] {
            let error = refusal(path.clone()).await;
            assert!(error.contains(reason) && error.contains("gateway.db"), "{error}");
        }
        std::fs::create_dir(folder.file()).expect("a folder");
        let error = refusal(folder.file()).await;
        assert!(error.contains("is a folder"), "{error}");
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_refused_and_left_alone() {
        let folder = Folder::new();
        std::fs::write(folder.file(), "just some notes, long enough to have a header ".repeat(50))
            .expect("file");
        let before = std::fs::read(folder.file()).expect("file");
        let error = refusal(folder.file()).await;
        assert!(error.contains("not an SQLite file"), "{error}");
        assert_eq!(std::fs::read(folder.file()).expect("file"), before);

        let folder = Folder::new();
        let db = rusqlite::Connection::open(folder.file()).expect("a database");
        db.execute_batch("CREATE TABLE bins (id TEXT)").expect("a table");
        drop(db);
        let error = refusal(folder.file()).await;
        assert!(error.contains("another program"), "{error}");
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused() {
        let folder = Folder::new();
        drop(open(&StoreSettings::Embedded { path: folder.file() }).await.expect("a store"));
        let db = rusqlite::Connection::open(folder.file()).expect("the file");
        db.pragma_update(None, "user_version", 99).expect("a version");
        drop(db);
        let error = refusal(folder.file()).await;
        assert!(error.contains("newer version") && error.contains("99"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_file_is_refused() {
        let folder = Folder::new();
        let settings = StoreSettings::Embedded { path: folder.file() };
        let store = open(&settings).await.expect("a store");
        for n in 0..200 {
            store.learn(&record(&n.to_string())).await.expect("learned");
        }
        drop(store);
        let mut bytes = std::fs::read(folder.file()).expect("the file");
        assert!(bytes.len() > 3 * 4096);
        bytes[2 * 4096..].fill(0xA5);
        std::fs::write(folder.file(), bytes).expect("the file");
        let error = refusal(folder.file()).await;
        assert!(error.contains("is damaged"), "{error}");
    }
}

mod only_redis {
    use super::*;

    const SHORT: Duration = Duration::from_millis(500);
    /// Two cores are shared with everything else that runs.
    const SLACK: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn a_server_that_went_away_is_an_error_in_time_and_works_again_when_it_is_back() {
        let mut server = RedisServer::start();
        let store = redis(&server.url(), SHORT).await;
        store.learn(&record("a")).await.expect("learned");
        server.stop();
        for _ in 0..3 {
            let asked = Instant::now();
            let error = store.find("home", &record("a").hash).await.expect_err("nobody there");
            assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
            assert!(error.to_string().contains("127.0.0.1"), "{error}");
            assert!(asked.elapsed() < SHORT + SLACK);
        }
        server.restart();
        assert_eq!(store.find("home", &record("a").hash).await.expect("an answer"), None);
        assert_eq!(store.learn(&record("a")).await.expect("learned"), Learned::Written);
    }

    #[tokio::test]
    async fn a_server_that_was_restarted_meanwhile_is_not_noticed() {
        let mut server = RedisServer::start();
        let store = redis(&server.url(), TIMEOUT).await;
        store.ping().await.expect("an answer");
        server.restart();
        assert_eq!(store.learn(&record("a")).await.expect("learned"), Learned::Written);
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_a_timeout_and_works_again_when_it_goes_on() {
        let server = RedisServer::start();
        let store = redis(&server.url(), SHORT).await;
        store.ping().await.expect("an answer");
        server.suspend();
        // The first finds the connection made, the second has to make one.
        for _ in 0..2 {
            let asked = Instant::now();
            let error = store.find("home", &record("a").hash).await.expect_err("no answer");
            assert!(matches!(error, StoreError::Timeout), "{error:?}");
            assert!(asked.elapsed() < SHORT + SLACK);
        }
        server.resume();
        assert_eq!(store.find("home", &record("a").hash).await.expect("an answer"), None);
    }

    #[tokio::test]
    async fn many_who_ask_a_hanging_server_all_hear_in_time() {
        let server = RedisServer::start();
        let store = redis(&server.url(), SHORT).await;
        server.suspend();
        let asked = Instant::now();
        let answers = futures_util::future::join_all((0..100).map(|_| store.ping())).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Timeout))));
        assert!(asked.elapsed() < SHORT + SLACK, "{:?}", asked.elapsed());
        server.resume();
    }

    #[tokio::test]
    async fn a_store_can_be_asked_from_other_runtimes_and_outlives_them() {
        let server = RedisServer::start();
        let store = redis(&server.url(), TIMEOUT).await;
        for _ in 0..2 {
            let store = Arc::clone(&store);
            let worker = tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(store.ping())
            });
            worker.await.expect("the worker").expect("an answer");
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused_without_being_shown() {
        let server = RedisServer::start_with(&["--requirepass", "right"]);
        for url in ["redis://:wr0ng-s3cret@", "redis://ann:wr0ng-s3cret@"] {
            let url = format!("{url}127.0.0.1:{}", server.port());
            let error = redis(&url, TIMEOUT).await.ping().await.expect_err("refused");
            assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
            assert!(error.to_string().contains("password"), "{error}");
        }
        let url = format!("redis://127.0.0.1:{}", server.port());
        let error = redis(&url, TIMEOUT).await.ping().await.expect_err("refused");
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        let url = format!("redis://:right@127.0.0.1:{}/3", server.port());
        redis(&url, TIMEOUT).await.probe().await.expect("all works");
    }

    #[tokio::test]
    async fn an_acl_user_needs_only_the_gateways_names_and_commands() {
        let acl = "ann on >pa%ss ~ns:* -@all +@connection +@read +@write +@scripting";
        let mut arguments = vec!["--user"];
        arguments.extend(acl.split(' '));
        let server = RedisServer::start_with(&arguments);
        let url = format!("redis://ann:pa%25ss@127.0.0.1:{}/0", server.port());
        redis(&url, TIMEOUT).await.probe().await.expect("all works");
    }

    #[tokio::test]
    async fn an_acl_that_forbids_writing_is_found_by_the_probe() {
        let server =
            RedisServer::start_with(&["--user", "ann", "on", ">s3cret", "~ns:*", "+@read", "+@connection"]);
        let url = format!("redis://ann:s3cret@127.0.0.1:{}/0", server.port());
        let store = redis(&url, TIMEOUT).await;
        store.ping().await.expect("an answer");
        let error = store.probe().await.expect_err("it may not write");
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[tokio::test]
    async fn an_entry_of_the_wrong_kind_is_an_error_and_not_an_unknown_key() {
        let server = RedisServer::start();
        let store = redis(&server.url(), TIMEOUT).await;
        let record = record("a");
        let name = format!("ns:key:home:{}", record.hash);
        let () = raw(&server, redis::cmd("SET").arg(name).arg("text")).await;
        for answer in
            [store.find("home", &record.hash).await.map(|_| ()), store.learn(&record).await.map(|_| ())]
        {
            assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn noting_a_use_does_not_touch_the_record() {
        let server = RedisServer::start();
        let store = redis(&server.url(), TIMEOUT).await;
        let record = record("a");
        store.learn(&record).await.expect("learned");
        let name = format!("ns:key:home:{}", record.hash);
        let before: Vec<u8> = raw(&server, redis::cmd("DUMP").arg(&name)).await;
        let used = Use { instance: "home".into(), hash: record.hash, at: at(5) };
        store.note_used(&[used]).await.expect("noted");
        let after: Vec<u8> = raw(&server, redis::cmd("DUMP").arg(&name)).await;
        assert_eq!(before, after);
    }

    #[tokio::test]
    async fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "redis:/ann:s3cret@127.0.0.1",
            "http://ann:s3cret@127.0.0.1",
            "redis://ann:s3cret@host:port/0",
            "",
        ] {
            let settings = StoreSettings::Redis {
                url: RedisUrl::new(url.to_owned()),
                namespace: "ns".to_owned(),
                timeout: TIMEOUT,
            };
            let Err(error) = open(&settings).await else { panic!("{url} opened") };
            assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("not a Redis URL") && !text.contains("s3cret"), "{text}");
        }
    }
}
