//! The rules of [`Keys`], with a store whose timing and failures the test decides.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::*;
use crate::keys::lease::Position;
use crate::keys::record::tests::record;
use crate::keys::{Answer, OwnerRefusal, RedisUrl, Revoked, RevokedBy, StoreSettings, Use};

const OPEN: usize = 1_000;

/// Reads its records first and then waits at a gate: so an answer can be old when it arrives.
struct Double {
    records: Mutex<HashMap<KeyHash, KeyRecord>>,
    buried: Mutex<Vec<String>>,
    fails: Mutex<Option<StoreError>>,
    finds: AtomicUsize,
    /// One permit for each find that has read and not answered yet.
    reading: Semaphore,
    gate: Semaphore,
}

impl Double {
    fn new(records: Vec<KeyRecord>, gate: usize) -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::new(records.into_iter().map(|record| (record.hash, record)).collect()),
            buried: Mutex::default(),
            fails: Mutex::default(),
            finds: AtomicUsize::new(0),
            reading: Semaphore::new(0),
            gate: Semaphore::new(gate),
        })
    }

    fn fail(&self, error: Option<StoreError>) {
        *self.fails.lock().expect("lock") = error;
    }

    fn failing(&self) -> Result<(), StoreError> {
        self.fails.lock().expect("lock").clone().map_or(Ok(()), Err)
    }

    fn finds(&self) -> usize {
        self.finds.load(Ordering::SeqCst)
    }
}

impl KeyStore for Double {
    fn find<'a>(&'a self, _: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
        Box::pin(async move {
            self.finds.fetch_add(1, Ordering::SeqCst);
            let found = self.records.lock().expect("lock").get(hash).cloned();
            self.reading.add_permits(1);
            self.gate.acquire().await.expect("gate").forget();
            self.failing()?;
            Ok(found)
        })
    }

    fn learn<'a>(&'a self, record: &'a KeyRecord, _: Admission<'a>) -> Answer<'a, Learned> {
        Box::pin(async move {
            self.failing()?;
            if self.buried.lock().expect("lock").contains(&record.id) {
                return Ok(Learned::Revoked);
            }
            self.records.lock().expect("lock").insert(record.hash, record.clone());
            Ok(Learned::Written)
        })
    }

    fn revoke<'a>(&'a self, ending: Ending<'a>) -> Answer<'a, Revoked> {
        Box::pin(async move {
            self.failing()?;
            self.buried.lock().expect("lock").push(ending.id.to_owned());
            let mut records = self.records.lock().expect("lock");
            let found = records.values_mut().filter(|record| record.id == ending.id);
            let revoke = |record: &mut KeyRecord| {
                record.revoked = Some(ending.revocation.clone());
                record.hash
            };
            Ok(Revoked { hashes: found.map(revoke).collect(), position: Position::default() })
        })
    }

    fn is_blocked<'a>(&'a self, _: &'a str, _: &'a Subject) -> Answer<'a, bool> {
        Box::pin(ready(self.failing().map(|()| false)))
    }

    fn note_used<'a>(&'a self, _: &'a str, _: &'a [Use]) -> Answer<'a, ()> {
        Box::pin(ready(self.failing()))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(ready(self.failing()))
    }

    fn probe(&self) -> Answer<'_, ()> {
        self.ping()
    }
}

