//! Many keys at once: listed page by page, exported, swept away.

use serde_json::json;

use crate::desk::{Desk, EMAIL, key_of};
use crate::support::Request;

const LONG_AGO: &str = "2020-01-01T00:00:00Z";

#[tokio::test]
async fn a_list_of_any_length_is_one_document_and_a_table_knows_its_end() {
    let desk = Desk::running().await;
    desk.import((0..2100).map(|number| format!("n{number:04}")), LONG_AGO).await;
    let all = desk.run("keys list --limit 0 --json").await.ok().json();
    let mut ids: Vec<_> =
        all["keys"].as_array().expect("keys").iter().map(|key| key["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), &all["next"]), (2100, &json!(null)));
    let some = desk.run("keys list --limit 1500 --json").await.ok().json();
    assert_eq!(some["keys"].as_array().map(Vec::len), Some(1500));
    assert!(some["next"].is_string(), "there are more");
    let table = desk.run("keys list").await.ok();
    assert_eq!(table.out.lines().count(), 51, "a head and fifty keys");
    assert!(table.err.contains("There are more"), "{}", table.err);
    let found = desk.run("keys list --search n1234").await.ok();
    assert_eq!(found.out.lines().count(), 2, "{}", found.out);
    let none = desk.run("keys list --search nothing").await.ok();
    assert_eq!(none.out, "");
    assert!(none.err.contains("No active key"), "{}", none.err);
}

#[tokio::test]
async fn an_export_has_every_key_and_no_hash() {
    let desk = Desk::alone().await;
    let key = desk.create("--name plain --path /api/bins --path /api/items").await;
    desk.import(["a, \"quoted\" name".replace(['"', ','], "'")], LONG_AGO).await;
    desk.run(&format!("keys revoke {}", &key[..18])).await.ok();
    let csv = desk.run("keys export --format csv").await.ok().out;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let head = reader.headers().expect("a head").clone();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("CSV");
    assert_eq!(rows.len(), 2, "{csv}");
    let field = |row: &csv::StringRecord, name: &str| {
        let place = head.iter().position(|field| field == name).expect("a field");
        row[place].to_owned()
    };
    assert_eq!(field(&rows[0], "paths"), "/api/bins /api/items");
    assert_eq!(
        (field(&rows[0], "standing"), field(&rows[0], "revoked_who")),
        ("revoked".into(), "olga".into())
    );
    let json = desk.run("keys export").await.ok();
    assert_eq!(json.json()["keys"].as_array().map(Vec::len), Some(2));
    let hash = openbin_gateway::keys::KeyHash::of(&key).to_string();
    for text in [&csv, &json.out] {
        assert!(!text.contains(&hash) && !text.contains(&key[18..]), "{text}");
    }
}

#[tokio::test]
async fn unused_keys_are_shown_first_and_then_revoked() {
    let desk = Desk::running().await;
    desk.import(["old one", "old two"].map(str::to_owned), LONG_AGO).await;
    let young = desk.create("--name young").await;
    let dry = desk.run("keys revoke --unused-for 90d --dry-run").await.ok();
    assert!(
        dry.out.contains("old one") && dry.out.contains("old two") && !dry.out.contains("young"),
        "{}",
        dry.out
    );
    assert!(dry.err.contains("Would revoke 2 keys"), "{}", dry.err);
    let asked = desk.run("keys revoke --unused-for 90d").await.refused(2);
    assert!(asked.contains("2 keys") && asked.contains("--yes"), "{asked}");
    assert_eq!(desk.run("keys list --json").await.ok().json()["keys"].as_array().map(Vec::len), Some(3));
    let done = desk.run("keys revoke --unused-for 90d --yes --json").await.ok().json();
    assert_eq!(done, json!({ "revoked": 2, "propagated": true, "failed": [] }));
    let old = desk.gateway().send(&Request::get("/api/bins").bearer(&key_of("old one"))).await;
    assert_eq!(old.status, 401);
    assert_eq!(desk.gateway().send(&Request::get("/api/bins").bearer(&young)).await.status, 200);
    let again = desk.run("keys revoke --unused-for 90d").await.ok();
    assert_eq!(again.out, "Revoked 0 keys.\n");
}

#[tokio::test]
async fn all_keys_of_a_user_are_revoked_with_one_word() {
    for runs in [true, false] {
        let desk = if runs { Desk::running().await } else { Desk::alone().await };
        let keys = [desk.create("--name one").await, desk.create("--name two").await];
        let user = desk.user.clone();
        let asked = desk.run(&format!("keys revoke --all-of-user {user}")).await.refused(2);
        assert!(asked.contains("2 keys"), "{asked}");
        let done = desk.run(&format!("keys revoke --all-of-user {user} --yes")).await.ok();
        assert_eq!(done.out, format!("Revoked 2 keys of user {user} at home.\n"));
        let shown = desk.run("keys list --all --json").await.ok().json();
        for key in shown["keys"].as_array().expect("keys") {
            assert_eq!((&key["standing"], &key["user_email"]), (&json!("revoked"), &json!(EMAIL)));
        }
        if runs {
            for key in keys {
                assert_eq!(desk.gateway().send(&Request::get("/api/bins").bearer(&key)).await.status, 401);
            }
        }
    }
}

#[tokio::test]
async fn a_user_is_blocked_and_accepted_again() {
    let desk = Desk::running().await;
    let key = desk.create("--name laptop").await;
    let user = desk.user.clone();
    let status = async || desk.gateway().send(&Request::get("/api/bins").bearer(&key)).await.status;
    assert_eq!(status().await, 200);
    desk.run_with(&format!("users block {user}"), &["--reason", "gone mad"], "").await.ok();
    assert_eq!(status().await, 403);
    let shown = desk.run(&format!("users show {user}")).await.ok().out;
    assert!(
        shown.contains("is blocked since") && shown.contains("(gone mad)") && shown.contains("1 active key."),
        "{shown}"
    );
    let listed = desk.run("users list --instance home").await.ok().out;
    assert!(listed.starts_with("USER ") && listed.contains(&user) && listed.contains("gone mad"), "{listed}");
    let document = desk.run("users list --json").await.ok().json();
    assert_eq!(
        (&document["blocked"][0]["user_id"], document["blocked"].as_array().map(Vec::len)),
        (&json!(user), Some(1))
    );
    assert!(desk.run("users list --instance away").await.refused(2).contains("there is no instance away"));
    assert!(desk.run(&format!("users unblock {user}")).await.ok().out.contains("accepted again"));
    let nobody = desk.run("users list").await.ok();
    assert_eq!((nobody.out.as_str(), nobody.err.trim()), ("", "Nobody is blocked."));
    assert_eq!(status().await, 200);
    assert!(desk.run(&format!("users unblock {user}")).await.ok().out.contains("was not blocked"));
    let revoked = desk.run(&format!("users revoke-keys {user} --yes --json")).await.ok().json();
    assert_eq!(revoked, json!({ "revoked": 1, "propagated": true }));
    assert_eq!(status().await, 401);
}
