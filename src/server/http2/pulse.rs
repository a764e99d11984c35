//! Finds clients that have gone without saying so (RFC 9113 §6.7).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Asks a silent client for a sign of life. Anything that it sends is one.
pub(super) struct Pulse {
    pings: Option<PingPong>,
    next: Pin<Box<Sleep>>,
    /// How often anything had been read when this last looked.
    reads: u32,
    is_asked: bool,
}

impl Pulse {
    /// Asks by these; `None`: not at all.
    pub(super) fn new(pings: Option<PingPong>) -> Self {
        Self { pings, next: Box::pin(sleep(SILENCE)), reads: 0, is_asked: false }
    }

    /// Whether the client has been asked and did not answer, with how often anything was read from it.
    pub(super) fn is_over(&mut self, reads: u32, cx: &mut Context<'_>) -> bool {
        while self.next.as_mut().poll(cx).is_ready() {
            let is_silent = self.reads == reads;
            if is_silent && self.is_asked {
                // Said once: its connection is about to end.
                self.is_asked = false;
                self.next.as_mut().reset(Instant::now() + SILENCE);
                return true;
            }
            self.reads = reads;
            self.is_asked = is_silent && self.ask(cx);
            let wait = if self.is_asked { ANSWER } else { SILENCE };
            self.next.as_mut().reset(Instant::now() + wait);
        }
        false
    }

    fn ask(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(pings) = &mut self.pings else { return false };
        // What was asked before is answered, or else asking fails.
        let _: Poll<_> = pings.poll_pong(cx);
        pings.send_ping(Ping::opaque()).is_ok()
    }
}

/// How long a client may be silent before it is asked.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
