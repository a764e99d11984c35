//! A response as a client saw it, whichever protocol it came by.

/// A response as a client saw it.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to its proper end, rather than being cut off.
    pub whole: bool,
}

impl Response {
    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    /// All fields of this name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => {
                panic!("status {} with a body that is not JSON ({error}): {}", self.status, self.text())
            }
        }
    }

    /// Asserts that this is a refusal of the gateway's own in OpenBin's envelope.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str, message: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["error"], code, "{body}");
        assert_eq!(body["message"], message, "{body}");
        self.assert_own();
        let challenge = self.field("www-authenticate");
        if status == 401 {
            assert!(challenge.is_some_and(|text| text.starts_with("Bearer ")), "challenge: {challenge:?}");
        } else {
            assert_eq!(challenge, None);
        }
    }

    /// Asserts what every reply of the gateway's own has: JSON with both texts, and a request id.
    #[track_caller]
    pub fn assert_own(&self) {
        let kind = self.field("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "content type {kind:?}, body {}", self.text());
        let body = self.json();
        assert!(body["error"].is_string() && body["message"].is_string(), "{body}");
        assert!(self.field("x-request-id").is_some(), "no X-Request-Id in {:?}", self.fields);
    }
}

/// The first field of this name.
pub fn first<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// All fields of this name, in order.
pub fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}
