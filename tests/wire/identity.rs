//! Whatever a client says of itself, in whatever spelling and place: who it is and where it comes from is said to
//! the instance by the gateway alone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::frames::{Field, Frames, StreamEnd};
use crate::support::{EVERY_WAY, Gateway, Via, Wire, jwt, wait};

use super::judge::folded;
use super::strict::Message;
use super::tape::Tape;

/// Never to be seen behind.
const FORGED: &str = "forged-value";

const NAMES: [&str; 16] = [
    "x-auth-method",
    "x-auth-user-id",
    "x-auth-user-email",
    "x-auth-key-id",
    "x-auth-role",
    "x-auth-",
    "x-auth-request-user",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "x-request-id",
    "forwarded",
    "traceparent",
];

/// A kind of route, and what the instance is told of whoever asks for it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Page,
    Asset,
    Health,
    SignIn,
    Preflight,
    Protected,
    Keys,
    /// Refused: nothing reaches the instance.
    WithoutSession,
    /// Passed on without a word of the session that it carries.
    JunkOnOpen,
}

const KINDS: [Kind; 9] = [
    Kind::Page,
    Kind::Asset,
    Kind::Health,
    Kind::SignIn,
    Kind::Preflight,
    Kind::Protected,
    Kind::Keys,
    Kind::WithoutSession,
    Kind::JunkOnOpen,
];

impl Kind {
    fn asks(self) -> (&'static str, &'static str) {
        match self {
            Self::Page => ("GET", "/"),
            Self::Asset => ("GET", "/assets/app.js"),
            Self::Health => ("GET", "/api/health"),
            Self::SignIn => ("POST", "/api/auth/login"),
            Self::Preflight => ("OPTIONS", "/api/bins"),
            Self::Protected | Self::WithoutSession => ("PUT", "/api/bins/1"),
            Self::Keys => ("GET", "/api/api-keys"),
            Self::JunkOnOpen => ("GET", "/api/auth/status"),
        }
    }

