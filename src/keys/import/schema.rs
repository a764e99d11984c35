//! The tables of OpenBin that are read, the same in SQLite and PostgreSQL, and the questions asked of them.

use std::fmt::Display;

use super::ImportError;

/// The tables, and the columns of each that are read.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    (
        "api_keys",
        &["id", "user_id", "key_hash", "key_prefix", "name", "created_at", "last_used_at", "revoked_at"],
    ),
    ("users", &["id", "email"]),
];

/// Every key with its owner's address, where the owner is known.
pub(super) const KEYS: &str = "SELECT CAST(k.id AS TEXT), CAST(k.key_hash AS TEXT), \
     CAST(k.user_id AS TEXT), CAST(u.email AS TEXT), CAST(k.name AS TEXT), CAST(k.key_prefix AS TEXT), \
     CAST(k.created_at AS TEXT), CAST(k.last_used_at AS TEXT), CAST(k.revoked_at AS TEXT) \
     FROM api_keys k LEFT JOIN users u ON u.id = k.user_id";

pub(super) const COUNT: &str = "SELECT count(*) FROM api_keys";

/// The hashes that may stand there more than once: those not written in lower case, and the repeated ones.
/// OpenBin's tables have neither, and its index on `key_hash` answers this without sorting.
pub(super) const REPEATED: &str = "SELECT lower(key_hash) FROM api_keys WHERE key_hash <> lower(key_hash) \
     UNION ALL SELECT lower(key_hash) FROM api_keys GROUP BY key_hash HAVING count(*) > 1";

/// Checks the columns that a table was found to have; none at all where there is no such table.
pub(super) fn check(
    source: &impl Display,
    table: &str,
    needed: &[&str],
    columns: &[String],
) -> Result<(), ImportError> {
    let missing: Vec<_> =
        needed.iter().copied().filter(|&name| columns.iter().all(|column| column != name)).collect();
    let what = match missing.as_slice() {
        [] => return Ok(()),
        _ if columns.is_empty() => format!("it has no table {table}"),
        [column] => format!("its table {table} has no column {column}"),
        columns => format!("its table {table} has no columns {}", columns.join(", ")),
    };
    Err(ImportError::Foreign(format!("{source} is not the database of an OpenBin: {what}")))
}

/// Which row of a database: its id, cut and without control characters, or else its number.
pub(super) fn place(id: Option<&str>, number: u64) -> String {
    const ENOUGH: usize = 64;
    match id {
        Some(id) if !id.is_empty() => {
            let shown: String = id.chars().take(ENOUGH).collect();
            format!("api_keys id {}", shown.escape_debug())
        }
        Some(_) | None => format!("api_keys row {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(table: &str, needed: &[&str], columns: &[&str]) -> String {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        check(&"x.db", table, needed, &columns).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(told("users", &["id", "email"], &["email", "id", "more"]), "fine");
        assert_eq!(
            told("users", &["id"], &[]),
            "x.db is not the database of an OpenBin: it has no table users"
        );
        assert!(told("users", &["id", "email"], &["id"]).ends_with("its table users has no column email"));
        assert!(told("users", &["id", "email"], &["x"]).ends_with("has no columns id, email"));
    }

    #[test]
    fn a_row_is_named_on_one_line() {
        assert_eq!(place(Some("a-1"), 7), "api_keys id a-1");
        assert_eq!(place(Some("a\nb\u{1b}[0m"), 7), "api_keys id a\\nb\\u{1b}[0m");
        assert_eq!(place(None, 7), "api_keys row 7");
        assert!(place(Some(&"x".repeat(100_000)), 7).len() < 100);
    }
}
