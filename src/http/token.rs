//! What names are made of.

/// Whether a byte may stand in a token (RFC 9110 §5.6.2): a method, a field's name, a coding.
#[must_use]
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
