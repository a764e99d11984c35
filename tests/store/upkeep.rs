//! Blocks, and what is still to be done about keys.

use futures_util::future::join_all;
use openbin_gateway::keys::block::{Block, Subject};
use openbin_gateway::keys::errand::{Errand, State, Task};

use super::*;

fn block_of(subject: Subject, seconds: u64, until: Option<u64>) -> Block {
    let why = Some("läft \"us\"".to_owned());
    Block { instance: "home".to_owned(), subject, at: at(seconds), until: until.map(at), why }
}

fn user(id: &str) -> Subject {
    Subject::User(id.to_owned())
}

async fn block(backend: &Backend, block: &Block) {
    backend.store().block(block, &event(Action::UserBlocked)).await.expect("blocked");
}

async fn unblock(backend: &Backend, instance: &str, subject: &Subject) -> bool {
    backend.store().unblock(instance, subject, &event(Action::UserUnblocked)).await.expect("an answer")
}

async fn blocks(backend: &Backend, seconds: u64) -> Vec<Block> {
    backend.store().blocks(at(seconds)).await.expect("blocks")
}

pub async fn a_block_stays_until_it_is_lifted(backend: &Backend) {
    let odd = Block { instance: "a:b%3A".to_owned(), why: None, ..block_of(user("x:user:y"), 3, None) };
    let all = [odd, block_of(Subject::Session([7; 32]), 2, Some(900)), block_of(user("ann"), 1, None)];
    for one in &all {
        block(backend, one).await;
    }
    assert_eq!(blocks(backend, 5).await, all);
    assert!(!unblock(backend, "away", &user("ann")).await);
    assert!(!unblock(backend, "home", &user("an")).await);
    for one in &all {
        assert!(unblock(backend, &one.instance, &one.subject).await);
        assert!(!unblock(backend, &one.instance, &one.subject).await);
    }
    assert_eq!(blocks(backend, 5).await, []);
}

pub async fn a_block_takes_the_place_of_an_earlier_one(backend: &Backend) {
    block(backend, &block_of(user("ann"), 1, Some(10))).await;
    let later = Block { why: None, ..block_of(user("ann"), 2, None) };
    block(backend, &later).await;
    assert_eq!(blocks(backend, 100).await, [later]);
}

pub async fn a_block_that_is_over_is_forgotten(backend: &Backend) {
    block(backend, &block_of(user("ann"), 1, Some(10))).await;
    block(backend, &block_of(user("bob"), 2, Some(11))).await;
    assert_eq!(blocks(backend, 9).await.len(), 2);
    assert_eq!(blocks(backend, 10).await, [block_of(user("bob"), 2, Some(11))]);
    assert!(!unblock(backend, "home", &user("ann")).await, "it is gone");
    assert_eq!(blocks(backend, 9).await.len(), 1);
}

fn errand(key: &str, due: u64) -> Errand {
    Errand {
        instance: "home".to_owned(),
        key_id: key.to_owned(),
        user_id: "u1".to_owned(),
        user_email: Some("ann@example.com".to_owned()),
        task: Task::End,
        state: State::Pending,
        due: at(due),
        tries: 0,
        note: None,
    }
}

async fn schedule(backend: &Backend, errand: &Errand) {
    backend.store().schedule(errand).await.expect("taken on");
}

async fn due(backend: &Backend, now: u64, until: u64) -> Vec<Errand> {
    backend.store().due(at(now), at(until), 100).await.expect("errands")
}

async fn errands_of(backend: &Backend, key: &str) -> Vec<Errand> {
    backend.store().errands_of("home", key).await.expect("errands")
}

pub async fn an_errand_is_given_out_once_until_its_time_comes_again(backend: &Backend) {
    let errand = Errand { user_email: None, ..errand("k", 10) };
    schedule(backend, &errand).await;
    assert_eq!(due(backend, 9, 20).await, []);
    assert_eq!(
        due(backend, 10, 20).await,
        std::slice::from_ref(&errand),
        "as it was before it was given out"
    );
    assert_eq!(due(backend, 19, 30).await, []);
    let again = Errand { due: at(20), tries: 1, ..errand.clone() };
    assert_eq!(errands_of(backend, "k").await, std::slice::from_ref(&again));
    assert_eq!(due(backend, 20, 30).await, [again]);
    assert_eq!(errands_of(backend, "k").await, [Errand { due: at(30), tries: 2, ..errand }]);
}