fn keys(store: &Arc<Double>, cache_for: Duration) -> Arc<Keys> {
    let settings = Settings {
        store: StoreSettings::Redis {
            servers: RedisUrl::new(String::new()).into(),
            namespace: String::new(),
            timeout: Duration::ZERO,
        },
        cache_entries: 100,
        cache_for,
        lease_for: Duration::ZERO,
        serve_stale_for: Duration::ZERO,
        copies: 0,
        site: crate::keys::Site::of(&[]),
        usage_interval: Duration::ZERO,
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store = Arc::clone(store) as Arc<dyn KeyStore>;
    Arc::new(Keys::new("home".into(), &settings, Arc::new(Lease::perpetual()), store, metrics))
}

async fn revoke(keys: &Keys) -> Result<usize, StoreError> {
    let revocation = Revocation::new(SystemTime::now(), RevokedBy::Operator);
    let revoke = Revoke { id: "id of a", revocation, tell: false, actor: &Actor::gateway() };
    keys.revoke(revoke).await.map(|ended| ended.keys)
}

async fn learn(keys: &Keys, record: KeyRecord) -> Result<Learned, StoreError> {
    let (action, actor) = (Action::KeyLearned, Actor::gateway());
    keys.learn(News { record, most: None, action, actor: &actor }).await
}

async fn never_adopt() -> Result<Adoption, &'static str> {
    panic!("the store knows this key")
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn revoked_key_is_refused_while_its_load_is_in_flight() {
    let store = Double::new(vec![record("a")], 0);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let loading = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { keys.verdict(&hash, never_adopt).await }
    });
    store.reading.acquire().await.expect("reading").forget();
    revoke(&keys).await.expect("revoked");
    assert!(!loading.is_finished(), "the load that read \"active\" is not over, and is not waited for");
    store.gate.add_permits(OPEN);
    let verdict = loading.await.expect("task").expect("a verdict");
    assert!(matches!(verdict, Verdict::Revoked), "{verdict:?}");
    let verdict = keys.verdict(&hash, never_adopt).await.expect("a verdict");
    assert!(matches!(verdict, Verdict::Revoked), "{verdict:?}");
    assert_eq!(store.finds(), 1, "the tombstone answers without the store");
}

#[tokio::test]
async fn key_revoked_while_it_is_being_adopted_is_refused() {
    let store = Double::new(vec![], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let adopt = || async {
        revoke(&keys).await.expect("revoked");
        Ok::<_, &str>(Adoption::Owned(record("a")))
    };
    let verdict = keys.verdict(&hash, adopt).await.expect("a verdict");
    assert!(matches!(verdict, Verdict::Revoked), "{verdict:?}");
}

#[tokio::test]
async fn everyone_who_asks_at_once_shares_one_load() {
    let store = Double::new(vec![record("a")], 0);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let asking = futures_util::future::join_all((0..50).map(|_| keys.verdict(&hash, never_adopt)));
    let opening = async {
        store.reading.acquire().await.expect("reading").forget();
        store.gate.add_permits(OPEN);
    };
    let (verdicts, ()) = tokio::join!(asking, opening);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Ok(Verdict::Active(_)))));
    assert_eq!(store.finds(), 1);
}

#[tokio::test]
async fn everyone_who_waited_for_a_failing_store_is_told_at_once() {
    let store = Double::new(vec![record("a")], 0);
    store.fail(Some(StoreError::Timeout));
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let asking = futures_util::future::join_all((0..50).map(|_| keys.verdict(&hash, never_adopt)));
    let opening = async {
        store.reading.acquire().await.expect("reading").forget();
        store.gate.add_permits(1);
    };
    let (verdicts, ()) = tokio::join!(asking, opening);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Err(LookupError::Store(StoreError::Timeout)))));
    assert_eq!(store.finds(), 1);
}

#[tokio::test]
async fn a_load_whose_asker_left_is_taken_over_by_the_next() {
    let store = Double::new(vec![record("a")], 0);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let leaving = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { keys.verdict(&hash, never_adopt).await }
    });
    store.reading.acquire().await.expect("reading").forget();
    leaving.abort();
    store.gate.add_permits(OPEN);
    assert!(matches!(keys.verdict(&hash, never_adopt).await, Ok(Verdict::Active(_))));
}

#[tokio::test]
async fn an_old_verdict_is_never_used_when_the_store_cannot_answer() {
    let store = Double::new(vec![record("a")], OPEN);
    let (keys, hash) = (keys(&store, Duration::ZERO), KeyHash::of("a"));
    assert!(matches!(keys.verdict(&hash, never_adopt).await, Ok(Verdict::Active(_))));
    store.fail(Some(StoreError::Unreachable("gone".to_owned())));
    let refused = keys.verdict(&hash, never_adopt).await;
    assert!(matches!(refused, Err(LookupError::Store(StoreError::Unreachable(_)))));
    assert_eq!(keys.shared.metrics.store_up.get(), 0);
    store.fail(None);
    assert!(matches!(keys.verdict(&hash, never_adopt).await, Ok(Verdict::Active(_))));
    assert_eq!(keys.shared.metrics.store_up.get(), 1);
}

