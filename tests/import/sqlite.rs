//! OpenBin's SQLite file: in use by another process, left behind, copied whole and in part, and not its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use openbin_gateway::keys::{ImportError, KeyHash};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{at, drain, open, read, refused, the_orphan_behind_two_keys};

const TABLES: &str = "
    CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT UNIQUE NOT NULL, suspended_at TEXT, deleted_at TEXT);
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        key_hash TEXT NOT NULL UNIQUE, key_prefix TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL DEFAULT (datetime('now')), last_used_at TEXT, revoked_at TEXT
    );
    CREATE INDEX idx_api_keys_user ON api_keys (user_id);
    INSERT INTO users VALUES ('u1', 'ann@example.com', NULL, NULL),
        ('u2', 'bob@example.com', '2026-11-22 21:00:00', '2026-11-22 21:00:00');";

struct Database(TempDir);

impl Database {
    /// An OpenBin's tables, in WAL mode, which nobody has open.
    fn new() -> Self {
        let database = Self(tempfile::tempdir().expect("a folder"));
        let connection = database.connect();
        connection.pragma_update(None, "journal_mode", "WAL").expect("WAL mode");
        connection.execute_batch(TABLES).expect("tables");
        database
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("openbin.db")
    }

    fn source(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).expect("a database");
        connection.execute_batch("PRAGMA foreign_keys = OFF").expect("a pragma");
        connection
    }

    /// Names and content of all files in the folder.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.0.path()).expect("the folder");
        let path = entries.map(|entry| entry.expect("an entry").path());
        path.map(|path| (path.clone(), std::fs::read(path).expect("a file"))).collect()
    }
}

fn add(connection: &Connection, id: &str, user: &str) {
    let sql =
        "INSERT INTO api_keys (id, user_id, key_hash, key_prefix) VALUES (?1, ?2, ?3, 'sk_openbin_0011223')";
    let hash = KeyHash::of(id).to_string();
    connection.execute(sql, [id, user, &hash]).expect("a key");
}

/// Another process that has the file open, as OpenBin has.
struct Writer {
    child: Child,
    answers: BufReader<ChildStdout>,
}

const WRITER: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('PRAGMA wal_autocheckpoint = 0')
for line in sys.stdin:
    db.execute(line)
    print('done', flush=True)
";

