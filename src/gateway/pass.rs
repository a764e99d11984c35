//! One worker's gateway, and the walk of one request through it.

mod onward;
mod own_keys;
mod refuse;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use hyper::header::{CONTENT_LENGTH, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Version};

use self::onward::limited;
use self::refuse::refuse;
use super::denial::{Stop, told};
use super::forward::{Answer, Asker, Way, forward};
use super::limits::{Standing, Words};
use super::live::LiveExchanges;
use super::origin::Origin;
use super::plan::Plan;
use super::recorded::{Note, Recorded};
use super::request_id::{RequestIds, Trace};
use super::route::{Route, classify, is_endpoint};
use super::stamp::Stamp;
use super::stand_in::Acts;
use super::{adopt, authority, credential, csrf, target, upgrade};
use crate::auth::{self, Denied, Identity, look_again};
use crate::http::header::X_REQUEST_ID;
use crate::http::{Abort, Body, Handler, Line, Peer, Received, Refusal};
use crate::keys::{AddressFamily, Attempt, Epoch, Token, UsageShard};
use crate::observe::{Credential, Metrics, Outcome, Record, WorkerObserver};
use crate::upstream::{Exchange, Upstream};

/// One worker's gateway.
pub struct Gateway {
    plan: Arc<ArcSwap<Plan>>,
    view: RefCell<Rc<View>>,
    ids: RequestIds,
    usage: UsageShard,
    words: Words,
    metrics: Arc<Metrics>,
    observer: Rc<WorkerObserver>,
}

/// A plan with this worker's own connections to its instances.
struct View {
    plan: Arc<Plan>,
    upstreams: Vec<Rc<Upstream>>,
    live: Vec<Rc<LiveExchanges>>,
}

/// What is asked for.
struct Asked<'r> {
    request: &'r Request<Received>,
    path: &'r str,
    route: &'r Route,
    /// Whether what follows may last, also where it needs no credential.
    switches: bool,
}

/// What is known of a request besides itself.
struct Arrival {
    trace: Trace,
    origin: Origin,
    at: SystemTime,
    started: Instant,
    standing: Standing,
    line: Line,
}

impl Gateway {
    /// A worker's gateway; runs on that worker's thread.
    #[must_use]
    pub fn new(
        plan: Arc<ArcSwap<Plan>>,
        usage: UsageShard,
        metrics: Arc<Metrics>,
        observer: WorkerObserver,
    ) -> Self {
        let view = Rc::new(View::new(plan.load_full(), None, &metrics));
        let observer = Rc::new(observer);
        Self {
            plan,
            view: RefCell::new(view),
            ids: RequestIds::new(),
            usage,
            words: Words::default(),
            metrics,
            observer,
        }
    }

    /// The walk of one request, step by step.
    async fn pass(
        &self,
        view: &View,
        came: &mut Option<Request<Received>>,
        peer: &Peer,
        arrival: &Arrival,
        note: &mut Note,
    ) -> Result<Answer, Stop> {
        let request = came.as_mut().ok_or(Stop::BrokenOff)?;
        let upgrade = upgrade::asked(request, &view.plan.upgrades)?;
        supported(request.method())?;
        let authority = authority::requested(request)?;
        let way = view.choose(authority::deciding_name(authority.as_ref(), peer))?;
        note.edit(|record| record.instance = Some(Arc::clone(&way.instance.name)));
        target::carriable(request)?;
        let target = target::take(request, arrival.origin.scheme)?;
        target::within(&target, view.plan.max_target_bytes)?;
        let route = classify(request.method(), target.path())?;
        let counts = is_endpoint(target.path());
        if counts {
            arrival.standing.within_address_limit(way.limits, note).await?;
        }
        if let Some(wish) = own_keys::wish(&route, way.instance) {
            upgrade.map_or(Ok(()), |upgrade| upgrade.may_be_ignored())?;
            let (max_body_bytes, floor) = (view.plan.max_body_bytes, view.plan.body_floor);
            let patience = floor.map(|floor| floor.patience);
            let visit = own_keys::Visit { wish, route, target, authority, max_body_bytes, patience };
            let request = came.take().ok_or(Stop::BrokenOff)?;
            // Boxed, as all that is rare: every request's future would be as large as the largest.
            return Box::pin(self.grant(&way, request, visit, (arrival, note))).await;
        }
        let switches = upgrade.is_some();
        let asked = Asked { request, path: target.path(), route: &route, switches };
        let identified = self.identify(&way, asked, arrival, note).await;
        let identity = identified.map_err(|refusal| csrf::before(refusal, request))?;
        self.note_use(identity.as_ref(), arrival, note);
        if counts && let Some(identity) = &identity {
            arrival.standing.within_key_limit(way.limits, identity, note).await?;
        }
        target::empty_where_said(request, way.upstream.settings().response_timeout).await?;
        let request = came.take().ok_or(Stop::BrokenOff)?;
        let request = limited(request, target, (&view.plan, &arrival.line), note)?;
        let acts = if route.is_open() { Acts::AsNobody } else { Acts::AsOwner };
        let stamp = Stamp::new(identity.as_ref(), arrival.origin.scheme, authority, arrival.trace);
        if let Some(upgrade) = upgrade {
            let offer = upgrade.offer();
            let request = self.outbound(&way, (request, stamp), Some(&offer), (acts, arrival.at))?;
            let asker = upgrade::Asker { identity, line: &arrival.line, metrics: &self.metrics };
            return Box::pin(offer.make(&way, request, asker, note)).await;
        }
        let mut request = Some(self.outbound(&way, (request, stamp), None, (acts, arrival.at))?);
        let mut asker = Asker { route, identity, address: arrival.origin.address };
        forward(&way, &mut request, &mut asker, note).await
    }

