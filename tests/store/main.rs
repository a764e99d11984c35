//! What every key store must do: one suite, run against the embedded file and against a real Redis server;
//! then what only one of them can get wrong.

#[path = "../support/certificate.rs"]
#[allow(dead_code)]
mod certificate;
#[path = "../support"]
#[allow(dead_code)]
mod support {
    pub mod port;
    pub mod redis;
    pub mod scripted;
    pub mod sentinel;
}

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use openbin_gateway::keys::audit::{Action, Actor, Entry, Event, Head, Role};
use openbin_gateway::keys::{
    Address, AddressFamily, Admission, Amended, Amendment, Day, Ending, Issuer, KeyHash, KeyRecord, Learned,
    Ledger, Login, Page, Place, Policy, Query, RedisTls, RedisUrl, Revocation, RevokedBy, Servers,
    StoreError, StoreSettings, Use, open,
};

use backend::{Backend, Folder, raw, redis, store_at};
use support::redis::RedisServer;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Two cores are shared with everything else that runs.
const SLACK: Duration = Duration::from_millis(500);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

fn record(key: &str) -> KeyRecord {
    KeyRecord {
        hash: KeyHash::of(key),
        id: format!("id-{key}"),
        instance: "home".into(),
        user_id: "u1".to_owned(),
        user_email: Some("ann@example.com".to_owned()),
        name: "läptop \"1\"\n".to_owned(),
        prefix: "sk_openbin_0011223".to_owned(),
        issuer: Issuer::Openbin,
        created_at: Some(at(0)),
        last_used_at: None,
        last_used_over: None,
        policy: Policy::default(),
        revoked: None,
    }
}

fn operator(seconds: u64) -> Revocation {
    Revocation::new(at(seconds), RevokedBy::Operator)
}

fn event(action: Action) -> Event {
    let actor = Actor { role: Role::Operator, name: Some("ann".to_owned()), address: None };
    Event::new(at(0), &actor, action)
}

async fn found(backend: &Backend, record: &KeyRecord) -> Option<KeyRecord> {
    backend.store().find(&record.instance, &record.hash).await.expect("an answer")
}

async fn try_to_learn(store: &dyn Ledger, record: &KeyRecord) -> Result<Learned, StoreError> {
    store.learn(record, Admission { most: None, event: &event(Action::KeyLearned) }).await
}

async fn learn(backend: &Backend, record: &KeyRecord) -> Learned {
    try_to_learn(&**backend.store(), record).await.expect("an answer")
}

async fn try_to_revoke(
    store: &dyn Ledger,
    instance: &str,
    id: &str,
    revocation: Revocation,
) -> Result<Vec<KeyHash>, StoreError> {
    let (event, tell) = (event(Action::KeyRevoked), false);
    let ending = Ending { instance, id, revocation: &revocation, tell, event: &event };
    store.revoke(ending).await.map(|revoked| revoked.hashes)
}

async fn revoke(backend: &Backend, id: &str, revocation: Revocation) -> Vec<KeyHash> {
    try_to_revoke(&**backend.store(), "home", id, revocation).await.expect("revoked")
}

async fn amend(backend: &Backend, hash: &KeyHash, from: &Policy, to: &Policy) -> Amended {
    let event = event(Action::PolicyChanged);
    let amendment = Amendment { instance: "home", hash, from, to, event: &event };
    backend.store().amend(amendment).await.expect("an answer")
}

fn use_of(record: &KeyRecord, seconds: u64) -> Use {
    let (instance, over) = (record.instance.clone(), AddressFamily::Ipv6);
    Use { instance, hash: record.hash, at: at(seconds), over, count: 1 }
}

async fn used(backend: &Backend, record: &KeyRecord, seconds: u64) {
    backend.store().note_used("r1", &[use_of(record, seconds)]).await.expect("noted");
}

/// Walks the audit chain from its start to its end as it was written down, in short portions.
async fn chain(backend: &Backend) -> Result<Vec<Entry>, String> {
    let (store, mut head, mut entries) = (backend.store(), Head::start(), Vec::new());
    loop {
        let links = store.links(head.seq, 3).await.expect("links");
        assert!(links.len() <= 3);
        if links.is_empty() {
            break;
        }
        for link in links {
            entries.push(head.advance(&link).map_err(|broken| broken.to_string())?);
        }
    }
    let end = store.head().await.expect("the end");
    if end == head { Ok(entries) } else { Err(format!("it ends at {}, not at {}", head.seq, end.seq)) }
}

