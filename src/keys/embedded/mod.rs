//! The embedded key store: an SQLite file of this process alone.
//!
//! SQLite blocks, so it has a thread of its own; what is asked of it goes there over a bounded queue, and
//! the answer comes back to whoever waits. A write whose asker has left is still done. Every write is on
//! the disk before it is answered. Dropping the store does what is queued, then ends the thread.

mod blocks;
mod chain;
mod errands;
mod file;
mod listing;
mod retention;
mod rows;

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::audit::{Event, Head, Link, Trim};
use super::block::{Block, Subject};
use super::change::Change;
use super::errand::{Errand, Settled};
use super::lease::{Asked, Position, Renewed};
use super::query::{Gathering, KEYS_WITH_DAYS};
use super::store::{Answer, Confirmation, KeyStore, Learned, Ledger, Revoked, StoreError, Use};
use super::{Admission, Amended, Amendment, Cursor, Day, Ending, KeyHash, KeyRecord, Page, Query};

/// Beyond this many questions, the askers wait for room.
const QUEUE: usize = 1_024;
/// A disk that takes longer has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The embedded key store.
pub(super) struct Embedded {
    /// `None` only while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the file, or makes it.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (opened, ready) = oneshot::channel();
        let path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("key-store".to_owned())
            .spawn(move || match file::File::open(&path) {
                Ok(file) => {
                    let _ = opened.send(Ok(()));
                    work(file, queue);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .map_err(|error| StoreError::Unusable(format!("its thread cannot be started: {error}")))?;
        ready.await.map_err(|_| ended())??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn ask<'a, T, W>(&'a self, work: W) -> Answer<'a, T>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let job: Job = Box::new(move |connection| {
                let _ = reply.send(work(connection));
            });
            let exchange = async {
                let jobs = self.jobs.as_ref().ok_or_else(ended)?;
                jobs.send(job).await.map_err(|_| ended())?;
                answer.await.map_err(|_| ended())
            };
            let answer = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
            answer.map_err(|_| StoreError::Timeout)??.map_err(file::refused)
        })
    }
}

impl KeyStore for Embedded {
    fn find<'a>(&'a self, instance: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
        let (instance, hash) = (instance.to_owned(), *hash);
        self.ask(move |db| rows::find(db, &instance, &hash))
    }

    fn learn<'a>(&'a self, record: &'a KeyRecord, terms: Admission<'a>) -> Answer<'a, Learned> {
        let (record, most, event) = (record.clone(), terms.most, terms.event.clone());
        self.ask(move |db| rows::learn(db, &record, Admission { most, event: &event }))
    }

    fn revoke<'a>(&'a self, ending: Ending<'a>) -> Answer<'a, Revoked> {
        let (instance, id) = (ending.instance.to_owned(), ending.id.to_owned());
        let (revocation, event, tell) = (ending.revocation.clone(), ending.event.clone(), ending.tell);
        self.ask(move |db| {
            let (revocation, event) = (&revocation, &event);
            let ending = Ending { instance: &instance, id: &id, revocation, tell, event };
            let hashes = rows::revoke(db, ending)?;
            Ok(Revoked { hashes, position: Position::default() })
        })
    }

    fn is_blocked<'a>(&'a self, instance: &'a str, subject: &'a Subject) -> Answer<'a, bool> {
        let (instance, subject) = (instance.to_owned(), subject.clone());
        self.ask(move |db| blocks::has(db, &instance, &subject))
    }

    fn note_used<'a>(&'a self, replica: &'a str, uses: &'a [Use]) -> Answer<'a, ()> {
        let (replica, uses) = (replica.to_owned(), uses.to_vec());
        self.ask(move |db| rows::note_used(db, &replica, &uses))
    }

    fn ping(&self) -> Answer<'_, ()> {
        self.ask(|db| rows::ping(db))
    }

    fn probe(&self) -> Answer<'_, ()> {
        self.ask(rows::probe)
    }
}

impl Ledger for Embedded {
    fn learn_all<'a>(&'a self, records: &'a [(KeyRecord, Event)]) -> Answer<'a, Vec<Learned>> {
        let records = records.to_vec();
        self.ask(move |db| rows::learn_all(db, &records))
    }

    fn foresee<'a>(&'a self, records: &'a [(KeyRecord, Event)]) -> Answer<'a, Vec<Learned>> {
        let records = records.to_vec();
        self.ask(move |db| rows::foresee(db, &records))
    }

