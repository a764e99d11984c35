//! The rules of a cache of verdicts.

use std::convert::Infallible;
use std::future::ready;

use super::*;
use crate::keys::record::tests::record;
use crate::keys::{OwnerRefusal, Revocation, RevokedBy};

const LONG: Duration = Duration::from_secs(3600);

fn active(key: &str) -> Verdict {
    Verdict::of(record(key))
}

fn cache(entries: u64, keep_for: Duration) -> Cache {
    Cache::new(entries, keep_for, Arc::new(Lease::perpetual()))
}

async fn put(cache: &Cache, hash: &KeyHash, verdict: Verdict) -> Verdict {
    let load = || ready(Ok::<_, LookupError<Infallible>>(Finding::Settled(verdict)));
    cache.load(hash, Purpose::Learn, load).await.expect("a verdict")
}

fn revoked(key: &str) -> Verdict {
    let revoked = Revocation::new(std::time::SystemTime::now(), RevokedBy::Operator);
    Verdict::of(crate::keys::KeyRecord { revoked: Some(revoked), ..record(key) })
}

#[tokio::test]
async fn a_fill_never_replaces_a_tombstone() {
    let cache = cache(10, Duration::ZERO);
    let hash = KeyHash::of("a");
    put(&cache, &hash, revoked("a")).await;
    assert!(matches!(put(&cache, &hash, active("a")).await, Verdict::Revoked));
    let much_later = Moment::now() + 1000 * LONG;
    assert!(matches!(cache.recall(&hash, much_later).await, Some(Verdict::Revoked)));
}

#[tokio::test]
async fn what_is_spoiled_is_not_used_again_and_what_is_loaded_then_is() {
    let cache = cache(10, LONG);
    let hash = KeyHash::of("a");
    for all in [false, true] {
        put(&cache, &hash, active("a")).await;
        assert!(cache.recall(&hash, Moment::now()).await.is_some());
        if all {
            cache.spoil_all()
        } else {
            cache.spoil(&hash).await
        }
        assert!(cache.recall(&hash, Moment::now()).await.is_none());
        assert!(cache.recall_without_lease(&hash).await.is_none());
    }
}

#[tokio::test]
async fn without_a_lease_only_what_was_asked_for_since_answers() {
    let lease = Arc::new(Lease::none());
    let cache = Cache::new(10, LONG, Arc::clone(&lease));
    let (hash, before) = (KeyHash::of("a"), Moment::now());
    put(&cache, &hash, active("a")).await;
    assert!(cache.recall(&hash, Moment::now()).await.is_none());
    let unasked = || ready(Err(LookupError::<&str>::Store(StoreError::Timeout)));
    let waited = cache.load(&hash, Purpose::Answer { asked_at: before }, unasked).await;
    assert!(matches!(waited, Ok(Verdict::Active(_))));
    let later = Purpose::Answer { asked_at: Moment::now() };
    assert!(matches!(cache.load(&hash, later, unasked).await, Err(LookupError::Store(_))));
    assert!(matches!(cache.recall_without_lease(&hash).await, Some(Verdict::Active(_))));
    lease.extend(Moment::now() + LONG);
    assert!(cache.recall(&hash, Moment::now()).await.is_some());
}

#[tokio::test]
async fn verdicts_are_used_only_as_long_as_they_are_believed() {
    let cache = cache(10, Duration::from_secs(10));
    let buried = revoked("d");
    for (key, verdict, believed) in [
        ("a", active("a"), Duration::from_secs(10)),
        ("b", Verdict::Unknown, UNKNOWN_FOR),
        ("c", Verdict::Refused(OwnerRefusal::AccountSuspended), REFUSED_FOR),
        ("d", buried, 1000 * LONG),
    ] {
        let hash = KeyHash::of(key);
        put(&cache, &hash, verdict).await;
        let now = Moment::now();
        assert!(cache.recall(&hash, now).await.is_some(), "{key}");
        let just_before = now + (believed - Duration::from_secs(1));
        assert!(cache.recall(&hash, just_before).await.is_some(), "{key}");
        let after = cache.recall(&hash, now + believed).await;
        assert_eq!(after.is_none(), key != "d", "{key}");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_evicts_no_good_key() {
    let cache = cache(100, LONG);
    for n in 0..100 {
        let key = n.to_string();
        put(&cache, &KeyHash::of(&key), active(&key)).await;
    }
    for n in 0..2 * NEGATIVE_ENTRIES {
        put(&cache, &KeyHash::of(&format!("made up {n}")), Verdict::Unknown).await;
    }
    cache.keys.run_pending_tasks().await;
    cache.negatives.run_pending_tasks().await;
    assert!(cache.negatives.entry_count() <= NEGATIVE_ENTRIES);
    for n in 0..100 {
        let hash = KeyHash::of(&n.to_string());
        assert!(matches!(cache.recall(&hash, Moment::now()).await, Some(Verdict::Active(_))));
    }
}

#[tokio::test]
async fn a_key_that_is_learned_is_no_longer_unknown() {
    let cache = cache(10, LONG);
    let hash = KeyHash::of("a");
    put(&cache, &hash, Verdict::Unknown).await;
    assert!(matches!(cache.recall(&hash, Moment::now()).await, Some(Verdict::Unknown)));
    put(&cache, &hash, active("a")).await;
    assert!(matches!(cache.recall(&hash, Moment::now()).await, Some(Verdict::Active(_))));
}

#[tokio::test]
async fn who_waited_for_a_failed_load_shares_its_error_and_a_later_one_tries_again() {
    let cache = cache(10, LONG);
    let hash = KeyHash::of("a");
    let before = Moment::now();
    let fail = || ready(Err(LookupError::Adopt(Arc::new("upstream down"))));
    let first = cache.load(&hash, Purpose::Answer { asked_at: before }, fail).await;
    assert!(matches!(first, Err(LookupError::Adopt(_))));
    let load = || ready(Ok::<_, LookupError<&'static str>>(Finding::Settled(active("a"))));
    let waited = cache.load(&hash, Purpose::Answer { asked_at: before }, load).await;
    let Err(LookupError::Adopt(shared)) = waited else { panic!("the shared error") };
    assert_eq!(*shared, "upstream down");
    let after = Moment::now() + Duration::from_nanos(1);
    let retried = cache.load(&hash, Purpose::Answer { asked_at: after }, load).await;
    assert!(matches!(retried, Ok(Verdict::Active(_))));
}
