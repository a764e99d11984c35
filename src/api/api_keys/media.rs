//! `Content-Type` as OpenBin's body parsers take it: where it is not well formed, it is as if it were not
//! there (RFC 9110 §8.3.1).

use crate::http::is_token_byte;

/// A media type and its charset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Media<'f> {
    /// Type and subtype, as they were written.
    pub(super) name: &'f str,
    /// The parameter `charset` without its quotes; UTF-8 where there is none.
    charset: &'f str,
}

impl<'f> Media<'f> {
    pub(super) fn of(field: &'f str) -> Option<Self> {
        let end = field.find(';').unwrap_or(field.len());
        let (name, mut rest) = field.split_at(end);
        let mut charset = "";
        while !rest.is_empty() {
            let (own, after) = token(rest.strip_prefix(';')?.trim_start_matches(' '))?;
            let (value, after) =
                value(after.trim_start_matches(' ').strip_prefix('=')?.trim_start_matches(' '))?;
            if own.eq_ignore_ascii_case("charset") {
                charset = value;
            }
            rest = after.trim_start_matches(' ');
        }
        Some(Self { name: name.trim(), charset })
    }

    /// Whether the type is this one.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether the content is in UTF-8, spelled as OpenBin spells it.
    pub(super) fn is_utf8(&self) -> bool {
        self.charset.is_empty() || self.charset.eq_ignore_ascii_case("utf-8")
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else { return token(text) };
    let mut escaped = false;
    for (place, byte) in quoted.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return Some((quoted.get(..place)?, quoted.get(place + 1..)?)),
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_hide_the_type() {
        for field in
            ["application/json", " Application/JSON ; charset=x", "application/json;a=\";\\\"\" ; b=c"]
        {
            assert!(Media::of(field).is_some_and(|media| media.is("application/json")), "{field}");
        }
        assert!(!Media::of("application/vnd.api+json").is_some_and(|media| media.is("application/json")));
    }

    #[test]
    fn only_utf8_is_utf8() {
        let is_utf8 = |field: &str| Media::of(field).map(|media| media.is_utf8());
        for field in ["a/b", "a/b; charset=UTF-8", "a/b;charset=\"utf-8\"", "a/b; charset=x; charset=utf-8"] {
            assert_eq!(is_utf8(field), Some(true), "{field}");
        }
        for field in ["a/b; charset=utf8", "a/b; charset=latin1", "a/b; charset=\"utf-8;\""] {
            assert_eq!(is_utf8(field), Some(false), "{field}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_as_if_it_were_not_there() {
        for field in
            ["a/b;", "a/b; x", "a/b; x=", "a/b; =y", "a/b; x=\"y", "a/b; x=y z", "a/b;;x=y", "a/b;\tx=y"]
        {
            assert_eq!(Media::of(field), None, "{field}");
        }
    }
}
