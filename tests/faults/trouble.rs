//! The faults of a campaign: how each begins, lasts and ends.

use std::path::Path;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

use super::fleet::{CLOCK_FILE, Fleet, GATEWAYS, Making, faketime};
use super::sentinels::Sentinels;
use super::stock;
use crate::support::relay::{Fault, Heal, Way};
use crate::support::{Request, jwt, wait};

/// What goes wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    GatewaySuspended,
    GatewayStutters,
    GatewayKilled,
    GatewayClock,
    RedisEmptied,
    RedisRestarted,
    RedisSuspended,
    RedisStutters,
    RedisFlushed,
    FlushedWhileCutOff,
    RedisPaused,
    RedisTakesNoWrites,
    ConnectionsKilled,
    SmallBuffers,
    Failover,
    Cut(Way, Heal),
    LinkFlickers,
    Resets,
    Down,
    OneCrawls,
    Slow,
    Garbled,
    CutShort,
}

/// What the whole campaign goes through.
pub const ALL: [Trouble; 28] = [
    Trouble::Nothing,
    Trouble::GatewaySuspended,
    Trouble::GatewayStutters,
    Trouble::GatewayKilled,
    Trouble::GatewayClock,
    Trouble::RedisEmptied,
    Trouble::RedisRestarted,
    Trouble::RedisSuspended,
    Trouble::RedisStutters,
    Trouble::RedisFlushed,
    Trouble::FlushedWhileCutOff,
    Trouble::RedisPaused,
    Trouble::RedisTakesNoWrites,
    Trouble::ConnectionsKilled,
    Trouble::SmallBuffers,
    Trouble::Failover,
    Trouble::Cut(Way::Both, Heal::Delivers),
    Trouble::Cut(Way::Both, Heal::Drops),
    Trouble::Cut(Way::ToClient, Heal::Delivers),
    Trouble::Cut(Way::ToClient, Heal::Drops),
    Trouble::Cut(Way::ToServer, Heal::Delivers),
    Trouble::LinkFlickers,
    Trouble::Resets,
    Trouble::Down,
    Trouble::OneCrawls,
    Trouble::Slow,
    Trouble::Garbled,
    Trouble::CutShort,
];

/// The gateway that a fault of one gateway, or of one gateway's link, is about.
pub const VICTIM: usize = 1;
/// The gateway that has a clock of its own in [`Trouble::GatewayClock`].
const CLOCKED: usize = 0;
/// Between two blows of a storm.
const BLOW: Duration = Duration::from_millis(100);

