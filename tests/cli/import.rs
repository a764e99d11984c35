//! Keys taken over from elsewhere: from an OpenBin's database and from CSV files, as often as one likes.

use openbin_gateway::keys::KeyHash;
use serde_json::json;

use crate::desk::{Desk, EMAIL, key_of};
use crate::support::redis::RedisServer;
use crate::support::{Request, Store};

/// An OpenBin's tables, as it makes them.
const TABLES: &str = "\
    CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT UNIQUE NOT NULL, suspended_at TEXT, deleted_at TEXT);
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, user_id TEXT NOT NULL, key_hash TEXT NOT NULL UNIQUE, key_prefix TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL, last_used_at TEXT, revoked_at TEXT
    );";

/// Writes the database that holds the double's own keys, which are made here.
fn database(desk: &Desk, name: &str) -> Vec<(String, String)> {
    let path = desk.setup.directory().join(name);
    let database = rusqlite::Connection::open(path).expect("a database");
    database.execute_batch(TABLES).expect("tables");
    database.execute("INSERT INTO users VALUES (?1, ?2, NULL, NULL)", (&desk.user, EMAIL)).expect("a user");
    let keys = ["living", "revoked"].map(|name| {
        let made = desk.openbin.sample.create_key(&desk.user, name).expect("a key");
        let hash = KeyHash::of(&made.key).to_string();
        let revoked = (name == "revoked").then_some("2026-02-01 00:00:00");
        let row = (&made.id, &desk.user, hash, &made.key[..18], name, "2026-01-01 00:00:00", revoked);
        database
            .execute("INSERT INTO api_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)", row)
            .expect("a key's row");
        (made.id, made.key)
    });
    keys.to_vec()
}

#[tokio::test]
async fn an_openbins_database_is_taken_over_once_and_told_again() {
    for runs in [true, false] {
        let mut desk = if runs { Desk::running().await } else { Desk::alone().await };
        let keys = database(&desk, "openbin.db");
        let import = "keys import --from sqlite:openbin.db";
        let dry = desk.run(&format!("{import} --dry-run")).await.ok().out;
        assert!(dry.starts_with("Would take 2 keys of 2 rows from sqlite:openbin.db into home"), "{dry}");
        assert!(desk.run("keys list --all").await.ok().out.is_empty(), "nothing was written");

        let first = desk.run(&format!("{import} --json")).await.ok().json();
        for (name, wanted) in [("rows", 2), ("written", 1), ("revoked", 1), ("known", 0), ("skipped", 0)] {
            assert_eq!(first[name], wanted, "{name}: {first}");
        }
        let (id, key) = &keys[0];
        let shown = desk.run(&format!("keys show {id}")).await.ok().out;
        assert!(shown.contains("name         living") && shown.contains(EMAIL), "{shown}");
        assert!(shown.contains("created      2026-01-01 00:00:00 UTC"), "{shown}");

        desk.run(&format!("keys revoke {}", &key[..18])).await.ok();
        let again = desk.run(&format!("{import} --json")).await.ok().json();
        for (name, wanted) in [("written", 0), ("revoked", 0), ("known", 1), ("buried", 1)] {
            assert_eq!(again[name], wanted, "{name}: {again}");
        }
        let gateway = if runs { desk.gateway() } else { desk.start().await };
        let refused = gateway.send(&Request::get("/api/bins").bearer(key)).await;
        assert_eq!(refused.status, 401, "an import does not bring a revoked key back");
    }
}

