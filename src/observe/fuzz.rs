//! What must hold of what clients say on its way into the access log; for fuzzers and for the seeds that they
//! start from.

use super::redact::{Value, path, query, shows_secret, split, words};

/// More than a line keeps, so that nothing is left out for its length.
const ROOM: usize = 1 << 20;

/// Writes a target and the words of a field as the access log does.
///
/// # Panics
/// Where a secret can be seen, or anything but printable ASCII.
pub fn redaction(text: &[u8]) {
    for room in [ROOM, 48] {
        let (before, after) = split(text);
        check(|out| path(&mut Value::text(out, room), before));
        check(|out| path(&mut Value::json(out, room), before));
        check(|out| query(&mut Value::text(out, room), after.unwrap_or_default()));
        check(|out| words(&mut Value::text(out, room), text));
    }
}

fn check(write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"'), "not printable");
    // The digits of an escape are no digits of what stands beside it.
    let text = String::from_utf8_lossy(&out);
    let parts = text.split(r"\x").enumerate();
    let bare = parts.map(|(index, part)| if index == 0 { part } else { part.get(2..).unwrap_or_default() });
    assert!(!shows_secret(bare.collect::<Vec<_>>().join(" ").as_bytes()), "{text}");
}
