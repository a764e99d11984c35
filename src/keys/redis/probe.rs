//! Tries everything that the gateway will do in Redis, with a key that nobody has, and takes it away again.
//!
//! All of it has names of its own: real lists and the real audit chain never hear of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::redis::pipe;

use super::super::audit::{Action, Actor, Event, Head, Trim};
use super::super::block::{Block, Subject};
use super::super::errand::{State, Task};
use super::super::lease::{Follower, Moment, Renewed, Whom};
use super::super::store::{Admission, Amendment, Confirmation, Counted, Day, Ending, StoreError, Use};
use super::super::{AddressFamily, Issuer, KeyHash, KeyRecord, Policy, Query, Rate, Revocation, RevokedBy};
use super::RedisStore;
use super::chain::Chain;

/// No instance is called that: names have no spaces.
const INSTANCE: &str = " probe";

/// A try, at a moment.
struct Trial {
    store: RedisStore,
    record: KeyRecord,
    event: Event,
    now: SystemTime,
}

impl RedisStore {
    pub(super) async fn try_everything(&self) -> Result<(), StoreError> {
        let (now, hash) = (SystemTime::now(), KeyHash::from(rand::random::<[u8; 32]>()));
        let names = self.names.apart(&format!("probe:{hash}"));
        let (link, log) = (Arc::clone(&self.link), Arc::clone(&self.log));
        let store = Self { link, names, chain: Chain::new(), log };
        let event = Event::new(now, &Actor::gateway(), Action::KeyLearned);
        let trial = Trial { store, record: record(hash), event, now };
        let tried = trial.run().await;
        tried.and(trial.clean_up().await)
    }
}

impl Trial {
    async fn run(&self) -> Result<(), StoreError> {
        let kept = self.keeps_a_key().await?
            && self.lists_a_key().await?
            && self.ends_a_key().await?
            && self.keeps_a_block().await?
            && self.keeps_the_chain().await?
            && self.keeps_the_log().await?;
        let wrong = || StoreError::Refused("it does not keep what is written to it".to_owned());
        if kept { Ok(()) } else { Err(wrong()) }
    }

    async fn keeps_a_key(&self) -> Result<bool, StoreError> {
        let Self { store, record, event, now } = self;
        store.take_in(record, Admission { most: Some(1), event }).await?;
        let (instance, over) = (record.instance.clone(), AddressFamily::Ipv6);
        let used = Use { instance, hash: record.hash, at: *now, over, count: 1 };
        // Twice, since only from the second on is the script called by its digest.
        store.advance("probe", &[used.clone(), used]).await?;
        let found = store.records_with_days(std::slice::from_ref(record)).await?;
        let counted = store.count_one("probe", Rate::per_second(NonZeroU32::MIN)).await?;
        let is_counted = matches!(counted, Counted::Within { remaining: 0, .. });
        let is_noted =
            |(found, days): &(KeyRecord, Vec<Day>)| found.last_used_over == Some(over) && days.len() == 1;
        Ok(is_counted && found.len() == 1 && found.iter().all(is_noted))
    }

    async fn lists_a_key(&self) -> Result<bool, StoreError> {
        let Self { store, record, event, now } = self;
        let since = *now + Duration::from_secs(1);
        let query = Query { unused_since: Some(since), limit: 1, ..Query::default() };
        let page = store.page(&query, *now).await?;
        let with_id = store.with_that_id(INSTANCE, &record.id).await?;
        let to = Policy { disabled: true, ..Policy::default() };
        let (hash, from) = (&record.hash, &record.policy);
        store.amend_policy(Amendment { instance: INSTANCE, hash, from, to: &to, event }).await?;
        let found = store.record_of(INSTANCE, hash).await?;
        Ok(page.records.len() == 1 && with_id.len() == 1 && found.is_some_and(|found| found.policy == to))
    }

    async fn ends_a_key(&self) -> Result<bool, StoreError> {
        let Self { store, record, event, now } = self;
        let revocation = &Revocation::new(*now, RevokedBy::Operator);
        let ending = Ending { instance: INSTANCE, id: &record.id, revocation, tell: true, event };
        let hashes = store.bury(ending).await?.hashes;
        let errands = store.claim(*now, *now, 1).await?;
        for errand in &errands {
            store.note(errand, &errand.again(*now, "")).await?;
            store.note(errand, &errand.done(*now)).await?;
            store.take_on(errand).await?;
        }
        let told = store.errands(INSTANCE, &record.id).await?;
        Ok(hashes == [record.hash] && told.iter().any(|errand| errand.state == State::Pending))
    }

