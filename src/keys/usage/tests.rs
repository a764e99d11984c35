//! Nothing noted is lost, and what is written twice changes nothing.

use std::future::ready;
use std::time::Duration;

use super::*;
use crate::keys::block::Subject;
use crate::keys::lease::Position;
use crate::keys::record::tests::record;
use crate::keys::{Admission, Answer, Ending, KeyRecord, Learned, Revoked};

/// Takes notes, or refuses to.
#[derive(Default)]
struct Notes {
    down: Mutex<bool>,
    written: Mutex<Vec<Use>>,
}

impl Notes {
    fn answer(&self) -> Result<(), StoreError> {
        if *lock(&self.down) { Err(StoreError::Timeout) } else { Ok(()) }
    }

    fn take(&self) -> Vec<(KeyHash, SystemTime)> {
        let mut written: Vec<_> =
            std::mem::take(&mut *lock(&self.written)).into_iter().map(|used| (used.hash, used.at)).collect();
        written.sort();
        written
    }
}

impl KeyStore for Notes {
    fn find<'a>(&'a self, _: &'a str, _: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
        Box::pin(ready(Ok(None)))
    }
    fn learn<'a>(&'a self, _: &'a KeyRecord, _: Admission<'a>) -> Answer<'a, Learned> {
        Box::pin(ready(Ok(Learned::Written)))
    }
    fn revoke<'a>(&'a self, _: Ending<'a>) -> Answer<'a, Revoked> {
        Box::pin(ready(Ok(Revoked { hashes: Vec::new(), position: Position::default() })))
    }
    fn is_blocked<'a>(&'a self, _: &'a str, _: &'a Subject) -> Answer<'a, bool> {
        Box::pin(ready(Ok(false)))
    }
    fn note_used<'a>(&'a self, _: &'a str, uses: &'a [Use]) -> Answer<'a, ()> {
        let answer = self.answer();
        if answer.is_ok() {
            lock(&self.written).extend(uses.iter().cloned());
        }
        Box::pin(ready(answer))
    }
    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(ready(self.answer()))
    }
    fn probe(&self) -> Answer<'_, ()> {
        self.ping()
    }
}

fn key(text: &str) -> ActiveKey {
    ActiveKey::new(record(text)).expect("active")
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn once(seconds: u64) -> Newest {
    Newest { at: at(seconds), over: AddressFamily::Ipv6, count: 1 }
}

fn usage() -> Arc<Usage> {
    Usage::new(Arc::new(Metrics::new().expect("metrics")))
}

#[tokio::test]
async fn uses_of_all_workers_merge_to_the_newest_of_each_key() {
    let (usage, store) = (usage(), Notes::default());
    let (one, two) = (usage.shard(), usage.shard());
    one.note(&key("a"), at(7), AddressFamily::Ipv4);
    one.note(&key("a"), at(5), AddressFamily::Ipv4);
    two.note(&key("a"), at(9), AddressFamily::Ipv4);
    two.note(&key("b"), at(1), AddressFamily::Ipv4);
    assert_eq!(usage.metrics.usage_pending.get(), 3);
    assert_eq!(usage.flush(&store).await.expect("written"), 2);
    let mut expected = vec![(KeyHash::of("a"), at(9)), (KeyHash::of("b"), at(1))];
    expected.sort();
    assert_eq!(store.take(), expected);
    assert_eq!(usage.metrics.usage_pending.get(), 0);
    assert_eq!(usage.flush(&store).await.expect("nothing to write"), 0);
}

#[tokio::test]
async fn a_flush_that_fails_is_made_up_for_by_the_next() {
    let (usage, store) = (usage(), Notes::default());
    let shard = usage.shard();
    *lock(&store.down) = true;
    shard.note(&key("a"), at(9), AddressFamily::Ipv4);
    usage.flush(&store).await.expect_err("the store is down");
    assert_eq!((usage.metrics.usage_pending.get(), usage.metrics.store_up.get()), (1, 0));
    shard.note(&key("a"), at(3), AddressFamily::Ipv4);
    *lock(&store.down) = false;
    assert_eq!(usage.flush(&store).await.expect("written"), 1);
    assert_eq!(store.take(), [(KeyHash::of("a"), at(9))]);
    assert_eq!((usage.metrics.usage_pending.get(), usage.metrics.store_up.get()), (0, 1));
}

#[tokio::test]
async fn a_use_that_is_not_written_is_still_known() {
    let (usage, store) = (usage(), Notes::default());
    let (one, two) = (usage.shard(), usage.shard());
    let last_use = async || one.unwritten().await.last_use("home", &KeyHash::of("a"));
    assert_eq!(last_use().await, None);
    one.note(&key("a"), at(7), AddressFamily::Ipv4);
    two.note(&key("a"), at(9), AddressFamily::Ipv4);
    assert_eq!(last_use().await, Some(at(9)));
    *lock(&store.down) = true;
    usage.flush(&store).await.expect_err("the store is down");
    assert_eq!(last_use().await, Some(at(9)));
    *lock(&store.down) = false;
    usage.flush(&store).await.expect("written");
    assert_eq!(last_use().await, None, "the store has it");
}

#[tokio::test]
async fn an_idle_gateway_still_knows_whether_its_store_is_up() {
    let (usage, store) = (usage(), Notes::default());
    usage.flush(&store).await.expect("nothing to write");
    assert_eq!(usage.metrics.store_up.get(), 1);
    *lock(&store.down) = true;
    usage.flush(&store).await.expect("nothing to write");
    assert_eq!(usage.metrics.store_up.get(), 0);
}

#[test]
fn a_full_shard_drops_new_keys_and_counts_them() {
    let mut uses = Uses { keys: MOST_KEYS - 1, ..Uses::default() };
    let home: Arc<str> = "home".into();
    assert!(uses.note(&home, KeyHash::of("a"), once(1)) == Noted::Added);
    assert!(uses.note(&home, KeyHash::of("b"), once(1)) == Noted::Dropped);
    assert!(uses.note(&home, KeyHash::of("a"), once(2)) == Noted::Merged);
}

#[test]
fn the_same_key_at_two_instances_is_two_uses() {
    let mut uses = Uses::default();
    for instance in ["home", "away"] {
        uses.note(&instance.into(), KeyHash::of("a"), once(1));
    }
    assert_eq!(uses.list(&Totals::default()).len(), 2);
}

#[tokio::test]
async fn what_is_written_is_the_total_of_the_day_so_that_writing_it_twice_changes_nothing() {
    let (usage, store) = (usage(), Notes::default());
    let shard = usage.shard();
    let today = SystemTime::now();
    let mut counts = Vec::new();
    for (uses, works) in [(2, true), (3, false), (1, true)] {
        (0..uses).for_each(|_| shard.note(&key("a"), today, AddressFamily::Ipv6));
        *lock(&store.down) = !works;
        let _ = usage.flush(&store).await;
        counts.extend(std::mem::take(&mut *lock(&store.written)).iter().map(|used| used.count));
    }
    assert_eq!(counts, [2, 6]);
    shard.note(&key("a"), today + Duration::from_secs(86_400), AddressFamily::Ipv6);
    usage.flush(&store).await.expect("written");
    assert_eq!(lock(&store.written)[0].count, 1, "another day begins at one");
}
