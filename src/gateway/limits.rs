//! How a request stands with the limits that apply to it, and how the client is told: by the header fields
//! of draft-ietf-httpapi-ratelimit-headers-10. Counts nothing itself.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::recorded::Note;
use crate::auth::{Admission, Claimant, Identity, Limits, Quota};
use crate::http::header::{
    RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_POLICY, RATELIMIT_REMAINING, RATELIMIT_RESET, of_one_message,
};
use crate::http::{Refusal, append_number, whole_seconds};
use crate::keys::Rate;
use crate::observe::Outcome;

/// How a request stands with the limits that apply to it.
pub(super) struct Standing {
    from: IpAddr,
    at: Instant,
    address: Cell<Option<Quota>>,
    key: Cell<Option<Quota>>,
}

impl Standing {
    /// A request from this address that came at this time, and is not counted yet.
    pub(super) fn new(from: IpAddr, at: Instant) -> Self {
        Self { from, at, address: Cell::default(), key: Cell::default() }
    }

    /// Counts the request against its address's limit, and goes on only within that.
    pub(super) async fn within_address_limit(&self, limits: &Limits, note: &mut Note) -> Result<(), Refusal> {
        pass(limits.limit_address(self.from, self.at).await, &self.address, note)
    }

    /// Counts the request against its key's limit, where it has a key, and goes on only within that.
    pub(super) async fn within_key_limit(
        &self,
        limits: &Limits,
        identity: &Identity,
        note: &mut Note,
    ) -> Result<(), Refusal> {
        let Some(key) = identity.active_key() else { return Ok(()) };
        let own = key.policy.as_ref().and_then(|policy| policy.rate);
        pass(limits.limit_key(&key.record.hash, own, self.at).await, &self.key, note)
    }

    /// Whoever sent the request, as far as bad credentials are concerned.
    pub(super) fn claimant<'l>(&self, limits: &'l Limits) -> Claimant<'l> {
        limits.claimant(self.from, self.at)
    }

    /// Tells the client, unless the instance has told it of limits of its own: these stay alone, in whichever
    /// form, because a client that reads the other form could not tell whose they are.
    pub(super) fn tell(&self, headers: &mut HeaderMap, words: &Words) {
        let quotas = [self.address.get(), self.key.get()];
        if quotas.iter().all(Option::is_none) || headers.keys().any(tells_of_limits) {
            return;
        }
        let (policy, standing) = words.of(quotas);
        for (field, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, standing)] {
            if let Some(value) = value {
                headers.insert(field, value);
            }
        }
    }
}

fn tells_of_limits(field: &HeaderName) -> bool {
    field.as_str().starts_with("ratelimit") && FIELDS.contains(field)
}

/// The fields' texts of one worker. Most requests are under the same limits as the one before.
#[derive(Default)]
pub(super) struct Words(RefCell<Said>);

#[derive(Default)]
struct Said {
    rates: [Option<Rate>; 2],
    policy: Option<HeaderValue>,
    text: Vec<u8>,
}

impl Words {
    /// The texts of both fields.
    fn of(&self, quotas: [Option<Quota>; 2]) -> (Option<HeaderValue>, Option<HeaderValue>) {
        let Said { rates, policy, text } = &mut *self.0.borrow_mut();
        let asked = quotas.map(|quota| quota.map(|quota| quota.rate));
        if policy.is_none() || *rates != asked {
            *rates = asked;
            *policy = list(text, quotas, |text, Quota { rate, .. }| {
                parameter(text, b";q=", rate.requests().into());
                parameter(text, b";w=", rate.per().as_secs());
            });
        }
        let standing = list(text, quotas, |text, Quota { remaining, next_in, .. }| {
            parameter(text, b";r=", remaining.into());
            parameter(text, b";t=", whole_seconds(next_in));
        });
        (policy.clone(), standing.map(of_one_message))
    }
}

/// A list of what `write` says of each limit.
fn list(
    text: &mut Vec<u8>,
    quotas: [Option<Quota>; 2],
    write: impl Fn(&mut Vec<u8>, Quota),
) -> Option<HeaderValue> {
    text.clear();
    for (name, quota) in [&b"\"address\""[..], b"\"key\""].into_iter().zip(quotas) {
        let Some(quota) = quota else { continue };
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(name);
        write(text, quota);
    }
    HeaderValue::from_bytes(text).ok()
}

fn parameter(text: &mut Vec<u8>, name: &[u8], number: u64) {
    text.extend_from_slice(name);
    append_number(text, number);
}

/// Every field that tells of limits, in the latest draft's form and in that of OpenBin.
const FIELDS: [HeaderName; 5] =
    [RATELIMIT_POLICY, RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET];

fn pass(admission: Admission, standing: &Cell<Option<Quota>>, note: &mut Note) -> Result<(), Refusal> {
    match admission {
        Admission::Unlimited => Ok(()),
        Admission::Within(quota) => {
            standing.set(Some(quota));
            Ok(())
        }
        Admission::Over(quota) => {
            standing.set(Some(quota));
            note.edit(|record| record.outcome = Outcome::RateLimited);
            Err(Refusal::RateLimited { retry_after: quota.next_in })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(rate: &str, remaining: u32, next_in: u64) -> Option<Quota> {
        let rate = rate.parse().expect("a rate");
        Some(Quota { rate, remaining, next_in: Duration::from_millis(next_in) })
    }

    fn standing() -> Standing {
        Standing::new(IpAddr::from([192, 0, 2, 1]), Instant::now())
    }

    fn told(standing: &Standing, mut headers: HeaderMap) -> HeaderMap {
        standing.tell(&mut headers, &Words::default());
        headers
    }

    #[test]
    fn limits_are_told_in_the_drafts_words() {
        let standing = standing();
        standing.key.set(quota("600/1m", 599, 100));
        let headers = told(&standing, HeaderMap::new());
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=600;w=60");
        assert_eq!(headers["ratelimit"], "\"key\";r=599;t=1");
        assert!(headers["ratelimit"].is_sensitive(), "HTTP/2 keeps it for later answers");
        assert!(!headers["ratelimit-policy"].is_sensitive(), "it comes again");
        standing.address.set(quota("1200/1d", 0, 71_001));
        let headers = told(&standing, HeaderMap::new());
        assert_eq!(headers["ratelimit-policy"], "\"address\";q=1200;w=86400, \"key\";q=600;w=60");
        assert_eq!(headers["ratelimit"], "\"address\";r=0;t=72, \"key\";r=599;t=1");
    }

    #[test]
    fn other_limits_are_told_in_other_words() {
        let words = Words::default();
        for (rate, wanted) in [("600/1m", "\"key\";q=600;w=60"), ("5/1s", "\"key\";q=5;w=1")] {
            for _ in 0..2 {
                let (standing, mut headers) = (standing(), HeaderMap::new());
                standing.key.set(quota(rate, 4, 100));
                standing.tell(&mut headers, &words);
                assert_eq!(headers["ratelimit-policy"], wanted);
                assert_eq!(headers["ratelimit"], "\"key\";r=4;t=1");
            }
        }
    }

    #[test]
    fn without_limits_nothing_is_told() {
        assert!(told(&standing(), HeaderMap::new()).is_empty());
    }

    #[test]
    fn what_the_instance_says_of_its_own_limits_stays_alone() {
        let standing = standing();
        standing.key.set(quota("600/1m", 599, 100));
        for field in FIELDS {
            let own = HeaderMap::from_iter([(field.clone(), HeaderValue::from_static("5;w=900"))]);
            assert_eq!(told(&standing, own.clone()), own, "{field}");
        }
    }
}
