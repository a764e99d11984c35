//! The stores that the suite is run against, with the means to look and to reach behind them.

use super::*;

/// A store with the means to look behind it.
pub struct Backend {
    /// `None` only while it is opened again.
    store: Option<Arc<dyn Ledger>>,
    behind: Behind,
}

enum Behind {
    Embedded(Folder),
    Redis(RedisServer),
}

impl Backend {
    pub async fn embedded() -> Self {
        let folder = Folder::new();
        let store = open(&folder.settings()).await.expect("a store");
        Self { store: Some(store), behind: Behind::Embedded(folder) }
    }

    pub async fn redis() -> Self {
        Self::redis_with(&[]).await
    }

    pub async fn redis_with(arguments: &[&str]) -> Self {
        let server = RedisServer::start_with(arguments);
        Self { store: Some(redis(&server.url(), TIMEOUT).await), behind: Behind::Redis(server) }
    }

    pub fn store(&self) -> &Arc<dyn Ledger> {
        self.store.as_ref().expect("an open store")
    }

    /// What another process would have open: the embedded file is for one, so there it is the same.
    pub async fn beside(&self) -> Arc<dyn Ledger> {
        match &self.behind {
            Behind::Embedded(_) => Arc::clone(self.store()),
            Behind::Redis(server) => redis(&server.url(), TIMEOUT).await,
        }
    }

    /// As after a restart of the process.
    pub async fn reopen(&mut self) {
        self.store = None;
        self.store = Some(match &self.behind {
            Behind::Embedded(folder) => open(&folder.settings()).await.expect("the store again"),
            Behind::Redis(server) => redis(&server.url(), TIMEOUT).await,
        });
    }

    /// Spoils the record of this key.
    pub async fn damage(&self, record: &KeyRecord) {
        match &self.behind {
            Behind::Embedded(folder) => {
                let sql = "UPDATE keys SET issuer = 'nobody' WHERE hash = ?1";
                let changed = folder.database().execute(sql, [record.hash.as_bytes()]).expect("an update");
                assert_eq!(changed, 1);
            }
            Behind::Redis(server) => {
                let name = format!("{{ns}}:key:{}:{}", record.instance, record.hash);
                let () = raw(server, redis::cmd("HSET").arg(name).arg("issuer").arg("nobody")).await;
            }
        }
    }

    /// Has another text stand in an entry of the audit chain.
    pub async fn edit_entry(&self, seq: u32, from: &str, to: &str) {
        match &self.behind {
            Behind::Embedded(folder) => {
                let sql = "UPDATE audit SET text = replace(text, ?2, ?3) WHERE seq = ?1";
                let changed = folder.database().execute(sql, (seq, from, to)).expect("an update");
                assert_eq!(changed, 1);
            }
            // Entries of a stream cannot be changed, but the whole stream can be written anew.
            Behind::Redis(server) => {
                let entries: Vec<(String, Vec<String>)> =
                    raw(server, redis::cmd("XRANGE").arg("{ns}:audit").arg("-").arg("+")).await;
                let () = raw(server, redis::cmd("DEL").arg("{ns}:audit")).await;
                for (id, mut fields) in entries {
                    if id == format!("{seq}-0") {
                        fields[1] = fields[1].replace(from, to);
                    }
                    let mut add = redis::cmd("XADD");
                    let _: String = raw(server, add.arg("{ns}:audit").arg(id).arg(fields)).await;
                }
            }
        }
    }

    /// Takes an entry out of the audit chain.
    pub async fn remove_entry(&self, seq: u32) {
        let removed: usize = match &self.behind {
            Behind::Embedded(folder) => {
                folder.database().execute("DELETE FROM audit WHERE seq = ?1", [seq]).expect("a removal")
            }
            Behind::Redis(server) => {
                raw(server, redis::cmd("XDEL").arg("{ns}:audit").arg(format!("{seq}-0"))).await
            }
        };
        assert_eq!(removed, 1);
    }

    /// Has the audit chain begin behind another entry.
    pub async fn set_base(&self, seq: u64, hash: &str) {
        match &self.behind {
            Behind::Embedded(folder) => {
                let sql = "UPDATE audit_base SET seq = ?1, hash = ?2";
                let changed = folder.database().execute(sql, (i64::try_from(seq).expect("a number"), hash));
                assert_eq!(changed.expect("an update"), 1);
            }
            Behind::Redis(server) => {
                let () = raw(server, redis::cmd("SET").arg("{ns}:base").arg(format!("{seq} {hash}"))).await;
            }
        }
    }

    /// How many entries the store has, of whatever kind.
    pub async fn entries(&self) -> i64 {
        match &self.behind {
            Behind::Embedded(folder) => {
                let tables = ["keys", "tombstones", "usage_days", "blocks", "errands", "audit"];
                let count = |table| {
                    let sql = format!("SELECT count(*) FROM {table}");
                    folder.database().query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("a count")
                };
                tables.into_iter().map(count).sum()
            }
            Behind::Redis(server) => raw(server, &mut redis::cmd("DBSIZE")).await,
        }
    }

    /// How many bytes the store takes.
    pub async fn size(&self) -> u64 {
        match &self.behind {
            Behind::Embedded(folder) => {
                let files = std::fs::read_dir(&folder.0).expect("the folder");
                files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum()
            }
            Behind::Redis(server) => {
                let memory: String = raw(server, redis::cmd("INFO").arg("memory")).await;
                let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
                used.and_then(|used| used.trim().parse().ok()).expect("its memory")
            }
        }
    }

    /// The longest that a command has taken of a Redis server.
    pub async fn longest_command(&self) -> Duration {
        let Behind::Redis(server) = &self.behind else { panic!("the embedded store serves one at a time") };
        let slow: Vec<(i64, i64, u64, redis::Value, redis::Value, redis::Value)> =
            raw(server, redis::cmd("SLOWLOG").arg("GET").arg(-1)).await;
        Duration::from_micros(slow.iter().map(|command| command.2).max().unwrap_or(0))
    }
}

pub async fn redis(url: &str, timeout: Duration) -> Arc<dyn Ledger> {
    let servers = RedisUrl::new(url.to_owned()).into();
    open(&StoreSettings::Redis { servers, namespace: "ns".to_owned(), timeout }).await.expect("a store")
}

pub async fn store_at(place: Place, tls: Option<RedisTls>, timeout: Duration) -> Arc<dyn Ledger> {
    let servers = Servers { place, tls };
    open(&StoreSettings::Redis { servers, namespace: "ns".to_owned(), timeout }).await.expect("a store")
}

pub async fn raw<T: redis::FromRedisValue>(server: &RedisServer, command: &mut redis::Cmd) -> T {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    command.query_async(&mut connection).await.expect("an answer")
}

/// A folder of a test's own, gone with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("gateway-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("gateway.db")
    }

    pub fn settings(&self) -> StoreSettings {
        StoreSettings::Embedded { path: self.file() }
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file()).expect("the file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
