//! What gateways count together in Redis.

use openbin_gateway::keys::{Counted, Rate};

use super::*;

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

async fn count(store: &dyn Ledger, name: &str, text: &str) -> Counted {
    store.count(name, rate(text)).await.expect("an answer")
}

#[tokio::test]
async fn what_several_count_is_counted_together_and_never_exceeds_the_rate() {
    let server = RedisServer::start();
    let (one, two) = (redis(&server.url(), TIMEOUT).await, redis(&server.url(), TIMEOUT).await);
    let stores = [&*one, &*two];
    let counting = (0..60).zip(stores.iter().cycle()).map(|(_, store)| count(*store, "a", "40/4h"));
    let mut left: Vec<_> = futures_util::future::join_all(counting)
        .await
        .into_iter()
        .filter_map(|counted| match counted {
            Counted::Within { remaining, .. } => Some(remaining),
            Counted::Over { .. } | Counted::Apart => None,
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, (0..40).collect::<Vec<_>>());
    let Counted::Over { next_in } = count(&*two, "a", "40/4h").await else { panic!("it is used up") };
    assert!((300..=360).contains(&next_in.as_secs()), "{next_in:?}");
    let other = count(&*two, "b", "40/4h").await;
    assert!(matches!(other, Counted::Within { remaining: 39, .. }), "{other:?}");
}

#[tokio::test]
async fn tokens_come_back_evenly_and_a_full_bucket_is_no_entry() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    for left in [1, 0] {
        let counted = count(&*store, "a", "2/2s").await;
        assert!(matches!(counted, Counted::Within { remaining, .. } if remaining == left), "{counted:?}");
    }
    let began = Instant::now();
    let Counted::Over { next_in } = count(&*store, "a", "2/2s").await else { panic!("it is used up") };
    assert!(next_in <= Duration::from_secs(1), "{next_in:?}");
    while matches!(count(&*store, "a", "2/2s").await, Counted::Over { .. }) {
        assert!(began.elapsed() < Duration::from_secs(20), "no token comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kept: i64 = raw(&server, redis::cmd("PTTL").arg("{ns}:limit:a")).await;
    assert!((1..=2_000).contains(&kept), "{kept}");
    while raw::<i64>(&server, redis::cmd("EXISTS").arg("{ns}:limit:a")).await == 1 {
        assert!(began.elapsed() < Duration::from_secs(20), "it stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all_at_once = count(&*store, "many", "1000000000/1s").await;
    assert!(matches!(all_at_once, Counted::Within { remaining: 999_999_999, .. }), "{all_at_once:?}");
}

#[tokio::test]
async fn a_smaller_rate_holds_at_once_and_locks_nobody_out_for_long() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    for _ in 0..100 {
        count(&*store, "a", "100/1d").await;
    }
    let Counted::Over { next_in } = count(&*store, "a", "10/1m").await else { panic!("it is used up") };
    assert!(next_in <= Duration::from_secs(6), "{next_in:?}");
}

#[tokio::test]
async fn a_store_of_one_process_counts_nothing() {
    let backend = Backend::embedded().await;
    assert_eq!(count(&**backend.store(), "a", "1/1d").await, Counted::Apart);
}
