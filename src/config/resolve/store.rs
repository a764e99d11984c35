//! `store`, `cache`, `usage` and `audit`: where keys are kept, how long what is known of them is believed, and how
//! long what was done is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::servers;
use crate::config::read::{Field, Section};
use crate::config::scalar::duration;
use crate::keys::{Retention, Settings, Site, StoreSettings};

pub(super) fn keys(root: &Section<'_>) -> Option<Settings> {
    let section = root.field("store").section();
    let range = Duration::from_millis(200)..=Duration::from_secs(60);
    let lease_for = section.field("lease").duration(range, Duration::from_secs(1));
    let copies = section.field("revoke_wait_replicas").count(0..=16, 0);
    let store = store(section);
    let cache = root.field("cache").section();
    let fresh_for = match store {
        Some(StoreSettings::Redis { .. }) => Duration::from_secs(60),
        Some(StoreSettings::Embedded { .. }) | None => Duration::from_secs(600),
    };
    let cache_entries = cache.field("entries").count(1..=100_000_000, 100_000);
    let longest = Duration::from_secs(24 * 3600);
    let cache_for = cache.field("fresh_for").duration(Duration::from_millis(1)..=longest, fresh_for);
    let stale = cache.field("serve_stale_for");
    let serve_stale_for = stale.duration(Duration::ZERO..=longest, Duration::ZERO);
    if !serve_stale_for.is_zero() {
        let what = "while the store cannot be asked, a key that was revoked elsewhere goes on working here for that \
                    long";
        stale.warn(what, "leave it at 0s unless availability matters more");
    }
    cache.finish();
    let usage = root.field("usage").section();
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    let usage_interval = usage.field("interval").duration(range, Duration::from_secs(2));
    usage.finish();
    let copies = usize::try_from(copies).unwrap_or_default();
    Some(Settings {
        store: store?,
        cache_entries,
        cache_for,
        lease_for,
        serve_stale_for,
        copies,
        site: site(root),
        usage_interval,
    })
}

/// The machine, the folder of the configuration and the admin listener: two gateways cannot share all three.
fn site(root: &Section<'_>) -> Site {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (machine, name) = (read("/etc/machine-id"), read("/proc/sys/kernel/hostname"));
    let address = root.field("admin").section().field("address");
    let base = &address.context.base;
    let folder = base.canonicalize().unwrap_or_else(|_| base.clone());
    Site::of(&[&machine, &name, &folder.to_string_lossy(), address.text().unwrap_or_default()])
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
    let redis_only =
        servers::KEYS.into_iter().chain(["namespace", "timeout", "lease", "revoke_wait_replicas"]);
    let places = [&url, &section.field("sentinels"), &section.field("cluster")];
    let is_elsewhere = places.iter().any(|place| place.given()) && !path.given();
    let default = if is_elsewhere { Kind::Redis } else { Kind::Embedded };
    let kind = section.field("kind").choice(&[("embedded", Kind::Embedded), ("redis", Kind::Redis)], default);
    let settings = match kind {
        Kind::Embedded => {
            for field in redis_only.map(|key| section.field(key)).filter(Field::given) {
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
    let servers = servers::servers(section);
    let namespace = section.field("namespace").parsed("1 to 64 letters, digits, -, _, : or .", namespace);
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    let timeout = section.field("timeout").duration(range, Duration::from_millis(250));
    let namespace = namespace.unwrap_or_else(|| "openbin-gateway".to_owned());
    Some(StoreSettings::Redis { servers: servers?, namespace, timeout })
}

fn namespace(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.'));
    fits.then(|| text.to_owned())
}
