//! A small world: one store that may be emptied or replaced by its copy, gateways that follow it, and keys that
//! are revoked. What gateways and revokers conclude is concluded by the product's own code; what Redis'
//! scripts do is done here as they do it, one step each.

use std::time::Duration;

use openbin_gateway::keys::lease::{
    Asked, EntryId, Follower, Heard, Judgement, Moment, Order, Renewed, Replica, Waited, Whom, judge,
};

use super::server::{Listed, Record, Server};

/// Places for gateways that remember keys. Beside them there is one that revokes; what it remembers itself it
/// refuses at once, so of it only that counts which it knows of others.
pub const GATEWAYS: usize = 2;
/// Places for keys.
pub const MOST_KEYS: usize = 2;
/// Nanoseconds of a tick: nothing happens between two ticks that could not happen at one of them.
const TICK: u64 = 10;
/// Ticks of a lease.
const TERM: u8 = 2;

/// A gateway's memory; all of it is gone when it is killed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    follower: Follower<usize>,
    lease: u64,
    renewal: Option<Renewal>,
    cached: [bool; MOST_KEYS],
    loads: [Option<Load>; MOST_KEYS],
    graves: [bool; MOST_KEYS],
    /// Which store was followed at first.
    store: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Renewal {
    Asked(Asked),
    Answered(Asked, Renewed<usize>),
    Applied(Heard<usize>),
}

/// A request that looks its key up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Load {
    /// Whether it came after the key's revocation was confirmed.
    is_late: bool,
    spoiled: bool,
    found_good: bool,
}

/// How far the revocation of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    Not,
    Waiting { at: u64, call: u8, appended: u8, first: Option<(u8, Listed)> },
    Confirmed,
    Unconfirmed,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub now: u8,
    pub store: Server,
    pub copy: Server,
    /// Since when the revoker has known this server and this log without a break; nothing: for long.
    reign: Option<u8>,
    /// The name of the store that lists the revoker, as it is told by its own renewals.
    known: u8,
    pub gateways: [Gateway; GATEWAYS],
    pub revocations: [Revocation; MOST_KEYS],
    pub faults: u8,
    /// A request that came after its key's revocation was confirmed was told that the key is good.
    pub accepted_late: bool,
}

/// Mistakes that must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    None,
    /// A load is remembered though there was news meanwhile.
    LoadsAreNotSpoiled,
    /// The lease is extended before what was heard is applied.
    ExtendsBeforeApplying,
    /// A lease is counted from when the answer came.
    CountsFromTheAnswer,
    /// Leases that a new server does not know of are not waited out.
    TrustsANewServer,
    /// What was remembered before following is kept.
    KeepsWhatItHad,
    /// A store that does not list the revoker any more is believed when it lists nobody to wait for.
    BelievesAnEmptiedStore,
}

impl Gateway {
    pub fn new(known: bool) -> Self {
        Self {
            follower: Follower::new(Duration::from_nanos(u64::from(TERM) * TICK)),
            lease: 0,
            renewal: None,
            cached: [false; MOST_KEYS],
            loads: [None; MOST_KEYS],
            graves: [false; MOST_KEYS],
            store: known.then_some(0),
        }
    }

    fn bury(&mut self, key: usize, mistake: Mistake) {
        self.graves[key] = mistake != Mistake::LoadsAreNotSpoiled;
        self.spoil(key, mistake);
    }

    fn spoil(&mut self, key: usize, mistake: Mistake) {
        self.cached[key] = false;
        if let Some(load) = &mut self.loads[key] {
            load.spoiled = mistake != Mistake::LoadsAreNotSpoiled;
        }
    }

    fn apply(&mut self, order: &Order<usize>, mistake: Mistake) {
        match order {
            Order::Nothing => {}
            Order::Apply { changes, .. } => changes.iter().for_each(|key| self.bury(*key, mistake)),
            Order::Forget { .. } => self.lease = 0,
            Order::Begin { .. } => {
                if mistake != Mistake::KeepsWhatItHad {
                    (0..self.cached.len()).for_each(|key| self.spoil(key, mistake));
                }
            }
        }
    }
}

