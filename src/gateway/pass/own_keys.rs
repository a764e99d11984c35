//! `/api/api-keys` of an instance whose keys the gateway issues, answered here.
//!
//! In OpenBin's order: content, CSRF token, credential. Then the instance is asked for its own list with the
//! same credential, since only it knows whether the account is suspended, the session revoked, the plan
//! without keys or the door closed for maintenance. Where it refuses, the client is told so in its words.
//! Without that question, a session that was revoked could make itself a key that lasts.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};

use super::{Arrival, Asked, Gateway};
use crate::api::api_keys::{Content, Counter, MAX_JSON_BYTES, Owner, Wearing, Wish};
use crate::auth::Identity;
use crate::gateway::csrf;
use crate::gateway::denial::Stop;
use crate::gateway::forward::{Answer, Way, actor, cleaned, send};
use crate::gateway::plan::Instance;
use crate::gateway::recorded::Note;
use crate::gateway::route::Route;
use crate::gateway::stamp::Stamp;
use crate::gateway::stand_in::Acts;
use crate::http::{Received, Refusal, RequestBody};
use crate::keys::Issuer;
use crate::upstream::Outbound;

/// As much content is read of a request whose credential is not good: enough for every honest one.
const MOST_OF_A_STRANGER: usize = 16 << 10;
/// The instance's own list has ten keys at most.
const LONGEST_LIST: usize = 256 << 10;
/// What describes the client's content, or what it has already: a question has and knows nothing.
const OF_CONTENT: [HeaderName; 10] = [
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// A request for what the gateway grants itself.
pub(super) struct Visit {
    pub(super) wish: Wish,
    pub(super) route: Route,
    pub(super) target: PathAndQuery,
    pub(super) authority: Option<HeaderValue>,
    pub(super) max_body_bytes: u64,
    /// For the content to come; `None`: any time.
    pub(super) patience: Option<Duration>,
}

/// Whether the instance lets someone in.
enum Said {
    /// It does, and answers in these fields.
    Welcome(HeaderMap),
    /// It does not.
    Refused(Answer),
}

/// What is wished for on this route, where the gateway is to grant it.
pub(super) fn wish(route: &Route, instance: &Instance) -> Option<Wish> {
    match instance.key_issuer {
        Issuer::Openbin => return None,
        Issuer::Gateway => {}
    }
    match route {
        Route::ListKeys => Some(Wish::List),
        Route::CreateKey => Some(Wish::Create),
        Route::RevokeKey(id) => Some(Wish::Revoke(id.clone())),
        Route::Open
        | Route::Protected
        | Route::RevokeAllKeys(_)
        | Route::DeleteUser(_)
        | Route::DeleteAccount
        | Route::SignOut => None,
    }
}

impl Gateway {
    /// Answers in the instance's place.
    pub(super) async fn grant(
        &self,
        way: &Way<'_>,
        mut request: Request<Received>,
        visit: Visit,
        (arrival, note): (&Arrival, &mut Note),
    ) -> Result<Answer, Stop> {
        let asked =
            Asked { request: &request, path: visit.target.path(), route: &visit.route, switches: false };
        let identity = self.identify(way, asked, arrival, note).await;
        let most = if identity.is_ok() { MAX_JSON_BYTES } else { MOST_OF_A_STRANGER };
        let reading = read(request.body_mut(), most, visit.max_body_bytes, note);
        let bytes = in_time(visit.patience, reading).await?;
        let is_read = identity.is_ok() || bytes.len() <= most;
        let content = is_read.then(|| Content::read(request.headers(), &bytes)).transpose()?;
        csrf::check(request.method(), request.headers())?;
        let (Some(identity), Some(content)) = (identity?, content) else {
            return Err(Refusal::NoToken.into());
        };
        self.note_use(Some(&identity), arrival, note);
        arrival.standing.within_key_limit(way.limits, &identity, note).await?;
        let question = self.question(way, request.headers(), &identity, (visit.authority, arrival))?;
        let fields = match ask(way, question, note).await? {
            Said::Welcome(fields) => fields,
            Said::Refused(answer) => return Ok(answer),
        };
        // What is granted now is told, also where it ends this very credential.
        note.exempt()?;
        let (keyring, instance) = (&*way.instance.keyring, &way.instance.name);
        let actor = actor(&identity, arrival.origin.address);
        let owner = Owner { identity: &identity, actor: &actor };
        let granted =
            Counter { keyring, usage: &self.usage, instance }.grant(visit.wish, content, owner).await?;
        Ok(granted.dressed(fields, Wearing { method: request.method(), request: request.headers() }))
    }

    /// The instance's own list, asked for as the client would.
    fn question(
        &self,
        way: &Way<'_>,
        client: &HeaderMap,
        identity: &Identity,
        (authority, arrival): (Option<HeaderValue>, &Arrival),
    ) -> Result<Outbound, Refusal> {
        let mut question = Request::new(RequestBody::own(Bytes::new()));
        *question.uri_mut() = Uri::from_static("/api/api-keys");
        *question.headers_mut() = client.clone();
        for name in OF_CONTENT {
            question.headers_mut().remove(name);
        }
        let stamp = Stamp::new(Some(identity), arrival.origin.scheme, authority, arrival.trace);
        self.outbound(way, (question, stamp), None, (Acts::AsOwner, arrival.at))
    }
}

async fn ask(way: &Way<'_>, question: Outbound, note: &mut Note) -> Result<Said, Stop> {
    let started = Instant::now();
    let said = note.unless_cut(pin!(send(way.upstream, &mut Some(question)))).await.flatten();
    note.edit(|record| record.upstream = Some(started.elapsed()));
    let answer = cleaned(said?);
    if answer.status() != StatusCode::OK {
        return Ok(Said::Refused(answer));
    }
    let (head, list) = answer.into_parts();
    // Only its head is wanted, and the connection, which is kept where the rest was read.
    let _ = Limited::new(list, LONGEST_LIST).collect().await;
    Ok(Said::Welcome(head.headers))
}

/// Such content is short: it all comes in the time that other content may fall behind.
async fn in_time<T>(
    patience: Option<Duration>,
    reading: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    let Some(patience) = patience else { return reading.await };
    let read = tokio::time::timeout(patience, reading).await;
    read.unwrap_or(Err(Stop::Refused(Refusal::ContentTooSlow)))
}

/// Reads content to its end, and keeps one byte more of it than `most` where it is longer.
async fn read(body: &mut Received, most: usize, max_bytes: u64, note: &mut Note) -> Result<Vec<u8>, Stop> {
    if body.size_hint().lower() > max_bytes {
        return Err(Refusal::ContentTooLarge.into());
    }
    let (mut kept, mut received) = (Vec::new(), 0_u64);
    while let Some(frame) = note.unless_cut(pin!(body.frame())).await? {
        let Ok(frame) = frame else { return Err(Stop::BrokenOff) };
        let Some(data) = frame.data_ref() else { continue };
        received += data.len() as u64;
        note.edit(|record| record.request_bytes = received);
        if received > max_bytes {
            return Err(Refusal::ContentTooLarge.into());
        }
        let room = (most + 1).saturating_sub(kept.len()).min(data.len());
        kept.extend(data.iter().take(room));
    }
    Ok(kept)
}
