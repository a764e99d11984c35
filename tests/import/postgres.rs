//! OpenBin's PostgreSQL database, on a server of the test's own.

use openbin_gateway::keys::{ImportError, KeyHash};
use tokio_postgres::Client;

use super::certificate;
use super::postgres_server::PostgresServer;
use super::{drain, open, read, refused, the_orphan_behind_two_keys};

const TABLES: &str = "
    CREATE TABLE users (
        id TEXT PRIMARY KEY, email TEXT UNIQUE NOT NULL, is_admin BOOLEAN NOT NULL DEFAULT FALSE, deleted_at TEXT
    );
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, user_id TEXT NOT NULL, key_hash TEXT NOT NULL UNIQUE, key_prefix TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL DEFAULT (now()), last_used_at TEXT, revoked_at TEXT
    );
    INSERT INTO users VALUES ('u1', 'ann@example.com', TRUE, NULL), ('u2', 'bob@example.com', FALSE, now());";

/// Keys `k0` to `k…`, all of `u1`.
async fn add(client: &Client, count: u64) {
    let sql = format!(
        "INSERT INTO api_keys (id, user_id, key_hash, key_prefix)
         SELECT 'k' || n, 'u1', encode(sha256(convert_to('k' || n, 'UTF8')), 'hex'), 'sk_openbin_0011223'
         FROM generate_series(0, {count} - 1) n"
    );
    client.batch_execute(&sql).await.expect("keys");
}

async fn database(server: &PostgresServer, name: &str) -> Client {
    let sql = format!("CREATE DATABASE {name}");
    server.client("postgres").await.batch_execute(&sql).await.expect("a database");
    let client = server.client(name).await;
    client.batch_execute(TABLES).await.expect("tables");
    client
}

#[tokio::test]
async fn an_openbin_is_read_whole_and_anything_else_is_refused() {
    let server = PostgresServer::start().await;
    every_column_is_read_in_any_time_zone(&server).await;
    bad_rows_are_named_and_passed_over(&server).await;
    one_view_of_the_tables_is_read_and_nobody_is_kept_from_writing(&server).await;
    a_lost_connection_is_not_the_end_of_the_keys(&server).await;
    what_is_not_an_openbin_is_refused_with_what_is_missing(&server).await;
    who_may_not_read_is_told_so_without_the_password(&server).await;
}

async fn every_column_is_read_in_any_time_zone(server: &PostgresServer) {
    let client = database(server, "whole").await;
    client
        .batch_execute(&format!(
            "SET TIME ZONE 'Asia/Kolkata';
             INSERT INTO api_keys VALUES ('k1', 'u1', '{}', 'sk_openbin_0011223', 'läptop',
                 '2026-11-22 21:00:01Z'::timestamptz, '2026-11-22 21:00:02Z'::timestamptz, NULL);
             SET TIME ZONE 'America/St_Johns';
             INSERT INTO api_keys VALUES ('k2', 'u2', '{}', 'sk_openbin_4455667', '',
                 '2026-11-22 21:00:03.000Z', NULL, '2026-11-22 21:00:04Z'::timestamptz);
             SET TIME ZONE 'UTC';
             INSERT INTO api_keys (id, user_id, key_hash, key_prefix) VALUES ('k3', 'gone', '{}', 'x');",
            KeyHash::of("1"),
            KeyHash::of("2").to_string().to_uppercase(),
            KeyHash::of("3"),
        ))
        .await
        .expect("keys");
    let stored =
        client.query_one("SELECT created_at FROM api_keys WHERE id = 'k1'", &[]).await.expect("a row");
    assert_eq!(stored.get::<_, &str>(0), "2026-11-23 02:30:01+05:30");
    let all = read(&server.url("whole")).await;
    assert!(all.unreadable.is_empty());
    let orphan = the_orphan_behind_two_keys(&all.found);
    assert!(orphan.created_at.is_some(), "the text of now() is read");
    let socket = server.socket().display().to_string().replace('/', "%2F");
    let url = format!("postgresql://postgres:p%40ss%2Fw0rd@{socket}:{}/whole", server.port());
    assert_eq!(read(&url).await.found.len(), 3);
}

async fn bad_rows_are_named_and_passed_over(server: &PostgresServer) {
    let client = database(server, "bad").await;
    add(&client, 1_500).await;
    client
        .batch_execute(
            "UPDATE api_keys SET key_hash = 'abc' WHERE id = 'k1';
             UPDATE api_keys SET revoked_at = 'infinity' WHERE id = 'k700';
             UPDATE api_keys SET key_hash = (SELECT upper(key_hash) FROM api_keys WHERE id = 'k10') WHERE id = 'k20';",
        )
        .await
        .expect("bad rows");
    let all = read(&server.url("bad")).await;
    assert_eq!(all.found.len(), 1_497);
    let told: Vec<_> = all.unreadable.iter().map(ToString::to_string).collect();
    let said = |place: &str, why: &str| told.iter().any(|told| told.contains(place) && told.contains(why));
    assert!(said("id k1:", "64 hexadecimal digits"), "{told:#?}");
    assert!(said("id k700:", "revoked_at is not a time"), "{told:#?}");
    assert!(said("id k20:", "has come before") || said("id k10:", "has come before"), "{told:#?}");
}

