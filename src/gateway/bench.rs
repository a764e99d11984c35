//! Doors for benchmarks to what a request meets here one by one. Nothing else uses them.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::HeaderValue;
use hyper::{Method, Request};

use super::origin::Scheme;
use super::request_id::{RequestId, Trace};
use super::route::classify;
use super::stamp::{Stamp, stamp};
use crate::auth::Identity;

/// Whether a target can be had without a credential; `None` where it is refused.
#[must_use]
pub fn is_open(method: &Method, path: &str) -> Option<bool> {
    classify(method, path).ok().map(|route| route.is_open())
}

/// A head as it goes on to an instance.
#[must_use]
pub fn stamped(request: Request<()>, identity: Option<&Identity>) -> Request<Empty<Bytes>> {
    let mut request = request.map(|()| Empty::new());
    let id = RequestId(*b"0af7651916cd43dd8448eb211c80319c");
    let trace = Trace::new(&id, std::net::IpAddr::from([203, 0, 113, 9]));
    let authority = Some(HeaderValue::from_static("bins.example.com"));
    stamp(&mut request, Stamp { identity, scheme: Scheme::Https, authority, trace: &trace });
    request
}
