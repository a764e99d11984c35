//! The embedded key store: an SQLite file of this process alone.
//!
//! SQLite blocks, so it has a thread of its own; what is asked of it goes there over a bounded queue, and
//! the answer comes back to whoever waits. A write whose asker has left is still done. Every write is on
//! the disk before it is answered. Dropping the store does what is queued, then ends the thread.

mod file;
mod rows;

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::store::{Answer, KeyStore, Learned, StoreError, Use};
use super::{KeyHash, KeyRecord, Revocation};

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

    fn learn<'a>(&'a self, record: &'a KeyRecord) -> Answer<'a, Learned> {
        let record = record.clone();
        self.ask(move |db| rows::learn(db, &record))
    }

    fn revoke<'a>(
        &'a self,
        instance: &'a str,
        id: &'a str,
        revocation: Revocation,
    ) -> Answer<'a, Option<KeyHash>> {
        let (instance, id) = (instance.to_owned(), id.to_owned());
        self.ask(move |db| rows::revoke(db, &instance, &id, revocation))
    }

    fn note_used<'a>(&'a self, uses: &'a [Use]) -> Answer<'a, ()> {
        let uses = uses.to_vec();
        self.ask(move |db| rows::note_used(db, &uses))
    }

    fn ping(&self) -> Answer<'_, ()> {
        self.ask(|db| rows::ping(db))
    }

    fn probe(&self) -> Answer<'_, ()> {
        self.ask(rows::probe)
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
