//! The forms in which OpenBin keeps a time, all of them text.
//!
//! SQLite's `datetime('now')` (`2026-11-22 21:23:59`, UTC without saying so), PostgreSQL's `now()` as text
//! (`2026-11-22 21:29:40.021502+00`, in the session's time zone, with as much of a fraction as there is),
//! and what JavaScript and people write: ISO 8601 (RFC 3339). A time without a zone is UTC.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::parsing::Parsed;

const DATE_AND_TIME: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day][first [T] [t] [ ]][hour]:[minute]:[second][optional [.[subsecond]]]"
);
/// PostgreSQL leaves out minutes and seconds of an offset that has none (`+00`, `+05:30`, `+00:19:32`).
const OFFSET: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[offset_hour sign:mandatory][optional [[optional [:]][offset_minute][optional [[optional [:]][offset_second]]]]]"
);

/// Reads a time of OpenBin's in any of its forms; `None` where it is in none of them.
#[must_use]
pub fn read(text: &str) -> Option<SystemTime> {
    let mut parsed = Parsed::new();
    let zone = parsed.parse_items(text.trim().as_bytes(), DATE_AND_TIME).ok()?;
    if matches!(zone, b"" | b"Z" | b"z") {
        parsed.set_offset_hour(0)?;
    } else if !parsed.parse_items(zone, OFFSET).ok()?.is_empty() {
        return None;
    }
    OffsetDateTime::try_from(parsed).ok().map(SystemTime::from)
}

/// Writes a time as OpenBin's SQLite does: UTC, whole seconds, no zone. `None` where it has no such form.
#[must_use]
pub fn write(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    time.format(SECONDS).ok()
}

const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!(version = 2, "[year]-[month]-[day] [hour]:[minute]:[second]");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, nanos: u32) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    #[test]
    fn each_form_of_openbin_is_read() {
        for (text, seconds, nanos) in [
            ("2026-11-22 21:23:59", 1_795_382_639, 0),
            ("2026-11-22 21:29:40.021502+00", 1_795_382_980, 21_502_000),
            ("2026-11-22 21:29:40.5+00", 1_795_382_980, 500_000_000),
            ("2026-11-22 21:29:40+00", 1_795_382_980, 0),
            ("2026-11-22T21:29:40.021Z", 1_795_382_980, 21_000_000),
            ("2026-11-22T21:29:40Z", 1_795_382_980, 0),
            ("2026-11-22t21:29:40z", 1_795_382_980, 0),
            ("2026-11-22T21:29:40", 1_795_382_980, 0),
            (" 2026-11-22 21:29:40 \r", 1_795_382_980, 0),
        ] {
            assert_eq!(read(text), at(seconds, nanos), "{text}");
        }
    }

    #[test]
    fn an_offset_is_taken_off_whichever_way_it_is_written() {
        for text in [
            "2026-11-23 02:59:40+05:30",
            "2026-11-23 02:59:40+0530",
            "2026-11-22 17:59:40-0330",
            "2026-11-22 17:59:40-03:30",
            "2026-11-22 20:59:40-00:30",
            "2026-11-22 13:29:40-08",
            "2026-11-23T11:29:40.000+14:00",
            "2026-11-22 21:49:12+00:19:32",
        ] {
            assert_eq!(read(text), at(1_795_382_980, 0), "{text}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice_in_autumn_is_two_times() {
        let summer = read("2026-10-25 02:30:00+02").expect("a time");
        let winter = read("2026-10-25 02:30:00+01").expect("a time");
        assert_eq!(winter, summer + Duration::from_secs(3600));
    }

    #[test]
    fn what_is_no_time_is_not_read_as_one() {
        for text in [
            "",
            "never",
            "0",
            "1795382980",
            "infinity",
            "-infinity",
            "2026-11-22",
            "2026-02-30 00:00:00",
            "2026-13-01 00:00:00",
            "2026-11-22 24:00:00",
            "2026-11-22 21:23",
            "2026-11-22 21:23:59.",
            "2026-11-22 21:23:60",
            "2026-11-22 21:23:59 BC",
            "2026-11-22 21:23:59+",
            "2026-11-22 21:23:59+5",
            "2026-11-22 21:23:59+99",
            "2026-11-22 21:23:59+05:61",
            "2026-11-22 21:23:59Zx",
            "2026-11-22 21:23:59 CET",
            "22.11.2026 21:23:59",
            "2026-11-22  21:23:59",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_as_sqlite_writes_them() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(write(at(1_795_382_639)).as_deref(), Some("2026-11-22 21:23:59"));
        assert_eq!(write(at(1_795_382_639) + Duration::from_millis(999)), write(at(1_795_382_639)));
        assert_eq!(write(at(u64::MAX >> 2)), None);
    }
}
