//! The rules of [`Keyring`], over a real embedded store.

use std::collections::HashSet;
use std::future::ready;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::keys::record::tests::record;
use crate::keys::{Adoption, Label, StoreSettings, Verdict, open};

struct Bench {
    keyring: Keyring,
    _folder: TempDir,
}

async fn bench(cache_for: Duration) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoreSettings::Embedded { path: folder.path().join("gateway.db") };
    let ledger = open(&store).await.expect("a store");
    let usage_interval = Duration::from_secs(2);
    let (lease_for, serve_stale_for) = (Duration::ZERO, Duration::ZERO);
    let settings = Settings {
        store,
        cache_entries: 100,
        cache_for,
        lease_for,
        serve_stale_for,
        copies: 0,
        site: crate::keys::Site::of(&[]),
        usage_interval,
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Bench { keyring: Keyring::new(settings, ledger, metrics), _folder: folder }
}

const HOUR: Duration = Duration::from_secs(3600);

fn operator() -> Actor {
    Actor { role: crate::keys::audit::Role::Operator, name: Some("ann".to_owned()), address: None }
}

fn new_key(name: &str) -> NewKey {
    NewKey {
        instance: "home".into(),
        user_id: "u1".to_owned(),
        user_email: None,
        name: name.to_owned(),
        policy: Policy::default(),
    }
}

async fn is_accepted(keyring: &Keyring, hash: &KeyHash) -> bool {
    let nobody = || ready(Ok::<_, ()>(Adoption::Unknown));
    matches!(keyring.of("home").verdict(hash, nobody).await, Ok(Verdict::Active(_)))
}

async fn revoke(keyring: &Keyring, id: &str) {
    let reason = Reason { by: RevokedBy::Operator, why: Some("lost"), actor: &operator() };
    keyring.revoke("home", id, reason).await.expect("revoked");
}

#[tokio::test]
async fn the_eleventh_key_is_refused_until_one_is_revoked() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let mut issued = Vec::new();
    for number in 0..MOST_KEYS {
        issued.push(keyring.issue(new_key(&number.to_string()), &operator()).await.expect("a key"));
    }
    let eleventh = keyring.issue(new_key("x"), &operator()).await;
    assert!(matches!(eleventh, Err(KeyError::TooMany)), "{eleventh:?}");
    revoke(&keyring, &issued[3].record.id).await;
    keyring.issue(new_key("x"), &operator()).await.expect("there is room again");
    let other = NewKey { user_id: "u2".to_owned(), ..new_key("y") };
    keyring.issue(other, &operator()).await.expect("another user has room of their own");
}

#[tokio::test]
async fn an_issued_key_works_at_once_and_its_name_has_a_limit() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let issued = keyring.issue(new_key(&"ä".repeat(LONGEST_NAME)), &operator()).await.expect("a key");
    assert!(is_accepted(&keyring, &issued.token.hash()).await);
    assert_eq!(issued.record.prefix, issued.token.prefix());
    let long = keyring.issue(new_key(&"𝄞".repeat(128)), &operator()).await;
    assert!(matches!(long, Err(KeyError::LongName)), "{long:?}");
}

#[tokio::test]
async fn all_keys_of_a_user_end_at_once_and_nobody_elses() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let mut mine = Vec::new();
    for number in 0..MOST_KEYS {
        mine.push(keyring.issue(new_key(&number.to_string()), &operator()).await.expect("a key"));
    }
    let other = NewKey { user_id: "u2".to_owned(), ..new_key("y") };
    let other = keyring.issue(other, &operator()).await.expect("a key");
    let reason = Reason { by: RevokedBy::Operator, why: None, actor: &operator() };
    let revoked = keyring.revoke_all_of("home", "u1", reason).await.expect("revoked");
    assert_eq!(revoked, Felt { keys: MOST_KEYS, everywhere: true });
    for key in &mine {
        assert!(!is_accepted(&keyring, &key.token.hash()).await);
    }
    assert!(is_accepted(&keyring, &other.token.hash()).await);
}

#[tokio::test]
async fn a_changed_policy_replaces_what_is_remembered_and_a_revoked_key_keeps_its_own() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let issued = keyring.issue(new_key("n"), &operator()).await.expect("a key");
    let hash = issued.token.hash();
    assert!(is_accepted(&keyring, &hash).await);
    let disable = |policy: &Policy| Policy { disabled: true, ..policy.clone() };
    let record = keyring.amend("home", &hash, &operator(), disable).await.expect("changed");
    assert!(record.policy.disabled);
    let known = keyring.of("home").known(&hash).await.expect("a verdict");
    let Verdict::Active(key) = known else { panic!("{known:?}") };
    assert!(key.policy.as_ref().is_some_and(|policy| policy.disabled));
    revoke(&keyring, &issued.record.id).await;
    let late = keyring.amend("home", &hash, &operator(), |_| Policy::default()).await;
    assert!(matches!(late, Err(KeyError::Revoked)), "{late:?}");
    let unknown = keyring.amend("home", &KeyHash::of("x"), &operator(), disable).await;
    assert!(matches!(unknown, Err(KeyError::Missing)), "{unknown:?}");
}