/// A moment of that tick.
fn moment(tick: u8) -> Moment {
    Moment::from_nanos(u64::from(tick) * TICK)
}

fn ticks(count: u8) -> Duration {
    Duration::from_nanos(u64::from(count) * TICK)
}

impl World {
    /// Whether this gateway would tell a request now, by what it remembers, that the key is good.
    pub fn accepts(&self, gateway: usize, key: usize) -> bool {
        let gateway = &self.gateways[gateway];
        gateway.cached[key] && moment(self.now).nanos() < gateway.lease
    }

    /// Begins a renewal. Of one that is under way the question or the answer is lost, or comes too late.
    pub fn ask(&mut self, gateway: usize) -> Option<()> {
        let now = moment(self.now);
        let gateway = &mut self.gateways[gateway];
        if matches!(gateway.renewal, Some(Renewal::Applied(_))) {
            return None;
        }
        gateway.renewal = Some(Renewal::Asked(gateway.follower.ask(now)));
        Some(())
    }

    /// The next part of a renewal: the store answers, the gateway hears and applies, the gateway extends.
    pub fn go_on(&mut self, index: usize, mistake: Mistake) -> Option<()> {
        let now = self.now;
        let gateway = &mut self.gateways[index];
        gateway.renewal = match gateway.renewal.take()? {
            Renewal::Asked(asked) => {
                let renewed = self.store.renew(index, &asked, now);
                Some(Renewal::Answered(asked, renewed))
            }
            Renewal::Answered(asked, renewed) => {
                if let Renewed::Joined { store, .. } = &renewed {
                    gateway.store = gateway.store.or(Some(*store));
                }
                let late = mistake == Mistake::CountsFromTheAnswer;
                let asked = if late { gateway.follower.ask(moment(now)) } else { asked };
                let heard = gateway.follower.hear(asked, renewed);
                if mistake == Mistake::ExtendsBeforeApplying {
                    let (until, _) = gateway.follower.clone().applied(heard.clone());
                    gateway.lease = until.map_or(gateway.lease, Moment::nanos);
                } else {
                    gateway.apply(&heard.order, mistake);
                }
                Some(Renewal::Applied(heard))
            }
            Renewal::Applied(heard) => {
                if mistake == Mistake::ExtendsBeforeApplying {
                    gateway.apply(&heard.order, mistake);
                }
                let (until, _) = gateway.follower.applied(heard);
                gateway.lease = until.map_or(gateway.lease, |until| until.nanos().max(gateway.lease));
                None
            }
        };
        Some(())
    }

    /// A request that is not answered by what is remembered looks its key up: the store is read, and later what
    /// was found is told and remembered. (News before the reading could only make the gateway more careful.)
    pub fn look_up(&mut self, index: usize, key: usize) -> Option<()> {
        let is_late = self.revocations[key] == Revocation::Confirmed;
        if self.accepts(index, key) {
            return None;
        }
        let gateway = &mut self.gateways[index];
        gateway.loads[key] = match gateway.loads[key] {
            None if gateway.graves[key] => return None,
            None => {
                let is_another = gateway.store.is_some_and(|store| store != u64::from(self.store.name));
                let record = &mut self.store.keys[key];
                if *record == Record::Missing && is_another {
                    return None;
                }
                // A key that the store does not know is good at its instance, and is adopted.
                if *record == Record::Missing {
                    *record = Record::Good;
                }
                Some(Load { is_late, spoiled: false, found_good: *record == Record::Good })
            }
            Some(Load { found_good, is_late, spoiled }) => {
                if found_good && !gateway.graves[key] {
                    self.accepted_late |= is_late;
                    gateway.cached[key] = !spoiled;
                }
                None
            }
        };
        Some(())
    }