async fn one_view_of_the_tables_is_read_and_nobody_is_kept_from_writing(server: &PostgresServer) {
    let client = database(server, "view").await;
    // A server may end transactions that idle; ours waits for a slow store.
    client
        .batch_execute("ALTER DATABASE view SET idle_in_transaction_session_timeout = '1ms'")
        .await
        .expect("a limit");
    add(&client, 5_000).await;
    let mut reader = open(&server.url("view")).await.expect("a reader");
    assert_eq!((reader.total(), reader.remark()), (Some(5_000), None));
    assert!(matches!(reader.next().await, Ok(Some(Ok(_)))));
    client.batch_execute("DELETE FROM api_keys WHERE id <> 'k0'").await.expect("a deletion");
    let all = drain(reader).await.expect("all keys");
    assert_eq!(all.found.len(), 4_999);
    assert_eq!(read(&server.url("view")).await.found.len(), 1);
}

async fn a_lost_connection_is_not_the_end_of_the_keys(server: &PostgresServer) {
    let client = database(server, "lost").await;
    add(&client, 5_000).await;
    let mut reader = open(&server.url("lost")).await.expect("a reader");
    assert!(matches!(reader.next().await, Ok(Some(Ok(_)))));
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'openbin-gateway' AND datname = 'lost'";
    let session: i32 = client.query_one(sql, &[]).await.expect("the reader, known by its name").get(0);
    client.query_one("SELECT pg_terminate_backend($1)", &[&session]).await.expect("an answer");
    let error = drain(reader).await.err().expect("a failure");
    assert!(matches!(error, ImportError::BrokeOff(_)), "{error}");
    assert!(!error.to_string().contains("w0rd"), "{error}");
}

async fn what_is_not_an_openbin_is_refused_with_what_is_missing(server: &PostgresServer) {
    let client = database(server, "other").await;
    for (change, missing) in [
        ("ALTER TABLE users DROP COLUMN email", "its table users has no column email"),
        ("DROP TABLE users", "it has no table users"),
        ("ALTER TABLE api_keys RENAME key_hash TO hash", "its table api_keys has no column key_hash"),
        ("DROP TABLE api_keys", "it has no table api_keys"),
    ] {
        client.batch_execute(change).await.expect("a change");
        let error = refused(&server.url("other")).await;
        assert!(matches!(error, ImportError::Foreign(_)), "{error}");
        assert!(error.to_string().ends_with(missing), "{error}");
    }
}

async fn who_may_not_read_is_told_so_without_the_password(server: &PostgresServer) {
    let client = database(server, "closed").await;
    client.batch_execute("CREATE ROLE bob LOGIN PASSWORD 's3cret'").await.expect("a user");
    let host = format!("127.0.0.1:{}", server.port());
    for (url, why) in [
        (format!("postgres://bob:s3cret@{host}/closed"), "right to SELECT"),
        (format!("postgres://bob:s3cret2@{host}/closed"), "DATABASE_URL"),
        (format!("postgres://bob:s3cret@{host}/none"), "\"none\" does not exist"),
        (format!("postgres://bob:s3cret@{host}/closed?sslmode=require"), "TLS"),
        ("postgres://bob:s3cret@127.0.0.1:1/closed".to_owned(), "refused"),
    ] {
        let told = refused(&url).await.to_string();
        assert!(told.contains(why) && told.contains("***@127.0.0.1"), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    client.batch_execute("GRANT SELECT ON api_keys, users TO bob").await.expect("a right");
    let all = read(&format!("postgres://bob:s3cret@{host}/closed")).await;
    assert!(all.found.is_empty());
}

#[tokio::test]
async fn tls_is_used_and_verified_as_the_url_says() {
    let pair = certificate::issue(&["localhost"]);
    let server = PostgresServer::start_with_tls(&pair.chain, &pair.key).await;
    let client = database(&server, "bins").await;
    add(&client, 1).await;
    client
        .batch_execute(
            "CREATE VIEW tls AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();
             ALTER TABLE users RENAME TO people;
             CREATE VIEW users AS SELECT id, (SELECT ssl::text FROM tls) AS email FROM people;",
        )
        .await
        .expect("a view that shows whether TLS is used");
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("our ca.pem");
    std::fs::write(&roots, certificate::authority_pem()).expect("a file");
    let roots = roots.display().to_string().replace(' ', "%20");
    let url = |host: &str, query: &str| {
        format!("postgres://postgres:p%40ss%2Fw0rd@{host}:{}/bins?{query}", server.port())
    };
    for (query, encrypted) in [
        ("sslmode=disable".to_owned(), "false"),
        (String::new(), "true"),
        ("sslmode=no-verify&channel_binding=require".to_owned(), "true"),
        (format!("sslmode=verify-full&sslrootcert={roots}"), "true"),
        (format!("sslrootcert={roots}"), "true"),
    ] {
        let all = read(&url("localhost", &query)).await;
        assert_eq!(all.found[0].user_email.as_deref(), Some(encrypted), "{query}");
    }
    for (host, query) in
        [("localhost", "sslmode=require".to_owned()), ("127.0.0.1", format!("sslrootcert={roots}"))]
    {
        let told = refused(&url(host, &query)).await.to_string();
        assert!(told.contains("certificate") && told.contains("by sslrootcert=FILE"), "{told}");
        assert!(!told.contains("w0rd"), "{told}");
    }
}
