//! What must hold of bytes on their way to hyper, whatever they are; for fuzzers and for the seeds that they
//! start from.

mod requests;

use super::guard::{Guard, Part};
use super::proxy::{Preface, parse};

pub use requests::requests;
#[cfg(test)]
pub(super) use requests::{permit, settings};

/// Longer than any input, so that no line is beyond what is looked at.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Follows bytes whole, one by one, and split where their first bytes say.
///
/// # Panics
/// Where it makes a difference how they came.
pub fn guard(text: &[u8]) {
    let (sizes, bytes) = text.split_at(text.len().min(4));
    let whole = judged(bytes, &[usize::MAX]);
    assert_eq!(judged(bytes, &[1]), whole);
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size) + 1).collect();
    if !sizes.is_empty() {
        assert_eq!(judged(bytes, &sizes), whole);
    }
}

/// Where in all of the bytes a fault is, and in which part.
fn judged(bytes: &[u8], sizes: &[usize]) -> Option<(usize, Part)> {
    let mut guard = Guard::new(MAX_HEADER_BYTES);
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < bytes.len() {
        let size = sizes.next().copied().unwrap_or(1);
        let end = at.saturating_add(size).min(bytes.len());
        if let Err(fault) = guard.inspect(bytes.get(at..end).unwrap_or_default()) {
            return Some((at + fault.at, fault.part));
        }
        at = end;
    }
    None
}

/// Reads the beginning of a connection as it comes, byte by byte, for a header of the PROXY protocol.
///
/// # Panics
/// Where what was refused or read is told otherwise when more has come, a header has no end, what follows it
/// makes a difference, or its client is not the one that is written there.
pub fn proxy(text: &[u8]) {
    let beginnings = (0..=text.len()).map(|end| text.split_at(end));
    let said = beginnings.map(|(came, rest)| (parse(came), came, rest));
    let Some((said, came, rest)) = said.into_iter().find(|(said, ..)| *said != Ok(Preface::Partial)) else {
        assert!(text.len() < LONGEST_PREFACE, "nothing was decided about {} bytes", text.len());
        return;
    };
    let other: Vec<u8> = rest.iter().map(|byte| !byte).collect();
    for rest in [rest, &other] {
        let more = parse(&[came, rest].concat());
        assert!(more == said || (more.is_err() && said.is_err()), "{said:?}, and with more {more:?}");
    }
    let Ok(Preface::Whole { length, client }) = said else { return };
    assert_eq!(length, came.len());
    let Some(client) = client else { return };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let line = format!("PROXY {family} {ip} {ip} {port} {port}\r\n", ip = client.ip(), port = client.port());
    assert_eq!(parse(line.as_bytes()), Ok(Preface::Whole { length: line.len(), client: Some(client) }));
}

/// No header is longer.
const LONGEST_PREFACE: usize = 2048;
