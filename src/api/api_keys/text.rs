//! Text as JavaScript has it: UTF-16 code units, halves of characters included, since OpenBin counts and
//! cuts names so.

use std::char::decode_utf16;
use std::fmt::Write as _;

/// A string of JavaScript's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(Vec<u16>);

impl Text {
    pub(super) fn new(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }

    /// The text of a JSON string, given with its quotes. Unlike Rust's, it may hold half a character, as
    /// an escape.
    pub(super) fn of_json(raw: &str) -> Self {
        let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
        let (mut units, mut rest) = (Vec::with_capacity(inner.len()), inner.chars());
        while let Some(character) = rest.next() {
            match character {
                '\\' => units.push(escaped(&mut rest)),
                _ => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            }
        }
        Self(units)
    }

    /// `text.trim().slice(0, most)`.
    pub(super) fn trimmed_and_cut(&self, most: usize) -> Self {
        let is_text = |unit: &u16| !is_white_space(*unit);
        let start = self.0.iter().position(is_text).unwrap_or(self.0.len());
        let end = self.0.iter().rposition(is_text).map_or(start, |last| last + 1);
        Self(self.0.iter().take(end).skip(start).take(most).copied().collect())
    }

    /// As `JSON.stringify` writes it: half a character as an escape.
    pub(super) fn json(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 2);
        out.push('"');
        for character in decode_utf16(self.0.iter().copied()) {
            let _ = match character {
                Ok('"') => out.write_str("\\\""),
                Ok('\\') => out.write_str("\\\\"),
                Ok('\u{8}') => out.write_str("\\b"),
                Ok('\t') => out.write_str("\\t"),
                Ok('\n') => out.write_str("\\n"),
                Ok('\u{c}') => out.write_str("\\f"),
                Ok('\r') => out.write_str("\\r"),
                Ok(control @ '\0'..='\u{1f}') => write!(out, "\\u{:04x}", u32::from(control)),
                Ok(plain) => out.write_char(plain),
                Err(half) => write!(out, "\\u{:04x}", half.unpaired_surrogate()),
            };
        }
        out.push('"');
        out
    }

    /// As UTF-8, which has no halves of characters: each becomes U+FFFD, as in OpenBin's database.
    pub(super) fn utf8(&self) -> String {
        String::from_utf16_lossy(&self.0)
    }
}

/// What follows a backslash, in a string that is known to be JSON.
fn escaped(rest: &mut std::str::Chars<'_>) -> u16 {
    let plain = match rest.next().unwrap_or('\\') {
        'u' => {
            let digits = rest.by_ref().take(4).filter_map(|digit| digit.to_digit(16));
            digits.fold(0, |unit, digit| unit << 4 | digit)
        }
        'b' => 0x8,
        'f' => 0xc,
        'n' => 0xa,
        'r' => 0xd,
        't' => 0x9,
        plain => u32::from(plain),
    };
    u16::try_from(plain).unwrap_or_default()
}

/// White space and line terminators of ECMAScript (ECMA-262 §12.2, §12.3).
fn is_white_space(unit: u16) -> bool {
    matches!(
        unit,
        0x09..=0x0d
            | 0x20
            | 0xa0
            | 0x1680
            | 0x2000..=0x200a
            | 0x2028
            | 0x2029
            | 0x202f
            | 0x205f
            | 0x3000
            | 0xfeff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_as_javascript_does() {
        let trimmed = |text: &str| Text::new(text).trimmed_and_cut(255).utf8();
        assert_eq!(trimmed("  laptop \n"), "laptop");
        assert_eq!(trimmed("\u{feff}\u{a0}\u{3000}a\u{2028}b\u{2029}"), "a\u{2028}b");
        assert_eq!(trimmed("\u{85}a\u{200b}"), "\u{85}a\u{200b}");
        assert_eq!(trimmed(" \t "), "");
    }

    #[test]
    fn names_are_cut_within_a_character() {
        let cut = Text::new(&format!("{}\u{1f600}", "a".repeat(254))).trimmed_and_cut(255);
        assert_eq!(cut.json(), format!("\"{}\\ud83d\"", "a".repeat(254)));
        assert_eq!(cut.utf8(), format!("{}\u{fffd}", "a".repeat(254)));
    }

    #[test]
    fn a_json_string_is_read_and_written_back_whatever_is_in_it() {
        for (raw, written) in [
            (r#""""#, r#""""#),
            (r#""a\"\\\/b""#, r#""a\"\\/b""#),
            (r#""\b\f\n\r\t\u0000\u001F""#, r#""\b\f\n\r\t\u0000\u001f""#),
            (r#""\ud83d\ude00""#, "\"\u{1f600}\""),
            (r#""\uDE00\uD83D""#, r#""\ude00\ud83d""#),
            ("\"\u{7f}\u{2028}ä😀\"", "\"\u{7f}\u{2028}ä😀\""),
        ] {
            assert_eq!(Text::of_json(raw).json(), written, "{raw}");
        }
    }
}
