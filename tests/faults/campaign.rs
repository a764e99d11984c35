//! The campaign: in every fault, what was confirmed to be ended is accepted by nobody.

use std::time::Duration;

use tokio::sync::Mutex;

use super::round::{Plan, run};
use super::table::{heading, line, sums};
use super::trouble::{ALL, Trouble};
use crate::support::relay::{Heal, Way};

/// Rounds are timed: no two of them run at the same time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Enough to find a promise that is not kept, and quick.
const SHORT: Plan = Plan { before: 10, during: 20, after: 10, lasts: Duration::from_millis(1500) };
/// What `make faults` does: 202 keys are revoked, 11 users blocked, and 11 sessions ended.
const FULL: Plan = Plan { before: 56, during: 112, after: 56, lasts: Duration::from_secs(3) };

async fn holds(trouble: Trouble) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let report = run(trouble, SHORT).await;
    assert!(report.broken.is_empty(), "\n{}{}", heading(), line(&report));
}

macro_rules! promises {
    ($($name:ident: $trouble:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            holds($trouble).await;
        }
    )*};
}

promises! {
    what_is_ended_is_refused_everywhere: Trouble::Nothing;
    what_is_ended_is_refused_while_a_gateway_is_suspended_and_when_it_wakes: Trouble::GatewaySuspended;
    what_is_ended_is_refused_by_a_gateway_that_was_killed_and_restarted: Trouble::GatewayKilled;
    what_is_ended_is_refused_when_redis_comes_back_empty: Trouble::RedisEmptied;
    what_is_ended_is_refused_while_redis_hangs_and_after: Trouble::RedisSuspended;
    what_is_ended_is_refused_when_redis_was_flushed: Trouble::RedisFlushed;
    what_is_ended_is_refused_by_a_gateway_that_is_cut_off: Trouble::Cut(Way::Both, Heal::Delivers);
    what_is_ended_is_refused_by_a_gateway_that_hears_nothing: Trouble::Cut(Way::ToClient, Heal::Drops);
    what_is_ended_is_refused_by_a_gateway_that_nobody_hears: Trouble::Cut(Way::ToServer, Heal::Delivers);
    what_is_ended_is_refused_while_connections_to_redis_break: Trouble::Resets;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make faults"]
async fn the_whole_campaign() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (mut reports, mut skipped) = (Vec::new(), Vec::new());
    println!("{}", heading().trim_end());
    // For example FAULTS=AOF, for those whose names have it.
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    for trouble in ALL.into_iter().filter(|trouble| trouble.name().contains(&wanted)) {
        if let Some(lacking) = trouble.lacks() {
            println!("SKIPPED: {}, for want of {lacking}", trouble.name());
            skipped.push(trouble.name());
            continue;
        }
        let report = run(trouble, FULL).await;
        print!("{}", line(&report));
        reports.push(report);
    }
    assert!(reports.len() + skipped.len() > 0, "no fault's name has {wanted:?}");
    println!("\n{}", sums(&reports));
    if !skipped.is_empty() {
        println!("NOT TRIED: {}", skipped.join("; "));
    }
    let broken: Vec<_> = reports.iter().filter(|report| !report.broken.is_empty()).collect();
    let names: Vec<_> = broken.iter().map(|report| report.name).collect();
    assert!(names.is_empty(), "promises were broken in: {}", names.join("; "));
}