impl Trouble {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "healthy",
            Self::GatewaySuspended => "a gateway SIGSTOPped, continued",
            Self::GatewayStutters => "a gateway SIGSTOPped again and again",
            Self::GatewayKilled => "a gateway killed -9, restarted",
            Self::GatewayClock => "a gateway's clock +300 s, -300 s",
            Self::RedisEmptied => "Redis killed -9, restarted empty",
            Self::RedisRestarted => "Redis killed -9, restarted from AOF",
            Self::RedisSuspended => "Redis SIGSTOPped, continued",
            Self::RedisStutters => "Redis SIGSTOPped again and again",
            Self::FlushedWhileCutOff => "FLUSHALL while a link is cut",
            Self::RedisFlushed => "FLUSHALL, twice",
            Self::RedisPaused => "CLIENT PAUSE ALL",
            Self::RedisTakesNoWrites => "CLIENT PAUSE WRITE",
            Self::ConnectionsKilled => "CLIENT KILL TYPE normal, 10 a second",
            Self::SmallBuffers => "output buffers of 1 KB",
            Self::Failover => "Redis killed -9, Sentinel failover",
            Self::Cut(Way::Both, Heal::Delivers) => "link cut, held bytes delivered",
            Self::Cut(Way::Both, Heal::Drops) => "link cut, held bytes dropped",
            Self::Cut(Way::ToClient, Heal::Delivers) => "replies held, delivered late",
            Self::Cut(Way::ToClient, Heal::Drops) => "replies lost",
            Self::Cut(Way::ToServer, Heal::Delivers) => "requests held, delivered late",
            Self::Cut(Way::ToServer, Heal::Drops) => "requests lost",
            Self::LinkFlickers => "link cut again and again",
            Self::Down => "links of all refused",
            Self::OneCrawls => "a link 0.2 to 0.6 s slow",
            Self::Resets => "links of all reset, 10 times a second",
            Self::Slow => "links of all 20 to 60 ms slow",
            Self::Garbled => "replies of all garbled",
            Self::CutShort => "links reset after 700 reply bytes",
        }
    }

    pub fn making(self) -> Making {
        Making {
            keeps: self == Self::RedisRestarted,
            fails_over: self == Self::Failover,
            own_clock: self == Self::GatewayClock,
            ..Making::default()
        }
    }

    /// What this machine lacks for it, if anything.
    pub fn lacks(self) -> Option<&'static str> {
        match self {
            Self::GatewayClock if !Path::new(&faketime()).exists() => Some("libfaketime (package faketime)"),
            Self::Failover if !Sentinels::are_known_to_gateways() => Some("store.sentinels in gateways"),
            _ => None,
        }
    }

    /// How long it takes, where others take so long.
    pub fn span(self, lasts: Duration) -> Duration {
        let again = [Self::GatewayStutters, Self::RedisStutters, Self::LinkFlickers].contains(&self);
        if again { lasts * 2 } else { lasts }
    }

    /// How soon all gateways accept good keys when it is over.
    pub fn recovers_within(self) -> Duration {
        // Finding the new master takes asking the sentinels.
        Duration::from_secs(if self == Self::Failover { 5 } else { 1 })
    }

    /// The gateway that answers nobody meanwhile.
    pub fn disturbs(self) -> Option<usize> {
        let stops = [Self::GatewaySuspended, Self::GatewayStutters, Self::GatewayKilled].contains(&self);
        stops.then_some(VICTIM)
    }

    /// Lets it begin, last so long, and end. When this returns, all is well again.
    pub async fn befall(self, fleet: &mut Fleet, lasts: Duration) {
        match self {
            Self::Nothing => sleep(lasts).await,
            Self::GatewayKilled => fleet.restart(VICTIM, lasts).await,
            Self::GatewaySuspended => {
                fleet.gateways[VICTIM].process.signal("STOP");
                sleep(lasts).await;
                fleet.gateways[VICTIM].process.signal("CONT");
            }
            Self::Failover => {
                fleet.redis.stop();
                if let Some(sentinels) = &fleet.sentinels {
                    sentinels.until_promoted().await;
                    // Without a second server, nothing could be confirmed to have been copied.
                    fleet.redis.restart();
                    sentinels.until_follows(fleet.redis.port()).await;
                }
            }
            Self::GatewayClock => {
                for offset in ["+300", "-300", "+0"] {
                    fleet.doors.setup(CLOCKED).file(CLOCK_FILE, offset);
                    until_clock_shows(fleet, offset).await;
                    sleep(if offset == "+0" { Duration::ZERO } else { lasts / 2 }).await;
                }
            }
            Self::RedisEmptied | Self::RedisRestarted => {
                fleet.redis.stop();
                sleep(lasts).await;
                fleet.redis.restart();
            }
            Self::RedisSuspended => {
                fleet.redis.suspend();
                sleep(lasts).await;
                fleet.redis.resume();
            }
            Self::RedisFlushed => {
                fleet.redis("FLUSHALL");
                sleep(lasts).await;
                fleet.redis("FLUSHALL");
            }
            Self::RedisPaused => pause(fleet, "ALL", lasts).await,
            Self::RedisTakesNoWrites => pause(fleet, "WRITE", lasts).await,
            Self::ConnectionsKilled => {
                storm(lasts, || drop(fleet.redis("CLIENT KILL TYPE normal SKIPME yes"))).await;
            }
            Self::SmallBuffers => {
                fleet.redis("CONFIG SET client-output-buffer-limit \"normal 1024 1024 1\"");
                sleep(lasts).await;
                fleet.redis("CONFIG SET client-output-buffer-limit \"normal 0 0 0\"");
            }
            Self::Resets => storm(lasts, || fleet.relays.iter().for_each(|relay| relay.reset_all())).await,
            Self::GatewayStutters => {
                let process = &fleet.gateways[VICTIM].process;
                flicker(lasts, |on| process.signal(if on { "STOP" } else { "CONT" })).await;
            }
            Self::RedisStutters => {
                let redis = &fleet.redis;
                flicker(lasts, |on| if on { redis.suspend() } else { redis.resume() }).await;
            }
            Self::LinkFlickers => {
                let relay = &fleet.relays[VICTIM];
                let fault = Fault::Blackhole { way: Way::Both, heal: Heal::Delivers };
                flicker(lasts, |on| if on { relay.suffer(fault) } else { relay.heal() }).await;
            }
            Self::FlushedWhileCutOff => {
                let fault = Fault::Blackhole { way: Way::Both, heal: Heal::Delivers };
                fleet.relays[VICTIM].suffer(fault);
                sleep(lasts / 2).await;
                fleet.redis("FLUSHALL");
                sleep(lasts / 2).await;
                fleet.relays[VICTIM].heal();
            }
            Self::Cut(way, heal) => suffer(fleet, &[VICTIM], Fault::Blackhole { way, heal }, lasts).await,
            Self::OneCrawls => suffer(fleet, &[VICTIM], self.fault(), lasts).await,
            Self::Slow | Self::Garbled | Self::CutShort | Self::Down => {
                let all: Vec<usize> = (0..GATEWAYS).collect();
                suffer(fleet, &all, self.fault(), lasts).await;
            }
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Slow => {
                Fault::Latency { base: Duration::from_millis(20), jitter: Duration::from_millis(40) }
            }
            // All of it: a single byte within a text nobody could notice, which is what TLS is for.
            Self::Garbled => Fault::Corrupt { one_in: 1 },
            Self::Down => Fault::Down,
            Self::OneCrawls => {
                Fault::Latency { base: Duration::from_millis(100), jitter: Duration::from_millis(200) }
            }
            Self::CutShort => Fault::ResetAfter { bytes: 700 },
            _ => Fault::None,
        }
    }
}

