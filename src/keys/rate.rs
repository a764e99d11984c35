//! How many requests are allowed in what time, as operators write it: `600/1m`.
//!
//! Counts nothing itself.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MOST_REQUESTS: u32 = 1_000_000_000;
const MOST_DAYS: u64 = 366;
const DAY: u64 = 86_400;
/// The units of time, the longest first, each with its seconds.
const UNITS: [(&str, u64); 4] = [("d", DAY), ("h", 3_600), ("m", 60), ("s", 1)];

/// So many requests in such a time. Read from and shown as text such as `600/1m`, `10/1s` or `5000/1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    requests: NonZeroU32,
    per: Duration,
}

impl Rate {
    /// So many requests, at most 1,000,000,000, in so many whole seconds, at most 366 days: then the time
    /// for one of them is never less than a nanosecond, and header fields can tell the whole rate exactly.
    ///
    /// # Errors
    /// Where one of the two is out of its range.
    pub fn new(requests: u32, per: Duration) -> Result<Self, RateError> {
        let requests = NonZeroU32::new(requests).ok_or(RateError::Requests)?;
        let whole = per.subsec_nanos() == 0 && (1..=MOST_DAYS * DAY).contains(&per.as_secs());
        if requests.get() > MOST_REQUESTS {
            Err(RateError::Requests)
        } else if whole {
            Ok(Self { requests, per })
        } else {
            Err(RateError::Time)
        }
    }

    /// So many requests each second.
    #[must_use]
    pub const fn per_second(requests: NonZeroU32) -> Self {
        Self { requests, per: Duration::from_secs(1) }
    }

    /// How many requests.
    #[must_use]
    pub fn requests(self) -> u32 {
        self.requests.get()
    }

    /// In what time; whole seconds.
    #[must_use]
    pub fn per(self) -> Duration {
        self.per
    }
}

/// Why a text or a pair of numbers is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It has not the form of a rate.
    #[error("a rate is a number of requests, `/` and a time, such as 600/1m, 10/1s or 5000/1d")]
    Form,
    /// No request at all, or too many.
    #[error("a rate allows from 1 to 1000000000 requests")]
    Requests,
    /// No time at all, too long a time, or parts of a second.
    #[error("a rate's time is from 1s to 366d, in whole seconds, minutes, hours or days: s, m, h, d")]
    Time,
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (requests, time) = text.split_once('/').ok_or(RateError::Form)?;
        let requests = number(requests).ok_or(RateError::Form)?;
        let requests = u32::try_from(requests).map_err(|_| RateError::Requests)?;
        let digits = time.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = time.split_at_checked(digits).ok_or(RateError::Form)?;
        let count = number(count).ok_or(RateError::Form)?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(RateError::Time)?;
        let seconds = count.checked_mul(*seconds).ok_or(RateError::Time)?;
        Self::new(requests, Duration::from_secs(seconds))
    }
}

/// Digits only: what else the standard library reads as a number, a sign, has no place here. Too large a
/// number is as wrong as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// In the longest unit that is exact: `10/60s` is shown as `10/1m`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.per.as_secs();
        let exact = UNITS.iter().find(|(_, unit)| seconds.is_multiple_of(*unit));
        let (name, unit) = exact.unwrap_or(&("s", 1));
        write!(f, "{}/{}{name}", self.requests, seconds / unit)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shown_as_it_is_written() {
        for text in ["600/1m", "10/1s", "5000/1d", "1/90s", "7/36h", "1000000000/366d"] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.to_string(), text);
        }
        let rate: Rate = "600/60s".parse().expect("a rate");
        assert_eq!((rate.requests(), rate.per()), (600, Duration::from_secs(60)));
        assert_eq!(rate.to_string(), "600/1m");
    }

    #[test]
    fn what_is_no_rate_is_told_why() {
        for (text, why) in [
            ("", RateError::Form),
            ("600", RateError::Form),
            ("/1m", RateError::Form),
            ("600/", RateError::Form),
            ("600/m", RateError::Form),
            ("-1/1m", RateError::Form),
            ("+1/1m", RateError::Form),
            ("1.5/1m", RateError::Form),
            (" 600/1m", RateError::Form),
            ("600 / 1m", RateError::Form),
            ("६/1m", RateError::Form),
            ("0/1m", RateError::Requests),
            ("1000000001/1m", RateError::Requests),
            ("99999999999999999999/1m", RateError::Requests),
            ("1/0s", RateError::Time),
            ("1/500ms", RateError::Time),
            ("1/1", RateError::Time),
            ("1/1w", RateError::Time),
            ("1/1é", RateError::Time),
            ("1/367d", RateError::Time),
            ("1/99999999999999999999d", RateError::Time),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(why), "{text}");
        }
        assert_eq!(Rate::new(1, Duration::from_millis(1_500)), Err(RateError::Time));
    }

    #[test]
    fn a_rate_is_text_in_json_too() {
        let rate: Rate = serde_json::from_str("\"5000/1d\"").expect("a rate");
        assert_eq!(serde_json::to_string(&rate).expect("text"), "\"5000/1d\"");
        let why = serde_json::from_str::<Rate>("\"5000/day\"").expect_err("no rate").to_string();
        assert!(why.contains("such as 600/1m"), "{why}");
        assert!(serde_json::from_str::<Rate>("600").is_err());
    }
}
