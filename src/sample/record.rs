//! What reached the sample: every request, kept in a bounded ring so that a test can look at it.
//!
//! Keeps heads and the length of bodies, never bodies themselves.

use std::collections::VecDeque;

use hyper::header::HeaderMap;
use hyper::{Request, Version};

/// One request as it reached the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its method, as sent.
    pub method: String,
    /// Its target, as sent.
    pub target: String,
    /// `HTTP/1.1` and so on.
    pub version: Version,
    /// Its header fields: names in the order of their first appearance, lower-case; repeated fields together.
    pub headers: Vec<(String, String)>,
    /// How long its content was; `None` where the sample did not read it, or not to its end.
    pub body_bytes: Option<u64>,
    /// Its trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Recorded {
    /// The value of the first field with this lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The values of all fields with this lower-case name.
    #[must_use]
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The last requests, oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<(u64, Recorded)>,
    capacity: usize,
    next: u64,
}

/// Names a request in the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, next: 0 }
    }

    pub(super) fn note<B>(&mut self, request: &Request<B>) -> Ticket {
        if self.entries.len() >= self.capacity {
            self.entries.pop_front();
        }
        let recorded = Recorded {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            version: request.version(),
            headers: pairs(request.headers()),
            body_bytes: None,
            trailers: Vec::new(),
        };
        let ticket = self.next;
        self.next += 1;
        self.entries.push_back((ticket, recorded));
        Ticket(ticket)
    }

    pub(super) fn body_read(&mut self, Ticket(ticket): Ticket, bytes: u64, trailers: Option<&HeaderMap>) {
        if let Some((_, entry)) = self.entries.iter_mut().rev().find(|(own, _)| *own == ticket) {
            entry.body_bytes = Some(bytes);
            entry.trailers = trailers.map(pairs).unwrap_or_default();
        }
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.entries.iter().map(|(_, recorded)| recorded.clone()).collect()
    }

    pub(super) fn forget(&mut self) {
        self.entries.clear();
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), latin1(value.as_bytes()))).collect()
}

/// Node hands every header byte over as the character with that number.
pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_only_the_last_requests() {
        let mut ring = Ring::new(2);
        for target in ["/a", "/b", "/c"] {
            let request = Request::builder().uri(target).header("x-n", "1").header("x-n", "2").body(());
            let ticket = ring.note(&request.expect("request"));
            ring.body_read(ticket, 3, None);
        }
        let all = ring.all();
        assert_eq!(all.iter().map(|r| r.target.as_str()).collect::<Vec<_>>(), ["/b", "/c"]);
        assert!(all.iter().all(|r| r.body_bytes == Some(3)));
        assert!(all.iter().all(|r| r.header_all("x-n") == ["1", "2"] && r.header("x-n") == Some("1")));
    }
}
