//! Session tokens: HS256, signed and checked as leniently as OpenBin does it.
//!
//! An independent reference: shares no code with the gateway's own check, and is deliberately laxer
//! (no `exp` at all is accepted). Not for use outside the sample. Where it is stricter than OpenBin: every `crit`,
//! numbers beyond a double, lone surrogates and more than 128 levels of nesting are refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value, json};

/// How long an issued token is good for.
pub(super) const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Padding may be there or not, and left-over bits in the last character do not matter.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signs and checks tokens with one secret.
pub(super) struct Signer(hmac::Key);

/// What a token with a good signature and good times says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claims {
    /// Whatever stands in `id`; mostly a string.
    pub(super) id: Value,
    /// `tv` as JavaScript would compare it with a number; missing is 0, text is not a number.
    pub(super) token_version: f64,
}

impl Signer {
    pub(super) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// A token as login issues it.
    pub(super) fn issue(&self, id: &str, email: &str, token_version: u64, now: SystemTime) -> String {
        let exp = seconds(now + LIFETIME);
        // By hand, so that the claims come in OpenBin's order.
        let (id, email) = (json!(id), json!(email));
        self.sign_text(
            r#"{"alg":"HS256"}"#,
            &format!(r#"{{"id":{id},"email":{email},"tv":{token_version},"exp":{exp}}}"#),
        )
    }

    /// A token of any header and payload text.
    pub(super) fn sign_text(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", LENIENT.encode(header), LENIENT.encode(payload));
        let tag = hmac::sign(&self.0, input.as_bytes());
        format!("{input}.{}", LENIENT.encode(tag))
    }

    /// The claims of a token, where OpenBin would accept its signature and its times.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Option<Claims> {
        let mut parts = token.split('.');
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || header.contains('=') {
            return None;
        }
        if !good_header(&object(header)?) {
            return None;
        }
        // The signature covers the text before the second dot as it stands.
        let signed = token.get(..header.len() + 1 + payload.len())?;
        hmac::verify(&self.0, signed.as_bytes(), &decode(signature)?).ok()?;
        let claims = object(payload)?;
        good_times(&claims, seconds(now)).then(|| Claims {
            id: claims.get("id").cloned().unwrap_or(Value::Null),
            token_version: match claims.get("tv") {
                None | Some(Value::Null) => 0.0,
                Some(value) => as_number(value),
            },
        })
    }

    /// A digest under this secret, for passwords kept in memory.
    pub(super) fn digest(&self, text: &str) -> Vec<u8> {
        hmac::sign(&self.0, text.as_bytes()).as_ref().to_vec()
    }

    /// Whether this digest is of that text, in constant time.
    pub(super) fn digest_matches(&self, text: &str, digest: &[u8]) -> bool {
        hmac::verify(&self.0, text.as_bytes(), digest).is_ok()
    }
}

/// Seconds since 1970, whole ones.
pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn good_header(header: &Map<String, Value>) -> bool {
    header.get("alg").and_then(Value::as_str) == Some("HS256") && !header.contains_key("crit")
}

/// `exp`, `nbf` and `iat` must be numbers where they are there; `exp` is refused from its second on.
fn good_times(claims: &Map<String, Value>, now: u64) -> bool {
    let now = now as f64;
    let number = |name: &str, good: fn(f64, f64) -> bool| match claims.get(name) {
        None => true,
        Some(value) => value.as_f64().is_some_and(|number| good(number, now)),
    };
    number("exp", |exp, now| exp > now) && number("nbf", |nbf, now| nbf <= now) && number("iat", |_, _| true)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = decode(part)?;
    let text = String::from_utf8_lossy(&bytes);
    serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
}

/// Both alphabets and white space between the characters are accepted.
fn decode(part: &str) -> Option<Vec<u8>> {
    let text: String = part
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    LENIENT.decode(text).ok()
}

