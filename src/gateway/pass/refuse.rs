//! What is answered here instead of being forwarded.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Response, Version};

use super::super::forward::Answer;
use super::super::recorded::{Note, Recorded};
use super::{Gateway, View};
use crate::http::header::X_REQUEST_ID;
use crate::http::{Body, Peer, Refusal, reply};
use crate::observe::{Credential, Outcome, Record};
use crate::upstream::Exchange;

/// Answers here. Where the request could not be understood in one way, no other follows on its connection.
pub(super) fn refuse(refusal: Refusal, version: Version, view: &View, note: &Note) -> Answer {
    let instance = note.instance();
    let chosen = view.plan.instances().iter().find(|one| Some(&one.name) == instance);
    let mut response = reply(refusal, chosen.and_then(|one| one.cors.as_ref()));
    let closes =
        matches!(refusal, Refusal::Ambiguous(_) | Refusal::MethodNotAllowed | Refusal::ContentTooSlow);
    if closes && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Gateway {
    /// Answers and notes what could not be read as a request: who sent it, and what was answered, is all that is
    /// known of it.
    pub(super) fn refuse_unreadable(
        &self,
        refusal: Refusal,
        version: Version,
        peer: &Peer,
    ) -> Response<Recorded<Body<Exchange>>> {
        let id = self.ids.next();
        let mut response = reply(refusal, None);
        let client = peer.ip();
        response.headers_mut().insert(X_REQUEST_ID, id.value());
        let record = Record {
            started: Instant::now(),
            request_id: id.0,
            client,
            instance: None,
            version,
            method: Method::from_bytes(b"-").unwrap_or_default(),
            target: None,
            user_agent: None,
            credential: Credential::None,
            outcome: Outcome::Unreadable,
            user_id: None,
            key_id: None,
            status: Some(response.status().as_u16()),
            upstream: None,
            request_bytes: 0,
            response_bytes: 0,
            complete: false,
            cut: None,
        };
        let note = Note::new(record, Arc::clone(&self.metrics), Rc::clone(&self.observer));
        response.map(|body| Recorded::new(body, note))
    }
}
