//! Texts ↔ durations, byte sizes and what may be shown of a value. Knows nothing of keys and files.

use std::time::Duration;

/// Reads `500ms`, `30s`, `5m`, `1h` or `1d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

/// Reads `65536`, `64KiB`, `256MiB`, `1GiB` or their decimal kin `64kB`, `256MB`, `1GB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Writes a duration as a person would.
pub(super) fn duration_text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if milliseconds >= unit && milliseconds.is_multiple_of(unit) {
            return format!("{}{name}", milliseconds / unit);
        }
    }
    format!("{milliseconds}ms")
}

/// Writes a number of bytes as a person would.
pub(super) fn size_text(bytes: u64) -> String {
    for (shift, name) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{name}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// What may be shown of a text that somebody wrote: short, on one line, and nothing that could be a URL
/// with a password in it.
pub(super) fn shown(text: &str) -> String {
    if text.contains('@') {
        return "(not shown)".to_owned();
    }
    let mut short: String = text.chars().take(MOST_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST_SHOWN).is_some() {
        short.push('…');
    }
    short
}

const MOST_SHOWN: usize = 80;

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration(" 5 m "), Some(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(duration("400d"), Some(Duration::from_secs(400 * 86_400)));
        for wrong in ["", "30", "s", "-1s", "1.5s", "1w", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_bytes_unless_a_unit_says_otherwise() {
        assert_eq!(size("65536"), Some(65536));
        assert_eq!(size("64KiB"), Some(65536));
        assert_eq!(size("256MiB"), Some(256 << 20));
        assert_eq!(size("1GB"), Some(1_000_000_000));
        for wrong in ["", "MiB", "1mb", "-1", "1.5MiB", "18446744073709551615GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for text in ["500ms", "30s", "5m", "1h", "90s", "36h", "400d"] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Some(text));
        }
        for text in ["64KiB", "256MiB", "1GiB", "1023B"] {
            assert_eq!(size(text).map(size_text).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_could_hold_a_password_is_not_shown() {
        assert_eq!(shown("redis://u:p@host"), "(not shown)");
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), 81);
    }
}
