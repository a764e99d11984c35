//! A small OpenBin in memory, for `openbin-gateway demo` and as the tests' double of OpenBin.
//!
//! It honours what a gateway can see of OpenBin: the order of its checks, its credential precedence with
//! all its leniencies, its routing, its cookies and CSRF rule, its error bodies and response fields. It is an
//! independent reference and shares no code with the gateway's own checks.
//!
//! It deliberately has no rate limits, no compression, no multipart parser, no locations and no cache
//! of account states, keeps nothing on disk, and has no business on the open internet.

mod account;
mod answer;
mod api_keys;
mod body;
mod cookie;
mod credential;
mod hooks;
mod inventory;
mod jwt;
mod options;
mod payload;
mod record;
mod refresh;
mod route;
mod serve;
mod state;

pub use body::{Counts, EventPlan, SampleBody, photo_sha256};
pub use options::{SampleOptions, SampleUser};
pub use record::Recorded;
pub use state::{KeyLookup, NewKey, Role, Standing};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http_body::Body;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request;
use hyper::{Method, Request, Response, Version};
use serde_json::{Map, Value};

use crate::http::{Abort, Handler, Line, Peer, Received, Refusal};
use answer::{Answer, Dress, Fault, bytes, preflight};
use body::Tally;
use cookie::Jar;
use credential::{Caller, Credential, Csrf};
use jwt::Signer;
use payload::Parser;
use record::{Ring, Ticket};
use route::{Place, Protected, Public};
use state::State;

/// The sample; clones are the same one.
#[derive(Clone)]
pub struct Sample(Arc<World>);

/// All of the sample, shared by its clones.
struct World {
    secret: String,
    share_token: String,
    signer: Signer,
    jar: Jar,
    dress: Dress,
    event_plan: EventPlan,
    photo_bytes: u64,
    max_photo_bytes: u64,
    streams: Arc<Tally>,
    downloads: Arc<Tally>,
    uploads: Arc<Tally>,
    state: Mutex<State>,
    ring: Mutex<Ring>,
}

/// A request after its content was parsed.
struct Call {
    headers: HeaderMap,
    body: Value,
    now: SystemTime,
}

impl Sample {
    /// Answers one request, with or without a socket below it.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<SampleBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let ticket = self.0.ring().note(&request);
        let (parts, body) = request.into_parts();
        let answer = self.0.respond(&parts, body, ticket).await.unwrap_or_else(Answer::from);
        self.0.dress.put_on(answer, &parts.method, &parts.headers)
    }
}

impl Handler for Sample {
    type Body = SampleBody;

    async fn handle(
        &self,
        request: &mut Option<Request<Received>>,
        _peer: &Peer,
        _line: Line,
    ) -> Result<Response<SampleBody>, Abort> {
        Ok(self.answer(request.take().ok_or(Abort)?).await)
    }

    fn refuse(&self, refusal: Refusal, _: Version, _: &Peer) -> Response<SampleBody> {
        let mut response = Response::new(SampleBody::bytes(Bytes::new()));
        *response.status_mut() = refusal.status();
        response
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In OpenBin's order: CORS, content, CSRF, health, everything else.
    async fn respond<B>(&self, parts: &request::Parts, mut body: B, ticket: Ticket) -> Result<Answer, Fault>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if parts.method == Method::OPTIONS {
            return Ok(preflight(&parts.headers));
        }
        let call = Call {
            headers: parts.headers.clone(),
            body: self.parse(&parts.headers, &mut body, ticket).await?,
            now: SystemTime::now(),
        };
        let csrf = Csrf::of(&parts.method, parts.uri.path(), &parts.headers);
        let mut answer = match csrf {
            Csrf::Refused => Fault::Csrf.into(),
            Csrf::Passes | Csrf::Issue => {
                self.dispatch(parts, &call, body, ticket).await.unwrap_or_else(Answer::from)
            }
        };
        if csrf == Csrf::Issue {
            let token = self.jar.csrf(&state::random_hex::<32>(), call.now);
            answer.headers_mut().append(SET_COOKIE, token);
        }
        Ok(answer)
    }

