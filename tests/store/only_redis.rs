//! What only a Redis server can get wrong.

use super::*;

const SHORT: Duration = Duration::from_millis(500);
/// Two cores are shared with everything else that runs.
const SLACK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_server_that_went_away_is_an_error_in_time_and_works_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let store = redis(&server.url(), SHORT).await;
    store.learn(&record("a")).await.expect("learned");
    server.stop();
    for _ in 0..3 {
        let asked = Instant::now();
        let error = store.find("home", &record("a").hash).await.expect_err("nobody there");
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert!(asked.elapsed() < SHORT + SLACK);
    }
    server.restart();
    assert_eq!(store.find("home", &record("a").hash).await.expect("an answer"), None);
    assert_eq!(store.learn(&record("a")).await.expect("learned"), Learned::Written);
}

#[tokio::test]
async fn a_server_that_was_restarted_meanwhile_is_not_noticed() {
    let mut server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    store.ping().await.expect("an answer");
    server.restart();
    assert_eq!(store.learn(&record("a")).await.expect("learned"), Learned::Written);
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
    assert_eq!(store.find("home", &record("a").hash).await.expect("an answer"), None);
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
    let acl = "ann on >pa%ss ~ns:* -@all +@connection +@read +@write +@scripting";
    let mut arguments = vec!["--user"];
    arguments.extend(acl.split(' '));
    let server = RedisServer::start_with(&arguments);
    let url = format!("redis://ann:pa%25ss@127.0.0.1:{}/0", server.port());
    redis(&url, TIMEOUT).await.probe().await.expect("all works");
}

#[tokio::test]
async fn an_acl_that_forbids_writing_is_found_by_the_probe() {
    let server =
        RedisServer::start_with(&["--user", "ann", "on", ">s3cret", "~ns:*", "+@read", "+@connection"]);
    let url = format!("redis://ann:s3cret@127.0.0.1:{}/0", server.port());
    let store = redis(&url, TIMEOUT).await;
    store.ping().await.expect("an answer");
    let error = store.probe().await.expect_err("it may not write");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn an_entry_of_the_wrong_kind_is_an_error_and_not_an_unknown_key() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    let record = record("a");
    let name = format!("ns:key:home:{}", record.hash);
    let () = raw(&server, redis::cmd("SET").arg(name).arg("text")).await;
    for answer in [store.find("home", &record.hash).await.map(|_| ()), store.learn(&record).await.map(|_| ())]
    {
        assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn noting_a_use_does_not_touch_the_record() {
    let server = RedisServer::start();
    let store = redis(&server.url(), TIMEOUT).await;
    let record = record("a");
    store.learn(&record).await.expect("learned");
    let name = format!("ns:key:home:{}", record.hash);
    let before: Vec<u8> = raw(&server, redis::cmd("DUMP").arg(&name)).await;
    let used = Use { instance: "home".into(), hash: record.hash, at: at(5) };
    store.note_used(&[used]).await.expect("noted");
    let after: Vec<u8> = raw(&server, redis::cmd("DUMP").arg(&name)).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_wrong_url_is_refused_without_its_password() {
    for url in
        ["redis:/ann:s3cret@127.0.0.1", "http://ann:s3cret@127.0.0.1", "redis://ann:s3cret@host:port/0", ""]
    {
        let settings = StoreSettings::Redis {
            url: RedisUrl::new(url.to_owned()),
            namespace: "ns".to_owned(),
            timeout: TIMEOUT,
        };
        let Err(error) = open(&settings).await else { panic!("{url} opened") };
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("not a Redis URL") && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_each_is_needed() {
    let server = RedisServer::start();
    let manual = include_str!("../../docs/operations.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER")).expect("the documented rights");
    let words: Vec<String> = line
        .replace("openbin-gateway:*", "ns:*")
        .replace("PASSWORD", "right-password")
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect();
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
