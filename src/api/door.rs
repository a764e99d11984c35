//! The way to the admin API: who has the token may go through, and who has not is written down.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Request, Response};
use zeroize::Zeroizing;

use super::admin::refused;
use super::rest::{Caller, Rest};
use super::token::AdminToken;
use crate::http::{Body, Peer, Received, Refusal};

/// The way to the admin API.
#[derive(Debug)]
pub struct Door {
    /// What callers must send; `None`: nobody can.
    token: Option<AdminToken>,
    rest: ArcSwap<Rest>,
    refused: Arc<Refused>,
}

/// Callers that were turned away, as far as that is not written down yet.
#[derive(Debug, Default)]
struct Refused(Mutex<Stretch>);

/// A stretch of time in which callers were turned away.
#[derive(Debug, Default)]
struct Stretch {
    /// Whether one is under way.
    runs: bool,
    /// How many are written down one by one.
    singly: u64,
    /// How many are to be written down together, at its end.
    more: u64,
    /// From where the last one came.
    from: Option<IpAddr>,
}

/// What is to be written down of a caller who was turned away.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    /// This one, at once; otherwise with others, later.
    now: bool,
    /// With this one a stretch begins, at whose end it is to be seen what is left.
    begins: bool,
}

/// Anyone who reaches the listener can be turned away as often as they like: beyond so many, in each stretch of that
/// length, they share one entry.
const MOST_SINGLY: u64 = 10;
const STRETCH: Duration = Duration::from_secs(10);
const MAX_CONTENT_BYTES: usize = 4 << 20;
const LONGEST_NAME: usize = 64;

impl Door {
    /// Opens to this token only.
    #[must_use]
    pub fn new(token: Option<&Zeroizing<String>>, rest: Rest) -> Self {
        let token = token.map(|text| AdminToken::new(text));
        Self { token, rest: ArcSwap::from_pointee(rest), refused: Arc::default() }
    }

    /// Answers for other instances from now on, as after a reload.
    pub fn replace(&self, rest: Rest) {
        self.rest.store(Arc::new(rest));
    }

    pub(super) async fn answer(&self, request: Request<Received>, peer: &Peer) -> Response<Body<Incoming>> {
        let Some(token) = &self.token else { return refused(Refusal::AdminClosed) };
        let address = Some(peer.address.ip().to_canonical());
        let rest = self.rest.load_full();
        if !token.is_sent_in(request.headers()) {
            self.note_refused(rest, address, request.headers().contains_key(AUTHORIZATION)).await;
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

    async fn note_refused(&self, rest: Arc<Rest>, address: Option<IpAddr>, tried: bool) {
        let Due { now, begins } = self.refused.another(address);
        if now {
            let detail = if tried { "a wrong token" } else { "no token" };
            rest.note_refused(address, detail.to_owned()).await;
        }
        if begins {
            let refused = Arc::clone(&self.refused);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(STRETCH).await;
                    let Some((more, from)) = refused.end() else { return };
                    rest.note_refused(from, format!("{more} more without the token")).await;
                }
            });
        }
    }
}

impl Refused {
    fn another(&self, from: Option<IpAddr>) -> Due {
        let mut stretch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = !std::mem::replace(&mut stretch.runs, true);
        let now = stretch.singly < MOST_SINGLY;
        if now {
            stretch.singly += 1;
        } else {
            stretch.more += 1;
            stretch.from = from;
        }
        Due { now, begins }
    }

    /// How many are to be written down together, and from where the last of them came; the next stretch begins.
    /// `None`: there were none, and nothing runs any more.
    fn end(&self) -> Option<(u64, Option<IpAddr>)> {
        let mut stretch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::take(&mut *stretch);
        stretch.runs = ended.more > 0;
        stretch.runs.then_some((ended.more, ended.from))
    }
}

/// What a caller calls themselves.
fn named(headers: &HeaderMap) -> Option<String> {
    let name = headers.get("x-operator")?.to_str().ok()?;
    (!name.is_empty()).then(|| name.chars().take(LONGEST_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_is_turned_away_is_written_down_but_a_flood_in_one_entry() {
        let refused = Refused::default();
        let [here, there] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|bytes| Some(IpAddr::from(bytes)));
        assert_eq!(refused.another(here), Due { now: true, begins: true });
        for _ in 1..MOST_SINGLY {
            assert_eq!(refused.another(here), Due { now: true, begins: false });
        }
        for _ in 0..3 {
            assert_eq!(refused.another(there), Due { now: false, begins: false });
        }
        assert_eq!(refused.end(), Some((3, there)), "and the next stretch runs");
        assert_eq!(refused.another(here), Due { now: true, begins: false });
        assert_eq!(refused.end(), None);
        assert_eq!(refused.another(here), Due { now: true, begins: true });
    }
}
