//! What a key may be used for, and until when: set by operators, whoever issued the key, and checked on
//! every request. Knows no HTTP: a request is given as plain text.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Network, Rate};

/// The terms under which a key may be used. By default there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// From this moment on the key is refused; kept in whole milliseconds since 1970.
    #[serde(with = "when", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<SystemTime>,
    /// Refused until it is enabled again.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// Only methods that change nothing: `GET`, `HEAD` and `OPTIONS` (RFC 9110 §9.2.1).
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Only these methods, in upper case; empty: every method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Only these paths and what lies below them, such as `/api/bins`; empty: every path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Only from these addresses; empty: from everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Network>,
    /// How often it may be used; `None`: as often as the configuration allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The id of the key that takes this one's place: it was rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

/// A request, as far as a policy looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'r> {
    /// When it came.
    pub at: SystemTime,
    /// Its method.
    pub method: &'r str,
    /// The path of its target, as it is forwarded.
    pub path: &'r str,
    /// The client's address, after trusted proxies.
    pub address: IpAddr,
}

/// What a policy has against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// The key is over.
    Expired,
    /// An operator has disabled the key.
    Disabled,
    /// The key may not be used from this address.
    Address,
    /// The key may not be used with this method, or for this path.
    Scope,
}

/// Why a policy cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not a method name.
    #[error("{0:?} is not an HTTP method; write it in upper case, such as GET")]
    Method(String),
    /// Not a path.
    #[error("{0:?} is not a path that a key can be limited to; it begins with /, such as /api/bins")]
    Path(String),
    /// More of something than can be checked on every request.
    #[error("{0} has more than {MOST_ENTRIES} entries")]
    TooMany(&'static str),
}

/// Lists are read from end to end on every request.
const MOST_ENTRIES: usize = 64;

impl Policy {
    /// Whether the key may be used for this.
    ///
    /// # Errors
    /// The first thing that is against it.
    pub fn permits(&self, attempt: &Attempt<'_>) -> Result<(), Breach> {
        self.holds_at(attempt.at)?;
        if !self.addresses.is_empty() && !self.addresses.iter().any(|net| net.contains(attempt.address)) {
            return Err(Breach::Address);
        }
        let reads = matches!(attempt.method, "GET" | "HEAD" | "OPTIONS");
        let method = self.methods.is_empty() || self.methods.iter().any(|method| method == attempt.method);
        let path = self.paths.is_empty() || self.paths.iter().any(|path| lies_below(attempt.path, path));
        if (self.read_only && !reads) || !method || !path {
            return Err(Breach::Scope);
        }
        Ok(())
    }

    /// Whether the key may be used at all.
    ///
    /// # Errors
    /// That its time is over, or that it is disabled.
    pub fn holds_at(&self, now: SystemTime) -> Result<(), Breach> {
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Breach::Expired);
        }
        if self.disabled {
            return Err(Breach::Disabled);
        }
        Ok(())
    }

    /// Whether there is nothing to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what could never match, which its author will not have meant.
    ///
    /// # Errors
    /// The first entry that cannot be meant.
    pub fn check(&self) -> Result<(), PolicyError> {
        let is_method = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_path = |text: &str| text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if let Some(method) = self.methods.iter().find(|method| !is_method(method)) {
            return Err(PolicyError::Method(method.clone()));
        }
        if let Some(path) = self.paths.iter().find(|path| !is_path(path) || path.contains(['?', '#'])) {
            return Err(PolicyError::Path(path.clone()));
        }
        let lists = [
            ("methods", self.methods.len()),
            ("paths", self.paths.len()),
            ("addresses", self.addresses.len()),
        ];
        match lists.into_iter().find(|(_, length)| *length > MOST_ENTRIES) {
            Some((name, _)) => Err(PolicyError::TooMany(name)),
            None => Ok(()),
        }
    }
}