impl Writer {
    fn start(path: &Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", WRITER]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3, whose sqlite3 stands for another program");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, answers }
    }

    fn execute(&mut self, sql: &str) {
        writeln!(self.child.stdin.as_mut().expect("its input"), "{sql}").expect("a statement");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        assert_eq!(answer, "done\n");
    }

    fn add(&mut self, id: &str) {
        let hash = KeyHash::of(id);
        self.execute(&format!(
            "INSERT INTO api_keys (id, user_id, key_hash, key_prefix) VALUES ('{id}', 'u1', '{hash}', '')"
        ));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn every_column_of_every_key_is_read() {
    let database = Database::new();
    let connection = database.connect();
    connection
        .execute_batch(&format!(
            "INSERT INTO api_keys VALUES
             ('k1', 'u1', '{}', 'sk_openbin_0011223', 'läptop', '2026-11-22 21:00:01', '2026-11-22 21:00:02', NULL),
             ('k2', 'u2', '{}', 'sk_openbin_4455667', '', '2026-11-22T21:00:03.000Z', NULL, '2026-11-22 21:00:04'),
             ('k3', 'gone', '{}', 'sk_openbin_8899aab', 'a' || char(0) || CAST(x'eda0bd' AS TEXT),
              '2026-11-22 21:00:05', NULL, NULL);",
            KeyHash::of("1"),
            KeyHash::of("2").to_string().to_uppercase(),
            KeyHash::of("3"),
        ))
        .expect("keys");
    let all = read(&database.source()).await;
    assert!(all.unreadable.is_empty());
    let orphan = the_orphan_behind_two_keys(&all.found);
    assert!(orphan.name.starts_with("a\0\u{fffd}"), "{:?}", orphan.name);
    assert!(all.found.iter().all(|found| found.expires_at.is_none()));
}

#[tokio::test]
async fn a_file_in_use_is_read_with_what_was_written_last_and_without_a_trace() {
    let database = Database::new();
    let mut writer = Writer::start(&database.path());
    writer.add("k1");
    let files = database.files();
    assert_eq!(files.len(), 3, "the writer holds the file in WAL mode");
    let reader = open(&database.source()).await.expect("a reader");
    assert_eq!((reader.total(), reader.remark()), (Some(1), None));
    // The reader keeps nobody from writing, and has its own view.
    writer.add("k2");
    let all = drain(reader).await.expect("all keys");
    assert_eq!(all.found.len(), 1);
    assert_eq!(read(&database.source()).await.found.len(), 2);
    writer.execute("UPDATE api_keys SET revoked_at = '2026-11-22 21:00:09' WHERE id = 'k1'");
    let files = database.files();
    assert_eq!(read(&database.source()).await.found[0].revoked_at, at(9));
    for (path, content) in database.files() {
        let index = path.to_string_lossy().ends_with("-shm");
        assert!(index || files.get(&path) == Some(&content), "{} was written", path.display());
    }
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(read(&database.source()).await.found.len(), 2);
}

#[tokio::test]
async fn what_a_killed_process_left_behind_is_read_whole() {
    let database = Database::new();
    let mut writer = Writer::start(&database.path());
    writer.add("k1");
    drop(writer);
    let before = database.files();
    assert_eq!(read(&database.source()).await.found.len(), 1);
    assert!(database.files().keys().eq(before.keys()), "no file came or went");
}

#[tokio::test]
async fn a_file_that_lies_still_is_read_without_making_any_other() {
    let database = Database::new();
    add(&database.connect(), "k1", "u1");
    let before = database.files();
    assert_eq!(before.len(), 1);
    let folder = std::fs::metadata(database.0.path()).expect("the folder").permissions();
    let mut locked = folder.clone();
    locked.set_readonly(true);
    std::fs::set_permissions(database.0.path(), locked).expect("rights");
    let reader = open(&database.source()).await.expect("a reader");
    assert!(reader.remark().is_some_and(|remark| remark.contains("-wal")));
    assert_eq!(drain(reader).await.expect("all keys").found.len(), 1);
    std::fs::set_permissions(database.0.path(), folder).expect("rights");
    assert_eq!(database.files(), before);
}

#[tokio::test]
async fn a_file_that_wakes_while_it_is_read_is_not_trusted() {
    for checkpointed in [false, true] {
        let database = Database::new();
        let connection = database.connect();
        connection.execute_batch("BEGIN").expect("a transaction");
        // More than is read ahead, so that the reader is still at it when the file wakes.
        for number in 0..5_000 {
            add(&connection, &number.to_string(), "u1");
        }
        connection.execute_batch("COMMIT").expect("many keys");
        connection.close().expect("a file that lies still");
        let reader = open(&database.source()).await.expect("a reader");
        let mut writer = Writer::start(&database.path());
        writer.add("late");
        if checkpointed {
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        let error = drain(reader).await.err().expect("a failure");
        assert!(matches!(error, ImportError::BrokeOff(_)), "{error}");
        assert!(error.to_string().contains("while it was read"), "{error}");
    }
}

#[tokio::test]
async fn a_copy_without_its_index_is_refused_rather_than_read_in_part() {
    let database = Database::new();
    let mut writer = Writer::start(&database.path());
    writer.add("k1");
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["openbin.db", "openbin.db-wal"] {
        std::fs::copy(database.0.path().join(name), copy.path().join(name)).expect("a copy");
    }
    let told = refused(&format!("sqlite:{}/openbin.db", copy.path().display())).await.to_string();
    assert!(told.contains("-shm") && told.contains("VACUUM INTO"), "{told}");
}

#[tokio::test]
async fn a_file_in_another_journal_mode_is_read() {
    let database = Database::new();
    let connection = database.connect();
    connection.pragma_update(None, "journal_mode", "DELETE").expect("another mode");
    add(&connection, "k1", "u1");
    drop(connection);
    let before = database.files();
    assert_eq!(read(&database.source()).await.found.len(), 1);
    assert_eq!(database.files(), before);
}

#[tokio::test]
async fn a_name_with_signs_of_uris_is_a_name() {
    let database = Database::new();
    add(&database.connect(), "k1", "u1");
    let odd = database.0.path().join("a ?mode=rw#%41é.db");
    std::fs::rename(database.path(), &odd).expect("a new name");
    let all = read(&format!("sqlite:{}", odd.display())).await;
    assert_eq!(all.found.len(), 1);
    let link = database.0.path().join("link.db");
    std::os::unix::fs::symlink(&odd, &link).expect("a link");
    assert_eq!(read(&format!("sqlite:{}", link.display())).await.found.len(), 1);
}

#[tokio::test]
async fn a_bad_row_is_named_and_passed_over() {
    let database = Database::new();
    let connection = database.connect();
    connection.execute_batch("BEGIN").expect("a transaction");
    for number in 0..1_000 {
        add(&connection, &format!("k{number}"), "u1");
    }
    connection.execute_batch("COMMIT").expect("many keys");
    connection
        .execute_batch(&format!(
            "UPDATE api_keys SET key_hash = 'abc' WHERE id = 'k1';
             UPDATE api_keys SET revoked_at = 'yes' WHERE id = 'k700';
             UPDATE api_keys SET user_id = '' WHERE id = 'k800';
             UPDATE api_keys SET created_at = 1795381200 WHERE id = 'k900';
             UPDATE api_keys SET id = NULL, key_hash = x'ff' WHERE id = 'k999';
             UPDATE api_keys SET key_hash = '{}' WHERE id = 'k20';",
            KeyHash::of("k10").to_string().to_uppercase()
        ))
        .expect("bad rows");
    let all = read(&database.source()).await;
    assert_eq!(all.found.len(), 994);
    let told: Vec<_> = all.unreadable.iter().map(ToString::to_string).collect();
    for (place, why) in [
        ("id k1:", "64 hexadecimal digits"),
        ("id k700:", "revoked_at is not a time"),
        ("id k800:", "no user_id"),
        ("id k900:", "created_at is not a time"),
        ("row 1000:", "not UTF-8"),
        ("id k20:", "has come before"),
    ] {
        assert!(told.iter().any(|told| told.contains(place) && told.contains(why)), "{told:#?}");
    }
}

#[tokio::test]
async fn what_is_not_an_openbin_is_refused_with_what_is_missing() {
    let database = Database::new();
    for (change, missing) in [
        ("ALTER TABLE users RENAME COLUMN email TO mail", "its table users has no column email"),
        ("DROP TABLE users", "it has no table users"),
        ("ALTER TABLE api_keys DROP COLUMN revoked_at", "its table api_keys has no column revoked_at"),
        ("DROP TABLE api_keys", "it has no table api_keys"),
    ] {
        database.connect().execute_batch(change).expect("a change");
        let error = refused(&database.source()).await;
        assert!(matches!(error, ImportError::Foreign(_)), "{error}");
        assert!(error.to_string().ends_with(missing), "{error}");
        assert!(error.to_string().contains("openbin.db"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let database = Database::new();
    let folder = database.0.path();
    std::fs::write(folder.join("empty"), "").expect("a file");
    std::fs::write(folder.join("text"), "key_hash,user_id\nand so on, for long enough\n").expect("a file");
    let whole = std::fs::read(database.path()).expect("the file");
    std::fs::write(folder.join("torn"), &whole[..whole.len() / 2]).expect("a file");
    for (name, why) in [
        ("", "is a folder"),
        ("none.db", "No such file"),
        ("empty", "is not an SQLite file"),
        ("text", "is not an SQLite file"),
        ("torn", "damaged"),
    ] {
        let told = refused(&format!("sqlite:{}", folder.join(name).display())).await.to_string();
        assert!(told.contains(why), "{name}: {told}");
    }
}
