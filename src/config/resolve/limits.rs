//! `limits` and `timeouts`: how much and how long a client may.

use std::time::Duration;

use super::small;
use crate::auth::LimitSettings;
use crate::config::read::Field;
use crate::config::scalar::shown;
use crate::http::Floor;
use crate::keys::{Rate, Settings, StoreSettings};
use crate::server::Timeouts;

pub(super) struct Limits {
    pub(super) max_body_bytes: u64,
    pub(super) body_floor: Option<Floor>,
    pub(super) max_target_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: usize,
    pub(super) max_header_bytes: usize,
    pub(super) max_headers: usize,
    pub(super) max_concurrent_streams: u32,
    pub(super) cut_live_exchanges: bool,
    pub(super) rates: LimitSettings,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The largest request that OpenBin takes, the restore of a backup, has 200 MiB.
const DEFAULT_MAX_BODY: u64 = 256 * MIB;

/// What is allowed; `patience` is for content that comes slowly.
pub(super) fn limits(field: &Field<'_>, keys: Option<&Settings>, patience: Duration) -> Limits {
    let section = field.section();
    let bad_credentials = Rate::new(30, Duration::from_secs(60)).ok();
    let yes_or_no = [("true", true), ("false", false)];
    let streams = section.field("max_concurrent_streams").count(1..=10_000, 128);
    let limits = Limits {
        max_body_bytes: section.field("max_body").size(KIB..=1024 * 1024 * MIB, DEFAULT_MAX_BODY),
        body_floor: body_floor(&section.field("min_body_rate"), patience),
        max_target_bytes: small(section.field("max_target_bytes").size(KIB..=64 * KIB, 16 * KIB)),
        max_connections: small(section.field("max_connections").count(1..=1_000_000, 10_000)),
        max_connections_per_address: small(
            section.field("max_connections_per_address").count(1..=1_000_000, 256),
        ),
        max_header_bytes: small(section.field("max_header_bytes").size(8 * KIB..=MIB, 64 * KIB)),
        max_headers: small(section.field("max_headers").count(16..=1_000, 100)),
        max_concurrent_streams: u32::try_from(streams).unwrap_or(u32::MAX),
        cut_live_exchanges: section.field("cut_live_exchanges").choice(&yes_or_no, true),
        rates: LimitSettings {
            per_key: rate(&section.field("per_key"), None),
            per_address: rate(&section.field("per_address"), None),
            bad_credentials: rate(&section.field("bad_credentials"), bad_credentials),
            shared: shared(&section.field("shared"), keys),
        },
    };
    section.finish();
    limits
}

/// Whether limits are counted in the store: one that several gateways use.
fn shared(field: &Field<'_>, keys: Option<&Settings>) -> bool {
    let shared = field.choice(&[("true", true), ("false", false)], false);
    if shared && let Some(StoreSettings::Embedded { .. }) = keys.map(|keys| &keys.store) {
        field.wrong("the embedded store is for one gateway, and there is none to count with", "remove it");
    }
    shared
}

/// A rate, or `off`.
fn rate(field: &Field<'_>, default: Option<Rate>) -> Option<Rate> {
    match field.text() {
        None => default,
        Some("off") => None,
        Some(text) => match text.parse() {
            Ok(rate) => Some(rate),
            Err(why) => {
                field.wrong(format!("\"{}\" is not a rate", shown(text)), format!("{why}; or off"));
                default
            }
        },
    }
}

/// Bytes a second, or `off`.
fn body_floor(field: &Field<'_>, patience: Duration) -> Option<Floor> {
    if field.text() == Some("off") {
        return None;
    }
    Some(Floor { bytes_per_second: field.size(1..=MIB, KIB), patience })
}

/// How long a client may take, and how far the content of a request may fall behind.
pub(super) fn timeouts(field: &Field<'_>) -> (Timeouts, Duration) {
    let section = field.section();
    let least = Duration::from_millis(100);
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        handshake: section.field("handshake").duration(least..=seconds(300), seconds(10)),
        header: section.field("header").duration(least..=seconds(300), seconds(15)),
        idle: section.field("idle").duration(least..=seconds(3_600), seconds(75)),
        write: section.field("write").duration(least..=seconds(3_600), seconds(60)),
        lifetime: lifetime(&section.field("lifetime")),
        drain: section.field("drain").duration(Duration::ZERO..=seconds(3_600), seconds(30)),
    };
    let patience = section.field("body").duration(least..=seconds(3_600), seconds(30));
    section.finish();
    (timeouts, patience)
}

/// A duration, or `off`.
fn lifetime(field: &Field<'_>) -> Option<Duration> {
    let text = field.text()?;
    if text == "off" {
        return None;
    }
    Some(
        field.duration(Duration::from_secs(1)..=Duration::from_secs(30 * 86_400), Duration::from_secs(3_600)),
    )
}
