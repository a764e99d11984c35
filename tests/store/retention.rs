//! What is let go of for its age: nothing else goes, and the audit chain stays as hard to tamper with.

use openbin_gateway::keys::audit::{Broken, Trim};
use openbin_gateway::keys::errand::{Errand, State, Task};
use openbin_gateway::keys::{Keyring, Rest, Retention, Settings, Site, Trimmed, Verified};
use openbin_gateway::observe::Metrics;

use super::*;

const DAY: u64 = 24 * 3600;

/// The rules, over a store that is asked by them alone.
fn keyring(store: &Arc<dyn Ledger>) -> Keyring {
    let settings = Settings {
        store: StoreSettings::Embedded { path: PathBuf::new() },
        cache_entries: 10,
        cache_for: Duration::ZERO,
        lease_for: Duration::ZERO,
        serve_stale_for: Duration::ZERO,
        site: Site::of(&[]),
        copies: 0,
        usage_interval: Duration::ZERO,
    };
    Keyring::new(settings, Arc::clone(store), Arc::new(Metrics::new().expect("metrics")))
}

async fn write_down(backend: &Backend, days: impl IntoIterator<Item = u64>) {
    for day in days {
        let event = Event { at: at(day * DAY), ..event(Action::AdminRefused) };
        backend.store().record(&event).await.expect("written");
    }
}

/// Removes entries of more than five days, as of that day.
async fn trim(backend: &Backend, day: u64) -> Trimmed {
    let keep_for = Duration::from_secs(5 * DAY);
    keyring(backend.store()).trim_audit(keep_for, at(day * DAY)).await.expect("an answer")
}

async fn verify(backend: &Backend) -> Verified {
    keyring(backend.store()).verify_audit().await.expect("an answer")
}

async fn problem(backend: &Backend) -> Broken {
    verify(backend).await.problem.expect("it is not whole")
}

pub async fn old_entries_go_and_the_chain_is_whole_from_its_base_on(backend: &mut Backend) {
    write_down(backend, 0..10).await;
    let last = backend.store().links(3, 1).await.expect("links").pop().expect("the fourth");
    let to = Head { seq: 4, hash: last.hash };
    assert_eq!(trim(backend, 9).await, Trimmed::Done { entries: 4, to: to.clone() });
    for _ in 0..2 {
        assert_eq!(backend.store().base().await.expect("the base"), to);
        let verified = verify(backend).await;
        assert_eq!((verified.problem, verified.reached.seq, verified.base), (None, 11, to.clone()));
        let links = backend.store().links(0, 100).await.expect("links");
        let entries: Vec<Entry> =
            links.iter().map(|link| serde_json::from_str(&link.text).expect("an entry")).collect();
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (5..=11).collect::<Vec<_>>());
        let told = entries.last().expect("an entry");
        assert_eq!((told.action, told.role), (Action::AuditTrimmed, Role::Gateway));
        assert_eq!(told.detail.as_deref(), Some(&*format!("up to entry 4 with hash {}", to.hash)));
        backend.reopen().await;
    }
    write_down(backend, 10..20).await;
    // The one that tells of the first time goes, too, since the next tells of both.
    assert!(matches!(trim(backend, 24).await, Trimmed::Done { entries: 16, .. }));
    let verified = verify(backend).await;
    assert_eq!((verified.problem, verified.base.seq, verified.reached.seq), (None, 20, 22));
}

pub async fn entries_wait_until_the_oldest_is_a_day_too_old(backend: &Backend) {
    assert_eq!(trim(backend, 100).await, Trimmed::Nothing, "there are none");
    write_down(backend, [0, 0, 1, 2]).await;
    for day in [0, 5, 6] {
        assert_eq!(trim(backend, day).await, Trimmed::Nothing, "day {day}");
    }
    assert_eq!(chain(backend).await.expect("a whole chain").len(), 4);
    assert!(matches!(trim(backend, 7).await, Trimmed::Done { entries: 3, .. }), "all that is older then");
    assert!(matches!(trim(backend, 9).await, Trimmed::Done { entries: 1, .. }));
    // Only what tells of earlier removals is left: nothing is gained by removing that.
    assert_eq!(trim(backend, 1_000).await, Trimmed::Nothing);
    assert_eq!(verify(backend).await.problem, None);
}

pub async fn entries_go_in_portions_and_each_is_told_in_the_chain(backend: &Backend) {
    const COUNT: u64 = 12_000;
    let numbers: Vec<u64> = (0..COUNT).collect();
    for numbers in numbers.chunks(1_000) {
        let imported = |number: &u64| (record(&number.to_string()), event(Action::KeyImported));
        let records: Vec<_> = numbers.iter().map(imported).collect();
        backend.store().learn_all(&records).await.expect("taken in");
    }
    write_down(backend, [9]).await;
    let trimmed = trim(backend, 10).await;
    assert!(matches!(trimmed, Trimmed::Done { entries: COUNT, .. }), "{trimmed:?}");
    let verified = verify(backend).await;
    assert_eq!((verified.problem, verified.base.seq), (None, COUNT));
    let left = backend.store().links(0, 100).await.expect("links");
    let told = left.iter().filter(|link| link.text.contains("audit_trimmed")).count();
    assert_eq!((left.len(), told), (3, 2));
}

