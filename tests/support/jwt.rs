//! Session tokens: good ones as OpenBin issues them, and every kind of bad one.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// The secret that the tests' instances sign with, unless a test says otherwise.
pub const SECRET: &str = "canary-jwt-secret-0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// The user of [`session`].
pub const USER: &str = "5f0c6a52-9d0e-4b9e-8a51-0f4b7c1e2d3a";
/// The e-mail address of [`session`].
pub const EMAIL: &str = "ann@example.com";

/// A good token, as OpenBin issues it on login.
pub fn session() -> String {
    signed(&claims(900), SECRET)
}

/// The claims of a good token that expires so many seconds from now.
pub fn claims(seconds: i64) -> Value {
    json!({ "id": USER, "email": EMAIL, "tv": 0, "exp": now() + seconds })
}

/// Unix time in whole seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_secs()).expect("seconds fit")
}

/// A token with OpenBin's header and these claims.
pub fn signed(claims: &Value, secret: &str) -> String {
    token(r#"{"alg":"HS256"}"#, &claims.to_string(), secret, Algorithm::HS256)
}

/// A token of these very texts, signed with HMAC as told, whatever its header says.
pub fn token(header: &str, claims: &str, secret: &str, signature: Algorithm) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, signature).expect("signature");
    format!("{message}.{signature}")
}

/// A token of these very texts with an empty signature.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// Base64url without padding (RFC 7515 §2).
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - part.len()));
        for position in 0..=part.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * position) & 63) as usize]));
        }
    }
    out
}