    async fn keeps_a_block(&self) -> Result<bool, StoreError> {
        let Self { store, event, now, .. } = self;
        let subject = Subject::User(String::new());
        let block =
            |subject, until| Block { instance: INSTANCE.to_owned(), subject, at: *now, until, why: None };
        store.refuse(&block(subject.clone(), None), event).await?;
        store.refuse(&block(Subject::Session([0; 32]), Some(*now)), event).await?;
        let blocks = store.all_blocks(*now).await?;
        let is_blocked = store.refuses(INSTANCE, &subject).await?;
        Ok(blocks.len() == 1 && is_blocked && store.accept(INSTANCE, &subject, event).await?)
    }

    async fn keeps_the_chain(&self) -> Result<bool, StoreError> {
        self.store.add_event(&self.event).await?;
        let (links, end) = (self.store.links_after(0, 100).await?, self.store.end().await?);
        let is_whole = links.last().is_some_and(|link| link.hash == end.hash);
        self.store.take_off(&Trim::new(Head::start(), end.clone(), self.now)).await?;
        let left = self.store.links_after(0, 100).await?.len();
        Ok(is_whole && left == 1 && self.store.beginning().await? == end)
    }

    async fn keeps_the_log(&self) -> Result<bool, StoreError> {
        let Self { store, event, .. } = self;
        let (replica, term, moment) = ("probe", Duration::from_millis(20), Moment::now());
        let mut follower = Follower::new(term);
        let asked = follower.ask(moment);
        let joined = store.renewed(replica, term, &asked).await?;
        let heard = follower.hear(asked, joined);
        let _ = follower.applied(heard);
        let subject = Subject::User(String::new());
        let block = Block { instance: INSTANCE.to_owned(), subject, at: self.now, until: None, why: None };
        let position = &store.refuse(&block, event).await?;
        let before = follower.ask(moment);
        store.wait_for_change(&before.position.unwrap_or_default(), Duration::from_millis(1)).await?;
        let renewed = store.renewed(replica, term, &before).await?;
        let one = matches!(&renewed, Renewed::Follows { entries, .. } if entries.len() == 1);
        // It has not said so yet: its lease is waited for, and then it itself no more.
        let (appended, whom, copies) = (Moment::now(), Whom::Key, 0);
        let confirmation =
            Confirmation { position, appended, replica, following_since: None, term, whom, copies };
        let confirmed = store.has_spread(confirmation).await?;
        let rewritten = store.is_rewritten(replica).await?;
        store.gone(replica).await?;
        Ok(one && confirmed && rewritten)
    }

    async fn clean_up(&self) -> Result<(), StoreError> {
        let (names, record) = (&self.store.names, &self.record);
        let mut pipeline = pipe();
        pipeline.cmd("DEL").arg(&names.chain()).arg(&names.log()).arg(names.rewritten());
        pipeline.arg(names.key(INSTANCE, &record.hash)).arg(names.id(INSTANCE, &record.id));
        pipeline.arg(names.usage(INSTANCE, &record.hash)).arg(names.days(INSTANCE, &record.hash));
        pipeline.arg(names.list()).arg(names.list_of(&record.user_id)).arg(names.good());
        pipeline.arg(names.errand(INSTANCE, &record.id, Task::Tell)).arg(names.due()).arg(names.blocks());
        pipeline.arg(names.bucket("probe")).arg(names.over()).arg(names.trimmed());
        self.store.link.run(pipeline.ignore()).await
    }
}

fn record(hash: KeyHash) -> KeyRecord {
    KeyRecord {
        hash,
        id: hash.to_string(),
        instance: INSTANCE.into(),
        user_id: String::new(),
        user_email: None,
        name: String::new(),
        prefix: String::new(),
        issuer: Issuer::Openbin,
        created_at: None,
        last_used_at: None,
        last_used_over: None,
        policy: Policy::default(),
        revoked: None,
    }
}
