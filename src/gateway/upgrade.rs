//! Requests to go on in another protocol on the same connection (RFC 9110 §7.8): WebSocket (RFC 6455), also on
//! a stream of HTTP/2 (RFC 8441). They are judged like any other request. Only after the instance has agreed do
//! bytes pass as they are; whatever the client sent before that waits here.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use prometheus::IntGauge;

use super::denial::Stop;
use super::forward::{Answer, Way, blame, cleaned};
use super::mirror;
use super::recorded::Note;
use crate::auth::Identity;
use crate::http::header::elements;
use crate::http::{Body, Line, OnSwitch, Received, Refusal};
use crate::observe::Metrics;
use crate::upstream::{Outbound, Passed, Switched, Tunnel};

const WEBSOCKET: &str = "websocket";
/// What the server's answer to a key is made with (RFC 6455 §1.3).
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a client wants to switch to.
pub(super) struct Upgrade {
    protocol: HeaderValue,
    on: OnSwitch,
    by: By,
}

/// What the instance is asked to switch to.
pub(super) struct Offer {
    upgrade: Upgrade,
    /// Where the gateway makes the key of a WebSocket (RFC 8441 §5): that, and what `Sec-WebSocket-Accept` must be.
    key: Option<(HeaderValue, HeaderValue)>,
}

/// How it asks for it.
enum By {
    /// With `Upgrade` fields; it speaks for itself.
    Http1,
    /// With `:protocol`; towards the instance, the gateway speaks for it.
    Http2,
}

/// What a request asks to switch to, where that is allowed. A request that asks for anything else is one like
/// any other (RFC 9110 §7.8). From here on, an extended `CONNECT` is the `GET` that it stands for.
///
/// # Errors
/// Where the request has content as well, or there is nothing else that could be answered.
pub(super) fn asked(request: &mut Request<Received>, allowed: &[String]) -> Result<Option<Upgrade>, Refusal> {
    let is_allowed = |token: &&[u8]| allowed.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes()));
    let (found, by) = if request.method() == Method::CONNECT {
        let protocol = offered(request.body()).filter(is_allowed).ok_or(Refusal::MethodNotAllowed)?;
        (Some(protocol.to_ascii_lowercase()), By::Http2)
    } else {
        let headers = request.headers();
        let asks = request.version() == Version::HTTP_11
            && elements(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        let found = asks.then(|| elements(headers, UPGRADE).find(is_allowed)).flatten();
        (found.map(<[u8]>::to_ascii_lowercase), By::Http1)
    };
    let Some(protocol) = found.and_then(|name| HeaderValue::from_bytes(&name).ok()) else { return Ok(None) };
    if !request.body().is_end_stream() {
        return Err(Refusal::Ambiguous("A request to switch protocols has no content"));
    }
    match by {
        By::Http1 if request.method() != Method::GET => return Ok(None),
        By::Http1 => {}
        By::Http2 => *request.method_mut() = Method::GET,
    }
    Ok(Some(Upgrade { protocol, on: OnSwitch::of(request), by }))
}

/// The protocol that an extended `CONNECT` names.
fn offered(content: &Received) -> Option<&[u8]> {
    match content {
        Received::Offer(Some(offer)) => offer.protocol().map(str::as_bytes),
        Received::Offer(None) | Received::Http1(_) | Received::Http2(_) => None,
    }
}

impl Offer {
    /// Puts the fields back that concern this connection only.
    pub(super) fn put_in(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.upgrade.protocol.clone());
        if let Some((key, _)) = &self.key {
            headers.insert(SEC_WEBSOCKET_KEY, key.clone());
        }
    }

    /// Makes it to the instance; where that agrees, the connection is the client's and the instance's from then on.
    pub(super) async fn make(
        self,
        way: &Way<'_>,
        request: Outbound,
        asker: Asker<'_>,
        note: &mut Note,
    ) -> Result<Answer, Stop> {
        let Self { upgrade, key } = self;
        let started = Instant::now();
        let said = note.unless_cut(pin!(way.upstream.switch(request))).await?;
        note.edit(|record| record.upstream = Some(started.elapsed()));
        match said.map_err(|error| blame(&error, way.upstream))? {
            Switched::No(answer) => upgrade.not_switched(way, answer.map(Body::Upstream), asker, note).await,
            Switched::Yes(head, tunnel)
                if upgrade.is_meant(head.headers(), key.as_ref().map(|(_, accept)| accept)) =>
            {
                upgrade.switched(head, tunnel, asker, note)
            }
            Switched::Yes(..) => {
                let upstream = &way.upstream.settings().authority;
                tracing::warn!(%upstream, "the instance switched to a protocol that was not asked for");
                Err(Stop::Refused(Refusal::UpstreamUnavailable))
            }
        }
    }
}

