//! `limits` and `timeouts`: how much and how long a client may.

use std::time::Duration;

use super::small;
use crate::auth::LimitSettings;
use crate::config::read::Field;
use crate::config::scalar::shown;
use crate::keys::{Rate, Settings, StoreSettings};
use crate::server::Timeouts;

pub(super) struct Limits {
    pub(super) max_body_bytes: u64,
    pub(super) max_connections: usize,
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

pub(super) fn limits(field: &Field<'_>, keys: Option<&Settings>) -> Limits {
    let section = field.section();
    let bad_credentials = Rate::new(30, Duration::from_secs(60)).ok();
    let yes_or_no = [("true", true), ("false", false)];
    let streams = section.field("max_concurrent_streams").count(1..=10_000, 128);
    let limits = Limits {
        max_body_bytes: section.field("max_body").size(KIB..=1024 * 1024 * MIB, DEFAULT_MAX_BODY),
        max_connections: small(section.field("max_connections").count(1..=1_000_000, 10_000)),
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

pub(super) fn timeouts(field: &Field<'_>) -> Timeouts {
    let section = field.section();
    let least = Duration::from_millis(100);
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        handshake: section.field("handshake").duration(least..=seconds(300), seconds(10)),
        header: section.field("header").duration(least..=seconds(300), seconds(15)),
        idle: section.field("idle").duration(least..=seconds(3_600), seconds(75)),
        drain: section.field("drain").duration(Duration::ZERO..=seconds(3_600), seconds(30)),
    };
    section.finish();
    timeouts
}
