//! How times, numbers and other people's texts are written for a person on a terminal.

/// A time of RFC 3339 in UTC, as the admin API writes it, to the second: `2026-11-23 22:36:06 UTC`.
pub(super) fn moment(text: &str) -> String {
    match text.split_once('T') {
        Some((day, rest)) if text.ends_with('Z') => {
            let second = rest.trim_end_matches('Z').split('.').next().unwrap_or_default();
            format!("{} {} UTC", plain(day), plain(second))
        }
        Some(_) | None => plain(text),
    }
}

/// The time of a last use; OpenBin's own word where there was none.
pub(super) fn last_use(text: Option<&str>) -> String {
    text.map_or_else(|| "Never".to_owned(), moment)
}

/// Text that somebody else wrote, on one line and without anything that a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    if !text.chars().any(is_unsafe) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// Control characters, and those that change the direction of what follows (Unicode TR 9).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `1 key`, `2 keys`, `2 entries`.
pub(super) fn count(number: u64, of: &str) -> String {
    match (number, of.strip_suffix("ry")) {
        (1, _) => format!("1 {of}"),
        (_, Some(stem)) => format!("{number} {stem}ries"),
        (_, None) => format!("{number} {of}s"),
    }
}

/// Takes a duration such as `90d`; what it means is the admin API's affair.
pub(super) fn duration(text: &str) -> Result<String, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let is_number = number.parse::<u32>().is_ok();
    if is_number && matches!(unit, "s" | "m" | "h" | "d") {
        return Ok(text.to_owned());
    }
    Err("write a number and a unit, such as 90d, 24h, 15m or 30s".to_owned())
}

/// `2s` → `2 s`: a duration of the admin API as it stands in a sentence.
pub(super) fn duration_words(text: &str) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    plain(format!("{number} {unit}").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_to_the_second() {
        assert_eq!(moment("2026-11-23T22:36:06.120Z"), "2026-11-23 22:36:06 UTC");
        assert_eq!(moment("2026-11-23T22:36:06Z"), "2026-11-23 22:36:06 UTC");
        assert_eq!(moment("sometime"), "sometime");
        assert_eq!(last_use(None), "Never");
    }

    #[test]
    fn nothing_that_somebody_wrote_is_obeyed_by_a_terminal() {
        assert_eq!(plain("jörg's laptop"), "jörg's laptop");
        assert_eq!(plain("a\x1b[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(plain("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for right in ["90d", "24h", "15m", "30s", "0s"] {
            assert_eq!(duration(right).as_deref(), Ok(right));
        }
        for wrong in ["", "90", "d", "-1d", "1.5h", "1y", "99999999999d", "1 d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration_words("2s"), "2 s");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!((count(1, "key"), count(0, "key")), ("1 key".to_owned(), "0 keys".to_owned()));
        assert_eq!((count(1, "entry"), count(2, "try")), ("1 entry".to_owned(), "2 tries".to_owned()));
    }
}
