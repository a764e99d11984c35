//! What a request's content says of a new key's name, read as OpenBin's body parsers do: JSON and forms;
//! whatever else there is says nothing.
//!
//! Known not to be read as OpenBin would: JSON in UTF-16 or UTF-32, and compressed content.

use std::borrow::Cow;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::media::Media;
use super::text::Text;
use crate::http::Refusal;

/// The most JSON that OpenBin reads.
pub const MAX_JSON_BYTES: usize = 1 << 20;
/// The longest form that OpenBin reads.
const MAX_FORM_BYTES: usize = 100 << 10;
/// The most fields of a form that OpenBin reads.
const MAX_FORM_FIELDS: usize = 1_000;

/// What a new key is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// This, before it is trimmed and cut.
    Text(Text),
    /// Something that is no text.
    NotText,
}

impl Name {
    fn none() -> Self {
        Self::Text(Text::default())
    }
}

/// How a request's content is to be read.
#[derive(Clone, Copy)]
enum Kind {
    Json,
    Form,
}

/// Reads the name out of a request's content.
///
/// # Errors
/// Where OpenBin could not read it, or the gateway cannot.
pub(super) fn name(headers: &HeaderMap, content: &[u8]) -> Result<Name, Refusal> {
    let field = headers.get(CONTENT_TYPE).and_then(|field| field.to_str().ok());
    let media = field.and_then(Media::of);
    let Some((media, kind)) = media.and_then(|media| Kind::of(&media).map(|kind| (media, kind))) else {
        return Ok(Name::none());
    };
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::CompressedContent);
    }
    if content.len() > kind.max_bytes() || !media.is_utf8() {
        return Err(Refusal::Internal);
    }
    match kind {
        Kind::Json => json(&String::from_utf8_lossy(content)),
        Kind::Form => form(content),
    }
}

impl Kind {
    fn of(media: &Media<'_>) -> Option<Self> {
        if media.is("application/json") {
            Some(Self::Json)
        } else if media.is("application/x-www-form-urlencoded") {
            Some(Self::Form)
        } else {
            None
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Self::Json => MAX_JSON_BYTES,
            Self::Form => MAX_FORM_BYTES,
        }
    }
}

/// OpenBin's parser is strict: an object or a list, or nothing at all.
fn json(text: &str) -> Result<Name, Refusal> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.is_empty() {
        return Ok(Name::none());
    }
    match text.trim_start_matches([' ', '\t', '\n', '\r']).as_bytes().first() {
        Some(b'{') => {
            let object: Object<'_> = serde_json::from_str(text).map_err(|_| Refusal::Internal)?;
            Ok(object.name.map_or(Name::none(), value))
        }
        Some(b'[') => {
            serde_json::from_str::<IgnoredAny>(text).map_err(|_| Refusal::Internal)?;
            Ok(Name::none())
        }
        Some(_) | None => Err(Refusal::Internal),
    }
}

/// What JavaScript counts as false is no name.
fn value(raw: &RawValue) -> Name {
    let raw = raw.get();
    match raw.as_bytes().first() {
        Some(b'"') => Name::Text(Text::of_json(raw)),
        Some(b'n' | b'f') => Name::none(),
        Some(b'-' | b'0'..=b'9') if raw.parse() == Ok(0.0_f64) => Name::none(),
        Some(_) | None => Name::NotText,
    }
}

/// A field that is given twice is a list to OpenBin.
fn form(content: &[u8]) -> Result<Name, Refusal> {
    if content.iter().filter(|byte| **byte == b'&').count() >= MAX_FORM_FIELDS {
        return Err(Refusal::Internal);
    }
    let mut names = form_urlencoded::parse(content).filter(|(name, _)| name == "name");
    Ok(match (names.next(), names.next()) {
        (None, _) => Name::none(),
        (Some((_, value)), None) => Name::Text(Text::new(&value)),
        (Some(_), Some(_)) => Name::NotText,
    })
}

