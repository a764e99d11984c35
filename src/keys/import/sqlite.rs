//! Keys from an OpenBin's SQLite file, whether it is in use or lies still.
//!
//! Nothing is written, and no file is made beside it: a `-shm` that belonged to another user would keep
//! OpenBin from its own database. A file in use is read like any other of its readers reads it. A file in
//! WAL mode without a `-wal` beside it is complete, and nobody has it open; SQLite would make both files
//! only to read it, so it is told that the file does not change (`immutable`), and afterwards it is checked
//! that it did not. A `-wal` without its `-shm` cannot be read without writing, and is refused.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::reader::{BATCH, Outlet, Stop};
use super::row::{Fields, Repeats, mark};
use super::{ImportError, KeyHash, Reader, schema};

/// OpenBin itself waits as long for a lock.
const OTHERS_MAY_HOLD_IT_FOR: Duration = Duration::from_secs(5);
const STILL: &str = "no -wal file lies beside the database, so it is read as one that nobody has open. Where it \
                     is a copy made while OpenBin ran, copy openbin.db-wal and openbin.db-shm with it";
const IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

struct Database {
    path: PathBuf,
    connection: Connection,
    way: Way,
    repeats: Repeats,
}

/// How a file can be read without a trace.
enum Way {
    /// With locks, beside others.
    Shared,
    /// As a file that does not change, and that looked like this.
    Still(Look),
}

/// What changes where a file is written.
#[derive(PartialEq, Eq)]
struct Look {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

/// Opens the file, and sees that it is an OpenBin's. Blocks.
pub(super) fn open(path: &Path) -> Result<Reader, ImportError> {
    let path = fs::canonicalize(path).map_err(|error| cannot_open(path, &error))?;
    let way = Way::of(&path)?;
    let connection = connect(&path, &way).map_err(|error| explain(&path, &error))?;
    let mut database = Database { path, connection, way, repeats: Repeats::default() };
    let total = database.survey()?;
    let remark = matches!(database.way, Way::Still(_)).then_some(STILL);
    Ok(Reader::blocking(total, remark, move |outlet| database.pour(outlet)))
}

impl Way {
    fn of(path: &Path) -> Result<Self, ImportError> {
        let unreadable = |error| cannot_open(path, &error);
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            let path = path.display();
            return Err(ImportError::Unusable(format!(
                "{path} is a folder. Name the file in it: openbin.db"
            )));
        }
        if !in_wal_mode(path)? {
            return Ok(Self::Shared);
        }
        let wal = fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len());
        match (wal, beside(path, "-shm").exists()) {
            (1.., false) => Err(ImportError::Unusable(format!(
                "{0} has a -wal file beside it, but no -shm, as where only two of the three files were copied. \
                 Copy all three, or make a whole copy with: sqlite3 {0} \"VACUUM INTO 'copy.db'\"",
                path.display()
            ))),
            (0, true) if beside(path, "-wal").exists() => Ok(Self::Shared),
            (0, _) => Ok(Self::Still(Look::of(&metadata))),
            (1.., true) => Ok(Self::Shared),
        }
    }
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// Reads SQLite's header (file format §1.3): the name of the format, and the version for readers.
fn in_wal_mode(path: &Path) -> Result<bool, ImportError> {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) if header.starts_with(b"SQLite format 3\0") => Ok(header.ends_with(&[2])),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(cannot_open(path, &error)),
        Ok(()) | Err(_) => {
            let path = path.display();
            Err(ImportError::Foreign(format!("{path} is not an SQLite file. OpenBin's is openbin.db")))
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn connect(path: &Path, way: &Way) -> rusqlite::Result<Connection> {
    let query = match way {
        Way::Shared => "mode=ro",
        Way::Still(_) => "mode=ro&immutable=1",
    };
    let uri = format!("file:{}?{query}", percent_encode(path.as_os_str().as_bytes(), IN_PATHS));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(OTHERS_MAY_HOLD_IT_FOR)?;
    // One view of the tables from here on. In WAL mode it keeps nobody from writing.
    connection.execute_batch("BEGIN")?;
    Ok(connection)
}

impl Database {
    /// Checks the tables; counts the keys, and notes those that might come twice.
    fn survey(&mut self) -> Result<u64, ImportError> {
        let failed = |error| explain(&self.path, &error);
        for (table, needed) in schema::TABLES {
            let columns = texts(&self.connection, "SELECT name FROM pragma_table_info(?1)", [table]);
            schema::check(&self.path.display(), table, needed, &columns.map_err(failed)?)?;
        }
        let repeated = texts(&self.connection, schema::REPEATED, []).map_err(failed)?;
        let hashes = repeated.iter().filter_map(|text| KeyHash::from_hex(text));
        let total: i64 = self.connection.query_row(schema::COUNT, [], |row| row.get(0)).map_err(failed)?;
        self.repeats = Repeats::new(hashes.map(mark));
        Ok(u64::try_from(total).unwrap_or_default())
    }

    fn pour(self, outlet: &Outlet) -> Result<(), Stop> {
        let Self { path, connection, way, mut repeats } = self;
        let failed = |error| broke_off(&path, &explain(&path, &error));
        let mut keys = connection.prepare(schema::KEYS).map_err(failed)?;
        let mut rows = keys.query([]).map_err(failed)?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut number = 0;
        while let Some(row) = rows.next().map_err(failed)? {
            number += 1;
            let key = fields(row).and_then(Fields::key);
            let place = || schema::place(text(row, 0).ok().flatten(), number);
            batch.push(repeats.judge(key, place));
            if batch.len() == BATCH {
                outlet.put(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))?;
            }
        }
        outlet.put(batch)?;
        Ok(way.still_holds(&path)?)
    }
}

