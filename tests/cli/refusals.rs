//! What cannot be done, and what is said then.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::desk::{Desk, key_of};
use crate::support::openbin::{OpenBin, Options};
use crate::support::{Instance, Setup};

#[tokio::test]
async fn a_whole_key_is_no_argument_and_is_not_repeated() {
    let desk = Desk::alone().await;
    let key = key_of("a key");
    for words in
        ["keys show", "keys revoke", "keys list", "keys list --search", "frobnicate", "keys limit --path"]
    {
        for argument in [key.clone(), format!("--reason={key}"), key[..40].to_owned()] {
            let told = desk.run_with(words, &[&argument], "").await.refused(2);
            assert!(told.contains("shell's history") && told.contains("standard input"), "{told}");
            assert!(!told.contains(&key[18..40]), "{told}");
        }
    }
}

#[tokio::test]
async fn a_key_that_nobody_has_is_told_so() {
    let desk = Desk::alone().await;
    for (words, input) in [
        ("keys show 0d5d", String::new()),
        ("keys show sk_openbin_0", String::new()),
        ("keys show -", key_of("nobody's")),
        ("keys revoke 0d5d", String::new()),
        ("keys disable 0d5d", String::new()),
        ("keys rotate -", key_of("nobody's")),
        ("keys limit 0d5d --read-only", String::new()),
    ] {
        let told = desk.told(words, &input).await.refused(1);
        assert!(told.contains("there is no such key"), "{words}: {told}");
    }
    let ahead = desk.run("keys revoke 0d5d --ahead").await.ok();
    assert!(ahead.out.contains("refused for ever all the same"), "{}", ahead.out);
}

#[tokio::test]
async fn what_cannot_be_meant_is_wrong_usage() {
    let desk = Desk::alone().await;
    for (words, input, named) in [
        ("keys show -", "sk_openbin_12", "standard input holds no key"),
        ("keys show -", "", "standard input holds no key"),
        ("keys show sk_openbin_", "", "12 of its 18"),
        ("keys create --user u --expires-in 30", "", "90d"),
        ("keys create --user u --address 10.0.0.0/33", "", "longer than the address"),
        ("keys create --user u --rate 0/1m", "", "1 to 1000000000"),
        ("keys create", "", "--user"),
        ("keys limit some", "", "at least one limit"),
        ("keys limit some --read-only --read-write", "", "cannot be used with"),
        ("keys limit some --expires-at tomorrow --instance nowhere", "", "there is no instance nowhere"),
        ("keys revoke", "", "KEY"),
        ("keys revoke a --unused-for 90d", "", "cannot be used with"),
        ("keys import --from openbin.db", "", "sqlite:FILE"),
        ("users block", "", "ID"),
    ] {
        let told = desk.told(words, input).await.refused(2);
        assert!(told.contains(named), "{words}: {told}");
    }
    let nowhere = desk.bare(&["keys", "list", "--config", "nowhere.yaml"], &[], "").await.refused(2);
    assert!(nowhere.contains("nowhere.yaml"), "{nowhere}");
}

#[tokio::test]
async fn a_time_or_a_path_that_the_rules_refuse_is_told_in_their_words() {
    let desk = Desk::alone().await;
    let key = desk.create("--name laptop").await;
    let prefix = &key[..18];
    let time = desk.run(&format!("keys limit {prefix} --expires-at tomorrow")).await.refused(2);
    assert!(time.contains("RFC 3339"), "{time}");
    let path = desk.run(&format!("keys limit {prefix} --path bins")).await.refused(1);
    assert!(path.contains("begins with /"), "{path}");
    desk.run(&format!("keys revoke {prefix}")).await.ok();
    let over = desk.run(&format!("keys enable {prefix}")).await.refused(1);
    assert!(over.contains("revoked"), "{over}");
}