/// Whose exchange it is.
pub(super) struct Asker<'a> {
    pub(super) identity: Option<Identity>,
    pub(super) line: &'a Line,
    pub(super) metrics: &'a Metrics,
}

impl Upgrade {
    /// Refuses what was asked for in a way that has no other answer.
    pub(super) fn may_be_ignored(&self) -> Result<(), Refusal> {
        match self.by {
            By::Http1 => Ok(()),
            By::Http2 => Err(Refusal::MethodNotAllowed),
        }
    }

    /// What the instance is to be asked.
    pub(super) fn offer(self) -> Offer {
        let key = match self.by {
            By::Http2 if self.protocol == WEBSOCKET => key(),
            By::Http1 | By::Http2 => None,
        };
        Offer { upgrade: self, key }
    }

    /// Whether the instance has switched to what it was asked for.
    fn is_meant(&self, headers: &HeaderMap, expected: Option<&HeaderValue>) -> bool {
        let mut named = elements(headers, UPGRADE);
        let is_named = named.next().is_some_and(|token| token.eq_ignore_ascii_case(self.protocol.as_bytes()));
        let accepts = expected.is_none_or(|accept| headers.get(SEC_WEBSOCKET_ACCEPT) == Some(accept));
        is_named && named.next().is_none() && accepts
    }

    /// The answer goes on as it is. Over HTTP/2 a success would mean that the protocol has been switched.
    async fn not_switched(
        &self,
        way: &Way<'_>,
        answer: Answer,
        asker: Asker<'_>,
        note: &mut Note,
    ) -> Result<Answer, Stop> {
        match self.by {
            By::Http2 if answer.status().is_success() => {
                return Err(Stop::Refused(Refusal::UpstreamUnavailable));
            }
            By::Http1 | By::Http2 => {}
        }
        let answer = match asker.identity {
            Some(identity) if answer.status() == StatusCode::UNAUTHORIZED => {
                let looked = note.unless_cut(pin!(mirror::refused(way.instance, &identity, answer))).await?;
                looked.map_err(|_| Stop::BrokenOff)?
            }
            Some(_) | None => answer,
        };
        Ok(cleaned(answer))
    }

    fn switched(
        self,
        head: Response<()>,
        tunnel: Tunnel,
        asker: Asker<'_>,
        note: &mut Note,
    ) -> Result<Answer, Stop> {
        let mut answer = cleaned(head.map(|()| Body::empty()));
        let headers = answer.headers_mut();
        headers.remove(CONTENT_LENGTH);
        match self.by {
            By::Http1 => {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, self.protocol);
            }
            By::Http2 => {
                headers.remove(SEC_WEBSOCKET_ACCEPT);
                *answer.status_mut() = StatusCode::OK;
            }
        }
        note.answer()?;
        note.edit(|record| record.status = Some(answer.status().as_u16()));
        let joint = Joint {
            line: asker.line.clone(),
            passed: Rc::default(),
            _open: Open::new(&asker.metrics.upgrades_open),
        };
        let note = note.hand_over(&joint.passed);
        tokio::task::spawn_local(joint.hold(self.on, tunnel, note));
        Ok(answer)
    }
}

/// Two ends that are joined.
struct Joint {
    line: Line,
    passed: Rc<Passed>,
    _open: Open,
}

impl Joint {
    /// Until both have said their last, or one breaks off.
    async fn hold(self, client: OnSwitch, tunnel: Tunnel, mut note: Note) {
        // The client has left before it was answered.
        let Some(client) = client.end().await else { return };
        match tunnel.join(client, &self.line, &self.passed).await {
            Ok(()) => note.edit(|record| record.complete = true),
            Err(error) => {
                tracing::debug!(%error, "a switched connection broke off");
                // What has broken off must not look as if it had ended.
                self.line.cut();
            }
        }
    }
}

/// Counts as open until it is dropped.
struct Open(IntGauge);

impl Open {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A key, and the server's answer to it.
fn key() -> Option<(HeaderValue, HeaderValue)> {
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let accept = accept_of(&key)?;
    Some((HeaderValue::try_from(key).ok()?, accept))
}

/// The server's answer to a key (RFC 6455 §4.2.2).
fn accept_of(key: &str) -> Option<HeaderValue> {
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{WEBSOCKET_GUID}").as_bytes());
    HeaderValue::try_from(STANDARD.encode(sum)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_rfc_shows() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ==").expect("a value"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
