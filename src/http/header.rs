//! Header field names that the gateway reads, writes or refuses to let through.

use hyper::header::HeaderName;

/// How the request was authenticated: `jwt`, `api_key` or `none`.
pub const X_AUTH_METHOD: HeaderName = HeaderName::from_static("x-auth-method");
/// The verified user's id.
pub const X_AUTH_USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
/// The verified user's e-mail address, where it is known.
pub const X_AUTH_USER_EMAIL: HeaderName = HeaderName::from_static("x-auth-user-email");
/// The id of the API key that was used.
pub const X_AUTH_KEY_ID: HeaderName = HeaderName::from_static("x-auth-key-id");
/// The client's address, as seen by the gateway.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The authority that the client asked for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The id under which this request appears in logs, here and behind.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Not in RFC 9110, but still sent by old clients; concerns one connection only.
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Not in RFC 9110, but still sent by old clients; concerns one connection only.
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
