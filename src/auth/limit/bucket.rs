//! A token bucket in one number: the generic cell rate algorithm (ITU-T I.371, virtual scheduling).
//!
//! The number is the time at which the bucket will be full again. So a bucket that nobody has used for a
//! while is the same as no bucket at all, and may be forgotten. Times are nanoseconds since a start that the
//! caller chose, and are passed in.

use std::time::Duration;

use crate::keys::Rate;

/// A token bucket. The lesser of two is full sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket {
    full_at: u64,
}

/// Whether a request is within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Nothing limits it.
    Unlimited,
    /// It is, and so much is left.
    Within(Quota),
    /// It is not.
    Over(Quota),
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What is allowed.
    pub rate: Rate,
    /// How many more requests are allowed now.
    pub remaining: u32,
    /// When one more will be.
    pub next_in: Duration,
}

/// A rate in nanoseconds: for one request, and to refill an empty bucket.
struct Pace {
    interval: u64,
    whole: u64,
}

impl Pace {
    fn of(rate: Rate) -> Self {
        let per = u64::try_from(rate.per().as_nanos()).unwrap_or(u64::MAX);
        let interval = per / u64::from(rate.requests());
        Self { interval, whole: interval * u64::from(rate.requests()) }
    }
}

impl Bucket {
    /// Takes a token, where there is one.
    pub(super) fn take(&mut self, rate: Rate, now: u64) -> Admission {
        let Pace { interval, whole } = Pace::of(rate);
        // A bucket that was larger when it was last used is now at most empty.
        let missing = self.full_at.saturating_sub(now).min(whole) + interval;
        let Some(left) = whole.checked_sub(missing) else {
            let next_in = Duration::from_nanos(missing - whole);
            return Admission::Over(Quota { rate, remaining: 0, next_in });
        };
        self.full_at = now.saturating_add(missing);
        let remaining = u32::try_from(left / interval).unwrap_or(u32::MAX);
        let next_in = Duration::from_nanos(interval - left % interval);
        Admission::Within(Quota { rate, remaining, next_in })
    }

    /// Charges a fault, also where no token is left. Whoever has none left is penalised for the rate's whole
    /// time after the last fault; the time for which that is now.
    pub(super) fn blame(&mut self, rate: Rate, now: u64) -> Option<Duration> {
        let Pace { interval, whole } = Pace::of(rate);
        let missing = self.full_at.saturating_sub(now) + interval;
        let over = missing > whole;
        self.full_at = now.saturating_add(if over { 2 * whole } else { missing });
        over.then(|| Duration::from_nanos(whole))
    }

    /// For how long whoever was blamed is still penalised.
    pub(super) fn penalty(self, rate: Rate, now: u64) -> Option<Duration> {
        let whole = Pace::of(rate).whole;
        let left = self.full_at.saturating_sub(now).min(2 * whole).saturating_sub(whole);
        (left > 0).then(|| Duration::from_nanos(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    fn remaining(admission: Admission) -> Option<u32> {
        match admission {
            Admission::Within(quota) => Some(quota.remaining),
            Admission::Over(_) | Admission::Unlimited => None,
        }
    }

    #[test]
    fn a_full_bucket_gives_all_its_tokens_at_once_and_not_one_more() {
        for (text, requests) in [("600/1m", 600), ("7/1s", 7), ("5000/1d", 5000), ("1/366d", 1)] {
            let (rate, mut bucket, now) = (rate(text), Bucket::default(), 5 * SECOND);
            for left in (0..requests).rev() {
                assert_eq!(remaining(bucket.take(rate, now)), Some(left), "{text}");
            }
            assert!(matches!(bucket.take(rate, now), Admission::Over(_)), "{text}");
        }
    }

    #[test]
    fn tokens_come_back_evenly_and_to_the_nanosecond() {
        let (rate, mut bucket) = (rate("4/1s"), Bucket::default());
        let quarter = SECOND / 4;
        for _ in 0..4 {
            bucket.take(rate, 0);
        }
        let Admission::Over(quota) = bucket.take(rate, quarter - 1) else { panic!("a token came early") };
        assert_eq!((quota.remaining, quota.next_in), (0, Duration::from_nanos(1)));
        assert_eq!(remaining(bucket.take(rate, quarter)), Some(0));
        assert_eq!(remaining(bucket.take(rate, 4 * quarter)), Some(2));
        assert_eq!(remaining(bucket.take(rate, 100 * SECOND)), Some(3), "never more than it holds");
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let (rate, mut bucket) = (rate("1/1s"), Bucket::default());
        assert_eq!(remaining(bucket.take(rate, 0)), Some(0));
        for tenth in 1..10 {
            assert_eq!(remaining(bucket.take(rate, tenth * SECOND / 10)), None);
        }
        assert_eq!(remaining(bucket.take(rate, SECOND)), Some(0));
    }

    #[test]
    fn the_next_token_is_announced_when_it_comes() {
        let (rate, mut bucket) = (rate("2/1m"), Bucket::default());
        let next = |admission| match admission {
            Admission::Within(quota) | Admission::Over(quota) => quota.next_in.as_secs(),
            Admission::Unlimited => panic!("a limit"),
        };
        assert_eq!(next(bucket.take(rate, 0)), 30);
        assert_eq!(next(bucket.take(rate, 20 * SECOND)), 10);
        assert_eq!(next(bucket.take(rate, 20 * SECOND)), 10);
    }

    #[test]
    fn a_smaller_rate_holds_at_once_and_locks_nobody_out_for_long() {
        let mut bucket = Bucket::default();
        for _ in 0..5000 {
            bucket.take(rate("5000/1d"), 0);
        }
        let Admission::Over(quota) = bucket.take(rate("10/1s"), 0) else { panic!("still empty") };
        assert_eq!(quota.next_in, Duration::from_millis(100));
        assert_eq!(remaining(bucket.take(rate("10/1s"), 2 * 86_400 * SECOND)), Some(9));
    }

    #[test]
    fn who_is_at_fault_too_often_is_penalised_until_a_whole_time_after_the_last_fault() {
        let (rate, mut bucket) = (rate("30/1m"), Bucket::default());
        let minute = Duration::from_secs(60);
        for _ in 0..30 {
            assert_eq!(bucket.blame(rate, 0), None);
            assert_eq!(bucket.penalty(rate, 0), None);
        }
        assert_eq!(bucket.blame(rate, 0), Some(minute));
        assert_eq!(bucket.penalty(rate, 0), Some(minute));
        assert_eq!(bucket.penalty(rate, 59 * SECOND), Some(Duration::from_secs(1)));
        assert_eq!(bucket.blame(rate, 59 * SECOND), Some(minute));
        assert_eq!(bucket.penalty(rate, 118 * SECOND), Some(Duration::from_secs(1)));
        assert_eq!(bucket.penalty(rate, 119 * SECOND), None);
        assert_eq!(bucket.blame(rate, 119 * SECOND), Some(minute), "nothing is forgiven yet");
        assert_eq!(bucket.blame(rate, 239 * SECOND), None, "everything is forgiven");
    }

    #[test]
    fn faults_that_are_few_enough_are_never_penalised() {
        let (rate, mut bucket) = (rate("30/1m"), Bucket::default());
        for fault in 0..10_000 {
            assert_eq!(bucket.blame(rate, fault * 2 * SECOND), None);
        }
    }
}