    fn with_id<'a>(&'a self, instance: &'a str, id: &'a str) -> Answer<'a, Vec<KeyRecord>> {
        let (instance, id) = (instance.to_owned(), id.to_owned());
        self.ask(move |db| listing::with_id(db, &instance, &id))
    }

    fn list<'a>(&'a self, query: &'a Query, now: SystemTime) -> Answer<'a, Page> {
        Box::pin(async move {
            let mut gathering = Gathering::new(query, now);
            loop {
                let (query, after, wanted) = (query.clone(), gathering.rest.clone(), gathering.wanted);
                let stretch =
                    self.ask(move |db| listing::stretch(db, &query, after.as_ref(), wanted)).await?;
                if gathering.take(stretch) {
                    return Ok(gathering.page);
                }
            }
        })
    }

    fn amend<'a>(&'a self, amendment: Amendment<'a>) -> Answer<'a, Amended> {
        let (instance, hash) = (amendment.instance.to_owned(), *amendment.hash);
        let (from, to) = (amendment.from.clone(), amendment.to.clone());
        let event = amendment.event.clone();
        self.ask(move |db| {
            let (from, to, event) = (&from, &to, &event);
            rows::amend(db, Amendment { instance: &instance, hash: &hash, from, to, event })
        })
    }

    fn with_days<'a>(&'a self, keys: &'a [KeyRecord]) -> Answer<'a, Vec<(KeyRecord, Vec<Day>)>> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(keys.len());
            for keys in keys.chunks(KEYS_WITH_DAYS) {
                let keys: Vec<_> = keys.iter().map(|key| (Arc::clone(&key.instance), key.hash)).collect();
                all.extend(self.ask(move |db| listing::with_days(db, &keys)).await?);
            }
            Ok(all)
        })
    }

    fn block<'a>(&'a self, block: &'a Block, event: &'a Event) -> Answer<'a, Position> {
        let (block, event) = (block.clone(), event.clone());
        self.ask(move |db| blocks::block(db, &block, &event).map(|()| Position::default()))
    }

    fn unblock<'a>(&'a self, instance: &'a str, subject: &'a Subject, event: &'a Event) -> Answer<'a, bool> {
        let (instance, subject, event) = (instance.to_owned(), subject.clone(), event.clone());
        self.ask(move |db| blocks::unblock(db, &instance, &subject, &event))
    }

    fn blocks(&self, now: SystemTime) -> Answer<'_, Vec<Block>> {
        self.ask(move |db| blocks::all(db, now))
    }

    fn schedule<'a>(&'a self, errand: &'a Errand) -> Answer<'a, ()> {
        let errand = errand.clone();
        self.ask(move |db| errands::put(db, &errand))
    }

    fn due(&self, now: SystemTime, until: SystemTime, most: usize) -> Answer<'_, Vec<Errand>> {
        self.ask(move |db| errands::due(db, now, until, most))
    }

    fn settle<'a>(&'a self, errand: &'a Errand, settled: &'a Settled) -> Answer<'a, ()> {
        let (errand, settled) = (errand.clone(), settled.clone());
        self.ask(move |db| errands::settle(db, &errand, &settled))
    }

    fn errands_of<'a>(&'a self, instance: &'a str, key_id: &'a str) -> Answer<'a, Vec<Errand>> {
        let (instance, key_id) = (instance.to_owned(), key_id.to_owned());
        self.ask(move |db| errands::of_key(db, &instance, &key_id))
    }

    fn record<'a>(&'a self, event: &'a Event) -> Answer<'a, ()> {
        let event = event.clone();
        self.ask(move |db| {
            let transaction = db.transaction()?;
            chain::add(&transaction, &event)?;
            transaction.commit()
        })
    }

    fn links(&self, after: u64, most: usize) -> Answer<'_, Vec<Link>> {
        self.ask(move |db| chain::links(db, after, most))
    }

    fn head(&self) -> Answer<'_, Head> {
        self.ask(|db| chain::head(db))
    }

    fn renew<'a>(&'a self, _: &'a str, _: Duration, _: &'a Asked) -> Answer<'a, Renewed<Change>> {
        Box::pin(ready(Ok(Renewed::Alone)))
    }

    fn changed<'a>(&'a self, _: &'a Position, limit: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            tokio::time::sleep(limit).await;
            Ok(())
        })
    }

    fn leave<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn rewritten<'a>(&'a self, _: &'a str) -> Answer<'a, bool> {
        Box::pin(ready(Ok(true)))
    }

    /// Nobody else has the file open.
    fn confirm<'a>(&'a self, _: Confirmation<'a>) -> Answer<'a, bool> {
        Box::pin(ready(Ok(true)))
    }

    fn base(&self) -> Answer<'_, Head> {
        self.ask(|db| chain::base(db))
    }

    fn trim<'a>(&'a self, trim: &'a Trim) -> Answer<'a, bool> {
        let trim = trim.clone();
        self.ask(move |db| retention::trim(db, &trim))
    }

    fn forget_days<'a>(
        &'a self,
        before: u32,
        after: Option<&'a Cursor>,
        most: usize,
    ) -> Answer<'a, Option<Cursor>> {
        let after = after.cloned();
        self.ask(move |db| retention::forget_days(db, before, after.as_ref(), most))
    }

    fn forget_errands(&self, before: SystemTime, most: usize) -> Answer<'_, usize> {
        self.ask(move |db| retention::forget_errands(db, before, most))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported, and there is nothing left to do about it.
            let _ = thread.join();
        }
    }
}

fn work(mut file: file::File, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(file.connection());
    }
}

fn ended() -> StoreError {
    StoreError::Unreachable("its thread has ended".to_owned())
}