/// The only member of an object that matters; the last one of its name counts. All others may be what
/// they like.
struct Object<'a> {
    name: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut name = None;
        while let Some(member) = map.next_key::<Cow<'_, str>>()? {
            if member == "name" {
                name = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Object { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(media: Option<&str>, content: &str) -> Result<Name, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(media) = media {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(media).expect("a value"));
        }
        name(&headers, content.as_bytes())
    }

    fn of_json(content: &str) -> Result<Name, Refusal> {
        read(Some("application/json"), content)
    }

    fn named(text: &str) -> Result<Name, Refusal> {
        Ok(Name::Text(Text::new(text)))
    }

    #[test]
    fn what_javascript_counts_as_false_is_no_name() {
        for none in
            ["", "{}", "[]", " [1]", "{\"name\":null}", "{\"name\":false}", "{\"name\":\"\"}", "{\"x\":1}"]
        {
            assert_eq!(of_json(none), named(""), "{none}");
        }
        for zero in ["0", "-0", "0.0", "0e9", "1e-400"] {
            assert_eq!(of_json(&format!("{{\"name\":{zero}}}")), named(""), "{zero}");
        }
    }

    #[test]
    fn what_is_no_text_is_told_apart() {
        for value in ["5", "true", "1e999", "[\"a\"]", "{}", "-1"] {
            assert_eq!(of_json(&format!("{{\"name\":{value}}}")), Ok(Name::NotText), "{value}");
        }
    }

    #[test]
    fn broken_json_and_what_is_neither_object_nor_list_cannot_be_read() {
        for broken in ["{", "5", "\"a\"", "null", " ", "{\"name\":1}x", "{'name':1}", "{\"name\":\"\n\"}"] {
            assert_eq!(of_json(broken), Err(Refusal::Internal), "{broken}");
        }
        let long = format!("[\"{}\"]", "a".repeat(MAX_JSON_BYTES));
        assert_eq!(of_json(&long), Err(Refusal::Internal));
    }

    #[test]
    fn members_that_do_not_matter_may_be_anything() {
        let deep = format!("{{\"x\":{}{},\"name\":\"a\"}}", "[".repeat(500), "]".repeat(500));
        for content in [
            &deep,
            "{\"x\":\"\\ud800\",\"y\":1e999,\"name\":\"b\",\"name\":\"a\"}",
            "\u{feff}{\"name\":\"a\"}",
        ] {
            assert_eq!(of_json(content), named("a"), "{content}");
        }
    }

    #[test]
    fn forms_are_read_and_a_name_given_twice_is_no_text() {
        let form = |content| read(Some("application/x-www-form-urlencoded"), content);
        assert_eq!(form("name=url+enc%21"), named("url enc!"));
        assert_eq!(form("name"), named(""));
        assert_eq!(form("other=1&name[]=x"), named(""));
        assert_eq!(form("name=%zz"), named("%zz"));
        assert_eq!(form("name=a&name=b"), Ok(Name::NotText));
        assert_eq!(form(&"a=1&".repeat(1_000)), Err(Refusal::Internal));
    }

    #[test]
    fn the_media_type_decides_and_an_unknown_charset_cannot_be_read() {
        let content = "{\"name\":\"a\"}";
        assert_eq!(read(None, content), named(""));
        assert_eq!(read(Some("text/plain"), content), named(""));
        assert_eq!(read(Some("Application/JSON ; charset=\"UTF-8\""), content), named("a"));
        assert_eq!(read(Some("application/json; charset=utf8"), content), Err(Refusal::Internal));
        assert_eq!(read(Some("application/json; charset=latin1"), content), Err(Refusal::Internal));
        assert_eq!(read(Some("application/vnd.api+json"), content), named(""));
    }

    #[test]
    fn compressed_content_is_refused_as_such() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(name(&headers, b"\x1f\x8b"), Err(Refusal::CompressedContent));
    }
}
