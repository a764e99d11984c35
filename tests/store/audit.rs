//! The audit chain: every change is in it, nothing else is, and no tampering goes unseen.

use futures_util::future::join_all;
use openbin_gateway::keys::block::{Block, Subject};

use super::*;

fn ann() -> Block {
    let subject = Subject::User("ann".to_owned());
    Block { instance: "home".to_owned(), subject, at: at(0), until: None, why: None }
}

async fn length(backend: &Backend) -> usize {
    chain(backend).await.expect("a whole chain").len()
}

async fn write_down(backend: &Backend, count: usize) {
    for number in 0..count {
        let mut event = event(Action::AdminRefused);
        event.detail = Some(format!("number {number}"));
        backend.store().record(&event).await.expect("written");
    }
}

pub async fn every_change_is_one_entry_in_order(backend: &Backend) {
    assert_eq!(chain(backend).await, Ok(Vec::new()));
    let (store, record, policy) =
        (backend.store(), record("a"), Policy { disabled: true, ..Policy::default() });
    let mut seen = event(Action::KeyLearned);
    seen.key_id = Some("id \"a\"\n".to_owned());
    seen.user_id = Some("ü1".to_owned());
    seen.actor.address = Some("::1".parse().expect("an address"));
    store.learn(&record, Admission { most: Some(1), event: &seen }).await.expect("learned");
    amend(backend, &record.hash, &Policy::default(), &policy).await;
    revoke(backend, &record.id, operator(1)).await;
    revoke(backend, "unknown", operator(1)).await;
    learn(backend, &KeyRecord { id: "unknown".to_owned(), ..super::record("b") }).await;
    for _ in 0..2 {
        store.block(&ann(), &event(Action::UserBlocked)).await.expect("blocked");
    }
    store.unblock("home", &ann().subject, &event(Action::UserUnblocked)).await.expect("lifted");
    store.record(&event(Action::AdminRefused)).await.expect("written");

    let entries = chain(backend).await.expect("a whole chain");
    let actions: Vec<_> = entries.iter().map(|entry| entry.action).collect();
    let expected = [
        Action::KeyLearned,
        Action::PolicyChanged,
        Action::KeyRevoked,
        Action::KeyRevoked,
        Action::KeyLearned,
        Action::UserBlocked,
        Action::UserBlocked,
        Action::UserUnblocked,
        Action::AdminRefused,
    ];
    assert_eq!(actions, expected);
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    let first = &entries[0];
    assert_eq!((&first.key_id, &first.user_id), (&seen.key_id, &seen.user_id));
    assert_eq!(
        (first.role, first.actor.as_deref(), first.address),
        (Role::Operator, Some("ann"), seen.actor.address)
    );
}

pub async fn what_changes_nothing_is_not_written_down(backend: &Backend) {
    let (store, record, policy) =
        (backend.store(), record("a"), Policy { disabled: true, ..Policy::default() });
    learn(backend, &record).await;
    revoke(backend, "id-gone", operator(1)).await;
    let before = length(backend).await;
    learn(backend, &record).await;
    revoke(backend, "id-gone", operator(2)).await;
    amend(backend, &record.hash, &policy, &Policy::default()).await;
    amend(backend, &KeyHash::of("unknown"), &Policy::default(), &policy).await;
    let terms = Admission { most: Some(1), event: &event(Action::KeyCreated) };
    assert_eq!(store.learn(&super::record("b"), terms).await.expect("an answer"), Learned::TooMany);
    assert!(!store.unblock("home", &ann().subject, &event(Action::UserUnblocked)).await.expect("an answer"));
    used(backend, &record, 5).await;
    store.probe().await.expect("all works");
    store.due(at(1), at(2), 3).await.expect("errands");
    store.list(&Query { limit: 10, ..Query::default() }, at(0)).await.expect("a page");
    assert_eq!(length(backend).await, before);
}

pub async fn a_key_that_outlived_its_tombstone_is_revoked_with_an_entry(backend: &Backend) {
    let (live, dead) = (record("live"), KeyRecord { id: "id-live".to_owned(), ..record("dead") });
    learn(backend, &live).await;
    learn(backend, &KeyRecord { revoked: Some(operator(1)), ..dead.clone() }).await;
    assert_eq!(found(backend, &live).await.expect("a record").revoked, None);
    let before = length(backend).await;
    for _ in 0..2 {
        revoke(backend, "id-live", operator(2)).await;
        assert_eq!(length(backend).await, before + 1);
    }
    assert_eq!(found(backend, &live).await.expect("a record").revoked, Some(operator(2)));
    assert_eq!(found(backend, &dead).await.expect("a record").revoked, Some(operator(1)));
}

pub async fn two_processes_at_once_write_one_whole_chain(backend: &Backend) {
    let other = backend.beside().await;
    let stores = [&**backend.store(), &*other];
    let records: Vec<_> = (0..60).map(|number| record(&number.to_string())).collect();
    let changes = records.iter().zip(stores.iter().cycle()).map(async |(record, store)| {
        try_to_learn(*store, record).await.expect("learned");
        try_to_revoke(*store, "home", &record.id, operator(1)).await.expect("revoked");
        store.record(&event(Action::AdminRefused)).await.expect("written");
    });
    join_all(changes).await;
    let entries = chain(backend).await.expect("a whole chain");
    for action in [Action::KeyLearned, Action::KeyRevoked, Action::AdminRefused] {
        assert_eq!(
            entries.iter().filter(|entry| entry.action == action).count(),
            records.len(),
            "{action:?}"
        );
    }
}

pub async fn the_same_event_seen_twice_is_two_entries(backend: &Backend) {
    let (other, event) = (backend.beside().await, event(Action::AdminRefused));
    for _ in 0..20 {
        let (one, two) = tokio::join!(backend.store().record(&event), other.record(&event));
        one.and(two).expect("written");
    }
    assert_eq!(length(backend).await, 40);
}

pub async fn a_chain_goes_on_after_a_restart(backend: &mut Backend) {
    write_down(backend, 2).await;
    backend.reopen().await;
    write_down(backend, 2).await;
    assert_eq!(length(backend).await, 4);
    let store = backend.store();
    assert_eq!(store.links(3, usize::MAX).await.expect("links").len(), 1);
    assert_eq!(store.links(0, 0).await.expect("links"), []);
    assert_eq!(store.links(u64::MAX, 5).await.expect("links"), []);
}

pub async fn an_edited_entry_is_found(backend: &Backend) {
    write_down(backend, 5).await;
    backend.edit_entry(3, "number 2", "number 9").await;
    let broken = chain(backend).await.expect_err("it was edited");
    assert!(broken.contains("entry 3"), "{broken}");
}

pub async fn an_entry_that_was_taken_out_is_found(backend: &Backend) {
    write_down(backend, 5).await;
    backend.remove_entry(5).await;
    let broken = chain(backend).await.expect_err("the last is missing");
    assert!(broken.contains("ends at 4, not at 5"), "{broken}");
    backend.remove_entry(2).await;
    let broken = chain(backend).await.expect_err("one in the middle is missing");
    assert!(broken.contains("entry 2 is missing"), "{broken}");
}
