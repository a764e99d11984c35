//! Session tokens (RFC 7519): HS256, as OpenBin issues them, verified no more laxly than it does.
//!
//! Stricter than OpenBin where being lax helps nobody: a token without `exp` is refused, and so is a
//! signature that is not canonical, unpadded base64url (RFC 7515 §2). What only the instance's database
//! knows (a raised token version, a suspended user) is left to the instance.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod remembered;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Denied, Secret, identity::Session};
use crate::keys::Label;

use remembered::Remembered;

/// The year 2100, in seconds since 1970.
const FAR_FUTURE: f64 = 4_102_444_800.0;

/// Verifies session tokens, and remembers those that verified until they expire.
pub(super) struct Sessions {
    keys: Vec<DecodingKey>,
    rules: Validation,
    verified: Remembered<Verified>,
}

/// A token that verified, with the times that must be looked at again on every use.
struct Verified {
    session: Arc<Session>,
    expires: f64,
    not_before: Option<f64>,
}

impl Verified {
    /// RFC 7519 §4.1.4 and §4.1.5, without leeway, in whole seconds as OpenBin counts them.
    #[allow(clippy::cast_precision_loss)] // Seconds since 1970 fit a double's 53 bits for ever.
    fn hold_at(&self, now: u64) -> Result<(), Denied> {
        let now = now as f64;
        if self.not_before.is_some_and(|time| time > now) {
            return Err(Denied::InvalidToken);
        }
        if self.expires > now { Ok(()) } else { Err(Denied::ExpiredToken) }
    }
}

impl Sessions {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        // Times are checked here, against the caller's clock; the crate would allow a minute of leeway.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        Self {
            keys: secrets.iter().map(|secret| DecodingKey::from_secret(secret.expose())).collect(),
            rules,
            verified: Remembered::new(),
        }
    }

    /// Checks a token at `now`, in seconds since 1970.
    pub(super) fn verify(&self, token: &[u8], now: u64) -> Result<Arc<Session>, Denied> {
        if let Some(verified) = self.verified.look(token) {
            return match verified.hold_at(now) {
                Ok(()) => Ok(Arc::clone(&verified.session)),
                Err(denied) => {
                    self.verified.forget(token);
                    Err(denied)
                }
            };
        }
        let verified = read(&self.claims(token)?, Sha256::digest(token).into())?;
        verified.hold_at(now)?;
        let session = Arc::clone(&verified.session);
        self.verified.keep(token, Arc::new(verified));
        Ok(session)
    }

    /// The claims of a token that one of the secrets signed; the next secret is tried only where the
    /// signature is all that is wrong.
    fn claims(&self, token: &[u8]) -> Result<Map<String, Value>, Denied> {
        for key in &self.keys {
            match jsonwebtoken::decode::<Map<String, Value>>(token, key, &self.rules) {
                // A critical extension that is not understood must be refused (RFC 7515 §4.1.11).
                Ok(data) if data.header.crit.is_none() => return Ok(data.claims),
                Ok(_) => return Err(Denied::InvalidToken),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_) => return Err(Denied::InvalidToken),
            }
        }
        Err(Denied::InvalidToken)
    }
}