/// Waits until the gateway's wall clock is that much away: it accepts a session for so long, and no longer.
async fn until_clock_shows(fleet: &Fleet, offset: &str) {
    let offset: i64 = offset.parse().expect("seconds");
    let accepts = async |expires: i64| {
        let request = Request::get("/api/bins").bearer(&stock::session(0, jwt::now() + expires));
        fleet.gateways[CLOCKED].send(&request).await.status == 200
    };
    let shown = async || (accepts(offset + 60).await && !accepts(offset - 60).await).then_some(());
    wait::until_answer("the clock to be stepped", shown).await;
}

async fn suffer(fleet: &Fleet, victims: &[usize], fault: Fault, lasts: Duration) {
    victims.iter().for_each(|&victim| fleet.relays[victim].suffer(fault));
    sleep(lasts).await;
    victims.iter().for_each(|&victim| fleet.relays[victim].heal());
}

/// Redis ends the pause by itself.
async fn pause(fleet: &Fleet, what: &str, lasts: Duration) {
    let until = Instant::now() + lasts;
    fleet.redis(&format!("CLIENT PAUSE {} {what}", lasts.as_millis()));
    sleep_until(until).await;
    fleet.redis("CLIENT UNPAUSE");
}

/// On and off, for about as long as leases last, at other moments of them each time.
async fn flicker(lasts: Duration, mut switch: impl FnMut(bool)) {
    let (mut chance, over) = (SmallRng::seed_from_u64(1), Instant::now() + lasts);
    while Instant::now() < over {
        switch(true);
        sleep(Duration::from_millis(chance.random_range(50..1300))).await;
        switch(false);
        sleep(Duration::from_millis(chance.random_range(50..400))).await;
    }
}

async fn storm(lasts: Duration, mut blow: impl FnMut()) {
    let over = Instant::now() + lasts;
    while Instant::now() < over {
        blow();
        sleep(BLOW).await;
    }
}