#[tokio::test]
async fn a_dry_run_counts_as_the_run_does_on_both_stores() {
    for store in Store::each() {
        let desk = Desk::of(&store, true).await;
        let mut csv = "key_hash,user_id,id,revoked_at\n".to_owned();
        let mut row = |key: &str, id: &str, revoked: &str| {
            csv.push_str(&format!("{},{},{id},{revoked}\n", KeyHash::of(&key_of(key)), desk.user));
        };
        row("known", "known", "");
        row("revoked", "revoked", "2026-01-01T00:00:00Z");
        row("predecessor", "waiting", "2026-01-01T00:00:00Z");
        desk.setup.file("before.csv", &csv);
        desk.run("keys import --from csv:before.csv").await.ok();
        let mut csv = "key_hash,user_id,id,revoked_at\n".to_owned();
        let mut row = |key: &str, id: &str, revoked: &str| {
            csv.push_str(&format!("{},{},{id},{revoked}\n", KeyHash::of(&key_of(key)), desk.user));
        };
        let rows = |row: &mut dyn FnMut(&str, &str, &str)| {
            row("known", "known", "");
            row("revoked", "revoked", "");
            row("new", "new", "");
            row("over", "over", "2026-01-01T00:00:00Z");
            row("heir", "over", "");
            row("successor", "waiting", "");
        };
        rows(&mut row);
        // What is far apart comes in different portions.
        for number in 0..1_200 {
            row(&number.to_string(), &number.to_string(), "");
        }
        rows(&mut row);
        row("late heir", "over", "");
        desk.setup.file("keys.csv", &csv);
        let import = "keys import --from csv:keys.csv --json";
        let counts = async |command: &str| {
            let document = desk.run(command).await.ok().json();
            ["rows", "written", "revoked", "known", "buried", "skipped"].map(|name| document[name].clone())
        };
        let foreseen = counts(&format!("{import} --dry-run")).await;
        let before = desk.run("audit verify --json").await.ok().json();
        assert_eq!(before["head"]["seq"], 3, "nothing was written");
        assert_eq!(counts(import).await, foreseen, "{}", store.name());
        assert_eq!(foreseen, [1_213, 1_201, 1, 1, 4, 6].map(|count| json!(count)), "{}", store.name());
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_at_its_source_meanwhile_is_revoked_by_the_next_import() {
    for runs in [true, false] {
        let desk = if runs { Desk::running().await } else { Desk::alone().await };
        let csv = |revoked: &str| {
            let row = |name: &str, revoked: &str| {
                format!("{},{},{name},{revoked}\n", KeyHash::of(&key_of(name)), desk.user)
            };
            let text = format!("key_hash,user_id,id,revoked_at\n{}{}", row("one", revoked), row("two", ""));
            desk.setup.file("keys.csv", &text);
        };
        csv("");
        desk.run("keys import --from csv:keys.csv").await.ok();
        csv("2026-01-01T00:00:00Z");
        let dry = desk.run("keys import --from csv:keys.csv --dry-run --json").await.ok().json();
        assert_eq!((&dry["ended"], &dry["known"]), (&json!(1), &json!(1)), "{dry}");
        let again = desk.run("keys import --from csv:keys.csv").await.ok().out;
        assert!(again.contains("1  known already, and revoked now"), "{again}");
        let shown = desk.run("keys show one --json").await.ok().json();
        assert_eq!(shown["record"]["standing"], "revoked", "{shown}");
        assert_eq!(shown["record"]["revoked"]["who"], "olga");
        assert_eq!(desk.run("keys show two --json").await.ok().json()["record"]["standing"], "active");
    }
}

#[tokio::test]
async fn a_csv_file_is_taken_over_in_portions_and_what_is_skipped_is_told_with_its_place() {
    let desk = Desk::running().await;
    let mut csv = "key_hash,user_id,name\n".to_owned();
    for number in 0..2500 {
        let hash = KeyHash::of(&key_of(&number.to_string()));
        csv.push_str(&format!("{hash},{},key {number}\n", desk.user));
        if number == 1500 {
            csv.push_str("not a hash,u1,broken\n");
            csv.push_str(&format!("{hash},,nobody's\n"));
        }
    }
    desk.setup.file("keys.csv", &csv);
    let done = desk.run("keys import --from csv:keys.csv --instance home --json").await.ok();
    let document = done.json();
    assert_eq!((&document["written"], &document["skipped"]), (&json!(2500), &json!(2)), "{document}");
    let rows = document["skipped_rows"].as_array().expect("rows");
    assert!(
        rows.iter().all(|row| row["place"].as_str().is_some_and(|place| place.contains("150"))),
        "{rows:?}"
    );
    let again = desk.run("keys import --from csv:keys.csv").await.ok().out;
    assert!(again.contains("     2500  known already") && again.contains("        2  skipped"), "{again}");
    assert!(!again.contains("not a hash"), "what a row holds is not repeated: {again}");
    let listed = desk.run("keys list --search 2499 --json").await.ok().json();
    assert_eq!(listed["keys"][0]["name"], "key 2499");
}

#[tokio::test]
async fn keys_that_a_store_did_not_answer_for_are_counted_as_such() {
    let mut store = Store::Redis(RedisServer::start());
    let desk = Desk::of(&store, true).await;
    let row = format!("{},{},one", KeyHash::of(&key_of("one")), desk.user);
    desk.setup.file("keys.csv", &format!("key_hash,user_id,name\n{row}\n"));
    if let Store::Redis(redis) = &mut store {
        redis.stop();
    }
    let done = desk.run("keys import --from csv:keys.csv").await;
    assert_eq!(done.code, 1, "{}", done.said());
    let failed = done.out;
    assert!(failed.starts_with("Took 0 keys of 1 row"), "{failed}");
    assert!(failed.contains("        1  sent, and not answered for"), "{failed}");
    let dry = desk.run("keys import --from csv:keys.csv --dry-run").await;
    assert!(dry.code == 1 && !dry.out.contains("not answered for"), "{}", dry.said());
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_told_without_its_password() {
    let desk = Desk::alone().await;
    desk.setup.file("plain.csv", &format!("key_hash,user_id\n{},u1\n", key_of("plain")));
    desk.setup.file("text.db", "this is no database");
    for (from, code) in [
        ("postgres://openbin:s3cret@127.0.0.1:1/openbin", 1),
        ("sqlite:nowhere.db", 1),
        ("sqlite:text.db", 1),
        ("csv:plain.csv", 1),
        ("mysql://ann:s3cret@127.0.0.1/x", 2),
    ] {
        let done = desk.run_with("keys import --from", &[], "").await;
        assert_eq!(done.code, 2, "{}", done.said());
        let environment = [("OPENBIN_GATEWAY_IMPORT_FROM", from)];
        let done = desk.bare(&["keys", "import", "--config", "gateway.yaml"], &environment, "").await;
        assert_eq!(done.code, code, "{from}: {}", done.said());
        assert!(
            !done.said().contains("s3cret") && !done.said().contains(&key_of("plain")[18..]),
            "{}",
            done.said()
        );
        assert!(!done.err.trim().is_empty());
    }
    let help =
        desk.bare(&["keys", "import", "--help"], &[("OPENBIN_GATEWAY_IMPORT_FROM", "s3cret")], "").await;
    assert!(!help.ok().out.contains("s3cret"));
}
