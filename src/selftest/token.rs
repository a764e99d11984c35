//! Session tokens and API keys, good and bad in one way each.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::trial::Persona;

/// A credential's text and what it is; only that is ever shown.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

const PLAIN: &str = r#"{"alg":"HS256"}"#;
/// Of a user whom nobody knows.
const STRANGER: &str = "00000000-0000-4000-8000-000000000000";

/// All credentials that a persona allows for. Without a secret there are no tokens with a signature of it.
pub(super) fn all(persona: &Persona, now: SystemTime) -> Vec<Token> {
    let mut tokens = keys(persona);
    tokens.extend(
        [("junk", "junk"), ("two dots", ".."), ("words", "a b"), ("an empty text", "")]
            .map(|(kind, text)| Token { kind, text: text.to_owned() }),
    );
    if let Some(secret) = &persona.secret {
        tokens.extend(signed(secret, persona, now));
    }
    if let Some(session) = &persona.session {
        tokens.push(Token { kind: GOOD, text: session.clone() });
        let cut = session.get(..session.len().saturating_sub(2)).unwrap_or_default();
        tokens.push(Token { kind: "session cut short", text: cut.to_owned() });
    }
    tokens
}

/// The kind of a session that is good.
pub(super) const GOOD: &str = "good session";

/// A good session of the persona's: the one that it was given, else one made with the secret.
#[must_use]
pub fn session(persona: &Persona, now: SystemTime) -> Option<Zeroizing<String>> {
    if let Some(given) = &persona.session {
        return Some(Zeroizing::new(given.clone()));
    }
    let secret = persona.secret.as_ref()?;
    let until = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() + 6 * 3600;
    let id = serde_json::Value::from(persona.user_id.as_str());
    let claims = format!(r#"{{"id":{id},"email":"a@example.com","tv":1000000000,"exp":{until}}}"#);
    Some(Zeroizing::new(sign(secret, PLAIN, &claims)))
}

fn keys(persona: &Persona) -> Vec<Token> {
    let mut texts = vec![
        ("unknown key", format!("sk_openbin_{}", "0123456789abcdef".repeat(4))),
        ("key without digits", "sk_openbin_".to_owned()),
        ("key too short", "sk_openbin_0123".to_owned()),
        ("key of other digits", format!("sk_openbin_{}", "z".repeat(64))),
    ];
    if let Some(key) = &persona.key {
        texts.push(("good key", key.clone()));
        texts.push(("good key", key.clone()));
        texts.push(("good key and more", format!("{key}0")));
        texts.push(("good key in upper case", key.to_ascii_uppercase()));
    }
    texts.into_iter().map(|(kind, text)| Token { kind, text }).collect()
}

fn signed(secret: &[u8], persona: &Persona, now: SystemTime) -> Vec<Token> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (later, past) = (now + 6 * 3600, now.saturating_sub(60));
    let id = serde_json::Value::from(persona.user_id.as_str());
    let whole = |header: &str, claims: &str| sign(secret, header, &format!(r#"{{"id":{id},{claims}}}"#));
    let until = format!(r#""email":"a@example.com","tv":1000000000,"exp":{later}"#);
    let good = whole(PLAIN, &until);
    let other = sign(b"another secret", PLAIN, &format!(r#"{{"id":{id},{until}}}"#));
    let unsigned = good.rsplit_once('.').map_or("", |(start, _)| start);
    let texts = [
        (GOOD, good.clone()),
        (GOOD, good.clone()),
        ("session of another secret", other),
        ("session of a stranger", sign(secret, PLAIN, &format!(r#"{{"id":"{STRANGER}",{until}}}"#))),
        ("session without an id", sign(secret, PLAIN, &format!("{{{until}}}"))),
        ("expired session", whole(PLAIN, &format!(r#""tv":1000000000,"exp":{past}"#))),
        ("session without exp", whole(PLAIN, r#""tv":1000000000"#)),
        ("session with exp as a text", whole(PLAIN, &format!(r#""tv":1000000000,"exp":"{later}""#))),
        ("session with a fraction in exp", whole(PLAIN, &format!(r#""tv":1000000000,"exp":{later}.5"#))),
        ("session from later on", whole(PLAIN, &format!(r#"{until},"nbf":{later}"#))),
        ("session with iat in the future", whole(PLAIN, &format!(r#"{until},"iat":{later}"#))),
        ("session with more claims", whole(PLAIN, &format!(r#"{until},"aud":"x","roles":["admin"]"#))),
        ("session of version 0", whole(PLAIN, &format!(r#""tv":0,"exp":{later}"#))),
        ("session without alg", whole("{}", &until)),
        ("session of alg none", whole(r#"{"alg":"none"}"#, &until)),
        ("session of alg HS512", whole(r#"{"alg":"HS512"}"#, &until)),
        ("session of alg hs256", whole(r#"{"alg":"hs256"}"#, &until)),
        ("session with typ", whole(r#"{"alg":"HS256","typ":"JWT"}"#, &until)),
        ("session with crit", whole(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, &until)),
        ("session with a wrong kid", whole(r#"{"alg":"HS256","kid":1}"#, &until)),
        ("session with a padded signature", format!("{good}=")),
        ("session without a signature", format!("{unsigned}.")),
        ("session of two parts", unsigned.to_owned()),
        ("session of four parts", format!("{good}.x")),
    ];
    texts.into_iter().map(|(kind, text)| Token { kind, text }).collect()
}

/// A token as OpenBin would sign it.
pub(super) fn sign(secret: &[u8], header: &str, payload: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}
