//! Reading keys from where they stand elsewhere: real SQLite files that another process writes, a real
//! PostgreSQL server, and files as people make them.

#[path = "../support/certificate.rs"]
#[allow(dead_code)]
mod certificate;
mod csv;
#[path = "../support/port.rs"]
#[allow(dead_code)]
mod port;
mod postgres;
#[path = "../support/postgres.rs"]
mod postgres_server;
mod sqlite;

use std::time::{Duration, SystemTime};

use openbin_gateway::keys::{Found, ImportError, KeyHash, Reader, Source, Unreadable};

/// All that a source gives.
struct All {
    found: Vec<Found>,
    unreadable: Vec<Unreadable>,
}

async fn open(source: &str) -> Result<Reader, ImportError> {
    Source::parse(source)?.open().await
}

async fn refused(source: &str) -> ImportError {
    open(source).await.expect_err("a source that cannot be read")
}

async fn drain(mut reader: Reader) -> Result<All, ImportError> {
    let mut all = All { found: Vec::new(), unreadable: Vec::new() };
    while let Some(row) = reader.next().await? {
        match row {
            Ok(found) => all.found.push(found),
            Err(unreadable) => all.unreadable.push(unreadable),
        }
    }
    Ok(all)
}

/// Reads a whole source, whose total must be what it gives. In the order of the ids.
async fn read(source: &str) -> All {
    let reader = open(source).await.unwrap_or_else(|error| panic!("{error}"));
    let total = reader.total();
    let mut all = drain(reader).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(total, Some((all.found.len() + all.unreadable.len()) as u64));
    all.found.sort_by(|one, other| one.id.cmp(&other.id));
    all
}

/// The last of the three keys that every database of these tests begins with, after a look at all of them:
/// Ann's, Bob's, which is revoked, and one whose owner is gone.
fn the_orphan_behind_two_keys(found: &[Found]) -> &Found {
    let [first, second, orphan] = found else { panic!("{} keys", found.len()) };
    assert_eq!((first.hash, first.id.as_deref()), (KeyHash::of("1"), Some("k1")));
    assert_eq!((first.user_id.as_str(), first.user_email.as_deref()), ("u1", Some("ann@example.com")));
    assert_eq!((first.name.as_str(), first.prefix.as_deref()), ("läptop", Some("sk_openbin_0011223")));
    assert_eq!((first.created_at, first.last_used_at, first.revoked_at), (at(1), at(2), None));
    assert_eq!((second.hash, second.user_email.as_deref()), (KeyHash::of("2"), Some("bob@example.com")));
    assert_eq!((second.created_at, second.last_used_at, second.revoked_at), (at(3), None, at(4)));
    assert_eq!((orphan.user_id.as_str(), orphan.user_email.as_deref()), ("gone", None));
    orphan
}

/// Seconds after 2026-11-22 21:00:00 UTC.
fn at(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_381_200 + seconds))
}
