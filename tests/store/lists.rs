//! Lists of keys: their order, their portions, and what is in them.

use openbin_gateway::keys::KeyStanding;

use super::*;

async fn page(backend: &Backend, query: &Query) -> Page {
    backend.store().list(query, at(1_000)).await.expect("a page")
}

/// Everything that is asked for, in portions of this size.
async fn all(backend: &Backend, query: &Query, limit: usize) -> Vec<KeyRecord> {
    let (mut query, mut records) = (Query { limit, ..query.clone() }, Vec::new());
    loop {
        let page = page(backend, &query).await;
        assert!(page.records.len() <= limit);
        records.extend(page.records);
        // As a client would hand it back.
        let Some(next) = page.next else { return records };
        query.after = Some(next.to_string().parse().expect("a cursor"));
    }
}

/// The names of all that is asked for, whatever the size of portions.
async fn names(backend: &Backend, query: Query) -> Vec<String> {
    let names = |records: Vec<KeyRecord>| records.into_iter().map(|record| record.name).collect::<Vec<_>>();
    let whole = names(all(backend, &query, 100).await);
    for limit in [1, 2, 3] {
        assert_eq!(names(all(backend, &query, limit).await), whole, "in portions of {limit}");
    }
    whole
}

fn named(name: &str, created: u64) -> KeyRecord {
    KeyRecord { name: name.to_owned(), created_at: Some(at(created)), ..record(name) }
}

pub async fn the_newest_key_comes_first_and_equal_times_have_an_order(backend: &Backend) {
    let mut records = vec![named("old", 1), named("new", 9)];
    records.extend(["a", "b", "c", "d"].map(|name| named(name, 5)));
    // The same hash and time at two instances, of which one's name begins like the other's.
    records.extend(
        ["home2", "ho", "away:1"].map(|instance| KeyRecord { instance: instance.into(), ..named("a", 5) }),
    );
    for record in &records {
        learn(backend, record).await;
    }
    records.sort_by(|one, other| {
        let key = |record: &KeyRecord| (record.created_at, record.hash, record.instance.clone());
        key(other).cmp(&key(one))
    });
    for limit in [1, 2, 4, 100] {
        assert_eq!(all(backend, &Query::default(), limit).await, records, "in portions of {limit}");
    }
}

pub async fn portions_follow_each_other_without_gap_or_repetition(backend: &Backend) {
    for number in 0..10 {
        learn(backend, &named(&number.to_string(), number / 4)).await;
    }
    let whole = page(backend, &Query { limit: 10, ..Query::default() }).await;
    assert_eq!((whole.records.len(), whole.next), (10, None), "all of it, and no more");
    let first = page(backend, &Query { limit: 4, ..Query::default() }).await;
    // What is added at the top meanwhile shifts nothing.
    learn(backend, &named("newest", 99)).await;
    let rest = Query { limit: 100, after: first.next.clone(), ..Query::default() };
    let rest = page(backend, &rest).await;
    assert_eq!([first.records, rest.records].concat(), whole.records);
    // A cursor behind which nothing is, and one of a key that is not there.
    let last = whole.records.last().expect("a record");
    let cursor = |at: i64, hash| format!("{at}.{hash}.home").parse().expect("a cursor");
    let at_of = |record: &KeyRecord| {
        let since =
            record.created_at.expect("a time").duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        i64::try_from(since.as_millis()).expect("a time")
    };
    for (after, expected) in
        [(cursor(at_of(last), last.hash), 0), (cursor(at_of(last) + 1, KeyHash::from([0; 32])), 4)]
    {
        let query = Query { limit: 100, after: Some(after), ..Query::default() };
        assert_eq!(page(backend, &query).await.records.len(), expected);
    }
}

pub async fn a_key_without_a_time_is_listed_when_it_came_to_be_known(backend: &Backend) {
    for (name, created_at) in [("before", Some(at(4))), ("timeless", None), ("after", Some(at(6)))] {
        let mut event = event(Action::KeyAdopted);
        event.at = at(5);
        let record = KeyRecord { created_at, ..named(name, 0) };
        let terms = Admission { most: None, event: &event };
        backend.store().learn(&record, terms).await.expect("learned");
    }
    assert_eq!(names(backend, Query::default()).await, ["after", "timeless", "before"]);
}