    fn bearer(self) -> Option<String> {
        match self {
            Self::Protected | Self::Keys => Some(jwt::session()),
            Self::JunkOnOpen => Some("junk".to_owned()),
            Self::Page
            | Self::Asset
            | Self::Health
            | Self::SignIn
            | Self::Preflight
            | Self::WithoutSession => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Claim {
    via: Via,
    kind: Kind,
    names: Vec<String>,
    copies: usize,
    nominated: bool,
    in_trailers: bool,
}

/// A name in another case, with other signs between its words.
fn spelled() -> impl Strategy<Value = String> {
    let signs: Vec<char> = "-_.~!#$%&'*+^|`".chars().collect();
    let bend = prop::collection::vec((any::<bool>(), prop::sample::select(signs)), 24);
    (prop::sample::select(NAMES.to_vec()), bend, any::<bool>()).prop_map(|(name, bend, plain)| {
        let bent = name.chars().zip(bend).map(|(letter, (upper, sign))| match letter {
            '-' if !plain => sign,
            letter if upper => letter.to_ascii_uppercase(),
            letter => letter,
        });
        bent.collect()
    })
}

fn claim() -> impl Strategy<Value = Claim> {
    let ways = prop::sample::select(EVERY_WAY.to_vec());
    let kinds = prop::sample::select(KINDS.to_vec());
    let names = prop::collection::vec(spelled(), 1..5);
    (ways, kinds, names, 1..3_usize, any::<bool>(), any::<bool>()).prop_map(
        |(via, kind, names, copies, nominated, in_trailers)| Claim {
            via,
            kind,
            names,
            copies,
            nominated,
            in_trailers,
        },
    )
}

impl Claim {
    fn fields(&self) -> Vec<(String, String)> {
        let bearer = self.kind.bearer().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        let named = self.names.iter().flat_map(|name| std::iter::repeat_n(name, self.copies));
        let forged = named.map(|name| (name.clone(), FORGED.to_owned()));
        bearer.into_iter().chain(forged).collect()
    }

    async fn send(&self, gateway: &Gateway) -> u16 {
        match self.via {
            Via::Plain => self.by_http1(Wire::plain(gateway.http).await).await,
            Via::Tls => self.by_http1(Wire::tls(gateway.https, "localhost").await).await,
            Via::H2 => self.by_http2(gateway).await,
        }
    }

    async fn by_http1(&self, mut wire: Wire) -> u16 {
        let (method, target) = self.kind.asks();
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in self.fields() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.nominated {
            text.push_str(&format!(
                "Connection: {}, x-auth-method, x-forwarded-for\r\n",
                self.names.join(", ")
            ));
        }
        if self.in_trailers {
            text.push_str(&format!("Trailer: {}\r\n", self.names.join(", ")));
            text.push_str("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n");
            for name in &self.names {
                text.push_str(&format!("{name}: {FORGED}\r\n"));
            }
        }
        text.push_str("\r\n");
        wire.send(text).await;
        wire.response_to(method).await.status
    }

    async fn by_http2(&self, gateway: &Gateway) -> u16 {
        let (method, target) = self.kind.asks();
        let field =
            |name: &str, value: &str| -> Field { (name.as_bytes().to_vec(), value.as_bytes().to_vec()) };
        let mut head = vec![
            field(":method", method),
            field(":scheme", "https"),
            field(":authority", "localhost"),
            field(":path", target),
        ];
        head.extend(self.fields().iter().map(|(name, value)| field(&name.to_ascii_lowercase(), value)));
        let mut frames = Frames::connect(gateway.https).await;
        let stream = frames.open(&head, !self.in_trailers).await;
        if self.in_trailers {
            frames.data(stream, b"{}", false).await;
            let trailers: Vec<_> =
                self.names.iter().map(|name| field(&name.to_ascii_lowercase(), FORGED)).collect();
            frames.fields(stream, &trailers, true).await;
        }
        match frames.end(stream).await {
            StreamEnd::Answered { status, .. } => status,
            other => panic!("{other:?}"),
        }
    }

    /// What the instance is told of whoever asks.
    fn identity(&self) -> BTreeSet<(String, String)> {
        let told: &[(&str, &str)] = match self.kind {
            Kind::Protected | Kind::Keys => {
                &[("x-auth-method", "jwt"), ("x-auth-user-id", jwt::USER), ("x-auth-user-email", jwt::EMAIL)]
            }
            Kind::Page
            | Kind::Asset
            | Kind::Health
            | Kind::SignIn
            | Kind::Preflight
            | Kind::WithoutSession
            | Kind::JunkOnOpen => &[("x-auth-method", "none")],
        };
        told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

/// The fields whose folded name begins so; each may be there only once.
fn told(message: &Message, start: &str) -> Result<BTreeSet<(String, String)>, String> {
    let mut told = BTreeSet::new();
    for (name, value) in message.fields.iter().filter(|(name, _)| folded(name).starts_with(start)) {
        let value = String::from_utf8_lossy(value).into_owned();
        if !told.insert((name.to_ascii_lowercase(), value)) {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(told)
}

fn check(claim: &Claim, message: &Message) -> Result<(), String> {
    let all = message.fields.iter().chain(&message.trailers);
    for (name, value) in all {
        if String::from_utf8_lossy(value).contains(FORGED) {
            return Err(format!("{name} came through"));
        }
    }
    let identity = told(message, "x-auth-")?;
    if identity != claim.identity() {
        return Err(format!("told of the client: {identity:?}"));
    }
    let scheme = if claim.via == Via::Plain { "http" } else { "https" };
    let origin =
        [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "localhost"), ("x-forwarded-proto", scheme)];
    let origin = origin.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let forwarded = told(message, "x-forwarded-")?;
    if forwarded != origin {
        return Err(format!("told of its place: {forwarded:?}"));
    }
    for (name, count) in [("forwarded", 0), ("x-real-ip", 0), ("x-request-id", 1), ("traceparent", 1)] {
        let own = message.fields.iter().filter(|(own, _)| folded(own) == name).count();
        if own != count {
            return Err(format!("{name} is there {own} times"));
        }
    }
    Ok(())
}

async fn judge(claim: &Claim, gateway: &Gateway, tape: &Tape) -> Result<(), String> {
    tape.clear();
    let status = claim.send(gateway).await;
    wait::until("unfinished requests to be broken off", || tape.seen().open == 0).await;
    let seen = tape.seen();
    if let Some(fault) = seen.faults.first() {
        return Err(fault.clone());
    }
    match (claim.kind, status, seen.requests.as_slice()) {
        (Kind::WithoutSession, 401, []) => Ok(()),
        (Kind::WithoutSession, ..) => Err(format!("answered with {status}")),
        (_, 200, [message]) => check(claim, message),
        (_, _, requests) => Err(format!("answered with {status}, {} requests", requests.len())),
    }
}

#[test]
fn what_a_client_claims_of_itself_never_reaches_the_instance() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (tape, gateway) = runtime.block_on(async {
        let tape = Tape::start().await.expect("a free port");
        let gateway = Gateway::in_front_of(tape.address()).await;
        (tape, gateway)
    });
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner
        .run(&claim(), |claim| runtime.block_on(judge(&claim, &gateway, &tape)).map_err(TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
