//! Keys taken in many at a time: what becomes of each is as if they had come one by one.

use super::*;

/// A portion in which everything occurs that can: new keys, known ones, repetitions, tombstones from before and
/// from the portion itself.
async fn portion(backend: &Backend) -> Vec<(KeyRecord, Event)> {
    learn(backend, &record("known")).await;
    learn(backend, &record("dead")).await;
    revoke(backend, "id-dead", operator(1)).await;
    revoke(backend, "id-waiting", operator(1)).await;
    let mut records = Vec::new();
    for number in 0..450 {
        records.push(record(&format!("new {number}")));
        if number % 90 == 0 {
            records.extend(["known", "dead", "waiting"].map(record));
            let revoked = Some(operator(2));
            records.push(KeyRecord { revoked: revoked.clone(), ..record(&format!("over {number}")) });
            records.push(KeyRecord { revoked, ..record("dead") });
            records.push(KeyRecord { id: format!("id-over {number}"), ..record(&format!("heir {number}")) });
            records.push(record(&format!("new {number}")));
        }
    }
    records.into_iter().map(|record| (record, event(Action::KeyImported))).collect()
}

/// Without what is only known of a key that was there before.
fn words(learned: &[Learned]) -> Vec<&'static str> {
    let word = |learned: &Learned| match learned {
        Learned::Written => "written",
        Learned::Known(known) if known.revoked.is_some() => "known revoked",
        Learned::Known(_) => "known",
        Learned::Revoked => "revoked",
        Learned::TooMany => "too many",
    };
    learned.iter().map(word).collect()
}

pub async fn many_keys_are_taken_in_as_one_by_one(backend: &Backend) {
    let records = portion(backend).await;
    let learned = backend.store().learn_all(&records).await.expect("taken in");
    let single = Backend::embedded().await;
    let mut expected = Vec::new();
    for (record, event) in portion(&single).await {
        expected.push(
            single.store().learn(&record, Admission { most: None, event: &event }).await.expect("learned"),
        );
    }
    assert_eq!(learned, expected);
    for word in ["written", "known", "known revoked", "revoked"] {
        assert!(words(&learned).contains(&word), "{word}");
    }
    for (record, _) in &records {
        assert_eq!(found(backend, record).await, found(&single, record).await);
    }
    let entries = chain(backend).await.expect("a whole chain");
    assert_eq!(entries, chain(&single).await.expect("a whole chain"));
}

pub async fn a_dry_run_foresees_what_the_run_comes_to(backend: &Backend) {
    let records = portion(backend).await;
    let (before, end) = (backend.entries().await, backend.store().head().await.expect("the end"));
    let foreseen = backend.store().foresee(&records).await.expect("an answer");
    assert_eq!(backend.store().head().await.expect("the end"), end, "nothing was written");
    assert_eq!(backend.entries().await, before, "nothing was written");
    let learned = backend.store().learn_all(&records).await.expect("taken in");
    assert_eq!(foreseen, learned);
    let again = backend.store().foresee(&records).await.expect("an answer");
    assert!(words(&again).iter().all(|word| word.starts_with("known")));
}

pub async fn two_who_import_at_once_write_one_whole_chain(backend: &Backend) {
    let other = backend.beside().await;
    // Both have the second half of the first and the first half of the second.
    let records = |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers.map(|number| (record(&number.to_string()), event(Action::KeyImported))).collect()
    };
    let (one, two) = (records(0..1_000), records(500..1_500));
    let busy = async {
        for number in 0..50 {
            revoke(backend, &format!("elsewhere {number}"), operator(1)).await;
        }
    };
    let (one, two, ()) = tokio::join!(backend.store().learn_all(&one), other.learn_all(&two), busy);
    let (one, two) = (one.expect("taken in"), two.expect("taken in"));
    let written = |learned: &[Learned]| words(learned).iter().filter(|word| **word == "written").count();
    assert_eq!(written(&one) + written(&two), 1_500, "each was taken in once");
    let entries = chain(backend).await.expect("a whole chain");
    let imported = entries.iter().filter(|entry| entry.action == Action::KeyImported).count();
    assert_eq!((imported, entries.len()), (1_500, 1_550));
}
