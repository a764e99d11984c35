//! How the admin API writes keys, users and instances as JSON, and what it takes. Times are RFC 3339, UTC.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::problem::Problem;
use crate::keys::errand::Errand;
use crate::keys::{Day, KeyRecord, KeyStanding, Network, Policy, Rate, RateError, Revocation};

/// A key. Never the key itself, which nobody has kept.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Key {
    id: String,
    instance: String,
    user_id: String,
    user_email: Option<String>,
    name: String,
    prefix: String,
    issuer: &'static str,
    standing: &'static str,
    created_at: Option<String>,
    last_used_at: Option<String>,
    last_used_over: Option<&'static str>,
    policy: PolicyView,
    revoked: Option<RevokedView>,
}

/// What a key may be used for, and until when.
#[derive(Debug, Serialize, JsonSchema)]
struct PolicyView {
    expires_at: Option<String>,
    disabled: bool,
    read_only: bool,
    methods: Vec<String>,
    paths: Vec<String>,
    addresses: Vec<String>,
    rate: Option<String>,
    replaced_by: Option<String>,
}

/// When, how and why a key ended.
#[derive(Debug, Serialize, JsonSchema)]
struct RevokedView {
    at: String,
    by: &'static str,
    who: Option<String>,
    why: Option<String>,
}

/// How often a key was used on one day.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DayView {
    day: String,
    count: u64,
}

/// What is still to be done about a key, or was.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErrandView {
    task: &'static str,
    state: &'static str,
    due: String,
    tries: u32,
    note: Option<String>,
}

/// A change of a policy: what is absent stays, `null` and an empty list take a limit away.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PolicyChange {
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    expires_at: Option<Option<String>>,
    /// Counted from now, such as `30d`.
    expires_in: Option<String>,
    disabled: Option<bool>,
    read_only: Option<bool>,
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Option<Vec<String>>")]
    methods: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Option<Vec<String>>")]
    paths: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Option<Vec<String>>")]
    addresses: Option<Option<Vec<String>>>,
    /// Such as `600/1m`.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    rate: Option<Option<String>>,
}

/// Tells `null` from what is not there.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

impl Key {
    pub(super) fn of(record: &KeyRecord, now: SystemTime) -> Self {
        Self {
            id: record.id.clone(),
            instance: record.instance.to_string(),
            user_id: record.user_id.clone(),
            user_email: record.user_email.clone(),
            name: record.name.clone(),
            prefix: record.prefix.clone(),
            issuer: record.issuer.as_str(),
            standing: KeyStanding::of(record, now).as_str(),
            created_at: record.created_at.map(instant),
            last_used_at: record.last_used_at.map(instant),
            last_used_over: record.last_used_over.map(crate::keys::AddressFamily::as_str),
            policy: PolicyView::of(&record.policy),
            revoked: record.revoked.as_ref().map(RevokedView::of),
        }
    }
}

impl PolicyView {
    fn of(policy: &Policy) -> Self {
        Self {
            expires_at: policy.expires_at.map(instant),
            disabled: policy.disabled,
            read_only: policy.read_only,
            methods: policy.methods.clone(),
            paths: policy.paths.clone(),
            addresses: policy.addresses.iter().map(ToString::to_string).collect(),
            rate: policy.rate.map(|rate| rate.to_string()),
            replaced_by: policy.replaced_by.clone(),
        }
    }
}

impl RevokedView {
    fn of(revoked: &Revocation) -> Self {
        let Revocation { at, by, who, why } = revoked;
        Self { at: instant(*at), by: by.as_str(), who: who.clone(), why: why.clone() }
    }
}

impl DayView {
    pub(super) fn of(day: Day) -> Self {
        let start = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(day.day) * 86_400);
        Self { day: instant(start).chars().take(10).collect(), count: day.count }
    }
}

impl ErrandView {
    pub(super) fn of(errand: &Errand) -> Self {
        Self {
            task: errand.task.as_str(),
            state: errand.state.as_str(),
            due: instant(errand.due),
            tries: errand.tries,
            note: errand.note.clone(),
        }
    }
}

