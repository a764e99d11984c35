//! Where OpenBin would look for a request's credential, and what it would find there.
//!
//! `Authorization` wins where it holds the exact bytes `Bearer `, good or bad; then the cookie
//! `openbin-access`. What is repeated with different meanings is refused instead of guessed at.

use std::borrow::Cow;

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap};
use memchr::memchr;

use crate::http::Refusal;

pub(super) const ACCESS_COOKIE: &[u8] = b"openbin-access";
pub(super) const BEARER: &[u8] = b"Bearer ";

/// The text of a request's credential: the token after `Bearer `, or the value of the cookie.
///
/// # Errors
/// Where there is more than one `Authorization` field, or the cookie is there with different values.
pub(super) fn presented(headers: &HeaderMap) -> Result<Option<Cow<'_, [u8]>>, Refusal> {
    if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Refusal::Ambiguous("More than one Authorization header"));
    }
    if let Some(token) = bearer(headers) {
        return Ok(Some(Cow::Borrowed(token)));
    }
    access_cookie(headers)
}

/// What follows `Bearer ` in the first `Authorization` field.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    // Node removes white space around a field's value before OpenBin sees it; HTTP/2 delivers it as sent.
    trim(headers.get(AUTHORIZATION)?.as_bytes()).strip_prefix(BEARER)
}

/// The first `openbin-access` cookie. HTTP/2 may split cookies over fields (RFC 9113 §8.2.3).
fn access_cookie(headers: &HeaderMap) -> Result<Option<Cow<'_, [u8]>>, Refusal> {
    let mut values = cookies(headers, ACCESS_COOKIE);
    let first = values.next();
    if values.any(|value| first.as_ref() != Some(&value)) {
        return Err(Refusal::Ambiguous("More than one openbin-access cookie"));
    }
    Ok(first.filter(|value| !value.is_empty()))
}

/// The values of all cookies of this name, in their order.
pub(super) fn cookies<'h>(headers: &'h HeaderMap, name: &'h [u8]) -> impl Iterator<Item = Cow<'h, [u8]>> {
    let fields = headers.get_all(COOKIE).iter();
    fields.flat_map(|field| pairs(field.as_bytes())).filter_map(move |pair| cookie(pair, name))
}

/// What is between the semicolons of a field.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let Some(end) = memchr(b';', whole) else { return Some(whole) };
        let (pair, after) = whole.split_at(end);
        rest = after.get(1..);
        Some(pair)
    })
}

/// The value of a cookie, if it has this name.
pub(super) fn cookie<'p>(pair: &'p [u8], name: &[u8]) -> Option<Cow<'p, [u8]>> {
    let equals = memchr(b'=', pair)?;
    let (own, value) = pair.split_at(equals);
    (trim(own) == name).then(|| json_text(decode(unquote(trim(value.get(1..).unwrap_or_default())))))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

/// Decodes as JavaScript's `decodeURIComponent` does: wholly, or where anything is wrong not at all.
fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', value).is_none() {
        return Cow::Borrowed(value);
    }
    match percent_decode(value) {
        Some(decoded) if std::str::from_utf8(&decoded).is_ok() => Cow::Owned(decoded),
        Some(_) | None => Cow::Borrowed(value),
    }
}

/// Express reads a cookie that begins `j:` as JSON, where it is; a JSON string is its text, unless empty.
fn json_text(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let text = value.strip_prefix(b"j:").and_then(|json| serde_json::from_slice::<String>(json).ok());
    let text = text.filter(|text| !text.is_empty());
    text.map_or(value, |text| Cow::Owned(text.into_bytes()))
}

/// Replaces each `%` and two hexadecimal digits by the byte that they stand for; `None` where a `%` is
/// followed by anything else.
pub(super) fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn credential(fields: &[(&'static str, &str)]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
            headers.append(HeaderName::from_static(name), value);
        }
        let found = presented(&headers)?;
        Ok(found.map(|text| String::from_utf8(text.into_owned()).expect("UTF-8")))
    }

    fn text(found: &str) -> Result<Option<String>, Refusal> {
        Ok(Some(found.to_owned()))
    }

    #[test]
    fn bearer_wins_over_the_cookie_even_when_it_is_bad() {
        let both = [("authorization", "Bearer junk"), ("cookie", "openbin-access=good")];
        assert_eq!(credential(&both), text("junk"));
    }

    #[test]
    fn what_is_not_exactly_bearer_falls_through_to_the_cookie() {
        for other in ["bearer x", "BEARER x", "Bearer\tx", "Basic eDp5", "Bearer ", "Bearer", ""] {
            let both = [("authorization", other), ("cookie", "openbin-access=good")];
            assert_eq!(credential(&both), text("good"), "{other:?}");
            assert_eq!(credential(&both[..1]), Ok(None), "{other:?}");
        }
    }

    #[test]
    fn a_second_space_belongs_to_the_token_and_white_space_around_the_value_does_not() {
        assert_eq!(credential(&[("authorization", "Bearer  x")]), text(" x"));
        assert_eq!(credential(&[("authorization", " Bearer x \t")]), text("x"));
    }

    #[test]
    fn more_than_one_authorization_field_is_refused() {
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert!(matches!(credential(&two), Err(Refusal::Ambiguous(_))));
    }

    #[test]
    fn the_cookie_is_found_among_others_trimmed_unquoted_and_decoded() {
        for (cookie, found) in [
            ("a=b; openbin-access=t; c=d", "t"),
            ("openbin-access = t ", "t"),
            ("openbin-access=\"t\"", "t"),
            ("openbin-access=%74%2e", "t."),
            ("openbin-access=%zz", "%zz"),
            ("openbin-access=%ff", "%ff"),
            ("openbin-access=a=b", "a=b"),
            ("flag; openbin-access=t", "t"),
            ("openbin-access=\"", "\""),
            ("openbin-access=j:\"t\"", "t"),
            ("openbin-access=j%3A%22t%22", "t"),
            ("openbin-access=j:{}", "j:{}"),
            ("openbin-access=j:\"\"", "j:\"\""),
            ("openbin-access=%22t%22", "\"t\""),
        ] {
            assert_eq!(credential(&[("cookie", cookie)]), text(found), "{cookie:?}");
        }
        for none in
            ["", ";", "=", "openbin-access", "Openbin-Access=t", "xopenbin-access=t", "openbin-access="]
        {
            assert_eq!(credential(&[("cookie", none)]), Ok(None), "{none:?}");
        }
    }

    #[test]
    fn cookies_split_over_fields_are_one_list() {
        let split = [("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "openbin-access=t")];
        assert_eq!(credential(&split), text("t"));
    }

    #[test]
    fn the_same_cookie_twice_is_refused_unless_it_means_the_same() {
        assert_eq!(credential(&[("cookie", "openbin-access=t; openbin-access=\"t\"")]), text("t"));
        for two in ["openbin-access=t; openbin-access=u", "openbin-access=; openbin-access=t"] {
            assert!(matches!(credential(&[("cookie", two)]), Err(Refusal::Ambiguous(_))), "{two:?}");
        }
    }
}
