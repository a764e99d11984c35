//! How long an instance's answer says that it is: in one way, or not believed (RFC 9112 §6).

use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Response, StatusCode, Version};

use super::content::{Chunks, Content};
use crate::http::header::elements;

/// What content follows this head of an answer.
///
/// # Errors
/// Where its status or its framing is not to be believed; the text says why.
pub(super) fn content<B>(response: &Response<B>, asked_for_head: bool) -> Result<Content, &'static str> {
    let status = response.status();
    // RFC 9110 §15: what is not one of these five classes is invalid.
    if status.as_u16() >= 600 {
        return Err("its status is of no class");
    }
    let none = asked_for_head
        || matches!(
            status,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let (lengths, codings) =
        (of(response.headers(), CONTENT_LENGTH), of(response.headers(), TRANSFER_ENCODING));
    let content = match (lengths, codings) {
        (Told::Not, Told::Not) => Content::UntilClosed,
        // RFC 9110 §8.6 and RFC 9112 §6.1: an answer without content has no such field.
        (Told::Once(length), Told::Not) if status == StatusCode::NO_CONTENT && length != "0" => {
            return Err("it has no content, and a length");
        }
        (Told::Once(length), Told::Not) => {
            Content::sized(number(length).ok_or("its length is not a number")?)
        }
        (Told::Not, Told::Once(_)) if status == StatusCode::NO_CONTENT => {
            return Err("it has no content, and a coding");
        }
        // RFC 9112 §6.1: no other coding was offered, and none exists in HTTP/1.0.
        (Told::Not, Told::Once(coding)) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if !chunked || response.version() != Version::HTTP_11 {
                return Err("its transfer coding was not offered");
            }
            Content::Chunked(Chunks::default())
        }
        // RFC 9112 §6.3: it ought to be handled as an error.
        _ => return Err("it is framed more than once"),
    };
    Ok(if none { Content::Over } else { content })
}

/// Whether another request may follow on the same connection (RFC 9112 §9.3).
pub(super) fn persists<B>(response: &Response<B>) -> bool {
    let says = |option: &[u8]| {
        elements(response.headers(), CONNECTION).any(|named| named.eq_ignore_ascii_case(option))
    };
    response.status() != StatusCode::SWITCHING_PROTOCOLS
        && !says(b"close")
        && (response.version() == Version::HTTP_11 || says(b"keep-alive"))
}

/// RFC 9110 §8.6: digits, and nothing else.
fn number(length: &HeaderValue) -> Option<u64> {
    let digits = length.as_bytes();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

enum Told<'h> {
    Not,
    Once(&'h HeaderValue),
    Often,
}

fn of(headers: &HeaderMap, name: HeaderName) -> Told<'_> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Told::Not,
        (Some(value), None) => Told::Once(value),
        (Some(_), Some(_)) => Told::Often,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).expect("a response")
    }

    #[test]
    fn an_answer_says_once_how_long_it_is() {
        let faulty =
            |status: u16, fields: &[(&str, &str)]| content(&response(status, fields), false).is_err();
        let (length, coding) = ("content-length", "transfer-encoding");
        assert!(!faulty(200, &[]));
        assert!(!faulty(200, &[(length, "05")]));
        assert!(!faulty(200, &[(coding, "Chunked")]));
        assert!(!faulty(204, &[(length, "0")]));
        assert!(!faulty(304, &[(length, "5")]));
        assert!(faulty(600, &[]));
        assert!(faulty(204, &[(length, "5")]));
        assert!(faulty(204, &[(coding, "chunked")]));
        for value in ["", "5, 5", "+5", "x", "18446744073709551616"] {
            assert!(faulty(200, &[(length, value)]), "{value}");
        }
        for value in ["", "gzip", "gzip, chunked", "chunked, chunked"] {
            assert!(faulty(200, &[(coding, value)]), "{value}");
        }
        assert!(faulty(200, &[(length, "5"), (length, "5")]));
        assert!(faulty(200, &[(length, "5"), (coding, "chunked")]));
        assert!(faulty(200, &[(coding, "chunked"), (coding, "chunked")]));
        let mut old = response(200, &[(coding, "chunked")]);
        *old.version_mut() = Version::HTTP_10;
        assert!(content(&old, false).is_err());
    }

    #[test]
    fn content_is_as_long_as_the_answer_says_unless_it_can_have_none() {
        let follows = |status: u16, fields: &[(&str, &str)], head: bool| {
            content(&response(status, fields), head).expect("framed once")
        };
        let (length, coding) = ("content-length", "transfer-encoding");
        assert!(matches!(follows(200, &[(length, "5")], false), Content::Sized(5)));
        assert!(matches!(follows(200, &[(coding, "chunked")], false), Content::Chunked(_)));
        assert!(matches!(follows(200, &[], false), Content::UntilClosed));
        for none in [
            follows(200, &[(length, "0")], false),
            follows(200, &[(length, "5")], true),
            follows(200, &[(coding, "chunked")], true),
            follows(200, &[], true),
            follows(304, &[(length, "5")], false),
            follows(204, &[], false),
            follows(101, &[], false),
        ] {
            assert!(none.is_over());
        }
    }

    #[test]
    fn a_connection_persists_unless_it_is_said_or_known_not_to() {
        let kept = |status: u16, version: Version, fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|field| ("connection", *field)).collect();
            let mut response = response(status, &fields);
            *response.version_mut() = version;
            persists(&response)
        };
        assert!(kept(200, Version::HTTP_11, &[]));
        assert!(kept(200, Version::HTTP_11, &["x-a, keep-alive"]));
        assert!(!kept(200, Version::HTTP_11, &["Close"]));
        assert!(!kept(200, Version::HTTP_11, &["keep-alive", "x-a , close"]));
        assert!(!kept(200, Version::HTTP_10, &[]));
        assert!(kept(200, Version::HTTP_10, &["Keep-Alive"]));
        assert!(!kept(200, Version::HTTP_10, &["keep-alive, close"]));
        assert!(!kept(101, Version::HTTP_11, &["upgrade"]));
    }
}
