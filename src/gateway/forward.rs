//! A request on its way to an instance, and the answer on its way back.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hyper::{Request, Response, StatusCode, Version};
use tokio::task::JoinHandle;

use super::denial::Stop;
use super::live::LiveExchanges;
use super::mirror::{self, Effect};
use super::plan::Instance;
use super::recorded::Note;
use super::route::Route;
use crate::auth::{Identity, Limits};
use crate::http::header::{remove_hop_by_hop, remove_identity};
use crate::http::{Body, Refusal, RequestBody};
use crate::keys::audit::{Actor, Role};
use crate::upstream::{Exchange, ForwardError, Upstream};

/// An answer that is not recorded yet.
pub(super) type Answer = Response<Body<Exchange>>;

/// Where a request goes, and within which limits.
pub(super) struct Way<'v> {
    pub(super) limits: &'v Limits,
    /// Where exchanges are taken up that end with their credential; `None`: none does.
    pub(super) live: Option<&'v Rc<LiveExchanges>>,
    pub(super) instance: &'v Arc<Instance>,
    pub(super) upstream: &'v Rc<Upstream>,
}

/// Who asks for what, and from where.
pub(super) struct Asker {
    pub(super) route: Route,
    pub(super) identity: Option<Identity>,
    pub(super) address: IpAddr,
}

/// Sends the request on, and learns from the answer what it does to keys and sessions.
pub(super) async fn forward(
    way: &Way<'_>,
    request: &mut Option<Request<RequestBody>>,
    asker: Asker,
    note: &mut Note,
) -> Result<Answer, Stop> {
    let started = Instant::now();
    let Asker { route, identity, address } = asker;
    let sent = match (Effect::of(route, identity.as_ref(), way.instance), identity) {
        (Some(effect), Some(identity)) => {
            let (upstream, instance) = (Rc::clone(way.upstream), Arc::clone(way.instance));
            let (exemption, mut request) = (note.exemption(), request.take());
            let mut work = to_its_end(async move {
                let answer = send(&upstream, &mut request).await?;
                // It has been done, and may be what ends this very credential.
                exemption.grant();
                let actor = actor(&identity, address);
                effect.take(&instance, &identity, &actor, answer).await.map_err(|_| Stop::BrokenOff)
            });
            let done = note.unless_cut(pin!(&mut work)).await;
            if done.is_err() && !note.request_is_whole() {
                work.abort();
            }
            done.map(|done| done.unwrap_or(Err(Stop::BrokenOff)))
        }
        (_, identity) => {
            let work = async {
                match (send(way.upstream, request).await, identity) {
                    (Ok(answer), Some(identity)) if answer.status() == StatusCode::UNAUTHORIZED => {
                        let refused = Box::pin(mirror::refused(way.instance, &identity, answer));
                        refused.await.map_err(|_| Stop::BrokenOff)
                    }
                    (sent, _) => sent,
                }
            };
            note.unless_cut(pin!(work)).await
        }
    };
    let sent = sent.flatten();
    note.edit(|record| record.upstream = Some(started.elapsed()));
    if let Ok(answer) = &sent
        && mirror::may_issue(way.instance, answer)
    {
        Box::pin(mirror::issued(way.instance, answer)).await;
    }
    sent.map(cleaned)
}

/// A user, as the audit chain names them.
pub(super) fn actor(identity: &Identity, address: IpAddr) -> Actor {
    Actor { role: Role::User, name: Some(identity.user_id().text()), address: Some(address) }
}

/// Runs to its end even if the client goes away meanwhile: what an instance has done to a key must be known here.
fn to_its_end(
    work: impl Future<Output = Result<Answer, Stop>> + 'static,
) -> JoinHandle<Result<Answer, Stop>> {
    tokio::task::spawn_local(work)
}

pub(super) async fn send(
    upstream: &Rc<Upstream>,
    request: &mut Option<Request<RequestBody>>,
) -> Result<Answer, Stop> {
    match upstream.send(request).await {
        // Nothing was offered to switch to, so what follows is not what this request asked for.
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            tracing::warn!(upstream = %upstream.settings().authority, "the instance switched protocols unasked");
            Err(Stop::Refused(Refusal::UpstreamUnavailable))
        }
        Ok(response) => Ok(response.map(Body::Upstream)),
        Err(error) => Err(blame(&error, upstream)),
    }
}

pub(super) fn blame(error: &ForwardError, upstream: &Upstream) -> Stop {
    let refusal = match error {
        ForwardError::Client(_) => return Stop::BrokenOff,
        ForwardError::ContentTooLarge => return Stop::Refused(Refusal::ContentTooLarge),
        ForwardError::ContentTooSlow => return Stop::Refused(Refusal::ContentTooSlow),
        ForwardError::Malformed(_) => {
            return Stop::Refused(Refusal::Ambiguous("The request content is not well-formed"));
        }
        ForwardError::Connect(_)
        | ForwardError::ConnectTimeout
        | ForwardError::Broken(_)
        | ForwardError::Ambiguous(_) => Refusal::UpstreamUnavailable,
        ForwardError::HeadTimeout => Refusal::UpstreamTimeout,
    };
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(upstream = %upstream.settings().authority, cause, "{error}");
    Stop::Refused(refusal)
}

/// Takes away what concerns only the connection between gateway and instance, and what nobody may claim.
pub(super) fn cleaned(mut response: Answer) -> Answer {
    *response.version_mut() = Version::HTTP_11;
    remove_hop_by_hop(response.headers_mut());
    remove_identity(response.headers_mut());
    response
}