#[tokio::test]
async fn changes_of_one_policy_at_the_same_time_are_all_kept() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let issued = keyring.issue(new_key("n"), &operator()).await.expect("a key");
    let hash = issued.token.hash();
    let actor = operator();
    let add = |number: usize| {
        let change = move |policy: &Policy| {
            let mut paths = policy.paths.clone();
            paths.push(format!("/api/{number}"));
            Policy { paths, ..policy.clone() }
        };
        keyring.amend("home", &hash, &actor, change)
    };
    let changed = futures_util::future::join_all((0..8).map(add)).await;
    assert!(changed.iter().all(Result::is_ok));
    let record = keyring.ledger().find("home", &hash).await.expect("an answer").expect("a record");
    assert_eq!(record.policy.paths.iter().collect::<HashSet<_>>().len(), 8);
}

#[tokio::test]
async fn a_block_is_known_after_a_restart_and_an_older_list_never_hides_it() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let keys = keyring.of("home");
    keyring.block_user("home", "jörg", Some("left"), &operator()).await.expect("blocked");
    let label = Label::new("jörg");
    let now = SystemTime::now();
    assert!(keys.blocks().has_user(label.as_str(), now));
    keyring.refresh_blocks().await.expect("read");
    assert!(keys.blocks().has_user(label.as_str(), now));
    assert!(keyring.unblock_user("home", "jörg", &operator()).await.expect("unblocked"));
    assert!(!keys.blocks().has_user(label.as_str(), now));
    assert!(!keyring.unblock_user("home", "jörg", &operator()).await.expect("nothing to do"));
}

#[tokio::test]
async fn what_was_unknown_a_moment_ago_is_accepted_once_it_is_imported_and_what_was_revoked_is_not() {
    let Bench { keyring, _folder } = bench(HOUR).await;
    let (new, buried) = (of_three(0), of_three(1));
    assert!(!is_accepted(&keyring, &new.hash).await);
    revoke(&keyring, &buried.id).await;
    let records = vec![new.clone(), buried.clone(), new.clone()];
    let learned = keyring.import("home", records, &operator()).await.expect("taken over").learned;
    assert!(matches!(learned[..], [Learned::Written, Learned::Revoked, Learned::Known(_)]), "{learned:?}");
    assert!(is_accepted(&keyring, &new.hash).await);
    assert!(!is_accepted(&keyring, &buried.hash).await);
}

/// What may happen to three keys, two of which share an id.
#[derive(Debug, Clone)]
enum Step {
    Learn(usize),
    Adopt(usize),
    Revoke(usize),
    RevokeAll,
    Ask(usize),
    Amend(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_usize..3;
    prop_oneof![
        3 => key.clone().prop_map(Step::Learn),
        3 => key.clone().prop_map(Step::Adopt),
        2 => key.clone().prop_map(Step::Revoke),
        1 => Just(Step::RevokeAll),
        4 => key.clone().prop_map(Step::Ask),
        2 => key.prop_map(Step::Amend),
        1 => Just(Step::Restart),
    ]
}

fn of_three(number: usize) -> KeyRecord {
    let id = if number == 0 { "first" } else { "shared" };
    KeyRecord { id: id.to_owned(), ..record(&number.to_string()) }
}

/// Takes the steps, and says after which one a revoked key was accepted.
async fn walk(steps: &[Step], cache_for: Duration) -> Option<usize> {
    let Bench { mut keyring, _folder } = bench(cache_for).await;
    let (mut revoked, mut known) = (HashSet::new(), HashSet::new());
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Learn(key) => {
                keyring.import("home", vec![of_three(*key)], &operator()).await.expect("an answer");
                known.insert(*key);
            }
            Step::Adopt(key) => {
                let record = of_three(*key);
                let owned = || ready(Ok::<_, ()>(Adoption::Owned(record.clone())));
                let verdict = keyring.of("home").verdict(&record.hash, owned).await;
                // Asked for as unknown lately, it is not adopted.
                if matches!(verdict, Ok(Verdict::Active(_))) {
                    known.insert(*key);
                }
            }
            Step::Revoke(key) => {
                let id = of_three(*key).id;
                revoke(&keyring, &id).await;
                revoked.extend((0..3).filter(|other| of_three(*other).id == id));
            }
            Step::RevokeAll => {
                let reason = Reason { by: RevokedBy::Mirror, why: None, actor: &operator() };
                keyring.revoke_all_of("home", "u1", reason).await.expect("revoked");
                revoked.extend(known.iter().copied());
            }
            Step::Ask(key) => drop(is_accepted(&keyring, &of_three(*key).hash).await),
            Step::Amend(key) => {
                let change = |policy: &Policy| Policy { read_only: !policy.read_only, ..policy.clone() };
                let _ = keyring.amend("home", &of_three(*key).hash, &operator(), change).await;
            }
            Step::Restart => {
                let (settings, store) = (keyring.settings.clone(), Arc::clone(&keyring.store));
                keyring = Keyring::new(settings, store, Arc::clone(&keyring.metrics));
            }
        }
        for key in &revoked {
            let record = of_three(*key);
            let owned = || ready(Ok::<_, ()>(Adoption::Owned(record.clone())));
            let verdict = keyring.of("home").verdict(&record.hash, owned).await;
            if matches!(verdict, Ok(Verdict::Active(_))) {
                return Some(number);
            }
        }
    }
    let mut head = crate::keys::audit::Head::start();
    let links = keyring.ledger().links(0, usize::MAX).await.expect("the chain");
    links.iter().for_each(|link| drop(head.advance(link).expect("a whole chain")));
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_steps_makes_a_revoked_key_accepted(
        steps in prop::collection::vec(step(), 1..25),
        forgets in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let cache_for = if forgets { Duration::ZERO } else { HOUR };
        let wrong = runtime.expect("a runtime").block_on(walk(&steps, cache_for));
        prop_assert_eq!(wrong, None);
    }
}
