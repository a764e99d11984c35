//! What an instance says before its answer (RFC 9110 §15.2).

use hyper::{Response, StatusCode, Version};

use crate::http::Line;
use crate::http::header::remove_forbidden_in_interim;

/// The interim responses before one answer.
#[derive(Debug, Default)]
pub(super) struct Interims {
    /// Bytes of all that went on.
    bytes: usize,
}

impl Interims {
    /// Tells a client of one that came, so long. 100 is this hop's own matter, and HTTP/1.0 knows none.
    pub(super) fn pass_on(&mut self, head: Response<()>, length: usize, line: &Line) {
        if head.status() == StatusCode::CONTINUE || head.version() != Version::HTTP_11 {
            return;
        }
        self.bytes += length;
        if self.bytes > MOST_BYTES {
            return;
        }
        let (mut head, ()) = head.into_parts();
        remove_forbidden_in_interim(&mut head.headers);
        line.say(head.status, &head.headers);
    }
}

/// As long as a head that clients take.
const MOST_BYTES: usize = 16 * 1024;