#[tokio::test]
async fn an_ambiguous_prefix_lists_what_it_could_be_and_does_nothing() {
    let desk = Desk::alone().await;
    desk.import(["alpha", "alpaca", "beta"].map(str::to_owned), "2026-01-01T00:00:00Z").await;
    let prefix = &key_of("alpha")[..16];
    let told = desk.run(&format!("keys revoke {prefix}")).await.refused(1);
    assert!(told.contains("2 keys match") && told.contains("nothing was done"), "{told}");
    assert!(told.contains("alpha") && told.contains("alpaca") && !told.contains("beta"), "{told}");
    let left = desk.run("keys list --json").await.ok().json();
    assert_eq!(left["keys"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn with_several_instances_one_must_be_named() {
    let openbin = OpenBin::start(Options::default());
    let at = |name: &str, host: &str| Instance::at(openbin.address).named(name).for_hosts(&[host]);
    let setup = Setup::of_instances(vec![at("one", "a.example"), at("two", "b.example")]);
    let mut desk = Desk::alone().await;
    desk.setup = setup;
    desk.setup.file("gateway.yaml", &desk.setup.yaml());
    for words in
        ["keys create --user u", "users show u", "keys revoke --all-of-user u --yes", "keys revoke x --ahead"]
    {
        let told = desk.run(words).await.refused(2);
        assert!(told.contains("one, two") && told.contains("--instance"), "{words}: {told}");
    }
    desk.run("users show u --instance two").await.ok();
}

#[tokio::test]
async fn a_running_gateway_that_cannot_be_asked_is_told_with_what_to_do() {
    let desk = Desk::running().await;
    let nowhere = [("OPENBIN_GATEWAY__ADMIN__ADDRESS", "127.0.0.1:1")];
    let list = ["keys", "list", "--config", "gateway.yaml"];
    let silent = desk.bare(&list, &nowhere, "").await.refused(1);
    assert!(silent.contains("in use by a running gateway") && silent.contains("127.0.0.1:1"), "{silent}");
    assert!(silent.contains("the configuration that the gateway runs with"), "{silent}");

    let another = Desk::running().await;
    let foreign = another.gateway().admin.to_string();
    let other = desk.bare(&list, &[("OPENBIN_GATEWAY__ADMIN__ADDRESS", &foreign)], "").await.refused(1);
    assert!(other.contains("does not take its admin token"), "{other}");

    let token = desk.setup.directory().join("gateway.db.admin-token");
    let kept = fs::read_to_string(&token).expect("a token");
    fs::write(&token, "0".repeat(64)).expect("another token");
    let refused = desk.run("keys list").await.refused(1);
    assert!(refused.contains("does not take its admin token (401"), "{refused}");
    fs::remove_file(&token).expect("removed");
    let gone = desk.run("keys list").await.refused(1);
    assert!(gone.contains("gateway.db.admin-token") && gone.contains("admin.token_file"), "{gone}");
    for told in [&silent, &other, &refused, &gone] {
        assert!(!told.contains(&kept), "the token is not told: {told}");
    }
    fs::write(&token, &kept).expect("the token");
    fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("a mode");
    desk.run("keys list").await.ok();
}

#[tokio::test]
async fn check_on_a_live_machine_warns_that_the_store_is_in_use() {
    let desk = Desk::running().await;
    let checked = desk.run("check --json").await.ok().json();
    let findings = checked["findings"].as_array().expect("findings");
    let store = findings.iter().find(|finding| finding["part"] == "store").expect("the store");
    assert_eq!(store["mark"], "warn", "{store}");
    assert!(
        store["text"].as_str().is_some_and(|text| text.contains("in use by a running gateway")),
        "{store}"
    );
}

#[tokio::test]
async fn an_admin_address_that_cannot_be_meant_is_told_by_its_flag() {
    let desk = Desk::alone().await;
    let upstream = desk.openbin.url();
    for (address, named) in
        [("nonsense", "--admin"), ("0.0.0.0:9464", "token"), ("127.0.0.1:18443", "taken by")]
    {
        let flags =
            ["--upstream", &upstream, "--jwt-secret-file", "home-0.secret", "--listen", "127.0.0.1:18443"];
        let mut arguments = vec!["check", "--offline", "--admin", address];
        arguments.extend(flags);
        // The flag wins over the environment, which names another address here.
        let told = desk.bare(&arguments, &[], "").await.refused(2);
        assert!(told.contains("admin.address") && told.contains(named), "{address}: {told}");
    }
}

#[tokio::test]
async fn output_that_nobody_reads_any_more_is_no_failure() {
    let desk = Desk::alone().await;
    desk.import((0..1200).map(|number| format!("{number:04}")), "2026-01-01T00:00:00Z").await;
    let script = format!(
        "'{}' keys list --limit 0 --config gateway.yaml | head -n 1",
        env!("CARGO_BIN_EXE_openbin-gateway")
    );
    let shell = std::process::Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {script}")])
        .current_dir(desk.setup.directory())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&shell.stderr).into_owned();
    assert_eq!((shell.status.code(), said.contains("panicked")), (Some(0), false), "{said}");
    assert!(String::from_utf8_lossy(&shell.stdout).starts_with("PREFIX"));
}
