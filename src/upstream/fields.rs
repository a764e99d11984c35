//! Header fields as they are sent (RFC 9112 §5).

use hyper::header::HeaderName;

/// Fields of a head or of a trailer section, as text.
#[derive(Default)]
pub struct Fields(pub(super) Vec<u8>);

impl Fields {
    /// Adds a field. Its value must be one that a [`HeaderValue`] can have.
    pub fn add(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        self.add_with(name, |text| text.extend_from_slice(value.as_ref()));
    }

    /// Adds a field whose value this appends.
    pub fn add_with(&mut self, name: &HeaderName, append: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(name.as_str().as_bytes());
        self.0.extend_from_slice(b": ");
        append(&mut self.0);
        self.0.extend_from_slice(b"\r\n");
    }

    /// All of them.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn text(&self) -> &[u8] {
        &self.0
    }
}

/// Values belong to the client.
impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fields")
    }
}
