//! Keys from an OpenBin's PostgreSQL database: one read-only transaction with one view of the tables, and a
//! cursor through it.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Statement};

use super::reader::{BATCH, Outlet, Stop};
use super::row::{Fields, Repeats, mark};
use super::url::PostgresUrl;
use super::{ImportError, KeyHash, Reader, schema};

/// For the whole of signing in, where the URL has no `connect_timeout`.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A server that takes longer for one question has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// The store may be slower than the database; a server that ends idle transactions must not end this one.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SET LOCAL idle_in_transaction_session_timeout = 0; \
                     SET LOCAL datestyle = 'ISO, YMD'";
const COLUMNS: &str = "SELECT attname::text FROM pg_attribute \
                       WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";

struct Database {
    shown: String,
    client: Client,
    fetch: Statement,
    repeats: Repeats,
}

/// Signs in, and sees that the database is an OpenBin's.
pub(super) async fn open(url: &PostgresUrl) -> Result<Reader, ImportError> {
    let client = connect(url).await?;
    let shown = url.to_string();
    let failed = |error| explain(&shown, &error);
    within(&shown, client.batch_execute(BEGIN)).await?.map_err(failed)?;
    for (table, needed) in schema::TABLES {
        let found = within(&shown, client.query(COLUMNS, &[table])).await?.map_err(failed)?;
        let columns: Vec<String> = found.iter().filter_map(|row| row.try_get(0).ok()).collect();
        schema::check(&shown, table, needed, &columns)?;
    }
    let count = within(&shown, client.query_one(schema::COUNT, &[])).await?.map_err(failed)?;
    let total: i64 = count.try_get(0).map_err(failed)?;
    let repeated = within(&shown, client.query(schema::REPEATED, &[])).await?.map_err(failed)?;
    let hashes = repeated.iter().filter_map(|row| text(row, 0).ok().flatten().and_then(KeyHash::from_hex));
    let repeats = Repeats::new(hashes.map(mark));
    let cursor = format!("DECLARE keys NO SCROLL CURSOR FOR {}", schema::KEYS);
    within(&shown, client.batch_execute(&cursor)).await?.map_err(failed)?;
    let fetch = format!("FETCH {BATCH} FROM keys");
    let fetch = within(&shown, client.prepare(&fetch)).await?.map_err(failed)?;
    let database = Database { shown, client, fetch, repeats };
    Ok(Reader::pending(u64::try_from(total).unwrap_or_default(), |outlet| database.pour(outlet)))
}

async fn connect(url: &PostgresUrl) -> Result<Client, ImportError> {
    let connector =
        url.verification.connector().map_err(|why| ImportError::Unusable(format!("{url}: {why}")))?;
    let mut config = url.config.clone();
    config.ssl_mode(url.verification.ssl_mode());
    let patience = config.get_connect_timeout().copied().unwrap_or(CONNECT_WITHIN);
    let connected = timeout(patience, config.connect(connector)).await;
    let (client, connection) =
        connected.map_err(|_| silent(url, patience))?.map_err(|error| explain(url, &error))?;
    // It ends with the client; how, the client is told with its next question.
    tokio::spawn(connection);
    Ok(client)
}

impl Database {
    async fn pour(mut self, outlet: Outlet) -> Result<(), Stop> {
        let broke_off = |error: ImportError| {
            ImportError::BrokeOff(format!("the reading of {} broke off: {error}", self.shown))
        };
        let mut number = 0;
        loop {
            let rows = within(&self.shown, self.client.query(&self.fetch, &[])).await.map_err(broke_off)?;
            let rows = rows.map_err(|error| broke_off(explain(&self.shown, &error)))?;
            let last = rows.len() < BATCH;
            let judged = rows.iter().map(|row| {
                number += 1;
                let key = fields(row).and_then(Fields::key);
                self.repeats.judge(key, || schema::place(text(row, 0).ok().flatten(), number))
            });
            outlet.give(judged.collect()).await?;
            if last {
                return Ok(());
            }
        }
    }
}

/// A column that is null has no text.
fn text(row: &Row, column: usize) -> Result<Option<&str>, String> {
    row.try_get(column).map_err(|_| "it is not text in UTF-8".to_owned())
}

fn fields(row: &Row) -> Result<Fields<'_>, String> {
    Ok(Fields {
        id: text(row, 0)?,
        key_hash: text(row, 1)?,
        user_id: text(row, 2)?,
        user_email: text(row, 3)?,
        name: text(row, 4)?.map(Into::into),
        prefix: text(row, 5)?,
        created_at: text(row, 6)?,
        last_used_at: text(row, 7)?,
        revoked_at: text(row, 8)?,
        expires_at: None,
    })
}

async fn within<T>(source: &str, question: impl Future<Output = T>) -> Result<T, ImportError> {
    timeout(ANSWER_WITHIN, question).await.map_err(|_| silent(&source, ANSWER_WITHIN))
}

fn silent(source: &impl Display, patience: Duration) -> ImportError {
    ImportError::Unreachable(format!("{source} did not answer within {} seconds", patience.as_secs_f32()))
}

/// The server's message, but not its details: those may hold what a row holds.
fn explain(source: &impl Display, error: &tokio_postgres::Error) -> ImportError {
    let Some(told) = error.as_db_error() else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        let mend = if distrusts_certificate(error) {
            ". Name the authority that signed it by sslrootcert=FILE, and the server as the certificate does"
        } else {
            ""
        };
        return ImportError::Unreachable(format!("{source}: {error}{cause}{mend}"));
    };
    let mend = match told.code() {
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            ". The URL's user and password must be those that OpenBin has in DATABASE_URL"
        }
        &SqlState::INSUFFICIENT_PRIVILEGE => ". The user needs the right to SELECT from api_keys and users",
        _ => "",
    };
    ImportError::Refused(format!("{source} refused: {}{mend}", told.message()))
}

fn distrusts_certificate(error: &tokio_postgres::Error) -> bool {
    let cause =
        error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).and_then(io::Error::get_ref);
    let cause = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}