    /// Who the request comes from; `None` on open routes, for whoever cannot or need not say.
    async fn identify(
        &self,
        way: &Way<'_>,
        Asked { request, path, route, switches }: Asked<'_>,
        arrival: &Arrival,
        note: &mut Note,
    ) -> Result<Option<Identity>, Refusal> {
        let presented = credential::presented(request.headers())?;
        let open = route.is_open();
        let Some(text) = presented else {
            let outcome = if open { Outcome::Anonymous } else { Outcome::Missing };
            note.edit(|record| record.outcome = outcome);
            return if open { Ok(None) } else { Err(Refusal::NoToken) };
        };
        let credential = auth::Credential::of(&text);
        note.edit(|record| record.credential = kind(credential));
        let verifier = &way.instance.verifier;
        let attempt = Attempt {
            at: arrival.at,
            method: request.method().as_str(),
            path,
            address: arrival.origin.address,
        };
        let claimant = arrival.standing.claimant(way.limits);
        let since = way.instance.keys.epoch();
        let verdict = if open {
            verifier.verify_known(credential, &attempt, &claimant).await
        } else {
            verifier.verify(credential, &attempt, &claimant, || adopt_key(way, &text)).await
        };
        let verdict = match verdict {
            Ok(identity) if !open || switches => go_live(way, identity, since, arrival, note).await,
            judged => judged,
        };
        match verdict {
            Ok(identity) => {
                note.edit(|record| record.outcome = Outcome::Accepted);
                Ok(Some(identity))
            }
            Err(_) if open => {
                note.edit(|record| record.outcome = Outcome::Ignored);
                Ok(None)
            }
            Err(denied) => {
                let blamed = claimant.blame(denied);
                // A token costs no look-up, and OpenBin's page renews its session after a 401 only.
                let of_page =
                    denied == Denied::InvalidToken && credential::bearer(request.headers()).is_none();
                let (refusal, outcome) = told(if of_page { denied } else { blamed });
                note.edit(|record| record.outcome = outcome);
                Err(refusal)
            }
        }
    }

    /// Notes a verified identity, and that its key was used.
    fn note_use(&self, identity: Option<&Identity>, arrival: &Arrival, note: &mut Note) {
        let Some(identity) = identity else { return };
        let key = identity.active_key();
        if let Some(key) = key {
            self.usage.note(key, arrival.at, AddressFamily::of(arrival.origin.address));
        }
        note.edit(|record| {
            record.user_id = Some(identity.user_id().bytes());
            record.key_id = key.map(|key| key.id.bytes());
        });
    }

    /// This worker's view of the current plan.
    fn view(&self) -> Rc<View> {
        let current = self.plan.load();
        let held = Rc::clone(&self.view.borrow());
        if Arc::ptr_eq(&held.plan, &current) {
            return held;
        }
        let next = Rc::new(View::new(Arc::clone(&current), Some(&held), &self.metrics));
        self.view.replace(Rc::clone(&next));
        next
    }

    fn begin(&self, request: &Request<Received>, arrival: &Arrival) -> Note {
        let record = Record {
            started: arrival.started,
            request_id: arrival.trace.id.0,
            client: arrival.origin.address,
            instance: None,
            version: request.version(),
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            credential: Credential::None,
            outcome: Outcome::RequestRefused,
            user_id: None,
            key_id: None,
            status: None,
            upstream: None,
            request_bytes: 0,
            response_bytes: 0,
            complete: false,
            cut: None,
        };
        Note::new(record, Arc::clone(&self.metrics), Rc::clone(&self.observer))
    }
}

impl Handler for Gateway {
    type Body = Recorded<Body<Exchange>>;

