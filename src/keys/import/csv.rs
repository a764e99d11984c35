//! Keys from a CSV file with a header row: `key_hash` and `user_id`, and what else there is of the columns
//! that are known. Further columns are not read into anything.
//!
//! The file is gone through twice. First to count its rows, to find the hashes that come again, and to
//! refuse it where it holds a key in plain text, before anything of it is taken; then to read it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::from_utf8;

use ::csv::{ByteRecord, ReaderBuilder, Trim};

use super::super::{PREFIX, SHOWN_DIGITS, holds_key};
use super::reader::{BATCH, Outlet, Stop};
use super::row::{Fields, Repeats, mark};
use super::{Found, ImportError, KeyHash, Reader};

const NAMES: [&str; 10] = [
    "key_hash",
    "user_id",
    "id",
    "user_email",
    "name",
    "prefix",
    "created_at",
    "last_used_at",
    "revoked_at",
    "expires_at",
];

struct Table {
    path: PathBuf,
    file: File,
}

/// What the first time through has shown.
struct Survey {
    columns: Columns,
    total: u64,
    repeats: Repeats,
}

/// Where each known column stands: in the order of [`NAMES`].
#[derive(Clone, Copy)]
struct Columns {
    places: [Option<usize>; NAMES.len()],
    count: usize,
}

/// Opens the file, and goes through it once. Blocks.
pub(super) fn open(path: &Path) -> Result<Reader, ImportError> {
    let file = File::open(path).map_err(|error| unusable(path, &error.to_string()))?;
    let metadata = file.metadata().map_err(|error| unusable(path, &error.to_string()))?;
    if !metadata.is_file() {
        return Err(unusable(
            path,
            "it is not a regular file, and has to be read twice. Save it to a file first",
        ));
    }
    let table = Table { path: path.to_owned(), file };
    let survey = table.survey()?;
    Ok(Reader::blocking(survey.total, None, move |outlet| table.pour(survey, outlet)))
}

impl Table {
    fn records(&self) -> Result<::csv::Reader<&File>, ImportError> {
        (&self.file).rewind().map_err(|error| unusable(&self.path, &error.to_string()))?;
        Ok(ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(&self.file))
    }

    fn survey(&self) -> Result<Survey, ImportError> {
        self.refuse_utf16()?;
        let path = &self.path;
        let failed = |error: ::csv::Error| unusable(path, &error.to_string());
        let mut records = self.records()?;
        let mut record = ByteRecord::new();
        if !records.read_byte_record(&mut record).map_err(failed)? {
            return Err(unusable(path, "it is empty. Its first row names the columns: key_hash,user_id"));
        }
        self.refuse_plain_keys(&record, None)?;
        let columns =
            Columns::of(&record).map_err(|why| ImportError::Foreign(format!("{}: {why}", path.display())))?;
        let (mut total, mut marks) = (0, Vec::new());
        while records.read_byte_record(&mut record).map_err(failed)? {
            total += 1;
            self.refuse_plain_keys(&record, Some(&columns))?;
            let hash = columns.text(&record, 0).ok().flatten().and_then(KeyHash::from_hex);
            marks.extend(hash.map(mark));
        }
        Ok(Survey { columns, total, repeats: Repeats::new(twice(marks)) })
    }

    fn refuse_utf16(&self) -> Result<(), ImportError> {
        let mut first = Vec::new();
        let read = (&self.file).take(2).read_to_end(&mut first);
        read.map_err(|error| unusable(&self.path, &error.to_string()))?;
        match first.as_slice() {
            [0xff, 0xfe] | [0xfe, 0xff] => Err(unusable(&self.path, "it is UTF-16. Save it as UTF-8")),
            _ => Ok(()),
        }
    }

    fn refuse_plain_keys(&self, record: &ByteRecord, columns: Option<&Columns>) -> Result<(), ImportError> {
        let Some(place) = record.iter().position(holds_key) else { return Ok(()) };
        let column = match columns.and_then(|columns| columns.name(place)) {
            Some(name) => name.to_owned(),
            None => (place + 1).to_string(),
        };
        Err(ImportError::PlainKey(format!(
            "{}, {}, column {column}: this is an API key in plain text, and nothing of the file was taken. \
             key_hash is the SHA-256 of the whole key, {PREFIX} included, as 64 hexadecimal digits; prefix is no \
             more than its first {} characters. Take the key out of the file, and revoke it if others could \
             read it there",
            self.path.display(),
            Lines::new(&self.file).of(record),
            PREFIX.len() + SHOWN_DIGITS
        )))
    }

