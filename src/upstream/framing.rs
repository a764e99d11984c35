//! How long an instance's answer says that it is: in one way, or not believed.

use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Response, StatusCode};

/// What is wrong with an answer's status or framing, which hyper would let pass.
pub(super) fn fault<B>(response: &Response<B>) -> Option<&'static str> {
    let status = response.status();
    // RFC 9110 §15: what is not one of these five classes is invalid.
    if status.as_u16() >= 600 {
        return Some("its status is of no class");
    }
    let (lengths, codings) =
        (of(response.headers(), CONTENT_LENGTH), of(response.headers(), TRANSFER_ENCODING));
    match (lengths, codings) {
        (Told::Not, Told::Not) => None,
        // RFC 9110 §8.6 and RFC 9112 §6.1: an answer without content has no such field.
        (Told::Once(length), Told::Not) if status == StatusCode::NO_CONTENT && length != "0" => {
            Some("it has no content, and a length")
        }
        (Told::Once(length), Told::Not) => {
            let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
            (!digits).then_some("its length is not a number")
        }
        (Told::Not, Told::Once(_)) if status == StatusCode::NO_CONTENT => {
            Some("it has no content, and a coding")
        }
        // RFC 9112 §6.1: no other coding was offered.
        (Told::Not, Told::Once(coding)) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            (!chunked).then_some("its transfer coding was not offered")
        }
        // RFC 9112 §6.3: it ought to be handled as an error.
        _ => Some("it is framed more than once"),
    }
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

    #[test]
    fn an_answer_says_once_how_long_it_is() {
        let faulty = |status: u16, fields: &[(&str, &str)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            fault(&response.body(()).expect("a response")).is_some()
        };
        let (length, coding) = ("content-length", "transfer-encoding");
        assert!(!faulty(200, &[]));
        assert!(!faulty(200, &[(length, "05")]));
        assert!(!faulty(200, &[(coding, "Chunked")]));
        assert!(!faulty(204, &[(length, "0")]));
        assert!(!faulty(304, &[(length, "5")]));
        assert!(faulty(600, &[]));
        assert!(faulty(204, &[(length, "5")]));
        assert!(faulty(204, &[(coding, "chunked")]));
        for value in ["", "5, 5", "+5", "x"] {
            assert!(faulty(200, &[(length, value)]), "{value}");
        }
        for value in ["", "gzip", "gzip, chunked", "chunked, chunked"] {
            assert!(faulty(200, &[(coding, value)]), "{value}");
        }
        assert!(faulty(200, &[(length, "5"), (length, "5")]));
        assert!(faulty(200, &[(length, "5"), (coding, "chunked")]));
        assert!(faulty(200, &[(coding, "chunked"), (coding, "chunked")]));
    }
}
