//! On what terms keys are held: their policies, how many an owner may have, and when they were used.

use futures_util::future::join_all;

use super::*;

fn policy() -> Policy {
    Policy {
        expires_at: Some(at(100)),
        disabled: true,
        methods: vec!["GET".to_owned()],
        paths: vec!["/api/bins".to_owned()],
        addresses: vec!["10.0.0.0/8".parse().expect("a network")],
        replaced_by: Some("näxt".to_owned()),
        ..Policy::default()
    }
}

async fn learn_at_most(store: &dyn Ledger, record: &KeyRecord, most: usize) -> Learned {
    let terms = Admission { most: Some(most), event: &event(Action::KeyCreated) };
    store.learn(record, terms).await.expect("an answer")
}

pub async fn a_policy_survives_as_it_was_written(backend: &Backend) {
    let limited = KeyRecord { policy: policy(), ..record("a") };
    learn(backend, &limited).await;
    assert_eq!(found(backend, &limited).await, Some(limited.clone()));
    for to in [Policy::default(), policy()] {
        let from = found(backend, &limited).await.expect("a record").policy;
        assert_eq!(amend(backend, &limited.hash, &from, &to).await, Amended::Done);
        assert_eq!(found(backend, &limited).await.expect("a record").policy, to);
    }
}

pub async fn a_policy_is_changed_only_from_what_it_was_thought_to_be(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    let (none, to) = (Policy::default(), policy());
    assert_eq!(amend(backend, &KeyHash::of("nobody's"), &none, &to).await, Amended::Missing);
    assert_eq!(amend(backend, &record.hash, &to, &none).await, Amended::Otherwise);
    assert_eq!(found(backend, &record).await, Some(record.clone()));
    assert_eq!(amend(backend, &record.hash, &none, &to).await, Amended::Done);
    assert_eq!(amend(backend, &record.hash, &none, &to).await, Amended::Otherwise);
    assert_eq!(found(backend, &record).await, Some(KeyRecord { policy: to, ..record }));
}

pub async fn of_two_who_change_a_policy_at_once_one_succeeds(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    let other = backend.beside().await;
    let mut from = Policy::default();
    for round in 0..20 {
        let to = |who: &str| Policy { replaced_by: Some(format!("{who}{round}")), ..Policy::default() };
        let (one, two, event) = (to("one"), to("two"), event(Action::PolicyChanged));
        let amendment =
            |to| Amendment { instance: "home", hash: &record.hash, from: &from, to, event: &event };
        let (first, second) =
            tokio::join!(backend.store().amend(amendment(&one)), other.amend(amendment(&two)));
        let (first, second) = (first.expect("an answer"), second.expect("an answer"));
        let now = match (first, second) {
            (Amended::Done, Amended::Otherwise) => one,
            (Amended::Otherwise, Amended::Done) => two,
            both => panic!("{both:?}"),
        };
        assert_eq!(found(backend, &record).await.expect("a record").policy, now);
        from = now;
    }
}

pub async fn an_owner_has_no_more_keys_than_they_may_have(backend: &Backend) {
    let store = &**backend.store();
    for number in 1..=10 {
        assert_eq!(learn_at_most(store, &record(&number.to_string()), 10).await, Learned::Written);
    }
    let eleventh = record("11");
    assert_eq!(learn_at_most(store, &eleventh, 10).await, Learned::TooMany);
    assert_eq!(found(backend, &eleventh).await, None);
    assert_eq!(revoke(backend, &eleventh.id, operator(1)).await, [], "nothing of it was kept");
    let known = learn_at_most(store, &record("1"), 10).await;
    assert!(matches!(known, Learned::Known(_)), "{known:?}");
    let away = KeyRecord { instance: "away".into(), ..record("1") };
    let others = KeyRecord { user_id: "u2".to_owned(), ..record("12") };
    for record in [away, others] {
        assert_eq!(learn_at_most(store, &record, 10).await, Learned::Written);
    }
    assert_eq!(learn(backend, &record("13")).await, Learned::Written, "whatever their number");
}

pub async fn revoked_keys_do_not_count(backend: &Backend) {
    let store = &**backend.store();
    // Three share an id, of which one was known to be revoked; each counts once.
    for (key, revoked) in [("a", None), ("b", None), ("gone", Some(operator(1)))] {
        learn(backend, &KeyRecord { revoked, id: "same".to_owned(), ..record(key) }).await;
    }
    learn(backend, &record("c")).await;
    assert_eq!(learn_at_most(store, &record("d"), 3).await, Learned::TooMany);
    for _ in 0..2 {
        revoke(backend, "same", operator(2)).await;
    }
    assert_eq!(learn_at_most(store, &record("d"), 3).await, Learned::Written);
    assert_eq!(learn_at_most(store, &record("e"), 3).await, Learned::Written);
    assert_eq!(learn_at_most(store, &record("f"), 3).await, Learned::TooMany);
    revoke(backend, "id-buried", operator(2)).await;
    learn(backend, &KeyRecord { id: "id-buried".to_owned(), ..record("g") }).await;
    revoke(backend, "id-c", operator(2)).await;
    assert_eq!(learn_at_most(store, &record("f"), 3).await, Learned::Written);
    assert_eq!(learn_at_most(store, &record("h"), 3).await, Learned::TooMany);
}

