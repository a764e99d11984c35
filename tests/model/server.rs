//! The store of the small world: what Redis' scripts do, one step each.

use openbin_gateway::keys::lease::{Asked, EntryId, Position, Renewed};

use super::world::{GATEWAYS, MOST_KEYS};

/// The server that everybody asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// The store's name, made when it was first used.
    pub name: u8,
    /// Sets calls on different servers apart.
    pub life: u8,
    pub log: Vec<Entry>,
    pub keys: [Record; MOST_KEYS],
    /// How far each gateway said that it had come, and when.
    pub listed: Listed,
}

/// Of each gateway: how far, and at which tick.
pub type Listed = [Option<(u64, u8)>; GATEWAYS];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub key: usize,
    pub call: u8,
}

/// What the store holds of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    Missing,
    Good,
    Revoked,
}

impl Server {
    pub fn new(name: u8, life: u8, record: Record) -> Self {
        Self { name, life, log: Vec::new(), keys: [record; MOST_KEYS], listed: [None; GATEWAYS] }
    }

    pub fn place(&self, count: u64) -> Position {
        let entry = usize::try_from(count).ok().and_then(|count| self.log.get(count.checked_sub(1)?));
        let call = entry.map(|entry| u64::from(entry.call)).unwrap_or_default();
        Position { id: EntryId { millis: count, number: 0 }, call }
    }

    pub fn end(&self) -> u64 {
        self.log.len() as u64
    }

    pub fn append(&mut self, key: usize) -> (u64, u8) {
        self.keys[key] = Record::Revoked;
        self.log.push(Entry { key, call: self.life });
        (self.end(), self.life)
    }

    pub fn holds(&self, at: u64, call: u8) -> bool {
        at > 0 && self.place(at).call == u64::from(call)
    }

    /// What `renew.lua` does.
    pub fn renew(&mut self, gateway: usize, asked: &Asked, now: u8) -> Renewed<usize> {
        let Some(position) = &asked.position else {
            // Only its next call says that it has taken over what is refused here.
            self.listed[gateway] = Some((0, now));
            return Renewed::Joined { store: self.name.into(), last: self.place(self.end()) };
        };
        let at = position.id.millis;
        let same = if at == 0 {
            asked.store == Some(self.name.into())
        } else {
            at <= self.end() && self.place(at) == *position
        };
        if !same {
            return Renewed::Lost { trimmed: false };
        }
        self.listed[gateway] = Some((at, now));
        let entries = (at + 1..=self.end()).map(|at| (self.place(at), self.log[at as usize - 1].key));
        Renewed::Follows { entries: entries.collect(), more: false }
    }
}