impl PolicyChange {
    /// What this makes of a policy.
    pub(super) fn apply(&self, policy: &Policy, now: SystemTime) -> Result<Policy, Problem> {
        let mut policy = policy.clone();
        match (&self.expires_at, &self.expires_in) {
            (Some(_), Some(_)) => return Err(Problem::bad("give expires_at or expires_in, not both")),
            (Some(end), None) => policy.expires_at = end.as_deref().map(read_instant).transpose()?,
            (None, Some(length)) => policy.expires_at = Some(now + read_duration(length)?),
            (None, None) => {}
        }
        policy.disabled = self.disabled.unwrap_or(policy.disabled);
        policy.read_only = self.read_only.unwrap_or(policy.read_only);
        if let Some(methods) = &self.methods {
            policy.methods = methods.clone().unwrap_or_default();
        }
        if let Some(paths) = &self.paths {
            policy.paths = paths.clone().unwrap_or_default();
        }
        if let Some(addresses) = &self.addresses {
            let addresses = addresses.iter().flatten();
            policy.addresses = addresses.map(|text| network(text)).collect::<Result<_, _>>()?;
        }
        if let Some(rate) = &self.rate {
            policy.rate = rate.as_deref().map(read_rate).transpose()?;
        }
        policy.check()?;
        Ok(policy)
    }
}

fn network(text: &str) -> Result<Network, Problem> {
    text.parse().map_err(|why| Problem::invalid(format!("{text:?} is {why}")))
}

fn read_rate(text: &str) -> Result<Rate, Problem> {
    text.parse().map_err(|error: RateError| Problem::invalid(format!("{text:?}: {error}")))
}

/// Milliseconds are what stores keep.
pub(super) fn instant(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let time = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    let text = time.format(&Rfc3339).unwrap_or_default();
    // The standard leaves out a fraction of zero; a fixed width sorts and aligns.
    let (seconds, fraction) =
        text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    format!("{seconds}.{fraction:0<3}Z")
}

/// Reads a time of RFC 3339.
pub(super) fn read_instant(text: &str) -> Result<SystemTime, Problem> {
    let wrong = || Problem::bad(format!("{text:?} is not a time of RFC 3339, such as 2027-01-31T12:00:00Z"));
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    if time.unix_timestamp() < 0 {
        return Err(wrong());
    }
    Ok(time.into())
}

/// Reads a day such as `2027-01-31`: counted from 1970-01-01, UTC.
pub(super) fn read_day(text: &str) -> Option<u32> {
    let start = read_instant(&format!("{text}T00:00:00Z")).ok()?;
    let seconds = start.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    u32::try_from(seconds / 86_400).ok()
}

/// Reads a duration such as `24h`.
pub(super) fn read_duration(text: &str) -> Result<std::time::Duration, Problem> {
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(100 * 366 * 86_400);
    let wrong = || Problem::bad(format!("{text:?} is not a duration such as 90d, 24h, 15m or 30s"));
    let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
    if duration > LONGEST { Err(wrong()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn times_have_milliseconds_and_are_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_384_639_021, "2026-11-22T21:57:19.021Z"),
            (1_795_384_639_120, "2026-11-22T21:57:19.120Z"),
        ] {
            assert_eq!(instant(at(millis)), text);
            assert_eq!(read_instant(text).expect("a time"), at(millis));
        }
        assert_eq!(read_instant("1970-01-01T02:00:00+01:00").expect("a time"), at(3_600_000));
        assert!(read_instant("yesterday").is_err() && read_instant("1960-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn a_day_is_read_as_it_is_written() {
        assert_eq!(read_day("1970-01-02"), Some(1));
        let written = DayView::of(Day { day: 20_000, count: 1 }).day;
        assert_eq!(read_day(&written), Some(20_000));
        for wrong in ["", "2027", "2027-02-30", "1969-12-31", "2027-01-31T00:00:00Z"] {
            assert_eq!(read_day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_change_does_not_name_stays_and_null_takes_away() {
        let before = Policy {
            expires_at: Some(at(5_000)),
            read_only: true,
            paths: vec!["/api/bins".to_owned()],
            ..Policy::default()
        };
        let changed = |json: &str| {
            let change: PolicyChange = serde_json::from_str(json).expect("a change");
            change.apply(&before, at(1_000))
        };
        assert_eq!(changed("{}").expect("a policy"), before);
        let none = changed(r#"{"expires_at":null,"paths":null,"read_only":false}"#).expect("a policy");
        assert_eq!(none, Policy::default());
        let later = changed(r#"{"expires_in":"1m"}"#).expect("a policy");
        assert_eq!(later.expires_at, Some(at(61_000)));
        assert!(changed(r#"{"expires_in":"1m","expires_at":null}"#).is_err());
        assert!(changed(r#"{"methods":["get"]}"#).is_err());
        assert!(changed(r#"{"addresses":["10.0.0.0/99"]}"#).is_err());
        assert!(serde_json::from_str::<PolicyChange>(r#"{"readonly":true}"#).is_err());
    }
}
