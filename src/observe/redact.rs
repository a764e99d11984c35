//! What must never be in a log line, and the only way in which a client's bytes get into one.
//!
//! Query values, API keys, session tokens, share tokens and anything else that looks like a long
//! hexadecimal secret become `*`, also where they are percent-encoded. What is left is printable ASCII
//! of bounded length. Secrets of unknown shape in a path cannot be told from its other parts.

use std::borrow::Cow;

use memchr::{memchr, memchr2_iter, memmem};

/// What stands where a secret was.
const REDACTED: &[u8] = b"*";
/// What ends a value that was too long.
const CUT: &[u8] = b"...";
const KEY_PREFIX: &[u8] = b"sk_openbin_";
/// Share tokens have 32 digits, keys and their hashes 64; ids have hyphens in between.
const SECRET_HEX_DIGITS: usize = 32;
/// The shortest header or payload of a session token that is worth the name.
const JWT_PART: usize = 12;
/// How a JSON object begins in base64url.
const JSON_OBJECT: &[u8] = b"eyJ";
/// Nobody honest encodes a path more often than this.
const DECODINGS: usize = 4;
/// A parameter's name that is longer may be a secret without a name.
const LONGEST_NAME: usize = 40;

/// One value of a log line as it is written: escaped, and cut where it grows too long.
pub(super) struct Value<'a> {
    out: &'a mut Vec<u8>,
    backslash: &'static [u8],
    room: usize,
}

impl<'a> Value<'a> {
    /// A value between double quotes in JSON, of at most `room` bytes before escaping.
    pub(super) fn json(out: &'a mut Vec<u8>, room: usize) -> Self {
        Self { out, backslash: br"\\", room }
    }

