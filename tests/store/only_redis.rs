//! What only a Redis server can get wrong.

use openbin_gateway::keys::audit::Trim;
use openbin_gateway::keys::block::{Block, Subject};

use super::proxy::Proxy;
use super::*;

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_server_that_went_away_is_an_error_in_time_and_works_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let store = redis(&server.url(), SHORT).await;
    try_to_learn(&*store, &record("a")).await.expect("learned");
    server.stop();
    for _ in 0..3 {
        let asked = Instant::now();
        let error = store.find("home", &record("a").hash).await.expect_err("nobody there");
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert!(asked.elapsed() < SHORT + SLACK);
    }
    server.restart();
    let hash = record("a").hash;
    assert_eq!(until_it_answers(|| store.find("home", &hash)).await, None);
    assert_eq!(try_to_learn(&*store, &record("a")).await.expect("learned"), Learned::Written);
}

#[tokio::test]
async fn a_server_that_was_restarted_meanwhile_is_not_noticed() {
    let mut server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    store.ping().await.expect("an answer");
    server.restart();
    assert_eq!(try_to_learn(&*store, &record("a")).await.expect("learned"), Learned::Written);
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout_and_works_again_when_it_goes_on() {
    let server = RedisServer::start();
    let store = redis(&server.url(), SHORT).await;
    store.ping().await.expect("an answer");
    server.suspend();
    // The first finds the connection made, the second has to make one.
    for _ in 0..2 {
        let asked = Instant::now();
        let error = store.find("home", &record("a").hash).await.expect_err("no answer");
        assert!(matches!(error, StoreError::Timeout), "{error:?}");
        assert!(asked.elapsed() < SHORT + SLACK);
    }
    server.resume();
    let hash = record("a").hash;
    assert_eq!(until_it_answers(|| store.find("home", &hash)).await, None);
}

#[tokio::test]
async fn many_who_ask_a_hanging_server_all_hear_in_time() {
    let server = RedisServer::start();
    let store = redis(&server.url(), SHORT).await;
    server.suspend();
    let asked = Instant::now();
    let answers = futures_util::future::join_all((0..100).map(|_| store.ping())).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Timeout))));
    assert!(asked.elapsed() < SHORT + SLACK, "{:?}", asked.elapsed());
    server.resume();
}

#[tokio::test]
async fn a_store_can_be_asked_from_other_runtimes_and_outlives_them() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    for _ in 0..2 {
        let store = Arc::clone(&store);
        let worker = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(store.ping())
        });
        worker.await.expect("the worker").expect("an answer");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_being_shown() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    for url in ["redis://:wr0ng-s3cret@", "redis://ann:wr0ng-s3cret@"] {
        let url = format!("{url}127.0.0.1:{}", server.port());
        let error = redis(&url, TIMEOUT).await.ping().await.expect_err("refused");
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        assert!(error.to_string().contains("password"), "{error}");
    }
    let url = format!("redis://127.0.0.1:{}", server.port());
    let error = redis(&url, TIMEOUT).await.ping().await.expect_err("refused");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let url = format!("redis://:right@127.0.0.1:{}/3", server.port());
    redis(&url, TIMEOUT).await.probe().await.expect("all works");
}

#[tokio::test]
async fn an_acl_user_needs_only_the_gateways_names_and_commands() {
    let acl = "ann on >pa%ss ~{ns}:* -@all +@connection +@read +@write +@scripting +time";
    let mut arguments = vec!["--user"];
    arguments.extend(acl.split(' '));
    let server = RedisServer::start_with(&arguments);
    let url = format!("redis://ann:pa%25ss@127.0.0.1:{}/0", server.port());
    redis(&url, TIMEOUT).await.probe().await.expect("all works");
}