/// Takes what is needed out of verified claims. A time that is there must be a number.
fn read(claims: &Map<String, Value>, digest: [u8; 32]) -> Result<Verified, Denied> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Denied::InvalidToken),
    };
    let expires = time("exp")?.ok_or(Denied::InvalidToken)?;
    let not_before = time("nbf")?;
    time("iat")?;
    let id = match claims.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id,
        // OpenBin finds no user under such an id, and says so.
        None | Some(Value::Null | Value::String(_)) => return Err(Denied::AccountDeleted),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(Denied::InvalidToken);
        }
    };
    let email = claims.get("email").and_then(Value::as_str).filter(|email| !email.is_empty());
    // The last second in which the token could be good; one that is good for ever is good for a century.
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(expires.clamp(0.0, FAR_FUTURE).ceil());
    let user_id = Label::new(id);
    let session = Session { user_id, user_email: email.map(Label::new), digest, until };
    Ok(Verified { session: Arc::new(session), expires, not_before })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn sign(claims: &Value, secret: &str) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = None;
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes()))
            .expect("a signed token")
    }

    fn sessions(secrets: &[&str]) -> Sessions {
        let secrets: Vec<_> = secrets.iter().filter_map(|text| Secret::new(text)).collect();
        Sessions::new(&secrets)
    }

    fn verdict(claims: &Value) -> Result<String, Denied> {
        sessions(&["s3cret"])
            .verify(sign(claims, "s3cret").as_bytes(), NOW)
            .map(|session| session.user_id.as_str().to_owned())
    }

    #[test]
    fn a_token_as_openbin_issues_it_is_accepted() {
        let claims = json!({"id": "u-1", "email": "ann@example.com", "tv": 0, "exp": NOW + 900});
        assert_eq!(verdict(&claims).as_deref(), Ok("u-1"));
    }

    #[test]
    fn a_token_is_over_in_the_second_of_its_exp() {
        assert_eq!(verdict(&json!({"id": "u", "exp": NOW + 1})).as_deref(), Ok("u"));
        assert_eq!(verdict(&json!({"id": "u", "exp": NOW})), Err(Denied::ExpiredToken));
        assert_eq!(verdict(&json!({"id": "u", "exp": NOW - 1})), Err(Denied::ExpiredToken));
        assert_eq!(verdict(&json!({"id": "u", "exp": NOW as f64 + 0.5})).as_deref(), Ok("u"));
    }

    #[test]
    fn a_remembered_token_is_over_in_the_second_of_its_exp() {
        let sessions = sessions(&["s3cret"]);
        let token = sign(&json!({"id": "u", "exp": NOW + 5, "nbf": NOW}), "s3cret");
        assert!(sessions.verify(token.as_bytes(), NOW).is_ok());
        assert!(sessions.verify(token.as_bytes(), NOW + 4).is_ok());
        assert_eq!(sessions.verify(token.as_bytes(), NOW + 5).err(), Some(Denied::ExpiredToken));
        assert_eq!(sessions.verify(token.as_bytes(), NOW - 1).err(), Some(Denied::InvalidToken));
    }

    #[test]
    fn exp_nbf_and_iat_must_be_numbers() {
        for wrong in [json!("1900000000"), json!([NOW + 9]), json!({}), json!(null), json!(true)] {
            let with = |name: &str| {
                let mut claims = json!({"id": "u", "exp": NOW + 900});
                claims[name] = wrong.clone();
                verdict(&claims)
            };
            assert_eq!(with("exp"), Err(Denied::InvalidToken), "exp {wrong}");
            assert_eq!(with("nbf"), Err(Denied::InvalidToken), "nbf {wrong}");
            assert_eq!(with("iat"), Err(Denied::InvalidToken), "iat {wrong}");
        }
        assert_eq!(verdict(&json!({"id": "u"})), Err(Denied::InvalidToken));
        let early = json!({"id": "u", "exp": NOW + 9, "nbf": NOW + 1});
        assert_eq!(verdict(&early), Err(Denied::InvalidToken));
        assert_eq!(verdict(&json!({"id": "u", "exp": -1})), Err(Denied::ExpiredToken));
    }

    #[test]
    fn the_id_must_name_somebody() {
        for id in [json!(""), json!(null)] {
            let claims = json!({"id": id, "exp": NOW + 900});
            assert_eq!(verdict(&claims), Err(Denied::AccountDeleted));
        }
        assert_eq!(verdict(&json!({"exp": NOW + 900})), Err(Denied::AccountDeleted));
        assert_eq!(verdict(&json!({"id": 7, "exp": NOW + 900})), Err(Denied::InvalidToken));
    }

    #[test]
    fn only_hs256_is_accepted() {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let sessions = sessions(&["s3cret"]);
        let claims = json!({"id": "u", "exp": NOW + 900});
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let key = EncodingKey::from_secret(b"s3cret");
            let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).expect("token");
            assert_eq!(sessions.verify(token.as_bytes(), NOW).err(), Some(Denied::InvalidToken));
        }
        let good = sign(&claims, "s3cret");
        let rest = good.split_once('.').expect("three parts").1;
        let headers = [
            r#"{"alg":"none"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{}"#,
        ];
        for header in headers {
            let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(sessions.verify(token.as_bytes(), NOW).err(), Some(Denied::InvalidToken));
        }
    }

    #[test]
    fn every_secret_of_a_rotation_is_tried_and_no_other() {
        let claims = json!({"id": "u", "exp": NOW + 900});
        let rotation = sessions(&["new", "old"]);
        assert!(rotation.verify(sign(&claims, "new").as_bytes(), NOW).is_ok());
        assert!(rotation.verify(sign(&claims, "old").as_bytes(), NOW).is_ok());
        let wrong = sign(&claims, "other");
        assert_eq!(rotation.verify(wrong.as_bytes(), NOW).err(), Some(Denied::InvalidToken));
    }

    #[test]
    fn what_is_not_a_token_is_refused_without_a_panic() {
        let sessions = sessions(&["s3cret"]);
        let good = sign(&json!({"id": "u", "exp": NOW + 900}), "s3cret");
        for cut in 0..good.len() {
            assert!(sessions.verify(&good.as_bytes()[..cut], NOW).is_err());
        }
        for junk in [&b""[..], b".", b"..", b"...", b"\xff\xfe", b" x", b"a.b.c"] {
            assert_eq!(sessions.verify(junk, NOW).err(), Some(Denied::InvalidToken));
        }
        assert!(sessions.verify(format!("{good}=").as_bytes(), NOW).is_err());
    }
}
