//! What every store must do, each rule a function that takes a store.

use super::*;

pub async fn a_learned_key_is_found_as_it_was_written(backend: &Backend) {
    let sparse = KeyRecord {
        user_email: None,
        name: String::new(),
        issuer: Issuer::Gateway,
        created_at: None,
        last_used_at: Some(at(7)),
        ..record("b")
    };
    for record in [record("a"), sparse] {
        assert_eq!(found(backend, &record).await, None);
        assert_eq!(learn(backend, &record).await, Learned::Written);
        assert_eq!(found(backend, &record).await, Some(record));
    }
}

pub async fn a_known_record_stays_as_it_is(backend: &Backend) {
    let first = record("a");
    learn(backend, &first).await;
    let second = KeyRecord { name: "other".to_owned(), user_id: "u2".to_owned(), ..record("a") };
    assert_eq!(learn(backend, &second).await, Learned::Known(first.clone()));
    assert_eq!(found(backend, &first).await, Some(first));
}

pub async fn a_revoked_key_is_found_revoked(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    let hash = backend.store.revoke("home", &record.id, operator(1)).await.expect("revoked");
    assert_eq!(hash, Some(record.hash));
    let revoked = found(backend, &record).await.expect("a record").revoked;
    assert_eq!(revoked, Some(operator(1)));
}

pub async fn the_first_revocation_stays(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    for revocation in [operator(1), Revocation { at: at(2), by: RevokedBy::Mirror }] {
        let hash = backend.store.revoke("home", &record.id, revocation).await.expect("revoked");
        assert_eq!(hash, Some(record.hash));
    }
    assert_eq!(found(backend, &record).await.expect("a record").revoked, Some(operator(1)));
}

pub async fn a_key_revoked_before_it_is_known_is_learned_as_revoked(backend: &Backend) {
    let record = record("a");
    assert_eq!(backend.store.revoke("home", &record.id, operator(1)).await.expect("buried"), None);
    assert_eq!(backend.store.revoke("home", &record.id, operator(2)).await.expect("buried"), None);
    assert_eq!(learn(backend, &record).await, Learned::Revoked);
    let buried = KeyRecord { revoked: Some(operator(1)), ..record };
    assert_eq!(found(backend, &buried).await, Some(buried.clone()));
}

pub async fn a_revoked_key_never_comes_back(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    backend.store.revoke("home", &record.id, operator(1)).await.expect("revoked");
    used(backend, &record, 9).await;
    let Learned::Known(known) = learn(backend, &record).await else { panic!("the record is known") };
    assert_eq!(known.revoked, Some(operator(1)));
    assert_eq!(found(backend, &record).await.expect("a record").revoked, Some(operator(1)));
}

pub async fn all_keys_with_the_same_id_are_revoked(backend: &Backend) {
    let records = [record("a"), record("b"), record("c")].map(|r| KeyRecord { id: "same".to_owned(), ..r });
    learn(backend, &records[0]).await;
    learn(backend, &records[1]).await;
    backend.store.revoke("home", "same", operator(1)).await.expect("revoked");
    assert_eq!(learn(backend, &records[2]).await, Learned::Revoked);
    for record in &records {
        assert!(found(backend, record).await.expect("a record").revoked.is_some());
    }
}

pub async fn a_record_that_is_learned_revoked_buries_its_id(backend: &Backend) {
    let gone = KeyRecord { revoked: Some(operator(1)), ..record("a") };
    assert_eq!(learn(backend, &gone).await, Learned::Written);
    assert_eq!(found(backend, &gone).await, Some(gone.clone()));
    let other = KeyRecord { id: gone.id.clone(), ..record("b") };
    assert_eq!(learn(backend, &other).await, Learned::Revoked);
}

pub async fn learning_and_revoking_at_once_always_ends_revoked(backend: &Backend) {
    for round in 0..50 {
        let record = record(&round.to_string());
        let (learned, revoked) =
            tokio::join!(backend.store.learn(&record), backend.store.revoke("home", &record.id, operator(1)));
        learned.expect("learned");
        revoked.expect("revoked");
        assert!(found(backend, &record).await.expect("a record").revoked.is_some());
    }
}

pub async fn last_use_only_moves_forward(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    for (seconds, expected) in [(5, 5), (3, 5), (9, 9)] {
        used(backend, &record, seconds).await;
        let last = found(backend, &record).await.expect("a record").last_used_at;
        assert_eq!(last, Some(at(expected)));
    }
}

pub async fn many_uses_are_written_together(backend: &Backend) {
    let records: Vec<_> = (0..2_500).map(|n| record(&n.to_string())).collect();
    learn(backend, &records[0]).await;
    learn(backend, &records[2_499]).await;
    let use_of = |record: &KeyRecord| Use { instance: "home".into(), hash: record.hash, at: at(3) };
    let uses: Vec<_> = records.iter().map(use_of).collect();
    backend.store.note_used(&uses).await.expect("noted");
    for record in [&records[0], &records[2_499]] {
        assert_eq!(found(backend, record).await.expect("a record").last_used_at, Some(at(3)));
    }
    assert_eq!(found(backend, &records[1]).await, None);
}

pub async fn a_use_of_an_unknown_key_is_passed_over(backend: &Backend) {
    used(backend, &record("a"), 5).await;
    assert_eq!(backend.entries().await, 0);
}

pub async fn instances_do_not_see_each_others_keys(backend: &Backend) {
    let home = record("a");
    let away = KeyRecord { instance: "away".into(), user_id: "u2".to_owned(), ..record("a") };
    learn(backend, &home).await;
    assert_eq!(found(backend, &away).await, None);
    assert_eq!(learn(backend, &away).await, Learned::Written);
    backend.store.revoke("away", &away.id, operator(1)).await.expect("revoked");
    used(backend, &away, 5).await;
    assert_eq!(found(backend, &home).await, Some(home));
    assert!(found(backend, &away).await.expect("a record").revoked.is_some());
}

pub async fn a_record_that_cannot_be_read_is_an_error(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    backend.damage(&record).await;
    let find = backend.store.find("home", &record.hash).await;
    assert!(matches!(find, Err(StoreError::Corrupt(_))), "{find:?}");
    let learn = backend.store.learn(&record).await;
    assert!(matches!(learn, Err(StoreError::Corrupt(_))), "{learn:?}");
    backend.store.revoke("home", &record.id, operator(1)).await.expect("it can still be revoked");
}

pub async fn a_probe_leaves_nothing_behind(backend: &Backend) {
    backend.store.ping().await.expect("an answer");
    backend.store.probe().await.expect("all works");
    assert_eq!(backend.entries().await, 0);
}