#[tokio::test]
async fn an_acl_that_forbids_writing_is_found_by_the_probe() {
    let server =
        RedisServer::start_with(&["--user", "ann", "on", ">s3cret", "~{ns}:*", "+@read", "+@connection"]);
    let url = format!("redis://ann:s3cret@127.0.0.1:{}/0", server.port());
    let store = redis(&url, TIMEOUT).await;
    store.find("home", &record("a").hash).await.expect("an answer");
    store.ping().await.expect_err("no sign of health");
    let error = store.probe().await.expect_err("it may not write");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn an_entry_of_the_wrong_kind_is_an_error_and_not_an_unknown_key() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    let record = record("a");
    let name = format!("{{ns}}:key:home:{}", record.hash);
    let () = raw(&server, redis::cmd("SET").arg(name).arg("text")).await;
    for answer in
        [store.find("home", &record.hash).await.map(|_| ()), try_to_learn(&*store, &record).await.map(|_| ())]
    {
        assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn noting_a_use_does_not_touch_the_record() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    let record = record("a");
    try_to_learn(&*store, &record).await.expect("learned");
    let name = format!("{{ns}}:key:home:{}", record.hash);
    let before: Vec<u8> = raw(&server, redis::cmd("DUMP").arg(&name)).await;
    store.note_used("r1", &[use_of(&record, 5)]).await.expect("noted");
    let after: Vec<u8> = raw(&server, redis::cmd("DUMP").arg(&name)).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_wrong_url_is_refused_without_its_password() {
    for url in
        ["redis:/ann:s3cret@127.0.0.1", "http://ann:s3cret@127.0.0.1", "redis://ann:s3cret@host:port/0", ""]
    {
        let settings = StoreSettings::Redis {
            servers: RedisUrl::new(url.to_owned()).into(),
            namespace: "ns".to_owned(),
            timeout: TIMEOUT,
        };
        let Err(error) = open(&settings).await else { panic!("{url} opened") };
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("not a Redis URL") && !text.contains("s3cret"), "{text}");
    }
}

/// `SETUSER gateway …`, as in the manual.
pub fn documented_rights() -> Vec<String> {
    let manual = include_str!("../../docs/operations.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER")).expect("the documented rights");
    let line = line.replace("{openbin-gateway}", "{ns}").replace("PASSWORD", "right-password");
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_each_is_needed() {
    let server = RedisServer::start();
    let words = documented_rights();
    let store = async || {
        redis(&format!("redis://gateway:right-password@127.0.0.1:{}/0", server.port()), TIMEOUT).await
    };
    let () = raw(&server, redis::cmd("ACL").arg(&words)).await;
    store().await.probe().await.expect("the documented rights are enough");
    store().await.ping().await.expect("a sign of life");
    for command in
        words.iter().filter_map(|word| word.strip_prefix('+')).filter(|command| *command != "select")
    {
        let () =
            raw(&server, redis::cmd("ACL").arg("SETUSER").arg("gateway").arg(format!("-{command}"))).await;
        let store = store().await;
        let refused = store.probe().await.is_err() || store.ping().await.is_err();
        assert!(refused, "{command} is documented, but not needed");
        let () =
            raw(&server, redis::cmd("ACL").arg("SETUSER").arg("gateway").arg(format!("+{command}"))).await;
    }
}

/// Does something once more than its answer arrives.
async fn with_a_lost_answer<T>(proxy: &Proxy, store: &dyn Ledger, change: impl Future<Output = T>) -> T {
    store.ping().await.expect("a connection that is kept");
    proxy.lose_an_answer();
    let answer = change.await;
    assert!(proxy.has_lost_it());
    answer
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_done_once_and_answered_as_if_nothing_had_happened() {
    let server = RedisServer::start();
    let proxy = Proxy::to(&server, Duration::ZERO).await;
    let (store, record) = (redis(&proxy.url(), TIMEOUT).await, record("a"));
    let (policy, event) = (Policy { disabled: true, ..Policy::default() }, event(Action::UserBlocked));
    let learned = with_a_lost_answer(&proxy, &*store, try_to_learn(&*store, &record)).await;
    assert_eq!(learned.expect("learned"), Learned::Written);
    let (from, to, hash) = (&record.policy, &policy, &record.hash);
    let amendment = Amendment { instance: "home", hash, from, to, event: &event };
    let amended = with_a_lost_answer(&proxy, &*store, store.amend(amendment)).await;
    assert_eq!(amended.expect("an answer"), Amended::Done);
    let revoking = try_to_revoke(&*store, "home", &record.id, operator(1));
    assert_eq!(with_a_lost_answer(&proxy, &*store, revoking).await.expect("revoked"), [record.hash]);
    let buried = KeyRecord { id: record.id.clone(), ..super::record("b") };
    let learned = with_a_lost_answer(&proxy, &*store, try_to_learn(&*store, &buried)).await;
    assert_eq!(learned.expect("learned"), Learned::Revoked);
    let subject = Subject::User("ann".to_owned());
    let (instance, user) = ("home".to_owned(), subject.clone());
    let block = Block { instance, subject, at: at(0), until: None, why: None };
    with_a_lost_answer(&proxy, &*store, store.block(&block, &event)).await.expect("blocked");
    let lifted = with_a_lost_answer(&proxy, &*store, store.unblock("home", &user, &event)).await;
    assert!(lifted.expect("an answer"));
    with_a_lost_answer(&proxy, &*store, store.record(&event)).await.expect("written");
    let links = store.links(0, 100).await.expect("links");
    let mut head = Head::start();
    links.iter().for_each(|link| drop(head.advance(link).expect("a whole chain")));
    assert_eq!((links.len(), head), (7, store.head().await.expect("the end")));
}

#[tokio::test]
async fn a_trim_whose_answer_was_lost_is_done_once() {
    let server = RedisServer::start();
    let proxy = Proxy::to(&server, Duration::ZERO).await;
    let (store, event) = (redis(&proxy.url(), TIMEOUT).await, event(Action::AdminRefused));
    let mut head = Head::start();
    for number in 1..=5 {
        store.record(&event).await.expect("written");
        if number == 3 {
            head = store.head().await.expect("the end");
        }
    }
    let trim = Trim::new(Head::start(), head.clone(), at(1));
    let trimmed = with_a_lost_answer(&proxy, &*store, store.trim(&trim)).await;
    assert!(trimmed.expect("an answer"));
    assert_eq!(store.base().await.expect("the base"), head);
    assert_eq!(store.links(0, 100).await.expect("links").len(), 3);
    assert_eq!(store.head().await.expect("the end").seq, 6);
}

#[tokio::test]
async fn an_import_that_breaks_off_anywhere_is_done_once_and_told_as_if_it_had_not() {
    let server = RedisServer::start();
    let proxy = Proxy::to(&server, Duration::ZERO).await;
    let (store, other) = (redis(&proxy.url(), TIMEOUT).await, redis(&server.url(), TIMEOUT).await);
    let mut number = 0;
    let mut portion = || -> Vec<_> {
        let records = (number..number + 150).map(|number| record(&number.to_string()));
        number += 150;
        records.map(|record| (record, event(Action::KeyImported))).collect()
    };
    // In the first call, in the middle of a later one, and near the end.
    for bytes in [100, 6_000, 20_011, 60_000, 110_000] {
        let records = portion();
        store.ping().await.expect("a connection that is kept");
        proxy.break_after(bytes);
        let learned = store.learn_all(&records).await.expect("taken in");
        assert!(proxy.has_broken(), "{bytes}: the portion is shorter");
        assert!(learned.iter().all(|learned| *learned == Learned::Written), "{bytes}");
    }
    // The same while others add to the chain.
    let busy = async {
        loop {
            other.record(&event(Action::AdminRefused)).await.expect("written");
        }
    };
    let importing = async {
        for bytes in [6_000, 20_011, 60_000] {
            let records = portion();
            store.ping().await.expect("a connection that is kept");
            proxy.break_after(bytes);
            let learned = store.learn_all(&records).await.expect("taken in");
            assert!(proxy.has_broken(), "{bytes}: the portion is shorter");
            assert!(learned.iter().all(|learned| *learned == Learned::Written), "{bytes}");
        }
    };
    tokio::select! { () = busy => {}, () = importing => {} }
    let (mut head, mut imported) = (Head::start(), 0);
    for link in other.links(0, usize::MAX).await.expect("links") {
        let entry = head.advance(&link).expect("a whole chain");
        imported += usize::from(entry.action == Action::KeyImported);
    }
    assert_eq!((imported, head), (number, other.head().await.expect("the end")));
}

#[tokio::test]
async fn an_import_over_a_slow_line_is_done_although_a_portion_takes_longer_than_an_answer_may() {
    let (server, timeout) = (RedisServer::start(), Duration::from_secs(2));
    let proxy = Proxy::to(&server, Duration::ZERO).await;
    let store = redis(&proxy.url(), timeout).await;
    store.ping().await.expect("a connection that is kept");
    proxy.slow_down(Duration::from_millis(60));
    let records: Vec<_> =
        (0..200).map(|number| (record(&number.to_string()), event(Action::KeyImported))).collect();
    let began = Instant::now();
    let learned = store.learn_all(&records).await.expect("taken in");
    assert!(learned.iter().all(|learned| *learned == Learned::Written));
    assert!(began.elapsed() > timeout, "the line is not slow");
}

#[tokio::test]
async fn an_answer_to_an_earlier_question_is_not_taken_for_the_answer_to_this_one() {
    let server = RedisServer::start();
    let between = support::scripted::Scripted::before(server.port()).await;
    let (store, record, nobody) = (redis(&between.url(), SHORT).await, record("a"), KeyHash::of("b"));
    try_to_learn(&*store, &record).await.expect("learned");
    assert_eq!(store.find("home", &nobody).await.expect("an answer"), None);
    between.set(support::scripted::Mode::Behind);
    store.find("home", &record.hash).await.expect_err("not its answer");
    between.set(support::scripted::Mode::Pass);
    assert!(until_it_answers(|| store.find("home", &record.hash)).await.is_some());
}

#[tokio::test]
async fn many_changes_at_a_hanging_server_all_fail_in_time_and_work_again_when_it_goes_on() {
    let server = RedisServer::start();
    let store = redis(&server.url(), SHORT).await;
    store.ping().await.expect("an answer");
    server.suspend();
    let asked = Instant::now();
    let records: Vec<_> = (0..100).map(|number| record(&number.to_string())).collect();
    let learning = records.iter().map(|record| try_to_learn(&*store, record));
    let answers = futures_util::future::join_all(learning).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Timeout))));
    assert!(asked.elapsed() < SHORT + SLACK, "{:?}", asked.elapsed());
    server.resume();
    until_it_answers(|| store.ping()).await;
    assert_eq!(try_to_learn(&*store, &record("new")).await.expect("learned"), Learned::Written);
}

