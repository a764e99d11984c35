//! The shared key store: a Redis server that several gateways can use.
//!
//! Records, the index by id and last uses are entries of their own, so that noting a use never touches a
//! record. What must be one step is one script; every name that a script touches is passed as a key. Every
//! operation can be repeated without harm, which is what lets the connection try again. Revocations reach
//! other gateways when their cached verdicts age out: telling them at once is not done here.

mod link;
mod records;

use std::time::{Duration, SystemTime};

use ::redis::{Pipeline, pipe};

use self::link::Link;
use self::records::{Fields, Names};
use super::store::{Answer, KeyStore, Learned, StoreError, Use, millis};
use super::{Issuer, KeyHash, KeyRecord, RedisUrl, Revocation, RevokedBy};

const LEARN: &str = include_str!("learn.lua");
const REVOKE: &str = include_str!("revoke.lua");
const NOTE_USED: &str = include_str!("note_used.lua");
/// One pipeline holds so many uses, to be done well within the time that an answer may take.
const USES_AT_ONCE: usize = 1_000;
/// How often a revocation is tried while keys with its id are being learned.
const REVOKE_TRIES: usize = 16;
/// A probe's entries go away by themselves, should the gateway die between writing and deleting them.
const PROBE_LIVES: Duration = Duration::from_secs(60);

/// The Redis key store.
pub(super) struct RedisStore {
    link: Link,
    names: Names,
}

impl RedisStore {
    /// Takes the URL apart, and connects to nothing yet.
    pub(super) fn new(url: &RedisUrl, namespace: &str, timeout: Duration) -> Result<Self, StoreError> {
        Ok(Self { link: Link::new(url, timeout)?, names: Names::new(namespace) })
    }

    async fn record(&self, instance: &str, hash: &KeyHash) -> Result<Option<KeyRecord>, StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("HGETALL").arg(self.names.key(instance, hash));
        pipeline.cmd("GET").arg(self.names.usage(instance, hash));
        let (fields, used): (Fields, Option<String>) = self.link.run(&pipeline).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        records::read(instance, hash, &fields, used.as_deref()).map(Some)
    }

    async fn write(&self, record: &KeyRecord) -> Result<Learned, StoreError> {
        let (instance, hash) = (&*record.instance, &record.hash);
        let names = [
            self.names.key(instance, hash),
            self.names.id(instance, &record.id),
            self.names.usage(instance, hash),
        ];
        let mut pipeline = script(LEARN, &names);
        pipeline.arg(records::indexed(hash)).arg(records::fields(record));
        let ((outcome, fields, used),): ((String, Fields, Option<String>),) =
            self.link.run(&pipeline).await?;
        match outcome.as_str() {
            "written" => Ok(Learned::Written),
            "revoked" => Ok(Learned::Revoked),
            _ => records::read(instance, hash, &fields, used.as_deref()).map(Learned::Known),
        }
    }

    /// A script cannot look for the records to mark, since their names must be given to it: so they are
    /// read first, and the script does nothing where one has been added since.
    async fn bury(
        &self,
        instance: &str,
        id: &str,
        revocation: Revocation,
    ) -> Result<Option<KeyHash>, StoreError> {
        let index = self.names.id(instance, id);
        for _ in 0..REVOKE_TRIES {
            let mut pipeline = pipe();
            pipeline.cmd("HKEYS").arg(&index);
            let (indexed,): (Vec<String>,) = self.link.run(&pipeline).await?;
            let hashes = records::hashes(&index, &indexed)?;
            let mut names = vec![index.clone()];
            names.extend(hashes.iter().map(|hash| self.names.key(instance, hash)));
            let mut pipeline = script(REVOKE, &names);
            pipeline.arg(millis(revocation.at)).arg(revocation.by.as_str());
            let (done,): (bool,) = self.link.run(&pipeline).await?;
            if done {
                return Ok(hashes.first().copied());
            }
        }
        Err(StoreError::Refused("keys with this id are being written all the time".to_owned()))
    }

    async fn advance(&self, uses: &[Use]) -> Result<(), StoreError> {
        let digest = ::redis::Script::new(NOTE_USED);
        for uses in uses.chunks(USES_AT_ONCE) {
            let mut pipeline = pipe();
            for (place, used) in uses.iter().enumerate() {
                // The first brings the script, the others call it by its digest.
                match place {
                    0 => pipeline.cmd("EVAL").arg(NOTE_USED),
                    _ => pipeline.cmd("EVALSHA").arg(digest.get_hash()),
                };
                pipeline.arg(2).arg(self.names.key(&used.instance, &used.hash));
                pipeline.arg(self.names.usage(&used.instance, &used.hash)).arg(millis(used.at)).ignore();
            }
            let () = self.link.run(&pipeline).await?;
        }
        Ok(())
    }

    /// Everything that the gateway will do, once, with a key that nobody has.
    async fn try_everything(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let wrong = || StoreError::Refused("it does not keep what is written to it".to_owned());
        let (instance, hash) = (&*record.instance, &record.hash);
        self.write(record).await?;
        let used = Use {
            instance: record.instance.clone(),
            hash: *hash,
            at: SystemTime::now(),
            over: super::AddressFamily::Ipv4,
            count: 1,
        };
        // Twice, since only from the second on is the script called by its digest.
        self.advance(&[used.clone(), used]).await?;
        let found = self.record(instance, hash).await?.ok_or_else(wrong)?;
        if found.id != record.id || found.last_used_at.is_none() {
            return Err(wrong());
        }
        let revocation = Revocation::new(SystemTime::now(), RevokedBy::Operator);
        let revoked = self.bury(instance, &record.id, revocation).await?;
        if revoked == Some(*hash) { Ok(()) } else { Err(wrong()) }
    }

    async fn clean_up(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let (instance, hash) = (&*record.instance, &record.hash);
        let mut pipeline = pipe();
        for name in [
            self.names.key(instance, hash),
            self.names.id(instance, &record.id),
            self.names.usage(instance, hash),
        ] {
            pipeline.cmd("PEXPIRE").arg(&name).arg(records::whole_millis(PROBE_LIVES)).ignore();
            pipeline.cmd("DEL").arg(&name).ignore();
        }
        self.link.run(&pipeline).await
    }
}