    fn pour(&self, survey: Survey, outlet: &Outlet) -> Result<(), Stop> {
        let Survey { columns, mut repeats, .. } = survey;
        let path = &self.path;
        let failed = |error: ::csv::Error| {
            ImportError::BrokeOff(format!("the reading of {} broke off: {error}", path.display()))
        };
        let mut records = self.records()?;
        let mut lines = Lines::new(&self.file);
        let mut record = ByteRecord::new();
        records.read_byte_record(&mut record).map_err(failed)?;
        let mut batch = Vec::with_capacity(BATCH);
        while records.read_byte_record(&mut record).map_err(failed)? {
            batch.push(repeats.judge(columns.key(&record), || lines.of(&record)));
            if batch.len() == BATCH {
                outlet.put(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))?;
            }
        }
        Ok(outlet.put(batch)?)
    }
}

impl Columns {
    fn of(header: &ByteRecord) -> Result<Self, String> {
        let mut places = [None; NAMES.len()];
        for (name, place) in NAMES.iter().zip(&mut places) {
            let mut found =
                (0..).zip(header).filter(|(_, field)| field.eq_ignore_ascii_case(name.as_bytes()));
            *place = found.next().map(|(place, _)| place);
            if found.next().is_some() {
                return Err(format!("it has two columns {name}. Keep one"));
            }
        }
        let columns = Self { places, count: header.len() };
        match columns.places {
            [Some(_), Some(_), ..] => Ok(columns),
            [hash, ..] => Err(missing(if hash.is_none() { "key_hash" } else { "user_id" }, header)),
        }
    }

    /// The text of the column with this number in [`NAMES`]; an empty one is none.
    fn text<'r>(&self, record: &'r ByteRecord, column: usize) -> Result<Option<&'r str>, String> {
        let place = self.places.get(column).copied().flatten();
        let field = place.and_then(|place| record.get(place)).filter(|field| !field.is_empty());
        field.map(from_utf8).transpose().map_err(|_| "it is not UTF-8. Save the file as UTF-8".to_owned())
    }

    fn key(&self, record: &ByteRecord) -> Result<Found, String> {
        if record.len() != self.count {
            let (has, wanted) = (record.len(), self.count);
            let broken = record.iter().any(|field| field.contains(&b'\n'));
            let hint =
                if broken { ", and runs over several lines. Is a quotation mark missing?" } else { "" };
            return Err(format!("the number of its fields is {has}, and that of the columns {wanted}{hint}"));
        }
        let text = |column| self.text(record, column);
        let fields = Fields {
            key_hash: text(0)?,
            user_id: text(1)?,
            id: text(2)?,
            user_email: text(3)?,
            name: text(4)?.map(Into::into),
            prefix: text(5)?,
            created_at: text(6)?,
            last_used_at: text(7)?,
            revoked_at: text(8)?,
            expires_at: text(9)?,
        };
        fields.key()
    }

    /// The name of the column at a place, where it is one of ours and so cannot be a secret.
    fn name(&self, place: usize) -> Option<&'static str> {
        NAMES.iter().zip(self.places).find(|(_, own)| *own == Some(place)).map(|(name, _)| *name)
    }
}

/// A header may be a row of keys in truth, so what it says is not repeated.
fn missing(column: &str, header: &ByteRecord) -> String {
    let semicolons = header.iter().any(|field| field.contains(&b';') || field.contains(&b'\t'));
    let hint = if semicolons { "Separate the columns by commas" } else { "Its first row names the columns" };
    format!(
        "it has no column {column}. {hint}: key_hash and user_id, and of these any: {}",
        NAMES[2..].join(", ")
    )
}

/// The line on which a record begins. What the parser calls its line is that of the empty lines before it.
struct Lines<'f> {
    file: &'f File,
    byte: u64,
    line: u64,
}

impl<'f> Lines<'f> {
    fn new(file: &'f File) -> Self {
        Self { file, byte: 0, line: 1 }
    }

    /// Goes on to a record, which must not lie before the last one asked for.
    fn of(&mut self, record: &ByteRecord) -> String {
        let start = record.position().map_or(0, ::csv::Position::byte);
        match self.go_to(start) {
            Ok(()) => format!("line {}", self.line),
            Err(_) => format!("byte {start}"),
        }
    }

    fn go_to(&mut self, start: u64) -> io::Result<()> {
        let mut buffer = [0; 8_192];
        loop {
            let length = self.file.read_at(&mut buffer, self.byte)?;
            for &byte in buffer.iter().take(length) {
                if self.byte >= start && !matches!(byte, b'\r' | b'\n') {
                    return Ok(());
                }
                self.byte += 1;
                self.line += u64::from(byte == b'\n');
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
}

/// The marks that come more than once.
fn twice(mut marks: Vec<u64>) -> Vec<u64> {
    marks.sort_unstable();
    marks
        .windows(2)
        .filter_map(|pair| pair.first().filter(|mark| pair.last() == Some(mark)).copied())
        .collect()
}

fn unusable(path: &Path, why: &str) -> ImportError {
    ImportError::Unusable(format!("{} cannot be read: {why}", path.display()))
}
