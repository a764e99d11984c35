//! Whoever presents a credential: how often its source was wrong lately, and what it may still cost.
//!
//! A source that presents too many bad credentials is *penalised*: what it costs to tell a good key that
//! this process has never met from a made-up one is then rationed, and so is the plain answer. A key that
//! this process has met is never looked at here, so neighbours behind one address cannot lock each other out.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::source::Source;
use super::{Admission, Count, Limits};
use crate::auth::Denied;
use crate::keys::Rate;

/// Store look-ups for a penalised source, of keys that this process has not met.
const LOOK_UPS: Rate = Rate::per_second(at_least_one(5));
/// Questions to an instance for a penalised source.
const ADOPTIONS: Rate = Rate::per_second(at_least_one(1));
/// Store look-ups for any source, of keys on routes that need none.
const OPEN_ROUTE_LOOK_UPS: Rate = Rate::per_second(at_least_one(5));

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// Whoever presents a credential.
#[derive(Clone, Copy)]
pub struct Claimant<'l> {
    limits: &'l Limits,
    source: Source,
    /// In nanoseconds since the state's start.
    now: u64,
}

impl<'l> Claimant<'l> {
    pub(super) fn new(limits: &'l Limits, source: Source, now: Instant) -> Self {
        Self { limits, source, now: limits.state.nanoseconds(now) }
    }

    /// Whether too many bad credentials came from there lately.
    pub(in crate::auth) fn is_penalised(&self) -> bool {
        let state = &self.limits.state;
        if self.now >= state.last_penalty.load(Ordering::Relaxed) {
            return false;
        }
        let Some(rate) = self.limits.settings.bad_credentials else { return false };
        let name = state.name(self.source, Count::BadCredentials);
        state.sources.look(name).penalty(rate, self.now).is_some()
    }

    /// Takes a store look-up from a penalised source's ration.
    ///
    /// # Errors
    /// Where the ration is used up.
    pub(in crate::auth) fn look_up(&self) -> Result<(), Denied> {
        let taken = self.ration(Count::LookUps, LOOK_UPS);
        taken.inspect_err(|_| self.limits.state.throttled.look_up.inc())
    }

    /// Takes a question to an instance from a penalised source's ration.
    ///
    /// # Errors
    /// Where the ration is used up.
    pub(in crate::auth) fn adopt(&self) -> Result<(), Denied> {
        let taken = self.ration(Count::Adoptions, ADOPTIONS);
        taken.inspect_err(|_| self.limits.state.throttled.adoption.inc())
    }

    /// Takes a store look-up from any source's ration for routes that need no credential: a bad one is not
    /// told so there, and cannot be blamed, because nobody asks the instance whether it is bad.
    ///
    /// # Errors
    /// Where the ration is used up.
    pub(in crate::auth) fn look_up_on_open_route(&self) -> Result<(), Denied> {
        if self.limits.settings.bad_credentials.is_none() {
            return Ok(());
        }
        let taken = self.ration(Count::OpenRouteLookUps, OPEN_ROUTE_LOOK_UPS);
        taken.inspect_err(|_| self.limits.state.throttled.open_route.inc())
    }

    /// Counts a bad credential, and tells what to answer: the same, or that there were too many.
    ///
    /// Bad is what somebody may have made up: a malformed or unknown key, a token that no secret signed.
    /// An expired token is what every browser sends in time, and a revoked key or one whose owner is deleted
    /// or suspended cannot be guessed and is refused without a look-up: none of these counts.
    #[must_use]
    pub fn blame(&self, denied: Denied) -> Denied {
        match denied {
            Denied::InvalidToken | Denied::MalformedKey | Denied::UnknownKey => {}
            Denied::ExpiredToken
            | Denied::RevokedKey
            | Denied::ExpiredKey
            | Denied::DisabledKey
            | Denied::ForeignAddress
            | Denied::OutOfScope
            | Denied::BlockedUser
            | Denied::EndedSession
            | Denied::AccountDeleted
            | Denied::AccountSuspended
            | Denied::PlanRestricted
            | Denied::StoreUnavailable
            | Denied::InstanceUnavailable
            | Denied::Throttled(_) => return denied,
        }
        let Some(rate) = self.limits.settings.bad_credentials else { return denied };
        let state = &self.limits.state;
        let name = state.name(self.source, Count::BadCredentials);
        let Some(penalty) = state.sources.change(name, |bucket| bucket.blame(rate, self.now)) else {
            return denied;
        };
        let nanoseconds = u64::try_from(penalty.as_nanos()).unwrap_or(u64::MAX);
        state.last_penalty.fetch_max(self.now.saturating_add(nanoseconds), Ordering::Relaxed);
        state.throttled.bad_credential.inc();
        Denied::Throttled(penalty)
    }