/// Asks until there is an answer, which must come within a second: after silence, not everybody is let try.
async fn until_it_answers<T, F: Future<Output = Result<T, StoreError>>>(mut ask: impl FnMut() -> F) -> T {
    let since = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(since.elapsed() < Duration::from_secs(1) + SLACK, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

mod backend;

mod audit;
mod imports;
mod lists;
mod retention;
mod rules;
mod terms;
mod upkeep;

macro_rules! suite {
    ($($file:ident: $($rule:ident)*;)*) => {
        mod embedded {
            $($(#[tokio::test]
            async fn $rule() {
                super::$file::$rule(&mut super::Backend::embedded().await).await;
            })*)*
        }
        mod redis_server_suite {
            $($(#[tokio::test]
            async fn $rule() {
                super::$file::$rule(&mut super::Backend::redis().await).await;
            })*)*
        }
    };
}

suite! {
    rules:
        a_learned_key_is_found_as_it_was_written
        a_known_record_stays_as_it_is
        a_revoked_key_is_found_revoked
        the_first_revocation_stays
        a_key_revoked_before_it_is_known_is_learned_as_revoked
        a_revoked_key_never_comes_back
        all_keys_with_the_same_id_are_revoked
        a_record_that_is_learned_revoked_buries_its_id
        learning_and_revoking_at_once_always_ends_revoked
        instances_do_not_see_each_others_keys
        a_record_that_cannot_be_read_is_an_error
        a_probe_leaves_nothing_behind;
    terms:
        a_policy_survives_as_it_was_written
        a_policy_is_changed_only_from_what_it_was_thought_to_be
        of_two_who_change_a_policy_at_once_one_succeeds
        an_owner_has_no_more_keys_than_they_may_have
        revoked_keys_do_not_count
        many_at_once_never_exceed_what_an_owner_may_have
        last_use_only_moves_forward
        the_last_use_is_the_latest_one_whoever_wrote_it_and_on_whichever_day
        many_uses_are_written_together
        a_use_of_an_unknown_key_is_passed_over
        days_are_sums_over_replicas_and_only_grow
        a_key_comes_with_its_days_as_it_is_then;
    lists:
        the_newest_key_comes_first_and_equal_times_have_an_order
        portions_follow_each_other_without_gap_or_repetition
        a_key_without_a_time_is_listed_when_it_came_to_be_known
        only_what_is_asked_for_is_listed
        a_list_by_standing_follows_every_change
        a_search_ignores_case_in_every_alphabet
        a_search_finds_what_is_in_any_field_and_nothing_else
        a_rare_key_is_found_among_thousands
        all_keys_with_an_id_are_found;
    upkeep:
        a_block_stays_until_it_is_lifted
        a_block_takes_the_place_of_an_earlier_one
        a_block_that_is_over_is_forgotten
        an_errand_is_given_out_once_until_its_time_comes_again
        an_errand_never_goes_to_two
        the_longest_due_errand_comes_first
        a_settled_errand_is_as_it_was_settled
        an_errand_takes_the_place_of_an_earlier_one
        an_instance_is_told_once_of_a_key_that_it_issued
        nobody_is_told_of_a_key_that_the_gateway_issued
        errands_and_blocks_survive_a_restart;
    audit:
        every_change_is_one_entry_in_order
        what_changes_nothing_is_not_written_down
        a_key_that_outlived_its_tombstone_is_revoked_with_an_entry
        two_processes_at_once_write_one_whole_chain
        the_same_event_seen_twice_is_two_entries
        a_chain_goes_on_after_a_restart
        an_edited_entry_is_found
        an_entry_that_was_taken_out_is_found;
    retention:
        old_entries_go_and_the_chain_is_whole_from_its_base_on
        entries_wait_until_the_oldest_is_a_day_too_old
        entries_go_in_portions_and_each_is_told_in_the_chain
        an_entry_that_somebody_took_off_the_old_end_is_found
        a_base_that_was_moved_is_found
        a_damaged_old_end_stays_as_it_is
        of_two_who_trim_at_once_one_succeeds
        trimming_is_no_damage_to_who_verifies_meanwhile
        old_days_are_forgotten_and_others_stay
        errands_that_are_long_over_are_forgotten_and_others_stay;
    imports:
        many_keys_are_taken_in_as_one_by_one
        a_dry_run_foresees_what_the_run_comes_to
        two_who_import_at_once_write_one_whole_chain;
}

mod cluster;
mod counting;
mod doors;
mod large;
mod leases;
mod only_embedded;
mod only_redis;
mod proxy;
mod sentinels;
mod turns;
