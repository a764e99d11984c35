//! Cookies as OpenBin reads and sets them.
//!
//! Knows names and texts only; what a cookie means is decided in `credential` and `account`.

use std::time::{Duration, SystemTime};

use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use serde_json::Value;

use super::record::latin1;

/// The session token.
pub(super) const ACCESS: &str = "openbin-access";
/// The token that unsafe methods must repeat in a header.
pub(super) const CSRF: &str = "openbin-csrf";
/// The one-time token that brings a new session token.
pub(super) const REFRESH: &str = "openbin-refresh";
/// The only path that browsers send the refresh cookie to.
const REFRESH_PATH: &str = "/api/auth/refresh";
/// How long refresh and CSRF cookies live.
pub(super) const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A cookie's value after decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CookieValue {
    /// Text; never empty.
    Text(String),
    /// `j:` and JSON that is not text: present, but a fault wherever it is used as text.
    NotText,
}

/// The value of a cookie that is present and not empty.
pub(super) fn value(headers: &HeaderMap, name: &str) -> Option<CookieValue> {
    let fields: Vec<String> = headers.get_all(COOKIE).iter().map(|field| latin1(field.as_bytes())).collect();
    // Node joins repeated fields so.
    let joined = fields.join("; ");
    let raw = joined
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(own, _)| own.trim() == name)
        .map(|(_, value)| value.trim())?;
    let unquoted = match raw.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => raw,
    };
    from_json(percent_decoded(unquoted).unwrap_or_else(|| unquoted.to_owned()))
}

/// The value of a cookie that is text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    match value(headers, name)? {
        CookieValue::Text(text) => Some(text),
        CookieValue::NotText => None,
    }
}

/// `j:` marks JSON; what JavaScript counts as false, and what does not parse, stays the text that it was.
fn from_json(text: String) -> Option<CookieValue> {
    let parsed = text.strip_prefix("j:").and_then(|json| serde_json::from_str::<Value>(json).ok());
    let value = match parsed {
        Some(Value::String(inner)) if !inner.is_empty() => CookieValue::Text(inner),
        Some(Value::Array(_) | Value::Object(_) | Value::Bool(true)) => CookieValue::NotText,
        Some(Value::Number(number)) if number.as_f64() != Some(0.0) => CookieValue::NotText,
        _ if text.is_empty() => return None,
        _ => CookieValue::Text(text),
    };
    Some(value)
}

/// Percent-decodes; `None` where that gives no UTF-8, or a `%` is not followed by two digits.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// Writes `Set-Cookie` fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jar {
    /// Whether cookies carry `Secure`: behind a trusted proxy they do.
    pub(super) secure: bool,
}

impl Jar {
    pub(super) fn access(self, token: &str, now: SystemTime) -> HeaderValue {
        self.set(ACCESS, token, "/", super::jwt::LIFETIME, now, "; HttpOnly")
    }

    pub(super) fn csrf(self, token: &str, now: SystemTime) -> HeaderValue {
        self.set(CSRF, token, "/", WEEK, now, "")
    }

    pub(super) fn refresh(self, token: &str, now: SystemTime) -> HeaderValue {
        self.set(REFRESH, token, REFRESH_PATH, WEEK, now, "; HttpOnly")
    }

    fn set(
        self,
        name: &str,
        value: &str,
        path: &str,
        age: Duration,
        now: SystemTime,
        flags: &str,
    ) -> HeaderValue {
        let seconds = age.as_secs();
        let expires = httpdate::fmt_http_date(now + age);
        let secure = if self.secure { "; Secure" } else { "" };
        field(&format!(
            "{name}={value}; Max-Age={seconds}; Path={path}; Expires={expires}{flags}{secure}; SameSite=Lax"
        ))
    }
}

/// The fields that clear a session's three cookies: an empty value long expired, and no flags.
pub(super) fn clearing() -> [HeaderValue; 3] {
    [(ACCESS, "/"), (REFRESH, REFRESH_PATH), (CSRF, "/")]
        .map(|(name, path)| field(&format!("{name}=; Path={path}; Expires=Thu, 01 Jan 1970 00:00:00 GMT")))
}

fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(fields: &[&str]) -> Option<CookieValue> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_str(field).expect("field"));
        }
        value(&headers, ACCESS)
    }

    fn is(text: &str) -> Option<CookieValue> {
        Some(CookieValue::Text(text.to_owned()))
    }

    #[test]
    fn the_first_cookie_of_a_name_counts_over_all_fields() {
        assert_eq!(access(&["openbin-access=a; openbin-access=b"]), is("a"));
        assert_eq!(access(&["x=1", "openbin-access=a"]), is("a"));
        assert_eq!(access(&["OPENBIN-ACCESS=a"]), None);
        assert_eq!(access(&["openbin-access="]), None);
    }

    #[test]
    fn a_value_is_unquoted_decoded_and_trimmed() {
        assert_eq!(access(&["openbin-access=\"a\""]), is("a"));
        assert_eq!(access(&[" openbin-access = a ;"]), is("a"));
        assert_eq!(access(&["openbin-access=%61%62"]), is("ab"));
        assert_eq!(access(&["openbin-access=a%zz"]), is("a%zz"));
        assert_eq!(access(&["openbin-access=%22a%22"]), is("\"a\""));
    }

    #[test]
    fn a_value_marked_as_json_is_parsed() {
        assert_eq!(access(&["openbin-access=j:\"a\""]), is("a"));
        assert_eq!(access(&["openbin-access=j%3A%22a%22"]), is("a"));
        assert_eq!(access(&["openbin-access=j:{\"a\":1}"]), Some(CookieValue::NotText));
        for raw in ["j:null", "j:0", "j:\"\"", "j:broken", "J:\"a\""] {
            assert_eq!(access(&[&format!("openbin-access={raw}")]), is(raw));
        }
    }

    #[test]
    fn cookies_have_openbins_flags_and_paths() {
        let now = SystemTime::UNIX_EPOCH;
        let access = Jar { secure: true }.access("t", now);
        assert_eq!(
            access,
            "openbin-access=t; Max-Age=900; Path=/; Expires=Thu, 01 Jan 1970 00:15:00 GMT; HttpOnly; Secure; SameSite=Lax"
        );
        let csrf = Jar { secure: false }.csrf("t", now);
        assert_eq!(
            csrf,
            "openbin-csrf=t; Max-Age=604800; Path=/; Expires=Thu, 08 Jan 1970 00:00:00 GMT; SameSite=Lax"
        );
        let refresh = Jar { secure: false }.refresh("t", now);
        assert!(refresh.to_str().expect("text").contains("; Path=/api/auth/refresh;"));
        assert_eq!(clearing()[0], "openbin-access=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