pub async fn many_at_once_never_exceed_what_an_owner_may_have(backend: &Backend) {
    let other = backend.beside().await;
    let stores = [&**backend.store(), &*other];
    let records: Vec<_> = (0..20).map(|number| record(&number.to_string())).collect();
    let learning =
        records.iter().zip(stores.iter().cycle()).map(|(record, store)| learn_at_most(*store, record, 10));
    let learned = join_all(learning).await;
    assert_eq!(learned.iter().filter(|learned| **learned == Learned::Written).count(), 10);
    assert_eq!(learned.iter().filter(|learned| **learned == Learned::TooMany).count(), 10);
}

pub async fn last_use_only_moves_forward(backend: &Backend) {
    let first = Some(AddressFamily::Ipv4);
    let record = KeyRecord { last_used_at: Some(at(5)), last_used_over: first, ..record("a") };
    learn(backend, &record).await;
    let later = Some(AddressFamily::Ipv6);
    for (seconds, expected, over) in [(3, 5, first), (5, 5, first), (7, 7, later), (6, 7, later)] {
        used(backend, &record, seconds).await;
        let last = found(backend, &record).await.expect("a record");
        assert_eq!((last.last_used_at, last.last_used_over), (Some(at(expected)), over));
    }
}

pub async fn the_last_use_is_the_latest_one_whoever_wrote_it_and_on_whichever_day(backend: &Backend) {
    const DAY: u64 = 86_400;
    let (v4, v6) = (AddressFamily::Ipv4, AddressFamily::Ipv6);
    let record = record("a");
    learn(backend, &record).await;
    for (replica, seconds, over, expected) in [
        ("r2", DAY + 8, v4, (DAY + 8, v4)),
        ("r1", DAY + 5, v6, (DAY + 8, v4)),
        ("r3", DAY + 7, v6, (DAY + 8, v4)),
        ("r1", 9, v6, (DAY + 8, v4)),
        ("r1", 2 * DAY, v6, (2 * DAY, v6)),
        ("r2", 2 * DAY + 1, v4, (2 * DAY + 1, v4)),
    ] {
        let used = Use { over, ..use_of(&record, seconds) };
        backend.store().note_used(replica, &[used]).await.expect("noted");
        let last = found(backend, &record).await.expect("a record");
        let (seconds, over) = expected;
        assert_eq!((last.last_used_at, last.last_used_over), (Some(at(seconds)), Some(over)), "{replica}");
    }
}

pub async fn many_uses_are_written_together(backend: &Backend) {
    let records: Vec<_> = (0..2_500).map(|number| record(&number.to_string())).collect();
    learn(backend, &records[0]).await;
    learn(backend, &records[2_499]).await;
    let uses: Vec<_> = records.iter().map(|record| use_of(record, 3)).collect();
    backend.store().note_used("r1", &uses).await.expect("noted");
    for record in [&records[0], &records[2_499]] {
        assert_eq!(found(backend, record).await.expect("a record").last_used_at, Some(at(3)));
    }
    assert_eq!(found(backend, &records[1]).await, None);
}

pub async fn a_use_of_an_unknown_key_is_passed_over(backend: &Backend) {
    used(backend, &record("a"), 5).await;
    assert_eq!(backend.entries().await, 0);
    assert_eq!(backend.store().with_days(&[record("a")]).await.expect("days"), []);
}

pub async fn days_are_sums_over_replicas_and_only_grow(backend: &Backend) {
    const DAY: u64 = 86_400;
    let (record, other) = (record("a"), record("b"));
    learn(backend, &record).await;
    learn(backend, &other).await;
    for (replica, seconds, count) in [
        ("r1", 0, 3),
        ("r2", 1, 4),
        ("r1", 2, 9),
        ("r1", 3, 5),
        ("r1", DAY, 1),
        ("r2", 2 * DAY, 70_000_000_000),
    ] {
        let used = [Use { count, ..use_of(&record, seconds) }];
        // Twice: totals, not additions.
        for _ in 0..2 {
            backend.store().note_used(replica, &used).await.expect("noted");
        }
    }
    let today = at(0).duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs() / DAY;
    let day = |later: u32, count| Day { day: u32::try_from(today).expect("a day") + later, count };
    let both = backend.store().with_days(&[other.clone(), record.clone()]).await.expect("days");
    let days: Vec<_> = both.iter().map(|(record, days)| (record.hash, &days[..])).collect();
    let used = [day(2, 70_000_000_000), day(1, 1), day(0, 13)];
    assert_eq!(days, [(other.hash, &[][..]), (record.hash, &used[..])]);
}

/// Whoever reads the record and then the days sees uses of a key that was never used.
pub async fn a_key_comes_with_its_days_as_it_is_then(backend: &Backend) {
    let keys: Vec<_> = (0..120).map(|number| record(&number.to_string())).collect();
    for key in &keys {
        learn(backend, key).await;
    }
    let uses: Vec<_> = keys.iter().map(|key| use_of(key, 3)).collect();
    backend.store().note_used("r1", &uses).await.expect("noted");
    let seen = backend.store().with_days(&keys).await.expect("days");
    assert_eq!(seen.len(), keys.len());
    for (key, (record, days)) in keys.iter().zip(seen) {
        assert_eq!((record.hash, record.last_used_at, days.len()), (key.hash, Some(at(3)), 1));
    }
}