pub async fn an_entry_that_somebody_took_off_the_old_end_is_found(backend: &Backend) {
    write_down(backend, 0..10).await;
    backend.remove_entry(1).await;
    assert_eq!(problem(backend).await, Broken::Missing { wanted: 1, found: 2 });
    assert!(matches!(trim(backend, 9).await, Trimmed::Broken(_)), "and it stays to be found");
    assert_eq!(problem(backend).await, Broken::Missing { wanted: 1, found: 2 });
}

pub async fn a_base_that_was_moved_is_found(backend: &Backend) {
    write_down(backend, 0..10).await;
    trim(backend, 9).await;
    let hash_of = async |seq: u64| {
        let link = backend.store().links(seq - 1, 1).await.expect("links").pop().expect("it");
        link.hash
    };
    let base = backend.store().base().await.expect("the base");
    backend.set_base(4, &hash_of(6).await).await;
    assert_eq!(problem(backend).await, Broken::Changed(5), "another hash");
    backend.set_base(3, &base.hash).await;
    assert_eq!(problem(backend).await, Broken::Missing { wanted: 4, found: 5 }, "too early");
    let (fifth, sixth) = (hash_of(5).await, hash_of(6).await);
    backend.set_base(5, &fifth).await;
    assert_eq!(problem(backend).await, Broken::Untold { begins: 6 }, "the fifth is passed over");
    backend.remove_entry(5).await;
    assert_eq!(problem(backend).await, Broken::Untold { begins: 6 }, "the fifth is gone");
    backend.remove_entry(6).await;
    assert_eq!(problem(backend).await, Broken::Missing { wanted: 6, found: 7 });
    backend.set_base(6, &sixth).await;
    assert_eq!(problem(backend).await, Broken::Untold { begins: 7 });
    // Up to the entry that tells how far it was trimmed, and further.
    for seq in 7..=11 {
        backend.remove_entry(seq).await;
    }
    assert!(matches!(problem(backend).await, Broken::Cut { wanted: 11, .. }));
    let head = backend.store().head().await.expect("the end");
    backend.set_base(head.seq, &head.hash).await;
    assert_eq!(problem(backend).await, Broken::Untold { begins: 12 });
}

pub async fn a_damaged_old_end_stays_as_it_is(backend: &Backend) {
    write_down(backend, 0..10).await;
    backend.edit_entry(3, "ann", "bob").await;
    assert_eq!(trim(backend, 9).await, Trimmed::Broken(Broken::Changed(3)));
    assert_eq!(backend.store().base().await.expect("the base"), Head::start());
    assert_eq!(backend.store().links(0, 100).await.expect("links").len(), 10);
    assert_eq!(problem(backend).await, Broken::Changed(3));
}

pub async fn of_two_who_trim_at_once_one_succeeds(backend: &Backend) {
    write_down(backend, 0..10).await;
    let (store, other) = (backend.store(), backend.beside().await);
    let mut head = Head::start();
    for link in store.links(0, 4).await.expect("links") {
        head.advance(&link).expect("it follows");
    }
    let trim = Trim::new(Head::start(), head.clone(), at(9 * DAY));
    let (one, two) = tokio::join!(store.trim(&trim), other.trim(&trim));
    assert_ne!(one.expect("an answer"), two.expect("an answer"));
    let verified = verify(backend).await;
    assert_eq!((verified.problem, verified.base, verified.reached.seq), (None, head, 11));
}

pub async fn trimming_is_no_damage_to_who_verifies_meanwhile(backend: &Backend) {
    write_down(backend, (0..60).flat_map(|day| [day; 5])).await;
    let (rules, other) = (keyring(backend.store()), keyring(&backend.beside().await));
    let trimming = async {
        for day in 8..60 {
            let keep_for = Duration::from_secs(5 * DAY);
            rules.trim_audit(keep_for, at(day * DAY)).await.expect("an answer");
        }
    };
    let verifying = async {
        loop {
            let verified = other.verify_audit().await.expect("an answer");
            assert_eq!(verified.problem, None);
        }
    };
    tokio::select! { () = trimming => {}, () = verifying => {} }
    assert!(verify(backend).await.base.seq > 200);
}

/// As the gateway does it each hour, from that day on.
async fn forget(backend: &Backend, seconds: u64, rest: &mut Rest) {
    let (usage, errands) = (Duration::from_secs(400 * DAY), Duration::from_secs(30 * DAY));
    let retention = Retention { audit: None, usage, errands };
    keyring(backend.store()).forget_old(&retention, at(seconds), rest).await.expect("forgotten");
}