/// As Express compares names: without regard to case, whole segments only.
fn lies_below(path: &str, top: &str) -> bool {
    let top = top.strip_suffix('/').unwrap_or(top);
    let Some((start, rest)) = path.split_at_checked(top.len()) else { return false };
    start.eq_ignore_ascii_case(top) && (rest.is_empty() || rest.starts_with('/'))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature is serde's.
fn is_false(value: &bool) -> bool {
    !*value
}

/// A time as stores keep it.
mod when {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::keys::store::{from_millis, millis};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let read = |at| from_millis(at).ok_or_else(|| de::Error::custom("not a time"));
        Option::<i64>::deserialize(deserializer)?.map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn attempt<'r>(method: &'r str, path: &'r str) -> Attempt<'r> {
        Attempt { at: at(100), method, path, address: "192.168.1.7".parse().expect("address") }
    }

    #[test]
    fn a_key_is_over_in_the_very_second_of_its_expiry() {
        let policy = Policy { expires_at: Some(at(100)), ..Policy::default() };
        let with = |at| policy.permits(&Attempt { at, ..attempt("GET", "/api/bins") });
        assert_eq!(with(at(100) - Duration::from_millis(1)), Ok(()));
        assert_eq!(with(at(100)), Err(Breach::Expired));
        assert_eq!(with(at(5000)), Err(Breach::Expired));
    }

    #[test]
    fn a_read_only_key_changes_nothing() {
        let policy = Policy { read_only: true, ..Policy::default() };
        for (method, allowed) in
            [("GET", true), ("HEAD", true), ("OPTIONS", true), ("POST", false), ("get", false)]
        {
            assert_eq!(policy.permits(&attempt(method, "/api/bins")).is_ok(), allowed, "{method}");
        }
    }

    #[test]
    fn a_key_reaches_only_its_methods_and_what_lies_below_its_paths() {
        let policy = Policy {
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            paths: vec!["/api/bins/".to_owned(), "/api/items".to_owned()],
            ..Policy::default()
        };
        for (method, path, allowed) in [
            ("GET", "/api/bins", true),
            ("POST", "/API/Bins/7", true),
            ("GET", "/api/items/", true),
            ("DELETE", "/api/bins/7", false),
            ("GET", "/api/binsx", false),
            ("GET", "/api/%62ins", false),
            ("GET", "/api", false),
            ("GET", "/", false),
        ] {
            assert_eq!(policy.permits(&attempt(method, path)).is_ok(), allowed, "{method} {path}");
        }
    }

    #[test]
    fn a_key_is_good_only_from_its_addresses() {
        let network = "192.168.1.0/24".parse().expect("network");
        let policy = Policy { addresses: vec![network], ..Policy::default() };
        assert_eq!(policy.permits(&attempt("GET", "/")), Ok(()));
        let elsewhere = Attempt { address: "::1".parse().expect("address"), ..attempt("GET", "/") };
        assert_eq!(policy.permits(&elsewhere), Err(Breach::Address));
    }

    #[test]
    fn a_policy_is_read_back_as_it_was_written_and_an_unknown_field_is_an_error() {
        let policy = Policy {
            expires_at: Some(at(7)),
            disabled: true,
            methods: vec!["GET".to_owned()],
            addresses: vec!["10.0.0.0/8".parse().expect("network")],
            rate: Some("600/1m".parse().expect("a rate")),
            replaced_by: Some("id".to_owned()),
            ..Policy::default()
        };
        let text = serde_json::to_string(&policy).expect("text");
        assert_eq!(serde_json::from_str::<Policy>(&text).expect("a policy"), policy);
        assert_eq!(serde_json::to_string(&Policy::default()).expect("text"), "{}");
        assert!(serde_json::from_str::<Policy>(r#"{"readonly":true}"#).is_err());
        assert!(serde_json::from_str::<Policy>(r#"{"expires_at":-1}"#).is_err());
    }

    #[test]
    fn what_could_never_match_is_refused() {
        let with_method = |text: &str| Policy { methods: vec![text.to_owned()], ..Policy::default() }.check();
        let with_path = |text: &str| Policy { paths: vec![text.to_owned()], ..Policy::default() }.check();
        assert_eq!(with_method("GET"), Ok(()));
        assert!(with_method("get").is_err() && with_method("").is_err());
        assert_eq!(with_path("/api/bins"), Ok(()));
        assert!(with_path("api").is_err() && with_path("/a?b").is_err() && with_path("/a b").is_err());
        let many = Policy { paths: vec!["/a".to_owned(); MOST_ENTRIES + 1], ..Policy::default() };
        assert_eq!(many.check(), Err(PolicyError::TooMany("paths")));
    }
}
