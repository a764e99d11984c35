//! Who writes to the audit chain next, where several gateways want to.

use super::proxy::Proxy;
use super::*;

#[tokio::test]
async fn a_gateway_far_away_is_not_kept_out_by_one_that_writes_all_the_time() {
    let server = RedisServer::start();
    let proxy = Proxy::to(&server, Duration::from_millis(10)).await;
    let (near, far) = (redis(&server.url(), TIMEOUT).await, redis(&proxy.url(), TIMEOUT).await);
    let written = AtomicU64::new(0);
    let busy = async {
        loop {
            near.record(&event(Action::AdminRefused)).await.expect("written");
            written.fetch_add(1, Ordering::Relaxed);
        }
    };
    let revoking = async {
        let mut number = 0;
        while number < 5 || written.load(Ordering::Relaxed) < 50 {
            let id = number.to_string();
            try_to_revoke(&*far, "home", &id, operator(1)).await.expect("its turn comes");
            number += 1;
        }
    };
    tokio::select! { () = busy => {}, () = revoking => {} }
}

#[tokio::test]
async fn a_change_waits_for_its_turn_however_many_others_have_theirs_first() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    let mut turn = redis::cmd("SET");
    raw::<()>(&server, turn.arg("{ns}:turn").arg("another").arg("PX").arg(3_000)).await;
    let records = [(record("a"), event(Action::KeyImported))];
    try_to_revoke(&*store, "home", "b", operator(1)).await.expect("revoked");
    raw::<()>(&server, &mut turn).await;
    let learned = store.learn_all(&records).await.expect("taken in");
    assert!(matches!(learned.as_slice(), [Learned::Written]));
}
