//! How fast a place answers one request that is sent again and again: as fast as it can, and at a fixed rate.
//!
//! At a fixed rate each request has its time, and its latency counts from then, whatever became of those before it:
//! a place that stalls is charged for all that came due meanwhile (no "coordinated omission"). Each connection is a
//! thread of its own, since timers of the runtime tick in milliseconds.
//!
//! Only GET is ever sent, and every answer must have the status that is expected of it.

mod client;
mod cpu;
mod figures;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::place::Place;
use client::Client;
use cpu::{LANE, spent_elsewhere};

pub use client::{Presented, Repeated};
pub use figures::{Figures, Pace};

/// How a place is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Over how many connections.
    pub connections: usize,
    /// How many requests a second where the rate is fixed.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be reached, or breaks off.
    #[error("it does not answer: {0}")]
    Silent(#[from] io::Error),
    /// It answers otherwise than it should.
    #[error("it answers {status}{code}, where {expected} is right")]
    Answered {
        /// With this status.
        status: u16,
        /// And this error code, after a space, where it gives one.
        code: String,
        /// Instead of this status.
        expected: u16,
    },
    /// It is slower than it is asked.
    #[error("it does not keep up with {0} requests a second")]
    Behind(u32),
}

impl Load {
    /// Asks once, and looks at the answer.
    ///
    /// # Errors
    /// Where it is not answered, or not as expected.
    pub fn try_once(&self, place: &Place, request: &Repeated) -> Result<(), LoadError> {
        Client::new(place, request)?.ask()
    }

    /// Asks for as long as it says, each connection as fast as it is answered.
    ///
    /// # Errors
    /// As soon as an answer is not the expected one.
    pub fn at_once(&self, place: &Place, request: &Repeated) -> Result<Pace, LoadError> {
        let (counts, pace) = self.lanes(place, request, |client, start| {
            let mut count = 0;
            while start.elapsed() < self.time {
                client.ask()?;
                count += 1;
            }
            Ok(count)
        })?;
        Ok(Pace { answered: counts.iter().sum(), ..pace })
    }

    /// Asks at the fixed rate; the latencies come in no order.
    ///
    /// # Errors
    /// As soon as an answer is not the expected one, or where the place falls far behind.
    pub fn paced(&self, place: &Place, request: &Repeated) -> Result<Vec<Duration>, LoadError> {
        let next = AtomicU64::new(0);
        let gap = Duration::from_secs(1) / self.rate.max(1);
        let (latencies, _) = self.lanes(place, request, |client, start| {
            let mut latencies = Vec::new();
            loop {
                let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
                let due = gap.saturating_mul(number);
                if due >= self.time {
                    return Ok(latencies);
                }
                if start.elapsed() > due + MOST_BEHIND {
                    return Err(LoadError::Behind(self.rate));
                }
                wait_until(start + due);
                client.ask()?;
                latencies.push(start.elapsed().saturating_sub(due));
            }
        })?;
        Ok(latencies.concat())
    }

    /// Has each lane connect and ask once; then all of them begin at the same time.
    fn lanes<T: Send>(
        &self,
        place: &Place,
        request: &Repeated,
        work: impl Fn(&mut Client<'_>, Instant) -> Result<T, LoadError> + Sync,
    ) -> Result<(Vec<T>, Pace), LoadError> {
        let (tell, ready) = mpsc::channel();
        thread::scope(|scope| {
            let (mut lanes, mut starters) = (Vec::new(), Vec::new());
            for _ in 0..self.connections.max(1) {
                let (starter, started) = mpsc::channel();
                let (tell, work) = (tell.clone(), &work);
                let lane = move || {
                    let mut client = prepared(place, request, &tell)?;
                    work(&mut client, await_start(&started)?)
                };
                lanes.push(thread::Builder::new().name(LANE.to_owned()).spawn_scoped(scope, lane)?);
                starters.push(starter);
            }
            for _ in &lanes {
                let _ = ready.recv();
            }
            let (before, start) = (spent_elsewhere(), Instant::now());
            for starter in starters {
                let _ = starter.send(start);
            }
            let ended = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err(gone())));
            let done = ended.collect::<Result<Vec<T>, _>>()?;
            let cpu = before.zip(spent_elsewhere()).map(|(before, after)| after.saturating_sub(before));
            Ok((done, Pace { answered: 0, took: start.elapsed(), cpu }))
        })
    }
}

/// Connects and asks once; tells that this is over, however it went.
fn prepared<'l>(place: &'l Place, request: &'l Repeated, tell: &Sender<()>) -> Result<Client<'l>, LoadError> {
    let client = Client::new(place, request).map_err(LoadError::from);
    let client = client.and_then(|mut client| client.ask().map(|()| client));
    let _ = tell.send(());
    client
}

fn await_start(started: &Receiver<Instant>) -> Result<Instant, LoadError> {
    started.recv().map_err(|_| gone())
}

fn gone() -> LoadError {
    LoadError::Silent(io::Error::other("a thread of the measurement is gone"))
}

/// Sleeps, and is awake a little earlier: the system's timers are late by some tens of microseconds.
fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    thread::sleep(left.saturating_sub(EARLIER));
    while Instant::now() < due {
        thread::yield_now();
    }
}

const EARLIER: Duration = Duration::from_micros(150);
/// By then a queue has built up that only tells how long the measurement went on.
const MOST_BEHIND: Duration = Duration::from_secs(2);