#[tokio::test]
async fn a_revocation_that_the_store_cannot_write_is_an_error_and_holds_here_all_the_same() {
    let store = Double::new(vec![record("a"), record("b")], OPEN);
    let keys = keys(&store, HOUR);
    for key in ["a", "b"] {
        keys.verdict(&KeyHash::of(key), never_adopt).await.expect("a verdict");
    }
    store.fail(Some(StoreError::Timeout));
    assert!(matches!(revoke(&keys).await, Err(StoreError::Timeout)));
    assert!(matches!(keys.verdict(&KeyHash::of("a"), never_adopt).await, Ok(Verdict::Revoked)));
    assert!(matches!(keys.verdict(&KeyHash::of("b"), never_adopt).await, Ok(Verdict::Active(_))));
    assert_eq!(keys.shared.metrics.revocations.get(), 0);
}

#[tokio::test]
async fn a_key_that_the_store_has_lost_is_revoked_in_the_cache() {
    let store = Double::new(vec![record("a")], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    keys.verdict(&hash, never_adopt).await.expect("a verdict");
    store.records.lock().expect("lock").clear();
    revoke(&keys).await.expect("revoked");
    assert!(matches!(keys.verdict(&hash, never_adopt).await, Ok(Verdict::Revoked)));
    assert_eq!(keys.shared.metrics.revocations.get(), 1);
}

#[tokio::test]
async fn a_revocation_runs_to_its_end_though_its_caller_leaves() {
    let store = Double::new(vec![record("a")], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    keys.verdict(&hash, never_adopt).await.expect("a verdict");
    {
        let mut revoking = std::pin::pin!(revoke(&keys));
        assert!(futures_util::poll!(revoking.as_mut()).is_pending());
    }
    while !matches!(keys.verdict(&hash, never_adopt).await, Ok(Verdict::Revoked)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_unknown_key_is_asked_about_once_until_it_is_learned() {
    let store = Double::new(vec![], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let unknown = || ready(Ok::<_, &str>(Adoption::Unknown));
    assert!(matches!(keys.verdict(&hash, unknown).await, Ok(Verdict::Unknown)));
    assert!(matches!(keys.verdict(&hash, unknown).await, Ok(Verdict::Unknown)));
    assert_eq!(store.finds(), 1);
    learn(&keys, record("a")).await.expect("learned");
    assert!(matches!(keys.verdict(&hash, never_adopt).await, Ok(Verdict::Active(_))));
    assert_eq!(store.finds(), 1);
}

#[tokio::test]
async fn an_owners_refusal_says_nothing_of_the_store() {
    let store = Double::new(vec![], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    let suspended = || ready(Ok::<_, &str>(Adoption::Refused(OwnerRefusal::AccountSuspended)));
    let verdict = keys.verdict(&hash, suspended).await;
    assert!(matches!(verdict, Ok(Verdict::Refused(OwnerRefusal::AccountSuspended))));
    assert!(store.records.lock().expect("lock").is_empty());
}

#[tokio::test]
async fn asking_only_what_is_known_does_not_hide_a_key_from_adoption() {
    let store = Double::new(vec![], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    assert!(matches!(keys.known(&hash).await, Ok(Verdict::Unknown)));
    let owned = || ready(Ok::<_, &str>(Adoption::Owned(record("a"))));
    assert!(matches!(keys.verdict(&hash, owned).await, Ok(Verdict::Active(_))));
    assert!(matches!(keys.known(&hash).await, Ok(Verdict::Active(_))));
}

#[tokio::test]
async fn hits_and_misses_are_counted() {
    let store = Double::new(vec![record("a")], OPEN);
    let (keys, hash) = (keys(&store, HOUR), KeyHash::of("a"));
    for _ in 0..3 {
        keys.verdict(&hash, never_adopt).await.expect("a verdict");
    }
    assert_eq!((keys.hits.get(), keys.misses.get()), (2, 1));
}
