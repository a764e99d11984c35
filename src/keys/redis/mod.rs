//! The shared key store: a Redis server that several gateways can use.
//!
//! Records, indexes, lists and last uses are entries of their own, so that noting a use never touches a
//! record. What must be one step is one script. Every operation can be repeated without harm, which is what
//! lets the connection try again. What others remember is told to them by the change log.

mod blocks;
mod chain;
mod count;
mod errands;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod link;
mod listing;
mod log;
mod names;
mod news;
mod portion;
mod probe;
mod records;
mod retention;
mod survey;
mod usage;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::redis::pipe;

use self::chain::Chain;
use self::link::Link;
use self::log::Log;
use self::names::Names;
use super::audit::{self, Event, Head, Trim};
use super::block::{Block, Subject};
use super::change::Change;
use super::errand::{Errand, Settled};
use super::lease::{Asked, Position, Renewed};
use super::store::{
    Answer, Concern, Confirmation, Counted, KeyStore, Learned, Ledger, Revoked, StoreError, Use,
};
use super::{
    Admission, Amended, Amendment, Cursor, Day, Ending, KeyHash, KeyRecord, Page, Query, Rate, Servers,
};
use crate::observe::Metrics;

/// The Redis key store.
pub(super) struct RedisStore {
    link: Arc<Link>,
    names: Names,
    chain: Chain,
    log: Arc<Log>,
}

impl RedisStore {
    /// Connects to nothing yet.
    pub(super) fn new(
        servers: &Servers,
        namespace: &str,
        timeout: Duration,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let link = Arc::new(Link::new(servers, timeout, metrics)?);
        let log = Arc::new(Log::new(&link, timeout));
        Ok(Self { link, names: Names::new(namespace), chain: Chain::new(), log })
    }
}

impl KeyStore for RedisStore {
    fn find<'a>(&'a self, instance: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
        Box::pin(self.record_of(instance, hash))
    }

    fn learn<'a>(&'a self, record: &'a KeyRecord, terms: Admission<'a>) -> Answer<'a, Learned> {
        Box::pin(self.take_in(record, terms))
    }

    fn revoke<'a>(&'a self, ending: Ending<'a>) -> Answer<'a, Revoked> {
        Box::pin(self.bury(ending))
    }

    fn is_blocked<'a>(&'a self, instance: &'a str, subject: &'a Subject) -> Answer<'a, bool> {
        Box::pin(self.refuses(instance, subject))
    }

    fn note_used<'a>(&'a self, replica: &'a str, uses: &'a [Use]) -> Answer<'a, ()> {
        Box::pin(self.advance(replica, uses))
    }

    fn count<'a>(&'a self, name: &'a str, rate: Rate) -> Answer<'a, Counted> {
        Box::pin(self.count_one(name, rate))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut pipeline = pipe();
            // It changes nothing, but is refused wherever a revocation could not be written.
            pipeline.cmd("SET").arg(self.names.pulse()).arg(1).arg("XX").ignore();
            self.link.run(&pipeline).await
        })
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(self.try_everything())
    }

    fn survey(&self) -> Answer<'_, Vec<Concern>> {
        Box::pin(self.look_around())
    }
}

impl Ledger for RedisStore {
    fn learn_all<'a>(&'a self, records: &'a [(KeyRecord, Event)]) -> Answer<'a, Vec<Learned>> {
        Box::pin(self.take_in_all(records))
    }

    fn foresee<'a>(&'a self, records: &'a [(KeyRecord, Event)]) -> Answer<'a, Vec<Learned>> {
        Box::pin(self.foretell(records))
    }

    fn with_id<'a>(&'a self, instance: &'a str, id: &'a str) -> Answer<'a, Vec<KeyRecord>> {
        Box::pin(self.with_that_id(instance, id))
    }

    fn list<'a>(&'a self, query: &'a Query, now: SystemTime) -> Answer<'a, Page> {
        Box::pin(self.page(query, now))
    }

    fn amend<'a>(&'a self, amendment: Amendment<'a>) -> Answer<'a, Amended> {
        Box::pin(self.amend_policy(amendment))
    }

    fn with_days<'a>(&'a self, keys: &'a [KeyRecord]) -> Answer<'a, Vec<(KeyRecord, Vec<Day>)>> {
        Box::pin(self.records_with_days(keys))
    }

    fn block<'a>(&'a self, block: &'a Block, event: &'a Event) -> Answer<'a, Position> {
        Box::pin(self.refuse(block, event))
    }

    fn unblock<'a>(&'a self, instance: &'a str, subject: &'a Subject, event: &'a Event) -> Answer<'a, bool> {
        Box::pin(self.accept(instance, subject, event))
    }

    fn blocks(&self, now: SystemTime) -> Answer<'_, Vec<Block>> {
        Box::pin(self.all_blocks(now))
    }

    fn schedule<'a>(&'a self, errand: &'a Errand) -> Answer<'a, ()> {
        Box::pin(self.take_on(errand))
    }

    fn due(&self, now: SystemTime, until: SystemTime, most: usize) -> Answer<'_, Vec<Errand>> {
        Box::pin(self.claim(now, until, most))
    }

    fn settle<'a>(&'a self, errand: &'a Errand, settled: &'a Settled) -> Answer<'a, ()> {
        Box::pin(self.note(errand, settled))
    }

    fn errands_of<'a>(&'a self, instance: &'a str, key_id: &'a str) -> Answer<'a, Vec<Errand>> {
        Box::pin(self.errands(instance, key_id))
    }

    fn record<'a>(&'a self, event: &'a Event) -> Answer<'a, ()> {
        Box::pin(self.add_event(event))
    }

    fn links(&self, after: u64, most: usize) -> Answer<'_, Vec<audit::Link>> {
        Box::pin(self.links_after(after, most))
    }

    fn head(&self) -> Answer<'_, Head> {
        Box::pin(self.end())
    }

    fn renew<'a>(
        &'a self,
        replica: &'a str,
        term: Duration,
        asked: &'a Asked,
    ) -> Answer<'a, Renewed<Change>> {
        Box::pin(self.renewed(replica, term, asked))
    }

    fn changed<'a>(&'a self, after: &'a Position, limit: Duration) -> Answer<'a, ()> {
        Box::pin(self.wait_for_change(after, limit))
    }

    fn leave<'a>(&'a self, replica: &'a str) -> Answer<'a, ()> {
        Box::pin(self.gone(replica))
    }

    fn rewritten<'a>(&'a self, replica: &'a str) -> Answer<'a, bool> {
        Box::pin(self.is_rewritten(replica))
    }

    fn confirm<'a>(&'a self, confirmation: Confirmation<'a>) -> Answer<'a, bool> {
        Box::pin(self.has_spread(confirmation))
    }

    fn base(&self) -> Answer<'_, Head> {
        Box::pin(self.beginning())
    }

    fn trim<'a>(&'a self, trim: &'a Trim) -> Answer<'a, bool> {
        Box::pin(self.take_off(trim))
    }

    fn forget_days<'a>(
        &'a self,
        before: u32,
        after: Option<&'a Cursor>,
        most: usize,
    ) -> Answer<'a, Option<Cursor>> {
        Box::pin(self.drop_days(before, after, most))
    }

    fn forget_errands(&self, before: SystemTime, most: usize) -> Answer<'_, usize> {
        Box::pin(self.drop_errands(before, most))
    }
}
