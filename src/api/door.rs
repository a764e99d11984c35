//! The way to the admin API: who has the token may go through, and who has not is written down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use zeroize::Zeroizing;

use super::admin::refused;
use super::rest::{Caller, Rest};
use super::token::AdminToken;
use crate::http::{Body, Peer, Refusal};

/// The way to the admin API.
#[derive(Debug)]
pub struct Door {
    /// What callers must send; `None`: nobody can.
    token: Option<AdminToken>,
    rest: ArcSwap<Rest>,
    refused: Refused,
}

/// Callers that were turned away since the last one was written down.
#[derive(Debug, Default)]
struct Refused {
    count: AtomicU64,
    written: Mutex<Option<Instant>>,
}

/// Anyone who reaches the listener can be turned away as often as they like; so often it is written down.
const WRITTEN_EVERY: Duration = Duration::from_secs(10);
const MAX_CONTENT_BYTES: usize = 4 << 20;
const LONGEST_NAME: usize = 64;

impl Door {
    /// Opens to this token only.
    #[must_use]
    pub fn new(token: Option<&Zeroizing<String>>, rest: Rest) -> Self {
        let token = token.map(|text| AdminToken::new(text));
        Self { token, rest: ArcSwap::from_pointee(rest), refused: Refused::default() }
    }

    /// Answers for other instances from now on, as after a reload.
    pub fn replace(&self, rest: Rest) {
        self.rest.store(Arc::new(rest));
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body<Incoming>> {
        let Some(token) = &self.token else { return refused(Refusal::AdminClosed) };
        let address = Some(peer.address.ip().to_canonical());
        let rest = self.rest.load_full();
        if !token.is_sent_in(request.headers()) {
            if let Some(count) = self.refused.another() {
                rest.note_refused(address, count).await;
            }
            return refused(Refusal::AdminUnauthorized);
        }
        let caller = Caller { name: named(request.headers()), address };
        let (head, body) = request.into_parts();
        let content = match Limited::new(body, MAX_CONTENT_BYTES).collect().await {
            Ok(content) => content.to_bytes(),
            Err(_) => return refused(Refusal::ContentTooLarge),
        };
        rest.answer(&Request::from_parts(head, content), &caller).await.map(Body::Own)
    }
}

impl Refused {
    /// How many there were, where it is time to write that down.
    fn another(&self) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some_and(|written| written.elapsed() < WRITTEN_EVERY) {
            return None;
        }
        *written = Some(Instant::now());
        Some(self.count.swap(0, Ordering::Relaxed))
    }
}

/// What a caller calls themselves.
fn named(headers: &HeaderMap) -> Option<String> {
    let name = headers.get("x-operator")?.to_str().ok()?;
    (!name.is_empty()).then(|| name.chars().take(LONGEST_NAME).collect())
}