impl Way {
    fn still_holds(&self, path: &Path) -> Result<(), ImportError> {
        let Self::Still(look) = self else { return Ok(()) };
        let now = fs::metadata(path).is_ok_and(|metadata| Look::of(&metadata) == *look);
        let wal = fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len());
        if now && wal == 0 {
            return Ok(());
        }
        let path = path.display();
        Err(ImportError::BrokeOff(format!("{path} was written while it was read. Read it again")))
    }
}

/// A column that is null has no text.
fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, String> {
    let value = row.get_ref(column).map_err(|error| error.to_string())?;
    value.as_str_or_null().map_err(|_| "it is not UTF-8".to_owned())
}

fn fields<'r>(row: &'r Row<'_>) -> Result<Fields<'r>, String> {
    // OpenBin cuts names at 255 UTF-16 units, which may be in the middle of a character.
    let name = row.get_ref(4).map_err(|error| error.to_string())?.as_bytes_or_null();
    let name = name.map_err(|error| error.to_string())?;
    Ok(Fields {
        id: text(row, 0)?,
        key_hash: text(row, 1)?,
        user_id: text(row, 2)?,
        user_email: text(row, 3)?,
        name: name.map(String::from_utf8_lossy),
        prefix: text(row, 5)?,
        created_at: text(row, 6)?,
        last_used_at: text(row, 7)?,
        revoked_at: text(row, 8)?,
        expires_at: None,
    })
}

/// The first column of every row, where it is text.
fn texts<P: rusqlite::Params>(connection: &Connection, sql: &str, of: P) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(of)?;
    let mut texts = Vec::new();
    while let Some(row) = rows.next()? {
        texts.extend(text(row, 0).ok().flatten().map(str::to_owned));
    }
    Ok(texts)
}

fn cannot_open(path: &Path, error: &io::Error) -> ImportError {
    let mend = match error.kind() {
        io::ErrorKind::PermissionDenied => ". Reading needs the rights of OpenBin's user, or of root",
        _ => "",
    };
    ImportError::Unusable(format!("{} cannot be read: {error}{mend}", path.display()))
}

fn explain(path: &Path, error: &rusqlite::Error) -> ImportError {
    let path = path.display();
    ImportError::Unusable(match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{path} is locked by another process. Try again")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => format!(
            "{path} cannot be read as it is ({error}). Where its last write was cut short, let OpenBin start once; \
             its -wal and -shm files must be readable too"
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("{path} is damaged ({error}). Take a copy from before")
        }
        _ => format!("{path}: {error}"),
    })
}

fn broke_off(path: &Path, error: &ImportError) -> ImportError {
    ImportError::BrokeOff(format!("the reading of {} broke off: {error}", path.display()))
}
