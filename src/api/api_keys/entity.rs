//! JSON as Express sends it: with a weak entity tag, without content where the client has it already
//! (RFC 9110 §13.1.2), and in the header fields that the instance puts on its own answers.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, SET_COOKIE,
};
use hyper::{Method, Response, StatusCode};

use crate::http::Body;

/// An answer's status and content.
#[derive(Debug)]
pub struct Entity {
    status: StatusCode,
    content: Bytes,
}

/// What an answer's header fields depend on.
#[derive(Debug, Clone, Copy)]
pub struct Wearing<'r> {
    /// The request's method.
    pub method: &'r Method,
    /// The request's header fields.
    pub request: &'r HeaderMap,
}

impl Entity {
    pub(super) fn new(status: StatusCode, content: impl Into<Bytes>) -> Self {
        Self { status, content: content.into() }
    }

    /// Puts the answer into the fields of the instance's answer to a question of the gateway's.
    #[must_use]
    pub fn dressed<U>(self, mut fields: HeaderMap, wearing: Wearing<'_>) -> Response<Body<U>> {
        let is_safe = wearing.method == Method::GET || wearing.method == Method::HEAD;
        fields.remove(CONTENT_ENCODING);
        if !is_safe {
            // The question was a GET, which may bring a CSRF cookie; this is none.
            fields.remove(SET_COOKIE);
        }
        let tag = entity_tag(&self.content);
        let is_fresh = is_safe && self.status.is_success() && has(wearing.request, &tag);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(self.content.len()));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            fields.insert(ETAG, tag);
        }
        let (mut status, mut body) = (self.status, Body::Own(self.content));
        if is_fresh {
            fields.remove(CONTENT_TYPE);
            fields.remove(CONTENT_LENGTH);
            (status, body) = (StatusCode::NOT_MODIFIED, Body::empty());
        } else if wearing.method == Method::HEAD {
            body = Body::empty();
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        response
    }
}

/// The length in hexadecimal and a SHA-1 in base64, as Express tags content.
fn entity_tag(content: &[u8]) -> String {
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content);
    format!("W/\"{:x}-{}\"", content.len(), STANDARD_NO_PAD.encode(sha1))
}

/// Whether the client has content with this tag, and does not want it all the same.
fn has(request: &HeaderMap, tag: &str) -> bool {
    let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let wants_anew = text(CACHE_CONTROL)
        .is_some_and(|value| value.split(',').any(|directive| directive.trim() == "no-cache"));
    // There is no date to compare with, so Express takes one as a no.
    if wants_anew || request.contains_key(IF_MODIFIED_SINCE) {
        return false;
    }
    let opaque = |tag: &str| tag.trim().strip_prefix("W/").unwrap_or(tag.trim()).to_owned();
    let wanted = opaque(tag);
    text(IF_NONE_MATCH)
        .is_some_and(|known| known.trim() == "*" || known.split(',').any(|known| opaque(known) == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "W/\"f-VaSQ4oDUiZblZNAEkkN+sX+q3Sg\"";

    fn answer(
        method: &Method,
        request: &[(hyper::header::HeaderName, &'static str)],
    ) -> (u16, HeaderMap, Bytes) {
        let request: HeaderMap =
            request.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let mut fields = HeaderMap::new();
        fields.insert(SET_COOKIE, HeaderValue::from_static("openbin-csrf=1"));
        fields.insert(ETAG, HeaderValue::from_static("W/\"of the question\""));
        let entity = Entity::new(StatusCode::OK, r#"{"status":"ok"}"#);
        let wearing = Wearing { method, request: &request };
        let (head, body) = entity.dressed::<Body<hyper::body::Incoming>>(fields, wearing).into_parts();
        let content = match body {
            Body::Own(content) => content,
            Body::Upstream(_) => panic!("made here"),
        };
        (head.status.as_u16(), head.headers, content)
    }

    #[test]
    fn an_answer_has_the_tag_that_express_gives() {
        let (status, headers, content) = answer(&Method::GET, &[]);
        assert_eq!((status, &content[..]), (200, &br#"{"status":"ok"}"#[..]));
        assert_eq!((&headers[ETAG], &headers[CONTENT_LENGTH]), (&TAG.parse().expect("a value"), &15.into()));
    }

    #[test]
    fn known_content_is_answered_304_to_safe_methods_only() {
        for known in
            [TAG, "\"f-VaSQ4oDUiZblZNAEkkN+sX+q3Sg\"", "\"x\", W/\"f-VaSQ4oDUiZblZNAEkkN+sX+q3Sg\"", "*"]
        {
            let (status, headers, content) = answer(&Method::GET, &[(IF_NONE_MATCH, known)]);
            assert_eq!((status, content.len()), (304, 0), "{known}");
            assert!(!headers.contains_key(CONTENT_LENGTH) && headers.contains_key(ETAG));
        }
        assert_eq!(answer(&Method::DELETE, &[(IF_NONE_MATCH, TAG)]).0, 200);
        assert_eq!(answer(&Method::GET, &[(IF_NONE_MATCH, "\"x\"")]).0, 200);
        assert_eq!(answer(&Method::GET, &[(IF_NONE_MATCH, TAG), (CACHE_CONTROL, "no-cache")]).0, 200);
        let dated = [(IF_NONE_MATCH, TAG), (IF_MODIFIED_SINCE, "Mon, 23 Nov 2026 22:00:00 GMT")];
        assert_eq!(answer(&Method::GET, &dated).0, 200);
    }

    #[test]
    fn head_has_the_length_and_no_content() {
        let (status, headers, content) = answer(&Method::HEAD, &[]);
        assert_eq!((status, content.len(), &headers[CONTENT_LENGTH]), (200, 0, &15.into()));
    }

    #[test]
    fn a_cookie_of_the_question_goes_only_where_a_question_was_asked() {
        assert!(answer(&Method::GET, &[]).1.contains_key(SET_COOKIE));
        assert!(!answer(&Method::POST, &[]).1.contains_key(SET_COOKIE));
    }
}
