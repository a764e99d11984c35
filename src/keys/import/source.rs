//! What `--from` names: which kind of source, and where it is. Opens it; does not read it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::url::PostgresUrl;
use super::{ImportError, Reader, csv, postgres, sqlite};

const KNOWN: &str = "sqlite:FILE (the openbin.db of an OpenBin), postgres://USER:PASSWORD@HOST/DATABASE \
                     (the DATABASE_URL of an OpenBin) and csv:FILE";

/// A source of keys. `Display` and `Debug` show it without its password.
#[derive(Clone)]
pub struct Source(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
    Csv(PathBuf),
}

impl Source {
    /// Takes `sqlite:FILE`, `postgres://…`, `postgresql://…` or `csv:FILE`.
    ///
    /// # Errors
    /// Where the text names none of these, or its URL cannot be understood.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let kind = match scheme.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest)) {
            Some(("sqlite", file)) => Kind::Sqlite(path("sqlite", file)?),
            Some(("csv", file)) => Kind::Csv(path("csv", file)?),
            Some(("postgres" | "postgresql", _)) => Kind::Postgres(PostgresUrl::parse(text)?),
            Some((scheme, _)) if is_word(scheme) => {
                return Err(ImportError::NoSource(format!(
                    "{scheme}: is not a source of keys. Known are {KNOWN}"
                )));
            }
            Some(_) | None => {
                return Err(ImportError::NoSource(format!(
                    "this names no source of keys. Known are {KNOWN}"
                )));
            }
        };
        Ok(Self(kind))
    }

    /// Opens the source, sees that it is what it must be, and begins to read it.
    ///
    /// # Errors
    /// Where it cannot be read at all.
    pub async fn open(&self) -> Result<Reader, ImportError> {
        match &self.0 {
            Kind::Sqlite(path) => apart(path, sqlite::open).await,
            Kind::Csv(path) => apart(path, csv::open).await,
            Kind::Postgres(url) => postgres::open(url).await,
        }
    }
}

/// Opens a file where it may block.
async fn apart(path: &Path, open: fn(&Path) -> Result<Reader, ImportError>) -> Result<Reader, ImportError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || open(&path)).await;
    opened
        .unwrap_or_else(|_| Err(ImportError::BrokeOff("the opening of the source was cut short".to_owned())))
}

fn path(scheme: &str, file: &str) -> Result<PathBuf, ImportError> {
    if file.is_empty() {
        return Err(ImportError::NoSource(format!("{scheme}: names no file. Write {scheme}:FILE")));
    }
    Ok(PathBuf::from(file))
}

/// Whether a text is short and plain enough to be a mistyped scheme, and can be repeated.
fn is_word(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres(url) => fmt::Display::fmt(url, f),
            Kind::Csv(path) => write!(f, "csv:{}", path.display()),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_source_is_known_by_its_scheme() {
        for (text, shown) in [
            ("sqlite:/data/openbin.db", "sqlite:/data/openbin.db"),
            ("SQLite:openbin.db", "sqlite:openbin.db"),
            ("csv:keys:old.csv", "csv:keys:old.csv"),
            ("postgres://openbin:s3cret@db/openbin", "postgres://***@db/openbin"),
            ("postgresql://db/openbin?password=s3cret", "postgresql://db/openbin?***"),
        ] {
            let source = Source::parse(text).expect("a source");
            assert_eq!(source.to_string(), shown);
            assert_eq!(format!("{source:?}"), format!("Source({shown})"));
        }
    }

    #[test]
    fn what_is_no_source_is_refused_with_those_that_are() {
        for text in [
            "",
            "openbin.db",
            "mysql://ann:s3cret@db/x",
            "sk_openbin_s3cret",
            "ann@s3cret:x",
            "Postgress://u:s3cret@h",
        ] {
            let told = Source::parse(text).expect_err("no source").to_string();
            assert!(told.contains("sqlite:FILE") && told.contains("csv:FILE"), "{told}");
            assert!(told.contains("postgres://"), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
        let told = Source::parse("mysql://db").expect_err("no source").to_string();
        assert!(told.starts_with("mysql: is not a source of keys"), "{told}");
    }

    #[test]
    fn a_scheme_without_a_file_is_refused() {
        for text in ["sqlite:", "csv:"] {
            assert!(matches!(Source::parse(text), Err(ImportError::NoSource(_))));
        }
    }
}