    async fn handle(
        &self,
        came: &mut Option<Request<Received>>,
        peer: &Peer,
        line: Line,
    ) -> Result<Response<Self::Body>, Abort> {
        let request = came.as_ref().ok_or(Abort)?;
        let view = self.view();
        let started = Instant::now();
        let origin = Origin::of(peer, request.headers(), &view.plan.trusted_proxies);
        let standing = Standing::new(origin.address, started);
        let id = self.ids.next();
        let trace = Trace { id, from: origin.address };
        let arrival = Arrival { trace, origin, at: SystemTime::now(), started, standing, line };
        let mut note = self.begin(request, &arrival);
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        let passed = self.pass(&view, came, peer, &arrival, &mut note).await;
        let mut response = match passed.and_then(|response| note.answer().map(|()| response)) {
            Ok(response) => response,
            Err(Stop::Refused(refusal)) => {
                note.part();
                refuse(refusal, version, &view, &note)
            }
            Err(Stop::BrokenOff) => return Err(Abort),
        };
        if is_head {
            response = without_content(response);
        }
        response.headers_mut().insert(X_REQUEST_ID, arrival.trace.id.value());
        arrival.standing.tell(response.headers_mut(), &self.words);
        note.edit(|record| record.status = Some(response.status().as_u16()));
        Ok(response.map(|body| Recorded::new(body, note)))
    }

    fn refuse(&self, refusal: Refusal, version: Version, peer: &Peer) -> Response<Self::Body> {
        self.refuse_unreadable(refusal, version, peer)
    }
}

impl View {
    /// Keeps the connections to instances that are reached as before, and what is under way at those that
    /// were there before.
    fn new(plan: Arc<Plan>, held: Option<&Self>, metrics: &Arc<Metrics>) -> Self {
        let (mut upstreams, mut live) = (Vec::new(), Vec::new());
        for instance in plan.instances() {
            let mut kept = held.iter().flat_map(|held| &held.upstreams);
            let same = kept.find(|upstream| *upstream.settings() == instance.upstream);
            upstreams.push(same.map_or_else(|| Rc::new(Upstream::new(instance.upstream.clone())), Rc::clone));
            let mut kept = held.iter().flat_map(|held| &held.live);
            let same = kept.find(|live| live.is_of(&instance.keys));
            live.push(same.map_or_else(|| LiveExchanges::new(&instance.keys, metrics), Rc::clone));
        }
        Self { plan, upstreams, live }
    }

    fn choose(&self, host: Option<&str>) -> Result<Way<'_>, Refusal> {
        let place = self.plan.place_of(host).ok_or(Refusal::Misdirected)?;
        let instance = self.plan.instances().get(place).ok_or(Refusal::Misdirected)?;
        let upstream = self.upstreams.get(place).ok_or(Refusal::Misdirected)?;
        let live = self.live.get(place).filter(|_| self.plan.cut_live_exchanges);
        Ok(Way { limits: &self.plan.limits, live, instance, upstream })
    }
}

fn supported(method: &Method) -> Result<(), Refusal> {
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed);
    }
    Ok(())
}

fn kind(credential: auth::Credential<'_>) -> Credential {
    match credential {
        auth::Credential::Token(_) => Credential::Jwt,
        auth::Credential::Key(_) | auth::Credential::MalformedKey => Credential::ApiKey,
    }
}

/// From here on the exchange ends when its credential does. What has ended since the credential was looked
/// at may have been told of before that.
async fn go_live(
    way: &Way<'_>,
    identity: Identity,
    since: Epoch,
    arrival: &Arrival,
    note: &mut Note,
) -> Result<Identity, Denied> {
    let Some(live) = way.live else { return Ok(identity) };
    note.go_live(live.enter(&identity, arrival.line.clone()));
    let keys = &way.instance.keys;
    if keys.epoch() != since {
        Box::pin(look_again(keys, &identity, arrival.at)).await.inspect_err(|_| note.leave())?;
    }
    Ok(identity)
}

/// Asks the instance about a key that nobody here knows.
async fn adopt_key(way: &Way<'_>, text: &[u8]) -> Result<crate::keys::Adoption, Denied> {
    let key = std::str::from_utf8(text).ok().and_then(Token::parse).ok_or(Denied::MalformedKey)?;
    match way.instance.key_issuer {
        crate::keys::Issuer::Openbin => adopt::ask(way.upstream, way.instance, &key).await,
        crate::keys::Issuer::Gateway => Ok(crate::keys::Adoption::Unknown),
    }
}

/// What HEAD is answered with: how long the content would be, and none of it (RFC 9110 §9.3.2). Over HTTP/2
/// all is sent that is given, which clients take for an error of the stream.
fn without_content(response: Answer) -> Answer {
    let (mut head, body) = response.into_parts();
    let body = match body {
        Body::Own(content) if !content.is_empty() => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
            Body::empty()
        }
        bare @ (Body::Own(_) | Body::Upstream(_)) => bare,
    };
    Response::from_parts(head, body)
}

#[cfg(test)]
mod size_tests;
