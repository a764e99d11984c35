//! How the stores bear 100,000 keys: what is asked for is right, and nobody waits for it. Run by `make large`,
//! which shows the figures.

use std::time::Instant;

use futures_util::future::join_all;
use openbin_gateway::keys::{Cursor, KeyStanding};

use super::*;

const KEYS: u64 = 100_000;
const KEYS_A_USER: u64 = 10;
const AT_ONCE: u64 = 500;
/// Each question is asked so often; the figure is the median.
const TIMES: usize = 7;
/// What an operator in front of a page bears, on a busy machine and without optimisation.
const BEARABLE: Duration = Duration::from_secs(5);
/// Nobody else is served by Redis while a script runs.
const LONGEST_SCRIPT: Duration = Duration::from_millis(50);

#[tokio::test]
#[ignore = "takes minutes: make large"]
async fn the_embedded_store_bears_a_hundred_thousand_keys() {
    bears_many_keys(&Backend::embedded().await).await;
}

#[tokio::test]
#[ignore = "takes minutes: make large"]
async fn redis_bears_a_hundred_thousand_keys() {
    let backend = Backend::redis_with(&["--slowlog-log-slower-than", "1000"]).await;
    bears_many_keys(&backend).await;
    let longest = backend.longest_command().await;
    println!("{:>12}  the longest that Redis served nobody else", format!("{longest:.1?}"));
    assert!(longest < LONGEST_SCRIPT, "{longest:?}");
}

#[tokio::test]
#[ignore = "takes minutes: make large"]
async fn the_embedded_store_takes_over_a_hundred_thousand_keys() {
    takes_over_many_keys(&Backend::embedded().await).await;
}

#[tokio::test]
#[ignore = "takes minutes: make large"]
async fn redis_takes_over_a_hundred_thousand_keys() {
    takes_over_many_keys(&Backend::redis().await).await;
}

/// As an import does it: portion by portion; once new, and once more when all are known.
async fn takes_over_many_keys(backend: &Backend) {
    for what in ["taken over", "known already"] {
        let began = Instant::now();
        for start in (0..KEYS).step_by(2 * usize::try_from(AT_ONCE).expect("a number")) {
            let numbers = start..start + 2 * AT_ONCE;
            let records: Vec<_> =
                numbers.map(|number| (numbered(number), event(Action::KeyImported))).collect();
            let learned = backend.store().learn_all(&records).await.expect("taken over");
            let are_new = learned.iter().all(|learned| *learned == Learned::Written);
            assert!(learned.len() == records.len() && are_new == (what == "taken over"));
        }
        let a_second = KEYS as f64 / began.elapsed().as_secs_f64();
        println!("{:>12}  {KEYS} keys {what}: {a_second:.0}/s", format!("{:.1?}", began.elapsed()));
    }
    assert_eq!(backend.store().head().await.expect("the end").seq, KEYS);
}

fn numbered(number: u64) -> KeyRecord {
    let user = number / KEYS_A_USER;
    let name = if number % 40_000 == 7 { "Nädel" } else { "laptop in the workshop" };
    KeyRecord {
        id: uuid_like(number),
        user_id: uuid_like(user),
        user_email: Some(format!("user{user}@example.com")),
        name: name.to_owned(),
        prefix: format!("sk_openbin_{number:07x}"),
        created_at: Some(at(number)),
        ..record(&number.to_string())
    }
}

fn uuid_like(number: u64) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

async fn bears_many_keys(backend: &Backend) {
    let began = Instant::now();
    for start in (0..KEYS).step_by(usize::try_from(AT_ONCE).expect("a number")) {
        let records: Vec<_> = (start..start + AT_ONCE).map(numbered).collect();
        let learned = join_all(records.iter().map(|record| learn(backend, record))).await;
        assert!(learned.iter().all(|learned| *learned == Learned::Written));
    }
    println!(
        "{:>12}  {KEYS} keys learned, each with its entry in the chain",
        format!("{:.1?}", began.elapsed())
    );
    println!("{:>12}  bytes kept of them", backend.size().await);
    let middle = walk(backend).await;
    pages(backend, &middle).await;
    searches(backend).await;
    single_keys(backend).await;
}

