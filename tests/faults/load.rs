//! Clients that use keys and sessions through all gateways, one request after the other, and write down each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::fleet::Doors;
use super::instance::PROBE;
use super::journal::{Asked, Clock, Credential, Subject};
use super::line::Line;
use super::round::{is_new, subject};
use super::stock::Bearer;
use crate::support::Request;

/// What the clients of a round know: what is good, and what is about to be ended.
pub struct Board {
    pub clock: Clock,
    pub doors: Arc<Doors>,
    /// Numbers below this are ended one after the other; from here on they are good for ever.
    pub ending: usize,
    /// How many stay good.
    pub good: usize,
    /// The number whose turn it is.
    pub turn: AtomicUsize,
    pub stop: AtomicBool,
    /// When all sessions expire.
    pub expires: i64,
    serials: AtomicU64,
}

/// So many keys are in use before their turn and after it.
const AHEAD: usize = 14;
const BEHIND: usize = 20;
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(1);
/// After a connection that could not be made.
const LONG_PAUSE: Duration = Duration::from_millis(20);

impl Board {
    pub fn new(doors: Arc<Doors>, ending: usize, good: usize, expires: i64) -> Arc<Self> {
        let (turn, serials) = (AtomicUsize::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        Arc::new(Self { clock: Clock::start(), doors, ending, good, turn, stop, expires, serials })
    }

    /// A client of one gateway that goes on until it is told to stop.
    pub async fn client(self: Arc<Self>, gateway: usize, seed: u64) -> Vec<Asked> {
        let (mut chance, mut log, mut line) = (SmallRng::seed_from_u64(seed), Vec::new(), None);
        while !self.stop.load(Ordering::Relaxed) {
            let asked = self.ask(gateway, self.choose(&mut chance), &mut line).await;
            let pause = if asked.status.is_some() { PAUSE } else { LONG_PAUSE };
            log.push(asked);
            tokio::time::sleep(pause).await;
        }
        log
    }

    /// Sends one request on a connection, which is made where there is none.
    pub async fn ask(&self, gateway: usize, credential: Credential, line: &mut Option<Line>) -> Asked {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let bearer = Bearer::of(credential, self.expires);
        let request = Request::get("/api/bins").bearer(&bearer.token);
        let request = request.field(PROBE, &format!("{serial} {}", bearer.owner)).bytes();
        if line.is_none() {
            *line = Line::open(self.doors.of(gateway).http).await.ok();
        }
        let sent = self.clock.now();
        let reply = match line {
            Some(open) => open.ask(&request).await.ok(),
            None => None,
        };
        let answered = self.clock.now();
        if !reply.as_ref().is_some_and(|reply| reply.stays) {
            *line = None;
        }
        Asked { serial, credential, gateway, sent, answered, status: reply.map(|reply| reply.status) }
    }

    fn choose(&self, chance: &mut SmallRng) -> Credential {
        let turn = self.turn.load(Ordering::Relaxed).min(self.ending);
        let coming = turn..(turn + AHEAD).min(self.ending);
        let gone = turn.saturating_sub(BEHIND)..turn;
        let mut of = |range: std::ops::Range<usize>| {
            let range = if range.is_empty() { self.ending..self.ending + self.good } else { range };
            chance.random_range(range)
        };
        let (coming, gone, ever) = (of(coming), of(gone), of(0..turn));
        let good = of(self.ending..self.ending + self.good);
        let of_either = |number: usize, even: bool| match subject(number) {
            _ if number >= self.ending => Credential::Key(number),
            Subject::Session(_) => Credential::Session(number),
            Subject::User(_) if even => Credential::Session(number),
            Subject::User(_) | Subject::Key(_) => Credential::Key(number),
        };
        let even = chance.random_bool(0.5);
        match chance.random_range(0..100) {
            0..35 if !is_new(coming) => of_either(coming, even),
            0..65 => of_either(gone, even),
            65..70 => of_either(ever, even),
            70..85 => Credential::Key(good),
            85..98 => Credential::Session(good),
            _ => Credential::Stranger(good),
        }
    }
}