pub async fn an_errand_never_goes_to_two(backend: &Backend) {
    for number in 0..50 {
        schedule(backend, &errand(&number.to_string(), number)).await;
    }
    let other = backend.beside().await;
    let stores = [&**backend.store(), &*other];
    let asking = (0..20).zip(stores.iter().cycle()).map(|(_, store)| store.due(at(100), at(200), 3));
    let mut given: Vec<_> =
        join_all(asking).await.into_iter().flat_map(|errands| errands.expect("errands")).collect();
    given.sort_by_key(|errand| errand.due);
    let keys: Vec<_> = given.into_iter().map(|errand| errand.key_id).collect();
    assert_eq!(keys, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

pub async fn the_longest_due_errand_comes_first(backend: &Backend) {
    for (key, seconds) in [("b", 20), ("c", 30), ("a", 10), ("d", 40)] {
        schedule(backend, &errand(key, seconds)).await;
    }
    let store = backend.store();
    let keys = |errands: Vec<Errand>| errands.into_iter().map(|errand| errand.key_id).collect::<Vec<_>>();
    assert_eq!(store.due(at(99), at(200), 0).await.expect("errands"), []);
    assert_eq!(keys(store.due(at(30), at(200), 2).await.expect("errands")), ["a", "b"]);
    assert_eq!(keys(store.due(at(30), at(200), usize::MAX).await.expect("errands")), ["c"]);
}

pub async fn a_settled_errand_is_as_it_was_settled(backend: &Backend) {
    let store = backend.store();
    schedule(backend, &errand("k", 10)).await;
    let given = due(backend, 10, 20).await.pop().expect("an errand");
    let again = given.again(at(11), "döwn");
    store.settle(&given, &again).await.expect("noted");
    let expected = Errand { due: at(12), tries: 1, note: Some("döwn".to_owned()), ..errand("k", 10) };
    assert_eq!(errands_of(backend, "k").await, std::slice::from_ref(&expected));
    assert_eq!(due(backend, 12, 30).await, std::slice::from_ref(&expected));
    store.settle(&given, &given.refused(at(13), "no such key")).await.expect("noted");
    assert_eq!(due(backend, 900, 901).await, []);
    let refused = &errands_of(backend, "k").await[0];
    assert_eq!((refused.state, refused.note.as_deref()), (State::Refused, Some("no such key")));
    store.settle(&given, &given.done(at(14))).await.expect("noted");
    let done = Errand { state: State::Done, due: at(14), tries: 2, note: None, ..expected };
    assert_eq!(errands_of(backend, "k").await, [done]);
    let unknown = errand("unknown", 0);
    store.settle(&unknown, &unknown.again(at(1), "")).await.expect("passed over");
    assert_eq!(errands_of(backend, "unknown").await, []);
    assert_eq!(due(backend, 900, 901).await, []);
}

pub async fn an_errand_takes_the_place_of_an_earlier_one(backend: &Backend) {
    schedule(backend, &errand("k", 10)).await;
    let tell = Errand { task: Task::Tell, ..errand("k", 20) };
    schedule(backend, &tell).await;
    let given = due(backend, 10, 11).await.pop().expect("an errand");
    backend.store().settle(&given, &given.again(at(10), "down")).await.expect("noted");
    let later = Errand { user_email: None, ..errand("k", 30) };
    schedule(backend, &later).await;
    assert_eq!(errands_of(backend, "k").await, [later.clone(), tell.clone()]);
    assert_eq!(due(backend, 29, 40).await, [tell]);
    schedule(backend, &Errand { state: State::Done, ..later }).await;
    assert_eq!(due(backend, 39, 40).await, []);
}

async fn revoke_and_tell(backend: &Backend, id: &str, seconds: u64) {
    let (revocation, event) = (operator(seconds), event(Action::KeyRevoked));
    let ending = Ending { instance: "home", id, revocation: &revocation, tell: true, event: &event };
    backend.store().revoke(ending).await.expect("revoked");
}

pub async fn an_instance_is_told_once_of_a_key_that_it_issued(backend: &Backend) {
    learn(backend, &record("a")).await;
    revoke_and_tell(backend, "id-a", 5).await;
    let tell = Errand { task: Task::Tell, ..errand("id-a", 5) };
    assert_eq!(errands_of(backend, "id-a").await, std::slice::from_ref(&tell));
    let given = due(backend, 5, 10).await;
    assert_eq!(given, [tell]);
    backend.store().settle(&given[0], &given[0].done(at(6))).await.expect("noted");
    revoke_and_tell(backend, "id-a", 7).await;
    assert_eq!(due(backend, 900, 901).await, [], "what was told once stays told");
}

pub async fn nobody_is_told_of_a_key_that_the_gateway_issued(backend: &Backend) {
    let own = KeyRecord { issuer: Issuer::Gateway, ..record("own") };
    learn(backend, &own).await;
    revoke_and_tell(backend, &own.id, 5).await;
    revoke_and_tell(backend, "unknown", 5).await;
    learn(backend, &record("b")).await;
    revoke(backend, "id-b", operator(5)).await;
    revoke_and_tell(backend, "id-b", 6).await;
    for key in ["id-own", "unknown", "id-b"] {
        assert_eq!(errands_of(backend, key).await, [], "{key}");
    }
    // Of several keys with one id it is enough that an instance issued one.
    for (key, issuer) in [("c", Issuer::Gateway), ("d", Issuer::Openbin), ("e", Issuer::Gateway)] {
        let user_id = format!("u-{key}");
        learn(backend, &KeyRecord { id: "same".to_owned(), issuer, user_id, ..record(key) }).await;
    }
    revoke_and_tell(backend, "same", 5).await;
    assert_eq!(errands_of(backend, "same").await[0].user_id, "u-d");
}

pub async fn errands_and_blocks_survive_a_restart(backend: &mut Backend) {
    schedule(backend, &errand("k", 10)).await;
    learn(backend, &record("a")).await;
    revoke_and_tell(backend, "id-a", 20).await;
    block(backend, &block_of(user("ann"), 1, None)).await;
    let given = due(backend, 10, 30).await;
    assert_eq!(given, [errand("k", 10)]);
    backend.reopen().await;
    assert_eq!(due(backend, 20, 30).await, [Errand { task: Task::Tell, ..errand("id-a", 20) }]);
    assert_eq!(due(backend, 29, 30).await, [], "a claim outlives its process");
    assert_eq!(due(backend, 30, 40).await.len(), 2);
    assert_eq!(blocks(backend, 5).await, [block_of(user("ann"), 1, None)]);
}