async fn days_of(backend: &Backend, record: &KeyRecord) -> Vec<u64> {
    let key = backend.store().with_days(std::slice::from_ref(record)).await.expect("days").pop();
    key.expect("the key").1.iter().map(|day| day.count).collect()
}

pub async fn old_days_are_forgotten_and_others_stay(backend: &Backend) {
    let keys = |number: u64| {
        // More keys than are looked at in one go, and at instances with odd names.
        let instance = if number.is_multiple_of(2) { "home" } else { "a:b%3A" };
        KeyRecord { instance: instance.into(), created_at: Some(at(number)), ..record(&number.to_string()) }
    };
    let keys: Vec<_> = (0..60).map(keys).collect();
    for key in &keys {
        learn(backend, key).await;
    }
    for (replica, day, count) in [("r1", 0, 1), ("r2", 0, 10), ("r1", 1, 2), ("r1", 2, 3)] {
        let uses: Vec<_> = keys.iter().map(|key| Use { count, ..use_of(key, day * DAY) }).collect();
        backend.store().note_used(replica, &uses).await.expect("noted");
    }
    let mut rest = Rest::default();
    forget(backend, 400 * DAY, &mut rest).await;
    for key in &keys {
        assert_eq!(days_of(backend, key).await, [3, 2, 11], "none is older than 400 days yet");
    }
    forget(backend, 401 * DAY, &mut rest).await;
    for key in &keys {
        assert_eq!(days_of(backend, key).await, [3, 2]);
        let used = found(backend, key).await.expect("a record").last_used_at;
        assert_eq!(used, Some(at(2 * DAY)), "the last use stays");
    }
    // What is looked at in one go is bounded, and the place to go on from is told.
    let before = u32::try_from(at(2 * DAY).duration_since(at(0)).map_or(0, |since| since.as_secs() / DAY));
    let day = before.expect("a number") + u32::try_from(1_795_000_000 / DAY).expect("a number");
    let rest = backend.store().forget_days(day, None, 10).await.expect("forgotten").expect("there are more");
    let forgotten = async || {
        let mut count = 0;
        for key in &keys {
            count += usize::from(days_of(backend, key).await == [3]);
        }
        count
    };
    assert_eq!(forgotten().await, 10, "the newest keys first");
    assert_eq!((rest.at, &*rest.instance), (1_795_000_050_000, "home"));
    assert_eq!(backend.store().forget_days(day, Some(&rest), 100).await.expect("forgotten"), None);
    assert_eq!(forgotten().await, 60);
}

fn errand(key: &str, due: u64) -> Errand {
    Errand {
        instance: "home".to_owned(),
        key_id: key.to_owned(),
        user_id: "u1".to_owned(),
        user_email: None,
        task: Task::Tell,
        state: State::Pending,
        due: at(due),
        tries: 0,
        note: None,
    }
}

async fn errands_of(backend: &Backend, key: &str) -> usize {
    backend.store().errands_of("home", key).await.expect("errands").len()
}

pub async fn errands_that_are_long_over_are_forgotten_and_others_stay(backend: &Backend) {
    let store = backend.store();
    for key in ["done", "refused", "again", "pending", "anew"] {
        store.schedule(&errand(key, 0)).await.expect("taken on");
    }
    let (done, refused) = (errand("done", 0), errand("refused", 0));
    store.settle(&done, &done.done(at(10))).await.expect("noted");
    store.settle(&refused, &refused.refused(at(10), "no such key")).await.expect("noted");
    // One that was over and is to be done again, and one that takes the place of one that was.
    let (again, anew) = (errand("again", 0), errand("anew", 0));
    for errand in [&again, &anew] {
        store.settle(errand, &errand.done(at(10))).await.expect("noted");
    }
    store.settle(&again, &again.again(at(10), "down")).await.expect("noted");
    store.schedule(&errand("anew", 20)).await.expect("taken on");
    let mut rest = Rest::default();
    let count = async || {
        let mut counts = Vec::new();
        for key in ["done", "refused", "again", "pending", "anew"] {
            counts.push(errands_of(backend, key).await);
        }
        counts
    };
    forget(backend, 10 + 30 * DAY, &mut rest).await;
    assert_eq!(count().await, [1, 1, 1, 1, 1], "none is older than 30 days yet");
    forget(backend, 11 + 30 * DAY, &mut rest).await;
    assert_eq!(count().await, [0, 0, 1, 1, 1]);
    let due = store.due(at(100), at(200), 100).await.expect("errands");
    assert_eq!(due.len(), 3, "what is pending is still to be done");
    // No more at once than is said.
    for number in 0..5 {
        let errand = Errand { state: State::Done, ..errand(&format!("old {number}"), number) };
        store.schedule(&errand).await.expect("taken on");
    }
    let mut forgotten = Vec::new();
    for _ in 0..4 {
        forgotten.push(store.forget_errands(at(100), 2).await.expect("forgotten"));
    }
    assert_eq!(forgotten, [2, 2, 1, 0]);
}
