//! The audit chain as operators read it.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::desk::Desk;

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
    assert_eq!(last["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(last["entries"][0]["seq"], last["head"]["seq"], "the last ones are shown");
    let first = desk.run("audit list --after 0 --limit 1 --json").await.ok().json();
    assert_eq!(first["entries"][0]["seq"], 1);
}

#[tokio::test]
async fn an_exported_chain_can_be_verified_by_anybody() {
    let desk = with_history().await;
    let exported = desk.run("audit export").await.ok().out;
    let mut before = String::new();
    for line in exported.lines() {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let hash = entry["hash"].as_str().expect("a hash");
        let text = line.replace(&format!(",\"hash\":\"{hash}\""), "");
        let digest: String =
            Sha256::digest(format!("{before}\n{text}")).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, hash, "{line}");
        before = hash.to_owned();
    }
    let verified = desk.run("audit verify").await.ok().out;
    assert!(verified.contains("The chain is whole") && verified.contains(&before), "{verified}");
    let rest = desk.run("audit export --after 2").await.ok().out;
    assert_eq!(rest.lines().collect::<Vec<_>>(), exported.lines().skip(2).collect::<Vec<_>>());
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