impl KeyStore for RedisStore {
    fn find<'a>(&'a self, instance: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
        Box::pin(self.record(instance, hash))
    }

    fn learn<'a>(&'a self, record: &'a KeyRecord, _: super::Admission<'a>) -> Answer<'a, Learned> {
        Box::pin(self.write(record))
    }

    fn revoke<'a>(&'a self, ending: super::Ending<'a>) -> Answer<'a, Vec<KeyHash>> {
        Box::pin(async move {
            Ok(self.bury(ending.instance, ending.id, ending.revocation.clone()).await?.into_iter().collect())
        })
    }

    fn note_used<'a>(&'a self, _: &'a str, uses: &'a [Use]) -> Answer<'a, ()> {
        Box::pin(self.advance(uses))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut pipeline = pipe();
            pipeline.cmd("PING").ignore();
            self.link.run(&pipeline).await
        })
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let hash = KeyHash::from(rand::random::<[u8; 32]>());
            let record = probe_record(hash);
            let tried = self.try_everything(&record).await;
            let cleaned = self.clean_up(&record).await;
            tried.and(cleaned)
        })
    }
}

/// A call of a script, still without its arguments.
fn script(code: &str, names: &[String]) -> Pipeline {
    let mut pipeline = pipe();
    pipeline.cmd("EVAL").arg(code).arg(names.len()).arg(names);
    pipeline
}

fn probe_record(hash: KeyHash) -> KeyRecord {
    KeyRecord {
        hash,
        id: hash.to_string(),
        // No instance is called that: names have no spaces.
        instance: " probe".into(),
        user_id: String::new(),
        user_email: None,
        name: String::new(),
        prefix: String::new(),
        issuer: Issuer::Gateway,
        created_at: None,
        last_used_at: None,
        last_used_over: None,
        policy: super::Policy::default(),
        revoked: None,
    }
}
impl super::Ledger for RedisStore {
    fn with_id<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Vec<KeyRecord>> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn list<'a>(&'a self, _: &'a super::Query, _: SystemTime) -> Answer<'a, super::Page> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn amend<'a>(&'a self, _: super::Amendment<'a>) -> Answer<'a, super::Amended> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn days_of<'a>(&'a self, _: &'a str, _: &'a KeyHash) -> Answer<'a, Vec<super::Day>> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn block<'a>(&'a self, _: &'a super::block::Block, _: &'a super::audit::Event) -> Answer<'a, ()> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn unblock<'a>(
        &'a self,
        _: &'a str,
        _: &'a super::block::Subject,
        _: &'a super::audit::Event,
    ) -> Answer<'a, bool> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn blocks(&self, _: SystemTime) -> Answer<'_, Vec<super::block::Block>> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn schedule<'a>(&'a self, _: &'a super::errand::Errand) -> Answer<'a, ()> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn due(&self, _: SystemTime, _: SystemTime, _: usize) -> Answer<'_, Vec<super::errand::Errand>> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn settle<'a>(&'a self, _: &'a super::errand::Errand, _: &'a super::errand::Settled) -> Answer<'a, ()> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn errands_of<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Vec<super::errand::Errand>> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn record<'a>(&'a self, _: &'a super::audit::Event) -> Answer<'a, ()> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn links(&self, _: u64, _: usize) -> Answer<'_, Vec<super::audit::Link>> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
    fn head(&self) -> Answer<'_, super::audit::Head> {
        Box::pin(async { Err(StoreError::Refused("later".into())) })
    }
}