#[tokio::test]
async fn gateways_with_different_namespaces_do_not_see_each_other() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    try_to_learn(&*store, &record("a")).await.expect("learned");
    let (servers, namespace) = (RedisUrl::new(server.url()).into(), "ns:2".to_owned());
    let other = open(&StoreSettings::Redis { servers, namespace, timeout: TIMEOUT }).await.expect("a store");
    assert_eq!(other.find("home", &record("a").hash).await.expect("an answer"), None);
    let page = other.list(&Query { limit: 1, ..Query::default() }, at(0)).await.expect("a page");
    assert_eq!((page.records.len(), other.head().await.expect("the end")), (0, Head::start()));
}

#[tokio::test]
async fn all_that_belongs_together_lies_in_one_slot_of_a_cluster() {
    let folder = Folder::new();
    let directory = folder.0.to_string_lossy();
    let bus = support::port::free_port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--dir", &directory, "--cluster-port", &bus];
    let server = RedisServer::start_with(&arguments);
    let () = raw(&server, redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await;
    let store = redis(&server.url(), TIMEOUT).await;
    let mut state = String::new();
    while !state.contains("cluster_state:ok") {
        state = raw(&server, redis::cmd("CLUSTER").arg("INFO")).await;
    }
    store.probe().await.expect("all works in a cluster");
}