    /// The revoker is told to revoke a key.
    pub fn revoke(&mut self, key: usize) -> Option<()> {
        if self.revocations[key] != Revocation::Not {
            return None;
        }
        let (at, call) = self.store.append(key);
        self.revocations[key] = Revocation::Waiting { at, call, appended: self.now, first: None };
        Some(())
    }

    /// It looks how far the others have come. With `copies`, the copy must have the revocation first.
    pub fn confirm(&mut self, key: usize, copies: bool, mistake: Mistake) -> Option<()> {
        let Revocation::Waiting { at, call, appended, first } = self.revocations[key] else {
            return None;
        };
        if copies {
            self.copy = self.store.clone();
        }
        if !self.store.holds(at, call) {
            self.revocations[key] = Revocation::Unconfirmed;
            return Some(());
        }
        let is_listed = self.known == self.store.name || mistake == Mistake::BelievesAnEmptiedStore;
        let steady = match self.reign {
            _ if !is_listed => Duration::ZERO,
            Some(since) if mistake != Mistake::TrustsANewServer => ticks(self.now - since),
            Some(_) | None => ticks(u8::MAX),
        };
        let waited = Waited { appended: ticks(self.now - appended), steady, term: ticks(TERM) };
        let listed = self.store.listed.iter().flatten();
        let replica = |&(come, _): &(u64, u8)| Replica {
            applied: EntryId { millis: come, number: 0 },
            term: ticks(TERM),
        };
        let replicas: Vec<_> = listed.map(replica).collect();
        let entry = EntryId { millis: at, number: 0 };
        let (first_looked, seen) = first.unwrap_or((self.now, self.store.listed));
        let is_late = |come: &Option<(u64, u8)>| come.is_some_and(|(come, _)| come < at);
        let waits_on = seen.iter().any(is_late) && self.now < first_looked + TERM;
        if judge(entry, &replicas, waited, Whom::Key) != Judgement::Everywhere
            || (self.store.listed.iter().any(is_late) && waits_on)
        {
            let first = Some((first_looked, seen));
            self.revocations[key] = Revocation::Waiting { at, call, appended, first };
            return Some(());
        }
        for (come, before) in self.store.listed.iter_mut().zip(&seen) {
            if is_late(come) && come == before {
                *come = None;
            }
        }
        self.revocations[key] = Revocation::Confirmed;
        Some(())
    }

    /// The revoker, who knows of a revocation which the store has lost, writes it again.
    pub fn write_again(&mut self, key: usize) -> Option<()> {
        let lost = self.revocations[key] != Revocation::Not && self.store.keys[key] != Record::Revoked;
        lost.then(|| {
            self.store.append(key);
        })
    }

    /// The store loses everything. Nobody is told.
    pub fn empty(&mut self) {
        self.store = Server::new(self.store.name + 1, self.store.life + 1, Record::Missing);
        self.copy = self.store.clone();
    }

    /// The revoker renews, and finds that the store was emptied.
    pub fn notice(&mut self) -> Option<()> {
        (self.known != self.store.name).then(|| {
            self.known = self.store.name;
            self.reign = Some(self.now);
        })
    }

    /// The copy takes over.
    pub fn fail_over(&mut self) {
        let life = self.store.life + 1;
        self.store = Server { life, ..self.copy.clone() };
        self.copy = self.store.clone();
        self.reign = Some(self.now);
    }

    /// A gateway is killed, and starts again.
    pub fn kill(&mut self, gateway: usize) {
        self.gateways[gateway] = Gateway::new(false);
    }
}

/// How it begins: every key is good, and nobody remembers any. `known`: the gateways have met the store before.
/// (One that meets an emptied store first cannot know that it is one.)
pub fn beginning(faults: u8, known: bool) -> World {
    let store = Server::new(0, 1, Record::Good);
    World {
        now: 0,
        copy: store.clone(),
        store,
        reign: None,
        known: 0,
        gateways: [Gateway::new(known), Gateway::new(known)],
        revocations: [Revocation::Not; MOST_KEYS],
        faults,
        accepted_late: false,
    }
}
