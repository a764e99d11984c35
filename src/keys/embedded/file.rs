//! Opening the embedded store's file: whose it is, whether it is sound, and its tables.
//!
//! Everything that can be wrong with the file is found here, before the gateway serves anything, and said
//! with the path and the mend.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::super::StoreError;

/// Marks the file as ours, in SQLite's own header.
const APPLICATION: i32 = 0x4f42_6777;
/// Step `n` leads from version `n` to `n + 1`. Steps are only ever added.
const MIGRATIONS: &[&str] = &[
    include_str!("001_keys.sql"),
    include_str!("002_registry.sql"),
    include_str!("003_retention.sql"),
    include_str!("004_uses.sql"),
];
/// Readers such as `sqlite3 … .backup` hold the file for moments.
const OTHERS_MAY_HOLD_IT_FOR: Duration = Duration::from_secs(5);
/// What SQLite may hold in memory at most, in KiB (below zero: not in pages). Without room for the pages of some
/// 10,000 keys it writes and reads them again and again while their last uses are noted.
const PAGE_CACHE: i32 = -16 * 1024;
/// How many pages of SQLite's log are gathered before they are copied to where they belong: 32 MiB. The last uses of
/// many keys come back to the same pages every few seconds, which so are copied once instead of each time.
const COPIED_AT_PAGES: i32 = 8 * 1024;

/// The open file. The lock goes last: nobody may open the file before SQLite has closed it.
pub(super) struct File {
    connection: Connection,
    _lock: fs::File,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        owner_only().open(path).map_err(|error| cannot_open(path, &error))?;
        let unusable = |error: rusqlite::Error| explain(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
        connection.busy_timeout(OTHERS_MAY_HOLD_IT_FOR).map_err(unusable)?;
        let version = version(&connection, path)?;
        check(&connection, path)?;
        // FULL, so that a revocation that was answered survives a power cut.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(unusable)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(unusable)?;
        connection.pragma_update(None, "cache_size", PAGE_CACHE).map_err(unusable)?;
        connection.pragma_update(None, "wal_autocheckpoint", COPIED_AT_PAGES).map_err(unusable)?;
        migrate(&mut connection, version).map_err(unusable)?;
        Ok(Self { connection, _lock: lock })
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// The file is for one process at a time: another one's cache would not learn of a revocation made here.
/// SQLite's own locks do not say that, since they come and go with each transaction.
fn lock(path: &Path) -> Result<fs::File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = owner_only().open(&name).map_err(|error| cannot_open(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse(format!(
            "{} is open in another process. One gateway at a time can use an embedded store; several can \
             share a Redis",
            path.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(cannot_open(path, &error)),
    }
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// The version of the tables: 0 for a new file. Refuses what is not ours.
fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let read = || {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((number("application_id")?, number("user_version")?, tables))
    };
    let (application, version, tables) = read().map_err(|error| explain(path, error))?;
    let (path, known) = (path.display(), MIGRATIONS.len());
    match (application, usize::try_from(version)) {
        (APPLICATION, Ok(version)) if version <= known => Ok(version),
        (APPLICATION, _) => Err(StoreError::Unusable(format!(
            "{path} was written by a newer version (tables {version}, this one knows up to {known}). Use that \
             version, or go back to a copy of the file from before"
        ))),
        (0, Ok(0)) if tables == 0 => Ok(0),
        _ => Err(StoreError::Unusable(format!(
            "{path} is the database of another program. Give store.path a file of its own"
        ))),
    }
}

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| explain(path, error))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(path, &verdict)) }
}

fn migrate(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (done, step) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", i32::try_from(done + 1).unwrap_or(i32::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

fn cannot_open(path: &Path, error: &io::Error) -> StoreError {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (path, parent) = (path.display(), parent.display());
    StoreError::Unusable(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{path} cannot be made: the folder {parent} does not exist. Make it first")
        }
        io::ErrorKind::NotADirectory => format!("{path} cannot be made: {parent} is not a folder"),
        io::ErrorKind::IsADirectory => format!("{path} is a folder. Give store.path the name of a file"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => format!(
            "{path} cannot be written: {error}. The gateway's user needs to write that file and the folder {parent}"
        ),
        _ => format!("{path} cannot be opened: {error}"),
    })
}

fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Unusable(format!(
            "{} is not an SQLite file. Give store.path a file of its own",
            path.display()
        )),
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        _ => StoreError::Unusable(format!("{}: {error}", path.display())),
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Unusable(format!(
        "{} is damaged ({}). Put a copy of it in its place, or move it away to begin with an empty store: \
         keys that OpenBin issued are then learned again, and those revoked at OpenBin stay revoked there",
        path.display(),
        what.trim()
    ))
}

/// What an error of an open file means to whoever asked.
pub(super) fn refused(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error as E;
    match (&error, error.sqlite_error_code()) {
        (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        | (E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..), _) => {
            StoreError::Corrupt(error.to_string())
        }
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => StoreError::Timeout,
        _ => StoreError::Refused(error.to_string()),
    }
}
