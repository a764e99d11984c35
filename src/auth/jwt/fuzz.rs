//! What must hold of session tokens, whatever they are; for fuzzers and for the seeds that they start from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Map, Value};

use super::super::{Denied, Secret};
use super::Sessions;

/// Judges bytes as a token, and a token that is made and signed from two lines, its header and its claims; a
/// third line says which of its characters to change.
///
/// # Panics
/// Where a token is accepted that nobody signed, that was changed, or whose header or claims do not allow for
/// it, or where it makes a difference whether it is remembered.
pub fn token(text: &[u8]) {
    let sessions = sessions();
    assert!(sessions.verify(text, NOW).is_err(), "nobody signed this");
    let mut lines = text.splitn(3, |byte| *byte == b'\n');
    let (Some(header), Some(claims)) = (lines.next(), lines.next()) else { return };
    let signed = signed(header, claims);
    for now in [NOW, NOW + 1, 0, NOW - 1, u64::MAX, NOW] {
        let judged = judged(&sessions, &signed, now);
        if let Ok((id, email)) = &judged {
            let allowed = allowed(header, claims, now);
            assert_eq!(allowed.as_ref().map(|(id, email)| (id, email)), Some((id, email)), "at {now}");
        }
        assert_eq!(judged, self::judged(&self::sessions(), &signed, now), "at {now}, remembered");
    }
    let changed = lines.next().and_then(|change| changed(&signed, change));
    assert!(changed.is_none_or(|changed| sessions.verify(&changed, NOW).is_err()), "a changed token passes");
}

/// Whom a token names.
type Named = (String, Option<String>);

fn judged(sessions: &Sessions, token: &[u8], now: u64) -> Result<Named, Denied> {
    let session = sessions.verify(token, now)?;
    Ok((session.user_id.text(), session.user_email.as_ref().map(|email| email.text())))
}

/// Whom it may name, as RFC 7515 and RFC 7519 have it, and OpenBin.
fn allowed(header: &[u8], claims: &[u8], now: u64) -> Option<Named> {
    let header: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(claims).ok()?;
    #[allow(clippy::cast_precision_loss)] // As the times themselves, which are read as doubles.
    let now = now as f64;
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap_or(f64::NAN));
    let is_signed_as_said = header.get("alg")? == "HS256" && !header.contains_key("crit");
    let is_in_time = time("exp")? > now
        && time("nbf").is_none_or(|time| time <= now)
        && time("iat").is_none_or(|time| !time.is_nan());
    let id = claims.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned();
    let email = claims.get("email").and_then(Value::as_str).filter(|email| !email.is_empty());
    (is_signed_as_said && is_in_time).then(|| (id, email.map(str::to_owned)))
}

fn signed(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}").into_bytes()
}

/// The token with another character: where, and which one.
fn changed(token: &[u8], change: &[u8]) -> Option<Vec<u8>> {
    let [high, low, character] = *change.first_chunk()?;
    let mut changed = token.to_vec();
    let at = usize::from(u16::from_be_bytes([high, low])) % token.len();
    let place = changed.get_mut(at)?;
    (*place != character).then(|| *place = character)?;
    Some(changed)
}

fn sessions() -> Sessions {
    let secrets = [Secret::new("another"), Secret::new(SECRET)];
    Sessions::new(&secrets.into_iter().flatten().collect::<Vec<_>>())
}

const SECRET: &str = "s3cret";
const NOW: u64 = 1_800_000_000;
