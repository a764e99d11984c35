//! Doors for benchmarks to what a request meets here one by one. Nothing else uses them.

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request};

use super::origin::Scheme;
use super::request_id::{RequestId, Trace};
use super::route::classify;
use super::stamp::Stamp;
use crate::auth::Identity;
use crate::http::RequestBody;
use crate::upstream::Outbound;

/// Whether a target can be had without a credential; `None` where it is refused.
#[must_use]
pub fn is_open(method: &Method, path: &str) -> Option<bool> {
    classify(method, path).ok().map(|route| route.is_open())
}

/// A request as it goes on to an instance.
#[must_use]
pub fn stamped(request: Request<()>, identity: Option<&Identity>) -> Outbound {
    let mut request = request.map(|()| RequestBody::own(Bytes::new()));
    let id = RequestId(*b"0af7651916cd43dd8448eb211c80319c");
    let trace = Trace { id, from: std::net::IpAddr::from([203, 0, 113, 9]) };
    let authority = Some(HeaderValue::from_static("bins.example.com"));
    let mut stamp = Stamp::new(identity, Scheme::Https, authority, trace);
    stamp.clear(&mut request);
    Outbound::new(request, |fields| stamp.say(fields))
}