    /// A value of a text line, of at most `room` bytes before escaping.
    pub(super) fn text(out: &'a mut Vec<u8>, room: usize) -> Self {
        Self { out, backslash: br"\", room }
    }

    fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Writes bytes as they are if they are printable ASCII, and as `\xNN` otherwise: no line can be
    /// broken, forged or made to speak to a terminal (CWE-117).
    fn push(&mut self, bytes: &[u8]) {
        if bytes.len() < self.room && are_plain(bytes) {
            self.room -= bytes.len();
            self.out.extend_from_slice(bytes);
            return;
        }
        for &byte in bytes {
            if self.is_full() {
                return;
            }
            self.room -= 1;
            if self.is_full() {
                self.out.extend_from_slice(CUT);
            } else if is_plain(byte) {
                self.out.push(byte);
            } else {
                self.out.extend_from_slice(self.backslash);
                self.out.push(b'x');
                for digit in [byte >> 4, byte & 15] {
                    self.out.push(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
                }
            }
        }
    }

    fn push_unless_secret(&mut self, bytes: &[u8]) {
        self.push(if is_secret(bytes) { REDACTED } else { bytes });
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

/// Looks at all of them: without a way out in between, the compiler does so many at a time.
fn are_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, &byte| plain & is_plain(byte))
}

/// Splits a request target into its path and, where there is one, its query.
pub(super) fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
}

/// Writes a path, without the parts that are, or may be, secret.
pub(super) fn path(value: &mut Value<'_>, path: &[u8]) {
    // An absolute-form target can carry a password in its authority (RFC 3986 §3.2.1).
    let may_have_userinfo = !path.starts_with(b"/");
    let mut after_shared = false;
    for (index, segment) in path.split(|&byte| byte == b'/').enumerate() {
        if value.is_full() {
            return;
        }
        if index > 0 {
            value.push(b"/");
        }
        let is_token = after_shared && !segment.is_empty();
        if is_token || may_have_userinfo && segment.contains(&b'@') {
            value.push(REDACTED);
        } else {
            value.push_unless_secret(segment);
        }
        after_shared = segment.eq_ignore_ascii_case(b"shared") || after_shared && segment.is_empty();
    }
}

/// Writes a query: the names of its parameters, and `*` for each value.
pub(super) fn query(value: &mut Value<'_>, query: &[u8]) {
    for (index, parameter) in query.split(|&byte| byte == b'&').enumerate() {
        if value.is_full() {
            return;
        }
        if index > 0 {
            value.push(b"&");
        }
        let mut parts = parameter.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        value.push(if name.len() > LONGEST_NAME || is_secret(name) { REDACTED } else { name });
        if parts.next().is_some() {
            value.push(b"=");
            value.push(REDACTED);
        }
    }
}

/// Writes words such as those of a `User-Agent` field, without those that look like a secret.
pub(super) fn words(value: &mut Value<'_>, text: &[u8]) {
    for (index, word) in text.split(|&byte| byte == b' ').enumerate() {
        if value.is_full() {
            return;
        }
        if index > 0 {
            value.push(b" ");
        }
        value.push_unless_secret(word);
    }
}

/// Writes what the gateway itself has verified or made: only escaped.
pub(super) fn plain(value: &mut Value<'_>, text: &[u8]) {
    value.push(text);
}

/// Whether a text holds a secret, as it is or percent-encoded any number of times.
fn is_secret(text: &[u8]) -> bool {
    // Most texts are plain words, and one look at them is enough.
    if memchr(b'%', text).is_none() {
        return shows_secret(text);
    }
    let mut seen = Cow::Borrowed(text);
    for _ in 0..DECODINGS {
        if shows_secret(&seen) {
            return true;
        }
        match percent_decoded(&seen) {
            Some(decoded) => seen = Cow::Owned(decoded),
            None => return false,
        }
    }
    true
}

pub(super) fn shows_secret(text: &[u8]) -> bool {
    // Every secret is longer than that.
    if text.len() < KEY_PREFIX.len() {
        return false;
    }
    let begins_key = |at: usize| {
        let part = text.get(at..at + KEY_PREFIX.len());
        part.is_some_and(|part| part.eq_ignore_ascii_case(KEY_PREFIX))
    };
    let shows_hex = || {
        text.len() >= SECRET_HEX_DIGITS
            && text.split(|byte| !byte.is_ascii_hexdigit()).any(|run| run.len() >= SECRET_HEX_DIGITS)
    };
    let may_show_jwt = || memchr(b'.', text).is_some() && memmem::find(text, JSON_OBJECT).is_some();
    memchr2_iter(b's', b'S', text).any(begins_key)
        || shows_hex()
        || may_show_jwt() && text.split(|&byte| !is_token_byte(byte)).any(shows_jwt)
}

/// Whether dot-separated base64url (RFC 7515 §3.1) holds two parts of a token, of which one begins like a
/// JSON object: with the signature alone missing, or the header, which is always the same, it is still one.
fn shows_jwt(run: &[u8]) -> bool {
    let mut parts = run.split(|&byte| byte == b'.').peekable();
    while let Some(part) = parts.next() {
        let object = memmem::find(part, JSON_OBJECT).map_or(0, |at| part.len() - at);
        if object >= JWT_PART && parts.peek().is_some_and(|next| !next.is_empty()) {
            return true;
        }
    }
    false
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The text with each `%XX` decoded; `None` where there is none.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match encoded_byte(rest) {
            Some((byte, tail)) => {
                decoded.push(byte);
                rest = tail;
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    (decoded.len() < text.len()).then_some(decoded)
}

fn encoded_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, tail @ ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    Some((byte, tail))
}

#[cfg(test)]
mod tests {
    use super::super::canary::{CANARIES, Dice};
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff";
    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjEiLCJleHAiOjF9.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

    fn target(target: &[u8], room: usize) -> String {
        let mut out = Vec::new();
        let (before, after) = split(target);
        path(&mut Value::text(&mut out, room), before);
        if let Some(after) = after {
            out.push(b'?');
            query(&mut Value::text(&mut out, room), after);
        }
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn what_looks_like_a_secret_becomes_a_star_and_the_rest_stays() {
        let key = format!("sk_openbin_{HEX}{HEX}");
        let shouted = key.to_uppercase();
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let twice = encoded.replace('%', "%25");
        let (header, rest) = JWT.split_once('.').expect("parts");
        let (payload, _) = rest.split_once('.').expect("parts");
        for (given, wanted) in [
            (
                "/api/bins/3f2c1b9a-8d7e-4c5b-9a1f-0e2d3c4b5a69",
                "/api/bins/3f2c1b9a-8d7e-4c5b-9a1f-0e2d3c4b5a69",
            ),
            ("/assets/index-B2x9Kq.js", "/assets/index-B2x9Kq.js"),
            ("/photos/keyJar.small.png", "/photos/keyJar.small.png"),
            ("/", "/"),
            ("*", "*"),
            ("/a%20b/100%", "/a%20b/100%"),
            ("/api/bins?q=drill&token=abc", "/api/bins?q=*&token=*"),
            ("/x?", "/x?"),
            ("/x?a&b=&=c&d=e=f?g", "/x?a&b=*&=*&d=*"),
            (&format!("/x?{key}"), "/x?*"),
            (&format!("/x?{}", "n".repeat(41)), "/x?*"),
            (&format!("/api/{key}/x"), "/api/*/x"),
            (&format!("/api/a;k={shouted}"), "/api/*"),
            (&format!("/api/{encoded}"), "/api/*"),
            (&format!("/api/{twice}"), "/api/*"),
            ("/api/sk_openbin_", "/api/*"),
            ("/api/%2525252525252541", "/api/*"),
            (&format!("/{JWT}"), "/*"),
            (&format!("/x-{JWT}"), "/*"),
            (&format!("/{}", JWT.replace('.', "%2e")), "/*"),
            (&format!("/{header}.{payload}"), "/*"),
            (&format!("/{rest}"), "/*"),
            (&format!("/api/shared/{HEX}/photos/1/file"), "/api/shared/*/photos/1/file"),
            ("/API/Shared//short", "/API/Shared//*"),
            (&format!("/api/%73hared/{HEX}"), "/api/%73hared/*"),
            (&format!("/api/keys/{HEX}{HEX}"), "/api/keys/*"),
            ("http://ann:secret@bins.example.com/x", "http://*/x"),
        ] {
            assert_eq!(target(given.as_bytes(), 2048), wanted, "{given}");
        }
    }

    #[test]
    fn bytes_that_are_not_printable_ascii_are_escaped() {
        assert_eq!(target(b"/a\r\nb\x1b[31m\"\\\xff\0", 99), r"/a\x0d\x0ab\x1b[31m\x22\x5c\xff\x00");
        let mut out = Vec::new();
        words(&mut Value::json(&mut out, 99), b"curl/8 \x07 \"");
        assert_eq!(out, br"curl/8 \\x07 \\x22");
    }

    #[test]
    fn a_long_value_is_cut_and_never_inside_a_secret() {
        let long = format!("/{}", "z".repeat(100));
        assert_eq!(target(long.as_bytes(), 8), "/zzzzzz...");
        for room in 1..80 {
            let shown = target(format!("/api/x/{HEX}{HEX}").as_bytes(), room);
            assert!(!shown.contains("0011"), "{shown}");
        }
    }

    #[test]
    fn words_of_a_user_agent_are_judged_one_by_one() {
        let mut out = Vec::new();
        let agent = format!("tool/1.0 (key sk_openbin_{HEX}) {JWT} end");
        words(&mut Value::text(&mut out, 256), agent.as_bytes());
        assert_eq!(out, b"tool/1.0 (key * * end");
    }

    #[test]
    fn arbitrary_bytes_leave_only_printable_ascii_and_no_secret() {
        let mut dice = Dice::new();
        for _ in 0..20_000 {
            let shown = target(&dice.bytes(), 512);
            let mut out = Vec::new();
            words(&mut Value::text(&mut out, 256), &dice.words());
            for text in [shown, String::from_utf8(out).expect("ASCII")] {
                assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"'), "{text:?}");
                assert!(text.len() < 4 * 1024 + 10, "{}", text.len());
                for canary in CANARIES {
                    assert!(!text.contains(canary), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_long_run_of_token_starts_takes_linear_time() {
        let long = format!("/{}", "eyJ".repeat(100_000));
        assert!(target(long.as_bytes(), 64).len() < 80);
    }
}
