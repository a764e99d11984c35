//! What every store must do with keys: learn, find and revoke them. Each rule is a function that takes a store.

use super::*;

pub async fn a_learned_key_is_found_as_it_was_written(backend: &Backend) {
    let sparse = KeyRecord {
        user_email: None,
        name: String::new(),
        issuer: Issuer::Gateway,
        created_at: None,
        last_used_at: Some(at(7)),
        last_used_over: Some(AddressFamily::Ipv4),
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
    assert_eq!(revoke(backend, &record.id, operator(1)).await, [record.hash]);
    let revoked = found(backend, &record).await.expect("a record").revoked;
    assert_eq!(revoked, Some(operator(1)));
}

pub async fn the_first_revocation_stays(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    let first = Revocation { who: Some("ann".to_owned()), why: Some("läck".to_owned()), ..operator(1) };
    let second = Revocation { who: Some("bob".to_owned()), ..Revocation::new(at(2), RevokedBy::Mirror) };
    for revocation in [first.clone(), second] {
        assert_eq!(revoke(backend, &record.id, revocation).await, [record.hash]);
    }
    assert_eq!(found(backend, &record).await.expect("a record").revoked, Some(first));
}

pub async fn a_key_revoked_before_it_is_known_is_learned_as_revoked(backend: &Backend) {
    let record = record("a");
    let first = Revocation { why: Some("lost".to_owned()), ..operator(1) };
    assert_eq!(revoke(backend, &record.id, first.clone()).await, []);
    assert_eq!(revoke(backend, &record.id, operator(2)).await, []);
    // What the tombstone says of its end wins over what is said now.
    let other_end = Revocation { who: Some("bob".to_owned()), ..operator(3) };
    assert_eq!(
        learn(backend, &KeyRecord { revoked: Some(other_end), ..record.clone() }).await,
        Learned::Revoked
    );
    let buried = KeyRecord { revoked: Some(first), ..record };
    assert_eq!(found(backend, &buried).await, Some(buried.clone()));
}

pub async fn a_revoked_key_never_comes_back(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    revoke(backend, &record.id, operator(1)).await;
    used(backend, &record, 9).await;
    let Learned::Known(known) = learn(backend, &record).await else { panic!("the record is known") };
    assert_eq!(known.revoked, Some(operator(1)));
    assert_eq!(found(backend, &record).await.expect("a record").revoked, Some(operator(1)));
}

pub async fn all_keys_with_the_same_id_are_revoked(backend: &Backend) {
    let records = [record("a"), record("b"), record("c")].map(|r| KeyRecord { id: "same".to_owned(), ..r });
    learn(backend, &records[0]).await;
    learn(backend, &records[1]).await;
    let mut hashes = revoke(backend, "same", operator(1)).await;
    hashes.sort();
    let mut known = [records[0].hash, records[1].hash];
    known.sort();
    assert_eq!(hashes, known);
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
        let other = backend.beside().await;
        let learning = learn(backend, &record);
        let (_, revoked) = tokio::join!(learning, try_to_revoke(&*other, "home", &record.id, operator(1)));
        revoked.expect("revoked");
        assert!(found(backend, &record).await.expect("a record").revoked.is_some());
    }
}

pub async fn instances_do_not_see_each_others_keys(backend: &Backend) {
    let home = record("a");
    let away = KeyRecord { instance: "away".into(), user_id: "u2".to_owned(), ..record("a") };
    learn(backend, &home).await;
    assert_eq!(found(backend, &away).await, None);
    assert_eq!(learn(backend, &away).await, Learned::Written);
    try_to_revoke(&**backend.store(), "away", &away.id, operator(1)).await.expect("revoked");
    used(backend, &away, 5).await;
    assert_eq!(found(backend, &home).await, Some(home));
    assert!(found(backend, &away).await.expect("a record").revoked.is_some());
}

pub async fn a_record_that_cannot_be_read_is_an_error(backend: &Backend) {
    let record = record("a");
    learn(backend, &record).await;
    backend.damage(&record).await;
    let find = backend.store().find("home", &record.hash).await;
    assert!(matches!(find, Err(StoreError::Corrupt(_))), "{find:?}");
    let learn = try_to_learn(&**backend.store(), &record).await;
    assert!(matches!(learn, Err(StoreError::Corrupt(_))), "{learn:?}");
    revoke(backend, &record.id, operator(1)).await;
}

pub async fn a_probe_leaves_nothing_behind(backend: &Backend) {
    backend.store().ping().await.expect("an answer");
    backend.store().probe().await.expect("all works");
    assert_eq!(backend.entries().await, 0);
}