/// Asks a few times, checks what comes back, and shows the median.
async fn timed<F: Future<Output = usize>>(what: &str, expected: usize, mut ask: impl FnMut(usize) -> F) {
    let mut times = Vec::new();
    for time in 0..TIMES {
        let began = Instant::now();
        let found = ask(time).await;
        times.push(began.elapsed());
        assert_eq!(found, expected, "{what}");
    }
    times.sort();
    println!("{:>12}  {what}", format!("{:.1?}", times[TIMES / 2]));
    assert!(times[TIMES / 2] < BEARABLE, "{what}: {times:?}");
}

async fn count(backend: &Backend, query: &Query) -> usize {
    backend.store().list(query, at(KEYS)).await.expect("a page").records.len()
}

/// All keys, portion by portion; returns a place in the middle.
async fn walk(backend: &Backend) -> Cursor {
    let (began, mut query, mut seen) = (Instant::now(), Query { limit: 500, ..Query::default() }, 0);
    let mut middle = None;
    loop {
        let page = backend.store().list(&query, at(KEYS)).await.expect("a page");
        seen += page.records.len() as u64;
        if seen == KEYS / 2 {
            middle.clone_from(&page.next);
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    println!("{:>12}  all of them, in pages of 500", format!("{:.1?}", began.elapsed()));
    assert_eq!(seen, KEYS);
    middle.expect("a middle")
}

async fn pages(backend: &Backend, middle: &Cursor) {
    let first = Query { limit: 50, ..Query::default() };
    timed("first page of 50", 50, |_| count(backend, &first)).await;
    let middle = Query { after: Some(middle.clone()), ..first.clone() };
    timed("page of 50 in the middle", 50, |_| count(backend, &middle)).await;
    let user = Query { user_id: Some(uuid_like(5_000)), ..first.clone() };
    timed("all 10 keys of a user", 10, |_| count(backend, &user)).await;
    let home = Query { instance: Some("home".into()), ..first.clone() };
    timed("first page of 50 of an instance that has them all", 50, |_| count(backend, &home)).await;
    let elsewhere = Query { instance: Some("away".into()), ..first };
    timed("an instance without keys", 0, |_| count(backend, &elsewhere)).await;
}

async fn searches(backend: &Backend) {
    let search = |text: &str| Query { text: Some(text.to_owned()), limit: 50, ..Query::default() };
    let (nothing, three, many) = (search("no such text"), search("näd"), search("workshop"));
    timed("a search that finds nothing", 0, |_| count(backend, &nothing)).await;
    timed("a search that finds 3", 3, |_| count(backend, &three)).await;
    timed("a search that fills the first page", 50, |_| count(backend, &many)).await;
    let standing = |standing| Query { standing: Some(standing), limit: 50, ..Query::default() };
    let (revoked, disabled) = (standing(KeyStanding::Revoked), standing(KeyStanding::Disabled));
    timed("revoked keys, of which there are none", 0, |_| count(backend, &revoked)).await;
    timed("disabled keys, of which there are none", 0, |_| count(backend, &disabled)).await;
    let unused = Query { unused_since: Some(at(3)), limit: 50, ..Query::default() };
    timed("the 3 keys unused for longest", 3, |_| count(backend, &unused)).await;
}

async fn single_keys(backend: &Backend) {
    let records: Vec<_> = (0..TIMES as u64).map(|time| numbered(time * 10_000 + 1)).collect();
    let find = async |time: usize| usize::from(found(backend, &records[time]).await.is_some());
    timed("a key by its hash", 1, find).await;
    let with_id =
        async |time: usize| backend.store().with_id("home", &records[time].id).await.expect("records").len();
    timed("a key by its id", 1, with_id).await;
    let ended = async |time: usize| revoke(backend, &records[time].id, operator(KEYS)).await.len();
    timed("a revocation", 1, ended).await;
    let revoked = Query { standing: Some(KeyStanding::Revoked), limit: 50, ..Query::default() };
    timed("revoked keys, of which there are 7", TIMES, |_| count(backend, &revoked)).await;
    let uses: Vec<_> = (0..1_000).map(|number| use_of(&numbered(number), KEYS)).collect();
    let note = async |_| backend.store().note_used("r1", &uses).await.map_or(0, |()| 1);
    timed("the last use of 1,000 keys written", 1, note).await;
}