    async fn parse<B>(&self, headers: &HeaderMap, body: &mut B, ticket: Ticket) -> Result<Value, Fault>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(parser) = Parser::of(headers) else { return Ok(Value::Object(Map::new())) };
        let content = parser.read(body).await.ok_or(Fault::Internal)?;
        self.ring().body_read(ticket, content.length, content.trailers.as_ref());
        parser.parse(&content.bytes)
    }

    async fn dispatch<B>(
        &self,
        parts: &request::Parts,
        call: &Call,
        mut body: B,
        ticket: Ticket,
    ) -> Result<Answer, Fault>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let place = match route::place(&parts.method, parts.uri.path()) {
            Place::Health => return Ok(bytes(200, JSON, r#"{"status":"ok"}"#)),
            Place::Static => return Ok(page(&parts.method)),
            Place::Public(place) => {
                self.admit(parts.uri.path(), call)?;
                return self.public(&place, call);
            }
            Place::Protected(place) => place,
        };
        let credential = self.admit(parts.uri.path(), call)?;
        let caller = credential::authenticate(&credential, &mut self.state(), &self.signer, call.now)?;
        if let Protected::NewPhoto(id) = &place {
            self.expect_photo(&self.state(), id, &call.headers)?;
            let received = self.receive_photo(&mut body).await;
            let (answer, content) = received.ok_or(Fault::Internal)?;
            self.ring().body_read(ticket, content.length, content.trailers.as_ref());
            return Ok(answer);
        }
        self.protected(&place, &caller, call, &parts.method)
    }

    /// The soft look at the credential and the maintenance gate, which see every `/api` request but health.
    fn admit(&self, path: &str, call: &Call) -> Result<Credential, Fault> {
        let credential = Credential::of(&call.headers);
        if credential == Credential::Unusable {
            return Err(Fault::Internal);
        }
        // In this one place OpenBin counts case.
        let exempt = path.starts_with("/api/admin") || path.starts_with("/api/auth/");
        let state = self.state();
        match &state.maintenance {
            Some(text)
                if !exempt
                    && !credential::passes_maintenance(&credential, &state, &self.signer, call.now) =>
            {
                Err(Fault::Maintenance(text.clone()))
            }
            Some(_) | None => Ok(credential),
        }
    }

    fn public(&self, place: &Public, call: &Call) -> Result<Answer, Fault> {
        let state = &mut *self.state();
        match place {
            Public::Status => Ok(account::status()),
            Public::Register => self.register(call, state),
            Public::Login => self.login(call, state),
            Public::Refresh => self.refresh(call, state),
            Public::Logout => Ok(account::logout(call, state)),
            Public::Shared(token) => self.shared_bin(state, token),
            Public::OAuth(refusal) => Err(Fault::Invalid(refusal)),
            Public::OAuthCallback => Ok(account::oauth_callback()),
        }
    }

    fn protected(
        &self,
        place: &Protected,
        caller: &Caller,
        call: &Call,
        method: &Method,
    ) -> Result<Answer, Fault> {
        let state = &mut *self.state();
        match place {
            Protected::Me => account::me(caller, state),
            Protected::LogoutAll => Ok(account::logout_all(caller, state)),
            Protected::Bins => Ok(inventory::bins(state)),
            Protected::NewBin => inventory::new_bin(state, call),
            Protected::Bin(id) => inventory::bin(state, id),
            Protected::Photo(id) => self.photo(id),
            Protected::Keys => Ok(api_keys::list(caller, state)),
            Protected::NewKey => api_keys::create(caller, state, call),
            Protected::RevokeKey(id) => api_keys::revoke(caller, state, call, id),
            Protected::Ask => Ok(self.ask()),
            Protected::SeenHeaders => Ok(inventory::seen_headers(caller, state, call)),
            Protected::Admin(action) => account::administrate(action, caller, state, call),
            Protected::BareApi => Ok(page(method)),
            // A new photo is taken where its content is, in `dispatch`.
            Protected::NewPhoto(_) | Protected::Unknown => Err(Fault::NotFound("Endpoint not found")),
        }
    }
}

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Whatever is asked for outside `/api`, it is the one page.
fn page(method: &Method) -> Answer {
    if method != Method::GET && method != Method::HEAD {
        return bytes(404, HTML, "<!DOCTYPE html><title>Error</title><pre>Not found</pre>");
    }
    let mut answer = bytes(200, HTML, include_str!("index.html"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    answer
}

#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod tests;