pub async fn only_what_is_asked_for_is_listed(backend: &Backend) {
    let limited =
        |disabled, end: Option<u64>| Policy { disabled, expires_at: end.map(at), ..Policy::default() };
    let with = |name: &str, place, policy| KeyRecord { policy, ..named(name, place) };
    for record in [
        with("plain", 1, Policy::default()),
        with("scoped", 2, Policy { read_only: true, ..Policy::default() }),
        with("disabled", 3, limited(true, Some(9_000))),
        with("expired", 4, limited(true, Some(1_000))),
        KeyRecord { revoked: Some(operator(1)), ..with("revoked", 5, limited(true, Some(1))) },
        KeyRecord { instance: "away".into(), ..named("away", 6) },
        KeyRecord { user_id: "u2".to_owned(), ..named("others", 7) },
        KeyRecord { instance: "away".into(), user_id: "u2".to_owned(), ..named("others away", 8) },
    ] {
        learn(backend, &record).await;
    }
    for (name, seconds) in [("plain", 500), ("scoped", 2)] {
        used(backend, &named(name, 0), seconds).await;
    }
    let standing = |standing| Query { standing: Some(standing), ..Query::default() };
    let unused = |seconds| Query { unused_since: Some(at(seconds)), ..Query::default() };
    let home = || Query { instance: Some("home".into()), ..Query::default() };
    let (u1, u2) = (Some("u1".to_owned()), Some("u2".to_owned()));
    for (query, expected) in [
        (standing(KeyStanding::Active), &["others away", "others", "away", "scoped", "plain"][..]),
        (standing(KeyStanding::Disabled), &["disabled"]),
        (standing(KeyStanding::Expired), &["expired"]),
        (standing(KeyStanding::Revoked), &["revoked"]),
        (unused(4), &["disabled", "scoped"]),
        (unused(2), &[]),
        (home(), &["others", "revoked", "expired", "disabled", "scoped", "plain"]),
        (Query { user_id: u2.clone(), ..Query::default() }, &["others away", "others"]),
        (Query { user_id: u2, ..home() }, &["others"]),
        (Query { user_id: Some("u3".to_owned()), ..Query::default() }, &[]),
        (Query { instance: Some("hom".into()), ..Query::default() }, &[]),
        (Query { user_id: u1.clone(), ..standing(KeyStanding::Revoked) }, &["revoked"]),
        (Query { user_id: u1, text: Some("d".to_owned()), ..unused(5) }, &["expired", "disabled", "scoped"]),
        (Query { instance: Some("away".into()), ..unused(8) }, &["away"]),
        (Query { text: Some("scop".to_owned()), ..standing(KeyStanding::Active) }, &["scoped"]),
    ] {
        assert_eq!(names(backend, query.clone()).await, expected, "{query:?}");
    }
}

pub async fn a_list_by_standing_follows_every_change(backend: &Backend) {
    let (none, disabled) = (Policy::default(), Policy { disabled: true, ..Policy::default() });
    let expired = Policy { expires_at: Some(at(1)), ..Policy::default() };
    let key = named("Schlüssel", 1);
    learn(backend, &named("other", 2)).await;
    learn(backend, &key).await;
    let standings = [KeyStanding::Active, KeyStanding::Disabled, KeyStanding::Expired, KeyStanding::Revoked];
    let stands_as = async |expected: KeyStanding| {
        for standing in standings {
            let (standing, text) = (Some(standing), Some("schlüssel".to_owned()));
            let query = Query { standing, text, ..Query::default() };
            let found = names(backend, query).await;
            assert_eq!(found.len(), usize::from(standing == Some(expected)), "{standing:?}, is {expected:?}");
        }
    };
    stands_as(KeyStanding::Active).await;
    for (from, to, standing) in [
        (&none, &disabled, KeyStanding::Disabled),
        (&disabled, &none, KeyStanding::Active),
        (&none, &expired, KeyStanding::Expired),
    ] {
        amend(backend, &key.hash, from, to).await;
        stands_as(standing).await;
    }
    revoke(backend, &key.id, operator(1)).await;
    stands_as(KeyStanding::Revoked).await;
    amend(backend, &key.hash, &expired, &disabled).await;
    stands_as(KeyStanding::Revoked).await;
}

