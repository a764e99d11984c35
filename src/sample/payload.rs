//! Request content as the body parsers take it: JSON and forms, before anything else is looked at.
//!
//! Other content is left unread for the route to take. Compressed content is not supported.

use http_body::Body;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value};

use super::answer::Fault;
use super::cookie::percent_decoded;

/// The most JSON that is parsed; more is a 500.
const MAX_JSON_BYTES: usize = 1024 * 1024;
/// The largest form that is parsed; more is a 500.
const MAX_FORM_BYTES: usize = 100 * 1024;

/// Which parser takes a request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parser {
    Json,
    Form,
}

/// Content that was read whole.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// All that came, also what was too much to keep.
    pub(super) length: u64,
    pub(super) trailers: Option<HeaderMap>,
}

impl Parser {
    /// The parser for a request's `Content-Type`.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media = value.split(';').next()?.trim();
        if media.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
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

    /// Reads content to its end, keeping no more than may be parsed. `None` where the client broke off.
    pub(super) async fn read<B: Body<Data = bytes::Bytes> + Unpin>(self, mut body: B) -> Option<Content> {
        let mut content = Content::default();
        while let Some(frame) = body.frame().await {
            match frame.ok()?.into_data() {
                Ok(data) => {
                    content.length += data.len() as u64;
                    // One byte past the limit is kept: it makes `parse` refuse.
                    let room = (self.max_bytes() + 1).saturating_sub(content.bytes.len());
                    content.bytes.extend(data.iter().take(room));
                }
                Err(frame) => content.trailers = frame.into_trailers().ok(),
            }
        }
        Some(content)
    }

    /// Parses content; no content counts as an empty object.
    pub(super) fn parse(self, content: &[u8]) -> Result<Value, Fault> {
        if content.len() > self.max_bytes() {
            return Err(Fault::Internal);
        }
        if content.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        match self {
            Self::Form => Ok(form(&String::from_utf8_lossy(content))),
            Self::Json => match serde_json::from_slice(content) {
                Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
                Ok(_) | Err(_) => Err(Fault::Internal),
            },
        }
    }
}

fn form(text: &str) -> Value {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decoded(&spaced).unwrap_or(spaced)
    };
    let fields = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), Value::String(decoded(value)))
    });
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_must_be_an_object_or_an_array_and_nothing_counts_as_an_object() {
        assert_eq!(Parser::Json.parse(b""), Ok(json!({})));
        assert_eq!(Parser::Json.parse(b"[1]"), Ok(json!([1])));
        for broken in ["{", "1", "\"a\"", "null"] {
            assert_eq!(Parser::Json.parse(broken.as_bytes()), Err(Fault::Internal), "{broken}");
        }
    }

    #[test]
    fn more_json_than_a_mebibyte_is_a_500() {
        let text = format!("[{}1]", " ".repeat(MAX_JSON_BYTES));
        assert_eq!(Parser::Json.parse(text.as_bytes()), Err(Fault::Internal));
    }

    #[test]
    fn a_form_is_decoded() {
        assert_eq!(Parser::Form.parse(b"name=a+b%21&x"), Ok(json!({ "name": "a b!", "x": "" })));
    }

    #[test]
    fn only_json_and_forms_are_parsed() {
        let of = |text: &'static str| {
            let value = hyper::header::HeaderValue::from_static(text);
            Parser::of(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
        };
        assert_eq!(of("Application/JSON; charset=utf-8"), Some(Parser::Json));
        assert_eq!(of("application/x-www-form-urlencoded"), Some(Parser::Form));
        assert_eq!(of("text/plain"), None);
        assert_eq!(of("multipart/form-data; boundary=x"), None);
    }
}
