//! The inventory itself: bins, photos, a shared bin, and an assistant that answers word by word.
//!
//! An uploaded photo is counted and hashed as it streams and then forgotten.

use http_body::Body;
use http_body_util::BodyExt;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::answer::{Answer, Fault, json, streamed};
use super::body::{SampleBody, Watch, hex};
use super::credential::Caller;
use super::payload::Content;
use super::route::Param;
use super::state::{Bin, State, timestamp, uuid};
use super::{Call, World};

/// What a multipart envelope may add to the largest photo.
const ENVELOPE_BYTES: u64 = 1024;

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    notes: &'a str,
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a Bin> for Row<'a> {
    fn from(bin: &'a Bin) -> Self {
        let at = timestamp(bin.created_at);
        Self { id: &bin.id, name: &bin.name, notes: &bin.notes, created_at: at.clone(), updated_at: at }
    }
}

/// `GET /api/bins`.
pub(super) fn bins(state: &State) -> Answer {
    #[derive(Serialize)]
    struct List<'a> {
        results: Vec<Row<'a>>,
        count: usize,
    }
    let results: Vec<Row<'_>> = state.bins.iter().map(Row::from).collect();
    json(200, &List { count: results.len(), results })
}

/// `GET /api/bins/:id`.
pub(super) fn bin(state: &State, id: &Param) -> Result<Answer, Fault> {
    Ok(json(200, &Row::from(find(state, id)?)))
}

/// `POST /api/bins`.
pub(super) fn new_bin(state: &mut State, call: &Call) -> Result<Answer, Fault> {
    let name = call.body.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if name.is_empty() {
        return Err(Fault::Invalid("Bin name is required"));
    }
    let notes = call.body.get("notes").and_then(Value::as_str).unwrap_or_default();
    let bin = Bin { id: uuid(), name: name.to_owned(), notes: notes.to_owned(), created_at: call.now };
    let answer = json(201, &Row::from(&bin));
    state.bins.push(bin);
    Ok(answer)
}

fn find<'a>(state: &'a State, id: &Param) -> Result<&'a Bin, Fault> {
    let id = id.text()?;
    state.bins.iter().find(|bin| bin.id == id).ok_or(Fault::NotFound("Bin not found"))
}

impl World {
    /// `GET /api/shared/:token`: the first bin, for everybody who has its link.
    pub(super) fn shared_bin(&self, state: &State, token: &Param) -> Result<Answer, Fault> {
        const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
        let right = token.text()? == self.share_token;
        let bin = state.bins.first().filter(|_| right);
        let bin = bin.ok_or(Fault::NotFound("This link is no longer available"))?;
        let mut answer = json(200, &Row::from(bin));
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(ROBOTS, HeaderValue::from_static("noindex"));
        Ok(answer)
    }

    /// `GET /api/photos/:id/file`: streamed, without a length, whatever range is asked for.
    pub(super) fn photo(&self, id: &Param) -> Result<Answer, Fault> {
        id.text()?;
        let mut answer = streamed("image/jpeg", SampleBody::photo(self.photo_bytes, &self.downloads));
        let forever = HeaderValue::from_static("private, max-age=31536000, immutable");
        answer.headers_mut().insert(CACHE_CONTROL, forever);
        Ok(answer)
    }

    /// `POST /api/ai/ask/stream`: events, and silence between them.
    pub(super) fn ask(&self) -> Answer {
        const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");
        let mut answer = streamed("text/event-stream", SampleBody::events(self.event_plan, &self.streams));
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
        answer
    }

    /// `POST /api/bins/:id/photos`, before the content is read: the bin must exist, and a length that is
    /// told must be small enough.
    pub(super) fn expect_photo(&self, state: &State, id: &Param, headers: &HeaderMap) -> Result<(), Fault> {
        let told: Option<u64> =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if told.is_some_and(|told| told > self.max_photo_bytes + ENVELOPE_BYTES) {
            return Err(Fault::TooLarge);
        }
        find(state, id).map(|_| ())
    }

    /// Counts and hashes an upload as it streams. `None` where the client broke off.
    pub(super) async fn receive_photo<B>(&self, body: &mut B) -> Option<(Answer, Content)>
    where
        B: Body<Data = bytes::Bytes> + Unpin,
    {
        #[derive(Serialize)]
        struct Stored {
            id: String,
            size: u64,
            sha256: String,
        }
        let mut watch = Watch::new(&self.uploads);
        let mut hash = Sha256::new();
        let mut content = Content::default();
        while let Some(frame) = body.frame().await {
            match frame.ok()?.into_data() {
                Ok(data) => {
                    content.length += data.len() as u64;
                    hash.update(&data);
                }
                Err(frame) => content.trailers = frame.into_trailers().ok(),
            }
            if content.length > self.max_photo_bytes + ENVELOPE_BYTES {
                return Some((Fault::Invalid("File is too large").into(), content));
            }
        }
        watch.finished = true;
        let sha256 = hex(&hash.finalize());
        Some((json(201, &Stored { id: uuid(), size: content.length, sha256 }), content))
    }
}

/// `GET /api/sample/headers`, the sample's own: which identity the sample itself found, and which
/// identity and forwarding fields reached it.
pub(super) fn seen_headers(caller: &Caller, state: &State, call: &Call) -> Answer {
    const FIELDS: [&str; 5] = ["x-auth-", "x-forwarded-", "x-request-id", "traceparent", "forwarded"];
    #[derive(Serialize)]
    struct Seen<'a> {
        user_id: &'a str,
        email: Option<&'a str>,
        authenticated_by: &'a str,
        headers: Map<String, Value>,
    }
    let shown = |name: &str| FIELDS.iter().any(|field| name.starts_with(field));
    let headers = call
        .headers
        .iter()
        .filter(|(name, _)| shown(name.as_str()))
        .map(|(name, value)| (name.to_string(), Value::String(super::record::latin1(value.as_bytes()))));
    let seen = Seen {
        user_id: &caller.user_id,
        email: state.user(&caller.user_id).map(|user| user.email.as_str()),
        authenticated_by: caller.method,
        headers: headers.collect(),
    };
    json(200, &seen)
}