pub async fn a_search_ignores_case_in_every_alphabet(backend: &Backend) {
    for (place, name) in (0..).zip(["Ärger", "ÅNGSTRÖM", "İstanbul", "ΣΊΣΥΦΟΣ", "鍵", "Straße"])
    {
        learn(backend, &named(name, place)).await;
    }
    for (text, expected) in [
        ("ärg", &["Ärger"][..]),
        ("ström", &["ÅNGSTRÖM"]),
        ("istan", &[]),
        ("stanbul", &["İstanbul"]),
        ("σίσυφος", &["ΣΊΣΥΦΟΣ"]),
        ("鍵", &["鍵"]),
        ("straße", &["Straße"]),
        ("", &["Straße", "鍵", "ΣΊΣΥΦΟΣ", "İstanbul", "ÅNGSTRÖM", "Ärger"]),
    ] {
        assert_eq!(
            names(backend, Query { text: Some(text.to_owned()), ..Query::default() }).await,
            expected,
            "{text}"
        );
    }
}

pub async fn a_search_finds_what_is_in_any_field_and_nothing_else(backend: &Backend) {
    let plain = KeyRecord { user_email: None, ..named("LAPTOP 100% [a-z]*?", 1) };
    let nul = KeyRecord {
        id: "A-UUID".to_owned(),
        prefix: "sk_openbin_fedcba9".to_owned(),
        user_id: "User-7".to_owned(),
        user_email: Some("Bob@Example.org".to_owned()),
        ..named("with\0nul", 2)
    };
    for record in [&plain, &nul] {
        learn(backend, record).await;
    }
    for (text, expected) in [
        ("laptop", &["LAPTOP 100% [a-z]*?"][..]),
        ("100% [a-z]*?", &["LAPTOP 100% [a-z]*?"]),
        ("[0-9]", &[]),
        ("%", &["LAPTOP 100% [a-z]*?"]),
        ("a-uuid", &["with\0nul"]),
        ("fedcba9", &["with\0nul"]),
        ("user-7", &["with\0nul"]),
        ("bob@example.org", &["with\0nul"]),
        ("nul", &["with\0nul"]),
        ("home", &[]),
        ("openbin\0", &[]),
    ] {
        let query = Query { text: Some(text.to_owned()), ..Query::default() };
        assert_eq!(names(backend, query).await, expected, "{text:?}");
    }
}

pub async fn a_rare_key_is_found_among_thousands(backend: &Backend) {
    for number in 0..4_500 {
        let name = if number % 1_500 == 7 { "needle" } else { "hay" };
        let user_id = format!("u{}", number / 4_000);
        learn(backend, &KeyRecord { user_id, name: name.to_owned(), ..named(&number.to_string(), number) })
            .await;
    }
    let text = Some("needle".to_owned());
    for (user_id, expected) in [(None, 3), (Some("u0".to_owned()), 3), (Some("u1".to_owned()), 0)] {
        let query = Query { text: text.clone(), user_id, ..Query::default() };
        assert_eq!(names(backend, query.clone()).await.len(), expected, "{query:?}");
    }
    let revoked = Query { standing: Some(KeyStanding::Revoked), ..Query::default() };
    assert_eq!(names(backend, revoked.clone()).await, [""; 0]);
    revoke(backend, "id-7", operator(1)).await;
    assert_eq!(names(backend, revoked).await, ["needle"]);
}

pub async fn all_keys_with_an_id_are_found(backend: &Backend) {
    let same = |key: &str| KeyRecord { id: "same".to_owned(), ..record(key) };
    let away = KeyRecord { instance: "away".into(), ..same("a") };
    for record in [&same("a"), &same("b"), &record("c"), &away] {
        learn(backend, record).await;
    }
    let mut expected = vec![same("a"), same("b")];
    expected.sort_by_key(|record| record.hash);
    assert_eq!(backend.store().with_id("home", "same").await.expect("records"), expected);
    revoke(backend, "same", operator(1)).await;
    expected.iter_mut().for_each(|record| record.revoked = Some(operator(1)));
    assert_eq!(backend.store().with_id("home", "same").await.expect("records"), expected);
    assert_eq!(backend.store().with_id("away", "same").await.expect("records"), [away]);
    assert_eq!(backend.store().with_id("home", "sam").await.expect("records"), []);
}
