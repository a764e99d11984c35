//! A request on its way to an instance, and the answer on its way back.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hyper::{Response, StatusCode, Version};

use super::denial::Stop;
use super::live::LiveExchanges;
use super::mirror::{self, Effect};
use super::plan::Instance;
use super::recorded::Note;
use super::route::Route;
use crate::auth::{Identity, Limits};
use crate::http::header::{remove_hop_by_hop, remove_identity};
use crate::http::{Body, Refusal};
use crate::keys::audit::{Actor, Role};
use crate::upstream::{Exchange, ForwardError, Outbound, Upstream};

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
    request: &mut Option<Outbound>,
    asker: &mut Asker,
    note: &mut Note,
) -> Result<Answer, Stop> {
    let started = Instant::now();
    let sent = if let Some(effect) = Effect::of(&asker.route, asker.identity.as_ref(), way.instance) {
        // Boxed, as all that is rare.
        Box::pin(send_to_its_end(way, request.take(), (effect, asker), note)).await
    } else {
        let asker = asker.identity.as_ref();
        let work = pin!(async {
            match (send(way.upstream, request).await, asker) {
                (Ok(answer), Some(asker)) if answer.status() == StatusCode::UNAUTHORIZED => {
                    let refused = Box::pin(mirror::refused(way.instance, asker, answer));
                    refused.await.map_err(|_| Stop::BrokenOff)
                }
                (sent, _) => sent,
            }
        });
        note.unless_cut(work).await.flatten()
    };
    note.edit(|record| record.upstream = Some(started.elapsed()));
    if let Ok(answer) = &sent
        && mirror::may_issue(way.instance, answer)
    {
        Box::pin(mirror::issued(way.instance, answer)).await;
    }
    sent.map(cleaned)
}

/// Sends a request on that does something to keys or sessions. Runs to its end even if the client goes away meanwhile:
/// what an instance has done to a key must be known here.
async fn send_to_its_end(
    way: &Way<'_>,
    mut request: Option<Outbound>,
    (effect, asker): (Effect, &mut Asker),
    note: &mut Note,
) -> Result<Answer, Stop> {
    let Some(identity) = asker.identity.take() else { return Err(Stop::BrokenOff) };
    let (upstream, instance) = (Rc::clone(way.upstream), Arc::clone(way.instance));
    let (exemption, address) = (note.exemption(), asker.address);
    let mut work = tokio::task::spawn_local(async move {
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
    done?.unwrap_or(Err(Stop::BrokenOff))
}

/// A user, as the audit chain names them.
pub(super) fn actor(identity: &Identity, address: IpAddr) -> Actor {
    Actor { role: Role::User, name: Some(identity.user_id().text()), address: Some(address) }
}

pub(super) async fn send(upstream: &Rc<Upstream>, request: &mut Option<Outbound>) -> Result<Answer, Stop> {
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
