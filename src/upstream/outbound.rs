//! A request that is ready to be sent to an instance: its head is written out.

use hyper::header::HeaderMap;
use hyper::{Method, Request};

use super::fields::Fields;
use super::outgoing::Outgoing;
use crate::http::{Line, Progress, RequestBody};

/// A request that is ready to be sent to an instance.
pub struct Outbound {
    pub(super) outgoing: Outgoing,
    /// The map that its fields were in, for those of its answer.
    pub(super) fields: HeaderMap,
    pub(super) asks_head: bool,
    pub(super) progress: Progress,
    /// Where its client is told what comes before the answer.
    pub(super) line: Option<Line>,
}

/// What is in it is the client's affair.
impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("outgoing", &self.outgoing).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Writes out the head of a request in origin form, with the fields that `say` adds to its own. None of these may
    /// be among its own, or frame content.
    pub fn new(mut request: Request<RequestBody>, say: impl FnOnce(&mut Fields)) -> Self {
        let (progress, line) = (request.body().progress(), request.body_mut().take_line());
        let asks_head = request.method() == Method::HEAD;
        let (outgoing, fields) = Outgoing::new(request, say);
        Self { outgoing, fields, asks_head, progress, line }
    }
}