    fn ration(&self, count: Count, rate: Rate) -> Result<(), Denied> {
        let state = &self.limits.state;
        let name = state.name(self.source, count);
        match state.sources.change(name, |bucket| bucket.take(rate, self.now)) {
            Admission::Unlimited | Admission::Within(_) => Ok(()),
            Admission::Over(quota) => Err(Denied::Throttled(quota.next_in.max(Duration::from_secs(1)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::{LimitSettings, LimitState};
    use crate::observe::Metrics;

    const SECOND: Duration = Duration::from_secs(1);
    const ONE: &str = "192.0.2.1";
    const OTHER: &str = "192.0.2.2";

    /// Limits with so many bad credentials allowed, and the start of their time.
    fn limits(bad_credentials: Option<&str>) -> (Limits, Instant) {
        let state = LimitState::new(&Metrics::new().expect("metrics"));
        let started = state.started;
        let bad_credentials = bad_credentials.map(|text| text.parse().expect("a rate"));
        (Limits::new(LimitSettings { bad_credentials, ..Default::default() }, Arc::new(state)), started)
    }

    fn from<'l>(limits: &'l Limits, address: &str, at: Instant) -> Claimant<'l> {
        limits.claimant(address.parse().expect("an address"), at)
    }

    fn penalise(claimant: &Claimant<'_>) {
        while claimant.blame(Denied::UnknownKey) == Denied::UnknownKey {}
    }

    #[test]
    fn a_source_is_penalised_for_one_bad_credential_more_than_allowed_and_nobody_else_is() {
        let (limits, now) = limits(Some("30/1m"));
        let one = from(&limits, ONE, now);
        for denied in [Denied::UnknownKey, Denied::MalformedKey, Denied::InvalidToken].repeat(10) {
            assert_eq!(one.blame(denied), denied);
            assert!(!one.is_penalised());
        }
        assert_eq!(one.blame(Denied::InvalidToken), Denied::Throttled(60 * SECOND));
        assert!(one.is_penalised());
        assert!(!from(&limits, OTHER, now).is_penalised());
        assert_eq!(from(&limits, OTHER, now).blame(Denied::UnknownKey), Denied::UnknownKey);
        assert!(from(&limits, ONE, now + 59 * SECOND).is_penalised());
        assert!(!from(&limits, ONE, now + 60 * SECOND).is_penalised());
        assert_eq!(limits.state.throttled.bad_credential.get(), 1);
    }

    #[test]
    fn what_nobody_made_up_counts_against_nobody() {
        let (limits, now) = limits(Some("1/1d"));
        let claimant = from(&limits, ONE, now);
        for denied in [
            Denied::ExpiredToken,
            Denied::RevokedKey,
            Denied::AccountDeleted,
            Denied::AccountSuspended,
            Denied::PlanRestricted,
            Denied::StoreUnavailable,
            Denied::InstanceUnavailable,
            Denied::Throttled(SECOND),
        ] {
            for _ in 0..5 {
                assert_eq!(claimant.blame(denied), denied);
            }
        }
        assert!(!claimant.is_penalised());
        assert_eq!(claimant.blame(Denied::UnknownKey), Denied::UnknownKey, "the first that counts");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_penalised_as_one() {
        let (limits, now) = limits(Some("2/1m"));
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            let _ = from(&limits, host, now).blame(Denied::UnknownKey);
        }
        assert!(from(&limits, "2001:db8::ffff", now).is_penalised());
        assert!(!from(&limits, "2001:db8:0:1::1", now).is_penalised());
    }

    #[test]
    fn rations_are_used_up_and_come_back() {
        let (limits, now) = limits(Some("30/1m"));
        for at in [now, now + SECOND] {
            let claimant = from(&limits, ONE, at);
            let granted = |take: &dyn Fn() -> Result<(), Denied>| (0..20).filter(|_| take().is_ok()).count();
            assert_eq!(granted(&|| claimant.look_up()), 5);
            assert_eq!(granted(&|| claimant.adopt()), 1);
            assert_eq!(granted(&|| claimant.look_up_on_open_route()), 5);
        }
        assert!(from(&limits, OTHER, now).look_up().is_ok(), "each source has its own");
        assert_eq!(from(&limits, ONE, now + SECOND).adopt(), Err(Denied::Throttled(SECOND)));
        let throttled = &limits.state.throttled;
        assert_eq!((throttled.look_up.get(), throttled.open_route.get()), (15 + 15, 15 + 15));
        assert_eq!(throttled.adoption.get(), 19 + 19 + 1);
    }

    #[test]
    fn switched_off_nobody_is_blamed_or_rationed() {
        let (limits, now) = limits(None);
        let claimant = from(&limits, ONE, now);
        for _ in 0..1_000 {
            assert_eq!(claimant.blame(Denied::UnknownKey), Denied::UnknownKey);
            assert_eq!(claimant.look_up_on_open_route(), Ok(()));
        }
        assert!(!claimant.is_penalised());
    }

    #[test]
    fn a_penalty_can_be_lifted_by_switching_it_off() {
        let (before, now) = limits(Some("1/1d"));
        penalise(&from(&before, ONE, now));
        assert!(from(&before, ONE, now).is_penalised());
        let after = Limits::new(LimitSettings::default(), Arc::clone(&before.state));
        assert!(!from(&after, ONE, now).is_penalised());
    }
}