/// What JavaScript makes of a value that is compared with a number.
fn as_number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) if text.trim().is_empty() => 0.0,
        Value::String(text) => text.trim().parse().unwrap_or(f64::NAN),
        Value::Array(items) => match items.as_slice() {
            [] => 0.0,
            [only] => as_number(only),
            _ => f64::NAN,
        },
        Value::Object(_) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_392_000;
    const HEADER: &str = r#"{"alg":"HS256"}"#;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn accepted(header: &str, payload: &str) -> bool {
        let signer = Signer::new("secret");
        signer.verify(&signer.sign_text(header, payload), now()).is_some()
    }

    #[test]
    fn an_issued_token_has_openbins_header_and_claims_and_verifies() {
        let signer = Signer::new("secret");
        let token = signer.issue("u-1", "ann@example.com", 2, now());
        assert!(token.starts_with("eyJhbGciOiJIUzI1NiJ9."));
        let claims = signer.verify(&token, now()).expect("accepted");
        assert_eq!(claims, Claims { id: json!("u-1"), token_version: 2.0 });
        assert!(signer.verify(&token, now() + LIFETIME).is_none());
        assert!(signer.verify(&token, now() + LIFETIME - Duration::from_secs(1)).is_some());
        assert!(Signer::new("secret\n").verify(&token, now()).is_none());
    }

    #[test]
    fn a_token_without_exp_never_expires_and_an_exp_that_is_no_number_is_refused() {
        assert!(accepted(HEADER, r#"{"id":"a"}"#));
        assert!(accepted(HEADER, &format!(r#"{{"id":"a","exp":{NOW}.5}}"#)));
        for exp in ["null", "\"9999999999\"", "true", "[9999999999]", "0", "-1", &NOW.to_string()] {
            assert!(!accepted(HEADER, &format!(r#"{{"id":"a","exp":{exp}}}"#)), "exp {exp}");
        }
    }

    #[test]
    fn nbf_in_the_future_and_iat_that_is_no_number_are_refused() {
        assert!(accepted(HEADER, &format!(r#"{{"nbf":{NOW},"iat":{}}}"#, NOW + 9999)));
        assert!(!accepted(HEADER, &format!(r#"{{"nbf":{}}}"#, NOW + 1)));
        assert!(!accepted(HEADER, r#"{"nbf":"0"}"#));
        assert!(!accepted(HEADER, r#"{"iat":"0"}"#));
    }

    #[test]
    fn only_hs256_without_crit_is_accepted() {
        for header in [r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"alg":"HS256","kid":"x","jku":"y"}"#] {
            assert!(accepted(header, "{}"), "{header}");
        }
        for header in ["{}", r#"{"alg":"none"}"#, r#"{"alg":"hs256"}"#, r#"{"alg":"HS512"}"#] {
            assert!(!accepted(header, "{}"), "{header}");
        }
        assert!(!accepted(r#"{"alg":"HS256","crit":["exp"]}"#, "{}"));
    }

    #[test]
    fn the_signature_may_be_padded_but_not_lengthened_shortened_or_split() {
        let signer = Signer::new("secret");
        let token = signer.sign_text(HEADER, "{}");
        let ok = |text: &str| signer.verify(text, now()).is_some();
        assert!(ok(&format!("{token}=")));
        assert!(ok(&token.replace('-', "+")));
        assert!(!ok(&format!("{token}==")));
        assert!(!ok(&format!("{token}A")));
        assert!(!ok(&format!("{token}.")));
        assert!(!ok(&format!(" {}", token.replace('.', "!"))));
        assert!(!ok(token.strip_suffix(|_: char| true).expect("not empty")));
        assert!(!ok(&format!("{}.", token.rsplit_once('.').expect("dots").0)));
    }

    #[test]
    fn the_token_version_is_compared_as_javascript_does() {
        let signer = Signer::new("secret");
        let version = |tv: &str| {
            let token = signer.sign_text(HEADER, &format!(r#"{{"tv":{tv}}}"#));
            signer.verify(&token, now()).expect("accepted").token_version
        };
        assert_eq!(version("null"), 0.0);
        assert_eq!(version("\"3\""), 3.0);
        assert_eq!(version("true"), 1.0);
        assert!(version("\"abc\"").is_nan());
        assert!(version("{}").is_nan());
    }
}
