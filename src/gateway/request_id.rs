//! The id under which a request appears in every log, here and behind.

use std::cell::Cell;
use std::net::IpAddr;

use hyper::header::HeaderValue;

use crate::http::header::of_one_message;

/// Makes ids: 128 bits, unlike any other worker's and any earlier start's. Not secret, not unguessable.
#[derive(Debug)]
pub(super) struct RequestIds {
    start: u64,
    count: Cell<u64>,
}

/// 32 lower-case hexadecimal digits; also the trace id of a new W3C trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestId(pub(super) [u8; 32]);

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { start: rand::random(), count: Cell::new(rand::random()) }
    }

    pub(super) fn next(&self) -> RequestId {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let mut text = [0; 32];
        let (high, low) = text.split_at_mut(16);
        write_hex(self.start, high);
        write_hex(mix(count), low);
        RequestId(text)
    }
}

impl RequestId {
    /// As a field of one answer.
    pub(super) fn value(&self) -> HeaderValue {
        // Digits are visible ASCII, which every header value may be.
        of_one_message(HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }
}

/// What header fields say of where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    pub(super) id: RequestId,
    /// The client's address.
    pub(super) from: IpAddr,
}

impl Trace {
    /// A `traceparent` that begins a trace with this request; not sampled, as nothing is recorded here.
    pub(super) fn traceparent(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.id.0);
        text[36..52].copy_from_slice(&self.id.0[16..]);
        text
    }
}

/// Of version 00 (W3C Trace Context, level 1 §3.2.2).
const TRACEPARENT_BYTES: usize = 55;

/// Whether a `traceparent` that came in is one (W3C Trace Context, level 1 §3.2.2), and may go on.
pub(super) fn is_traceparent(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let hex = |part: Option<&[u8]>| {
        part.is_some_and(|part| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    let zero = |part: Option<&[u8]>| part.is_none_or(|part| part.iter().all(|byte| *byte == b'0'));
    bytes.len() == TRACEPARENT_BYTES
        && bytes.starts_with(b"00-")
        && bytes.get(35) == Some(&b'-')
        && bytes.get(52) == Some(&b'-')
        && hex(bytes.get(3..35))
        && hex(bytes.get(36..52))
        && hex(bytes.get(53..))
        && !zero(bytes.get(3..35))
        && !zero(bytes.get(36..52))
}

/// Spreads a counter's bits over the whole word; one to one, so ids never repeat (the finaliser of
/// splitmix64, Steele et al. 2014).
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn write_hex(word: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in out.iter_mut().enumerate() {
        let nibble = (word >> (60 - 4 * place)) & 0xf;
        *byte = DIGITS[nibble as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_hexadecimal_digits_and_differ() {
        let ids = RequestIds::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert!(first.0.iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn fields_say_the_id_and_a_trace_that_begins_with_it() {
        let id = RequestId(*b"0af7651916cd43dd8448eb211c80319c");
        let trace = Trace { id, from: IpAddr::from([203, 0, 113, 9]) };
        assert_eq!(trace.traceparent(), *b"00-0af7651916cd43dd8448eb211c80319c-8448eb211c80319c-00");
        let value = HeaderValue::from_bytes(&trace.traceparent()).expect("a value");
        assert!(is_traceparent(&value));
        assert_eq!(id.value(), "0af7651916cd43dd8448eb211c80319c");
        assert!(id.value().is_sensitive(), "HTTP/2 keeps it for later answers");
    }

    #[test]
    fn only_a_well_formed_traceparent_goes_on() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(&HeaderValue::from_static(valid)));
        for wrong in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(&HeaderValue::from_static(wrong)), "{wrong}");
        }
    }
}
