//! What is kept of a request, to send it once more where a kept connection turns out to be closed.
//!
//! Copied into bytes that are used again for the next request: sharing the fields instead would keep the client's
//! read buffer from being used again, and cost more.

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version};

use crate::http::{Line, RequestBody};

/// Longer heads are rare, and no connection keeps room for one.
const KEPT_BYTES: usize = 8 * 1024;

/// The latest request of a connection, if it may be sent again.
#[derive(Default)]
pub(super) struct Spare {
    method: Option<Method>,
    /// The target, and name and value of each field, one after the other.
    text: Vec<u8>,
    target: usize,
    fields: Vec<(usize, usize)>,
}

/// What is in it is the client's affair.
impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spare").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Spare {
    /// Keeps a safe request without content (RFC 9110 §9.2.2), and nothing of any other.
    pub(super) fn keep(&mut self, request: &Request<RequestBody>) {
        self.forget();
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let Some(target) = request.uri().path_and_query() else { return };
        if !safe || !http_body::Body::is_end_stream(request.body()) {
            return;
        }
        self.method = Some(request.method().clone());
        self.target = target.as_str().len();
        self.text.extend_from_slice(target.as_str().as_bytes());
        for (name, value) in request.headers() {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            self.fields.push((name.len(), value.len()));
            self.text.extend_from_slice(name);
            self.text.extend_from_slice(value);
        }
    }

    /// The request as it was, if it may be sent again, with its client's line.
    pub(super) fn take(&mut self, line: Option<Line>) -> Option<Request<RequestBody>> {
        let mut request = Request::new(RequestBody::again(line));
        *request.method_mut() = self.method.take()?;
        *request.version_mut() = Version::HTTP_11;
        let (target, mut rest) = self.text.split_at_checked(self.target)?;
        let target = PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(target)).ok()?;
        *request.uri_mut() = Uri::from(target);
        for (name, value) in &self.fields {
            let (own, after) = rest.split_at_checked(*name)?;
            let (value, after) = after.split_at_checked(*value)?;
            rest = after;
            let name = HeaderName::from_bytes(own).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(request)
    }

    fn forget(&mut self) {
        self.method = None;
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES);
        self.fields.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, content: &'static [u8]) -> Request<RequestBody> {
        let builder = Request::builder().method(method).uri("/api/bins?a=b");
        let builder = builder.header("host", "bins.example").header("x-a", "1").header("x-b", "");
        let builder =
            builder.header("x-a", "2").header("x-c", HeaderValue::from_bytes(b"\xff").expect("a value"));
        builder.body(RequestBody::own(Bytes::from_static(content))).expect("a request")
    }

    #[test]
    fn what_is_sent_again_is_what_was_sent() {
        let mut spare = Spare::default();
        spare.keep(&request("POST", b"x"));
        for method in ["GET", "HEAD"] {
            let sent = request(method, b"");
            spare.keep(&sent);
            let again = spare.take(None).expect("a safe request");
            assert_eq!(again.method(), sent.method());
            assert_eq!(again.uri(), sent.uri());
            assert_eq!(again.headers(), sent.headers());
            assert_eq!(again.version(), Version::HTTP_11);
            assert!(spare.take(None).is_none());
        }
    }

    #[test]
    fn what_is_not_safe_or_has_content_is_not_sent_again() {
        let mut spare = Spare::default();
        for (method, content) in [("POST", &b""[..]), ("DELETE", b""), ("OPTIONS", b""), ("GET", b"x")] {
            spare.keep(&request("GET", b""));
            spare.keep(&request(method, content));
            assert!(spare.take(None).is_none(), "{method}");
        }
    }
}
