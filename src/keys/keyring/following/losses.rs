//! What a store has lost and this process still knows: written to it again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::{Keyring, about};
use crate::keys::audit::{Action, Actor, Event};
use crate::keys::block::{Block, Subject};
use crate::keys::{Ending, KeyRecord, Label, Revocation, StoreError};

/// After trouble, for that long the store is left alone.
const PAUSE: Duration = Duration::from_millis(250);
/// Records that are written in one go.
const PORTION: usize = 100;
const WHY: &str = "the key store had lost it, and a gateway still knew it";

/// What this process knew when the store's loss was noticed, by instance.
pub(super) struct Losses(Vec<Known>);

struct Known {
    instance: Arc<str>,
    revoked: Vec<(String, Revocation)>,
    refused: Vec<(Subject, Option<SystemTime>)>,
    records: Vec<KeyRecord>,
}

impl Keyring {
    pub(super) async fn losses(&self) -> Losses {
        let mut known = Vec::new();
        for (instance, keys) in self.all() {
            let good = keys.remembered().await.into_iter().filter(|key| !key.is_spoiled());
            known.push(Known {
                revoked: keys.graves(),
                refused: keys.blocks().all(),
                records: good.map(|key| key.record.clone()).collect(),
                instance,
            });
        }
        Losses(known)
    }
}

impl Losses {
    /// Writes what is refused again, and then, where the store has lost everything, the records that are
    /// known. What the store still has stays as it is there.
    pub(super) async fn write_again(self, keyring: Arc<Keyring>, all: bool) {
        let mut counts = (0_usize, 0_usize, 0_usize);
        for Known { instance, revoked, refused, records } in self.0 {
            for (id, revocation) in &revoked {
                until_done(|| revoke(&keyring, &instance, id, revocation)).await;
                counts.0 += 1;
            }
            for (subject, until) in refused {
                counts.1 += usize::from(until_done(|| refuse(&keyring, &instance, &subject, until)).await);
            }
            if !all {
                continue;
            }
            for portion in records.chunks(PORTION) {
                let written: Vec<_> =
                    portion.iter().map(|record| (record.clone(), learned(record))).collect();
                until_done(|| keyring.store.learn_all(&written)).await;
                counts.2 += portion.len();
            }
        }
        let (revocations, blocks, records) = counts;
        tracing::warn!(
            revocations,
            blocks,
            records,
            "written to the key store again, as far as it lacked them"
        );
    }
}

async fn revoke(
    keyring: &Keyring,
    instance: &Arc<str>,
    id: &str,
    revocation: &Revocation,
) -> Result<(), StoreError> {
    let mut event = about(&Actor::gateway(), Action::KeyRevoked, instance);
    event.key_id = Some(id.to_owned());
    event.detail = Some(format!("{}: {WHY}", revocation.by.as_str()));
    let ending = Ending { instance, id, revocation, tell: false, event: &event };
    let revoked = keyring.store.revoke(ending).await?;
    keyring.of(instance).bury(id, &revoked.hashes, revocation).await;
    Ok(())
}

/// Whether it had to be written again.
async fn refuse(
    keyring: &Keyring,
    instance: &Arc<str>,
    subject: &Subject,
    until: Option<SystemTime>,
) -> Result<bool, StoreError> {
    let subject = match subject {
        Subject::User(label) => Subject::User(Label::text_of(label)),
        Subject::Session(digest) => Subject::Session(*digest),
    };
    let is_over = until.is_some_and(|until| until <= SystemTime::now());
    if is_over || keyring.store.is_blocked(instance, &subject).await? {
        return Ok(false);
    }
    let action = match &subject {
        Subject::User(_) => Action::UserBlocked,
        Subject::Session(_) => Action::SessionEnded,
    };
    let mut event = about(&Actor::gateway(), action, instance);
    if let Subject::User(id) = &subject {
        event.user_id = Some(id.clone());
    }
    event.detail = Some(WHY.to_owned());
    let why = Some(WHY.to_owned());
    let block = Block { instance: instance.to_string(), subject, at: event.at, until, why };
    keyring.store.block(&block, &event).await.map(|_| true)
}

fn learned(record: &KeyRecord) -> Event {
    let mut event = about(&Actor::gateway(), Action::KeyLearned, &record.instance);
    event.key_id = Some(record.id.clone());
    event.user_id = Some(record.user_id.clone());
    event.detail = Some(WHY.to_owned());
    event
}

/// Tries until the store does it: what is refused must not be forgotten because of a second trouble.
async fn until_done<T, F, Fut>(mut work: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => tracing::debug!(%error, "not written to the key store again yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
