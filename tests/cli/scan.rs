//! Keys that lie around: found in files and histories, told by where they are, and revoked.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::desk::{Desk, key_of};
use crate::support::Request;

fn git(folder: &Path, arguments: &[&str]) {
    let identity =
        ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"];
    let run = Command::new("git").current_dir(folder).args(identity).args(arguments).output().expect("git");
    assert!(run.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}

#[tokio::test]
async fn keys_in_files_are_told_by_place_and_standing_and_never_shown() {
    let desk = Desk::running().await;
    let (live, dead) = (desk.create("--name live").await, desk.create("--name dead").await);
    desk.run(&format!("keys revoke {}", &dead[..18])).await.ok();
    let unknown = key_of("unknown");
    let folder = desk.setup.directory().join("work");
    std::fs::create_dir_all(folder.join("deep/.hidden")).expect("folders");
    std::fs::write(folder.join("app.env"), format!("A=1\nKEY={live}\nOLD={dead}\n")).expect("a file");
    std::fs::write(folder.join(".gitignore"), "*.env\n").expect("a file");
    let mut binary = vec![0xff_u8; 200_000];
    binary.splice(131_000..131_000, unknown.bytes());
    std::fs::write(folder.join("deep/.hidden/core"), binary).expect("a file");
    std::os::unix::fs::symlink(&folder, folder.join("deep/loop")).expect("a link");

    let done = desk.run("keys scan work").await;
    assert_eq!(done.code, 1, "a key works: {}", done.said());
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", done.out);
    assert!(lines[0].starts_with(&format!("work/app.env:2  {}  active", &live[..18])), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("work/app.env:3  {}  revoked", &dead[..18])), "{}", lines[1]);
    assert_eq!(lines[2], format!("work/deep/.hidden/core:1  {}  unknown", &unknown[..18]));
    assert!(done.err.contains("3 keys, 1 working, 1 unknown"), "{}", done.err);

    let revoked = desk.run("keys scan work --revoke --json").await.ok();
    let document = revoked.json();
    assert_eq!((&document["working"], &document["revoked_now"]), (&json!(0), &json!(1)));
    assert_eq!(document["found"][0]["revoked_now"], true);
    assert_eq!(desk.gateway().send(&Request::get("/api/bins").bearer(&live)).await.status, 401);
    let shown = desk.told("keys show -", &live).await.ok().out;
    assert!(shown.contains("found in work/app.env:2"), "{shown}");
    desk.run("keys scan work").await.ok();
    for key in [&live, &dead, &unknown] {
        assert!(!format!("{}{}", done.said(), revoked.said()).contains(&key[18..]), "a key was shown");
    }
    let nothing = desk.run("keys scan gateway.yaml --json").await.ok().json();
    assert_eq!((&nothing["found"], &nothing["files"]), (&json!([]), &json!(1)));
}

#[tokio::test]
async fn a_key_that_was_ever_committed_is_found_with_its_commit() {
    let desk = Desk::alone().await;
    let (removed, told) = (desk.create("--name removed").await, desk.create("--name told").await);
    let folder = desk.setup.directory().join("repository");
    std::fs::create_dir_all(folder.join("a dir")).expect("a folder");
    git(&folder, &["init", "-q"]);
    for (content, message) in [
        (format!("KEY={removed}\n"), "first".to_owned()),
        (format!("# more\nKEY={removed}\n"), "second".to_owned()),
        ("KEY=\n".to_owned(), format!("take out {told}")),
    ] {
        std::fs::write(folder.join("a dir/app.env"), content).expect("a file");
        git(&folder, &["add", "."]);
        git(&folder, &["commit", "-q", "-m", &message]);
    }
    git(&folder, &["gc", "-q"]);
    let clean = desk.run_with("keys scan", &["repository/a dir"], "").await.ok();
    assert!(clean.err.contains("0 keys"), "the files themselves are clean: {}", clean.err);

    let done = desk.run_with("keys scan --git --json", &["repository/a dir"], "").await;
    assert_eq!(done.code, 1, "{}", done.said());
    let document = done.json();
    let found = document["found"].as_array().expect("findings");
    assert_eq!(found.len(), 2, "each version of a file is one finding: {document}");
    let of = |key: &str| found.iter().find(|finding| finding["prefix"] == key[..18]).expect("a finding");
    assert_eq!((&of(&removed)["path"], &of(&removed)["line"]), (&json!("a dir/app.env"), &json!(2)));
    assert_eq!(of(&told)["path"], "(its message)");
    let head = Command::new("git").current_dir(&folder).args(["log", "--format=%H"]).output().expect("git");
    let commits = String::from_utf8(head.stdout).expect("text");
    let commits: Vec<&str> = commits.lines().collect();
    assert_eq!((&of(&told)["commit"], &of(&removed)["commit"]), (&json!(commits[0]), &json!(commits[1])));
    let revoked = desk.run("keys scan --git --revoke repository").await.ok();
    assert!(revoked.err.contains("2 revoked now"), "{}", revoked.err);
    assert!(!done.said().contains(&removed[18..]) && !revoked.said().contains(&told[18..]));
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_a_failure() {
    let desk = Desk::alone().await;
    let missing = desk.run("keys scan nowhere").await;
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("not looked at") && missing.err.contains("nowhere"), "{}", missing.err);
    let none = desk.run("keys scan --git gateway.yaml").await;
    assert_eq!(none.code, 1, "{}", none.said());
    assert!(none.err.contains("git repository"), "{}", none.err);
}
