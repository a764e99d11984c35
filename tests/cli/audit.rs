//! The audit chain as operators read it.

use std::time::{Duration, SystemTime};

use openbin_gateway::keys::audit::{Action, Actor, Event};
use openbin_gateway::keys::{RedisUrl, StoreSettings, open};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::desk::Desk;
use crate::support::{Store, wait};

async fn with_history() -> Desk {
    let desk = Desk::alone().await;
    let key = desk.create("--name laptop").await;
    desk.run(&format!("keys disable {}", &key[..18])).await.ok();
    desk.run_with(&format!("keys revoke {}", &key[..18]), &["--reason", "lost\x1b[2J"], "").await.ok();
    desk
}

#[tokio::test]
async fn the_chain_is_listed_with_who_did_what() {
    let desk = with_history().await;
    let listed = desk.run("audit list").await.ok();
    for words in ["key created", "policy changed", "key revoked", "operator olga", "operator: lost\\u{1b}[2J"]
    {
        assert!(listed.out.contains(words), "{words}: {}", listed.out);
    }
    let last = desk.run("audit list --limit 1 --json").await.ok().json();
    let entry = &last["entries"][0];
    let (at, text) =
        (entry["at"].as_str().expect("a time"), entry["text"].as_str().expect("what was hashed"));
    let kept: Value = serde_json::from_str(text).expect("JSON");
    assert!(at.contains('T') && at.ends_with('Z') && kept["at"].is_i64(), "{entry}");
    assert_eq!((&kept["seq"], &kept["action"]), (&entry["seq"], &entry["action"]));
    assert_eq!(last["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(last["entries"][0]["seq"], last["head"]["seq"], "the last ones are shown");
    let first = desk.run("audit list --after 0 --limit 1 --json").await.ok().json();
    assert_eq!(first["entries"][0]["seq"], 1);
}

#[tokio::test]
async fn who_has_no_name_is_told_by_the_number_of_their_user() {
    let desk = Desk::alone().await;
    let words = ["users", "block", &desk.user, "--config", "gateway.yaml"];
    desk.bare(&words, &[("USER", ""), ("LOGNAME", "")], "").await.ok();
    let listed = desk.run("audit list --json").await.ok().json();
    let actor = listed["entries"][0]["actor"].as_str().expect("somebody");
    let number = actor.strip_prefix("uid:").expect("a number");
    assert!(number.parse::<u32>().is_ok(), "{actor}");
}

#[tokio::test]
async fn an_exported_chain_can_be_verified_by_anybody() {
    let desk = with_history().await;
    let exported = desk.run("audit export").await.ok().out;
    let before = verify("", exported.lines());
    let verified = desk.run("audit verify").await.ok().out;
    assert!(verified.contains("The chain is whole") && verified.contains(&before), "{verified}");
    let rest = desk.run("audit export --after 2").await.ok().out;
    assert_eq!(rest.lines().collect::<Vec<_>>(), exported.lines().skip(2).collect::<Vec<_>>());
}

/// Writes entries of long ago, as if the store had been in use then.
async fn with_a_past(store: &Store) -> Desk {
    let mut desk = Desk::of(store, false).await;
    let settings = match store {
        Store::Embedded => StoreSettings::Embedded { path: desk.setup.database() },
        Store::Redis(redis) => StoreSettings::Redis {
            servers: RedisUrl::new(redis.url()).into(),
            namespace: "openbin-gateway".to_owned(),
            timeout: Duration::from_secs(5),
        },
    };
    let ledger = open(&settings).await.expect("the store");
    for days in [900_u64, 500, 401, 30, 1] {
        let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        let event = Event::new(at, &Actor::gateway(), Action::AdminRefused);
        ledger.record(&event).await.expect("written");
    }
    drop(ledger);
    desk.start().await;
    desk
}

#[tokio::test]
async fn a_running_gateway_removes_what_is_older_than_it_is_to_be_kept_and_says_so() {
    for store in Store::each() {
        let desk = with_a_past(&store).await;
        let verified = wait::until_answer("the removal", || async {
            let verified = desk.run("audit verify").await.ok().out;
            verified.contains("Older entries were removed").then_some(verified)
        })
        .await;
        assert!(verified.starts_with("The chain is whole: 3 entries, the last is number 6 "), "{verified}");
        assert!(verified.contains("It begins with number 4. "), "{verified}");
        let json = desk.run("audit verify --json").await.ok().json();
        let base = json["base"]["hash"].as_str().expect("a hash").to_owned();
        assert_eq!((&json["base"]["seq"], &json["entries"]), (&3.into(), &3.into()));
        assert!(verified.contains(&format!("the last of them was number 3 with hash {base}.")), "{verified}");
        let listed = desk.run("audit list").await.ok();
        assert!(listed.out.contains("audit trimmed") && listed.err.contains("3 of 3 entries."), "{listed:?}");
        // Whoever has the export alone finds the base in it.
        let exported = desk.run("audit export").await.ok().out;
        let lines: Vec<&str> = exported.lines().collect();
        assert!(lines[2].contains(&format!("up to entry 3 with hash {base}")), "{exported}");
        assert_eq!(verify(&base, lines), json["head"]["hash"].as_str().expect("a hash"));
    }
}

/// Checks exported lines as the manual says, and returns the last hash.
fn verify<'l>(before: &str, lines: impl IntoIterator<Item = &'l str>) -> String {
    let mut before = before.to_owned();
    for line in lines {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let hash = entry["hash"].as_str().expect("a hash");
        let text = line.replace(&format!(",\"hash\":\"{hash}\""), "");
        let digest: String =
            Sha256::digest(format!("{before}\n{text}")).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, hash, "{line}");
        before = hash.to_owned();
    }
    before
}

#[tokio::test]
async fn an_edited_chain_is_told_with_exit_status_1() {
    let desk = with_history().await;
    let database = rusqlite::Connection::open(desk.setup.database()).expect("the store");
    let changed =
        database.execute("UPDATE audit SET text = replace(text, 'olga', 'nobody') WHERE seq = 2", []);
    assert_eq!(changed.expect("an edit"), 1);
    drop(database);
    let done = desk.run("audit verify").await;
    assert_eq!(done.code, 1, "{}", done.said());
    assert!(done.out.contains("The chain is broken") && done.out.contains("entry 2"), "{}", done.out);
    let json = desk.run("audit verify --json").await;
    assert_eq!((json.code, json.json()["whole"].as_bool()), (1, Some(false)));
}
