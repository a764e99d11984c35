//! A request on its way from its judgement to the instance.

use std::time::SystemTime;

use http_body::Body as _;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri};

use super::super::plan::Plan;
use super::super::recorded::Note;
use super::super::stamp::Stamp;
use super::super::stand_in::Acts;
use super::super::upgrade::Offer;
use super::{Gateway, Way};
use crate::http::{Line, Received, Refusal, RequestBody};
use crate::upstream::Outbound;

impl Gateway {
    /// The request as it goes on to the instance.
    pub(super) fn outbound(
        &self,
        way: &Way<'_>,
        (mut request, mut stamp): (Request<RequestBody>, Stamp<'_>),
        offer: Option<&Offer>,
        (acts, at): (Acts, SystemTime),
    ) -> Result<Outbound, Refusal> {
        let forged = stamp.clear(&mut request);
        if forged > 0 {
            self.metrics.forged_headers.inc_by(forged);
        }
        way.instance.stand_ins.put_in(request.headers_mut(), stamp.identity(), acts, at)?;
        if let Some(offer) = offer {
            offer.put_in(request.headers_mut());
        }
        Ok(Outbound::new(request, |fields| stamp.say(fields)))
    }
}

/// Refuses content that says itself that it is too long, and counts the rest as it comes.
pub(super) fn limited(
    request: Request<Received>,
    target: PathAndQuery,
    (plan, line): (&Plan, &Line),
    note: &mut Note,
) -> Result<Request<RequestBody>, Refusal> {
    if request.body().size_hint().lower() > plan.max_body_bytes {
        return Err(Refusal::ContentTooLarge);
    }
    let mut request = RequestBody::limited(request, plan.max_body_bytes, plan.body_floor, line);
    note.count_request(request.body().progress());
    *request.uri_mut() = Uri::from(target);
    Ok(request)
}
