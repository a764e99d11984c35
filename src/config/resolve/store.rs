//! `store`, `cache`, `usage` and `audit`: where keys are kept, how long what is known of them is believed, and how
//! long what was done is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::secrets;
use crate::config::read::{Field, Section};
use crate::config::scalar::{duration, shown};
use crate::keys::{RedisUrl, Retention, Settings, StoreSettings};

pub(super) fn keys(root: &Section<'_>) -> Option<Settings> {
    let store = store(root.field("store").section());
    let cache = root.field("cache").section();
    let fresh_for = match store {
        Some(StoreSettings::Redis { .. }) => Duration::from_secs(1),
        Some(StoreSettings::Embedded { .. }) | None => Duration::from_secs(600),
    };
    let cache_entries = cache.field("entries").count(1..=100_000_000, 100_000);
    let longest = Duration::from_secs(24 * 3600);
    let cache_for = cache.field("fresh_for").duration(Duration::from_millis(1)..=longest, fresh_for);
    if matches!(store, Some(StoreSettings::Redis { .. })) && cache_for > Duration::from_secs(60) {
        let what = "a key revoked through another gateway goes on working here for that long";
        cache.field("fresh_for").warn(what, "leave it at 1s unless this is the only gateway");
    }
    cache.finish();
    let usage = root.field("usage").section();
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    let usage_interval = usage.field("interval").duration(range, Duration::from_secs(2));
    usage.finish();
    Some(Settings { store: store?, cache_entries, cache_for, usage_interval })
}

pub(super) fn retention(root: &Section<'_>) -> Retention {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let section = root.field("audit").section();
    let read = |text: &str| match text {
        "ever" => Some(None),
        _ => duration(text).filter(|duration| (DAY..=36_500 * DAY).contains(duration)).map(Some),
    };
    let expected = "a duration from 1d to 36500d with its unit, such as 400d, or ever";
    let (field, default) = (section.field("keep_for"), Retention::default());
    let audit = field.parsed(expected, read).unwrap_or(default.audit);
    section.finish();
    Retention { audit, ..default }
}

#[derive(Clone, Copy)]
enum Kind {
    Embedded,
    Redis,
}

fn store(section: Section<'_>) -> Option<StoreSettings> {
    let (path, url) = (section.field("path"), section.field("url"));
    let redis_only = [section.field("url"), section.field("namespace"), section.field("timeout")]
        .into_iter()
        .chain([section.field("password_file"), section.field("password_env")]);
    let default = if url.given() && !path.given() { Kind::Redis } else { Kind::Embedded };
    let kind = section.field("kind").choice(&[("embedded", Kind::Embedded), ("redis", Kind::Redis)], default);
    let settings = match kind {
        Kind::Embedded => {
            for field in redis_only.filter(Field::given) {
                field.wrong(
                    "this belongs to a Redis store, and the store is embedded",
                    "set store.kind: redis",
                );
            }
            embedded(&path)
        }
        Kind::Redis => {
            if path.given() {
                path.wrong("this belongs to the embedded store, and the store is Redis", "remove it");
            }
            redis(&section)
        }
    };
    section.finish();
    settings
}

fn embedded(field: &Field<'_>) -> Option<StoreSettings> {
    let path = field.path().unwrap_or_else(|| field.context.base.join("gateway.db"));
    let folder = folder(&path);
    if path.is_dir() {
        field.wrong(format!("{} is a folder", path.display()), "name a file in it, such as gateway.db");
        return None;
    }
    if !folder.is_dir() {
        field.wrong(format!("there is no folder {}", folder.display()), "make it, writable for this user");
        return None;
    }
    Some(StoreSettings::Embedded { path })
}

/// The folder that a file lies in.
pub(super) fn folder(path: &std::path::Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    }
}

fn redis(section: &Section<'_>) -> Option<StoreSettings> {
    let field = section.field("url");
    let (file, variable) = (section.field("password_file"), section.field("password_env"));
    let passwords = secrets(&file, &variable);
    let namespace = section.field("namespace").parsed("1 to 64 letters, digits, -, _, : or .", namespace);
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    let timeout = section.field("timeout").duration(range, Duration::from_millis(250));
    let Some(text) = field.text() else {
        field.wrong("a Redis store needs a URL", "write it like redis://127.0.0.1:6379/0");
        return None;
    };
    let Some(parts) = Parts::of(text) else {
        field
            .wrong("this is not a Redis URL", "write it like redis://127.0.0.1:6379/0, or rediss:// for TLS");
        return None;
    };
    if parts.password.is_some() {
        warn_of_exposure(&field);
    }
    let password = passwords.as_ref().and_then(|passwords| passwords.first());
    if parts.password.is_some() && password.is_some() {
        field.wrong("the URL holds a password, and there is another in a file", "keep one of the two");
    }
    let url = RedisUrl::new(parts.with(password.map(|password| password.as_str())));
    let namespace = namespace.unwrap_or_else(|| "openbin-gateway".to_owned());
    Some(StoreSettings::Redis { url, namespace, timeout })
}

fn warn_of_exposure(field: &Field<'_>) {
    use crate::config::Place;
    match field.place() {
        Place::Flag(_) => field.warn(
            "everybody on this machine can read this password in the list of processes",
            "set the URL by OPENBIN_GATEWAY__STORE__URL, or the password by store.password_file",
        ),
        Place::Line(..) | Place::File(_) | Place::Variable(_) | Place::Nowhere => {}
    }
}

/// What of a Redis URL matters here; the rest is for the client library.
struct Parts<'a> {
    scheme: &'a str,
    user: &'a str,
    password: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let at = rest.get(..end)?.rfind('@');
        let (user, password, rest) = match at {
            Some(at) => {
                let (user, rest) = (rest.get(..at)?, rest.get(at + 1..)?);
                let (user, password) = user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)));
                (user, password, rest)
            }
            None => ("", None, rest),
        };
        let known = matches!(scheme, "redis" | "rediss");
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        (known && is_host_and_port(host) && shown(rest) != "(not shown)").then_some(Self {
            scheme,
            user,
            password,
            rest,
        })
    }

    fn with(&self, password: Option<&str>) -> String {
        let Self { scheme, user, rest, .. } = self;
        match (password.map(percent_encoded), self.password) {
            (Some(password), _) => format!("{scheme}://{user}:{password}@{rest}"),
            (None, Some(password)) => format!("{scheme}://{user}:{password}@{rest}"),
            (None, None) if user.is_empty() => format!("{scheme}://{rest}"),
            (None, None) => format!("{scheme}://{user}@{rest}"),
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    !host.is_empty()
        && !host.contains(char::is_whitespace)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn namespace(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.'));
    fits.then(|| text.to_owned())
}

/// RFC 3986 §2.1: everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_from_a_file_is_merged_into_the_url() {
        let parts = Parts::of("rediss://gateway@redis.example:6379/2").expect("URL");
        assert_eq!(parts.with(Some("p@s/s")), "rediss://gateway:p%40s%2Fs@redis.example:6379/2");
        let parts = Parts::of("redis://[::1]:6379").expect("URL");
        assert_eq!(parts.with(Some("x")), "redis://:x@[::1]:6379");
        assert_eq!(parts.with(None), "redis://[::1]:6379");
    }

    #[test]
    fn texts_that_are_no_redis_url_are_refused() {
        for wrong in
            ["", "redis://", "http://a", "127.0.0.1:6379", "redis://a:0", "redis://a b", "redis://:p@/0"]
        {
            assert!(Parts::of(wrong).is_none(), "{wrong}");
        }
    }
}
