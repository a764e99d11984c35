//! The configuration as a whole: what ships must load, and what is wrong must be said all at once.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::read::Context;
use super::{Config, Flags, Problems, Sources, Tls, base, overlay, parse_file, resolve};
use crate::keys::Issuer;

const SECRET: &str = "canary-secret-canary-secret-canary";

/// A folder with what the samples name: secrets, a certificate, a token.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in [
        "jwt_secret",
        ".jwt_secret",
        "home.jwt_secret",
        "workshop.jwt_secret",
        "workshop.previous.jwt_secret",
        "admin.token",
        "redis.password",
        "sentinel.password",
    ] {
        std::fs::write(folder.path().join(name), SECRET).expect("a secret file");
    }
    let made =
        rcgen::generate_simple_self_signed(vec!["bins.example.com".to_owned()]).expect("a certificate");
    for name in ["fullchain.pem", "redis-ca.pem", "redis-client.pem"] {
        std::fs::write(folder.path().join(name), made.cert.pem()).expect("a certificate");
    }
    std::fs::write(folder.path().join("redis-client.key"), made.signing_key.serialize_pem()).expect("a key");
    std::fs::write(folder.path().join("privkey.pem"), made.signing_key.serialize_pem()).expect("a key");
    folder
}

fn load(folder: &Path, yaml: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let file = folder.join("gateway.yaml");
    std::fs::write(&file, yaml).expect("a configuration file");
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = environment.iter().map(own).collect();
    Config::load(Sources { file: Some(file), environment, flags: Flags::default() })
}

fn minimal() -> &'static str {
    "listen: [{ address: 127.0.0.1:0 }]\ninstances:\n  - name: home\n    upstream: http://127.0.0.1:1453\n    jwt_secret_file: jwt_secret\n"
}

#[test]
fn the_example_and_the_samples_load() {
    let folder = folder();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for sample in [
        "gateway.example.yaml",
        "config/single.yaml",
        "config/redis.yaml",
        "config/sentinel.yaml",
        "config/cluster.yaml",
    ] {
        let yaml = std::fs::read_to_string(root.join(sample)).expect("a sample");
        let yaml = yaml.replace("/data/.jwt_secret", "jwt_secret");
        if let Err(problems) = load(folder.path(), &yaml, &[("JWT_SECRET", SECRET)]) {
            panic!("{sample}: {problems}");
        }
    }
}

#[test]
fn the_example_names_every_key() {
    let folder = folder();
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, minimal()).expect("a configuration file");
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.example.yaml"))
        .expect("it");
    let stores =
        ["kind: embedded", "kind: redis, url: redis://h", "sentinels: [h], master: m", "cluster: [h]"];
    for yaml in stores.map(|store| format!("{}store: {{ {store} }}\n", minimal())) {
        std::fs::write(&file, yaml).expect("a configuration file");
        let mut problems = Vec::new();
        let mut tree = parse_file(&file, &mut problems).expect("YAML");
        overlay::apply(&mut tree, &[], &mut problems);
        let context = Context::new(base(Some(&file)), &[], SystemTime::now(), problems);
        let _ = resolve::resolve(&context, &tree);
        for key in context.known() {
            let name = key.rsplit('.').next().unwrap_or(&key).trim_end_matches("[]");
            assert!(example.contains(&format!("{name}:")), "{key} is missing from gateway.example.yaml");
        }
    }
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line() {
    let folder = folder();
    let yaml = "workers: none\nlisten: [{ address: here }]\nlimits: { max_body: 3 apples }\nstorre: {}\ninstances:\n  - name: home\n    upstream: bins\n    jwt_secret_file: missing\n";
    let problems = load(folder.path(), yaml, &[]).expect_err("a bad configuration");
    let said = problems.to_string();
    for (line, path) in [
        (1, "workers"),
        (2, "listen[0].address"),
        (3, "limits.max_body"),
        (4, "storre"),
        (7, "instances[0].upstream"),
        (8, "instances[0].jwt_secret_file"),
    ] {
        assert!(said.contains(&format!("gateway.yaml:{line}")) && said.contains(path), "{path}:\n{said}");
    }
}

#[test]
fn a_missing_or_empty_secret_is_refused() {
    let folder = folder();
    std::fs::write(folder.path().join("jwt_secret"), " \n").expect("an empty secret");
    let said = load(folder.path(), minimal(), &[]).expect_err("an empty secret").to_string();
    assert!(said.contains("jwt_secret"), "{said}");
    let without = minimal().replace("    jwt_secret_file: jwt_secret\n", "");
    assert!(load(folder.path(), &without, &[]).is_err());
}

#[test]
fn the_environment_wins_over_the_file() {
    let folder = folder();
    let over = [("OPENBIN_GATEWAY__INSTANCES__0__UPSTREAM", "http://127.0.0.1:9")];
    let config = load(folder.path(), minimal(), &over).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.gateway.instances[0].upstream.authority.as_str(), "127.0.0.1:9");
    let wrong = [("OPENBIN_GATEWAY__NONSENSE", "1")];
    let said = load(folder.path(), minimal(), &wrong).expect_err("an unknown key").to_string();
    assert!(said.contains("OPENBIN_GATEWAY__NONSENSE"), "{said}");
}

#[test]
fn flags_alone_are_enough() {
    let folder = folder();
    let flags = Flags {
        upstream: Some("http://127.0.0.1:1453".to_owned()),
        jwt_secret_file: Some(folder.path().join("jwt_secret")),
        tls: Some(Tls::Plain),
        ..Flags::default()
    };
    let sources = Sources { file: None, environment: Vec::new(), flags };
    let config = Config::load(sources).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.gateway.instances.len(), 1);
    assert!(config.server.listeners[0].tls.is_none());
}

#[test]
fn openbin_issues_keys_unless_the_gateway_is_told_to() {
    let folder = folder();
    let issuer = |yaml: &str| {
        let config = load(folder.path(), yaml, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        config.gateway.instances[0].key_issuer
    };
    assert_eq!(issuer(minimal()), Issuer::Openbin);
    assert_eq!(issuer(&format!("{}    key_issuer: gateway\n", minimal())), Issuer::Gateway);
    let said = load(folder.path(), &format!("{}    key_issuer: nobody\n", minimal()), &[]);
    let said = said.expect_err("nobody issues keys").to_string();
    assert!(said.contains("key_issuer") && said.contains("gateway"), "{said}");
}

#[test]
fn audit_entries_are_kept_for_400_days_unless_it_says_otherwise() {
    let folder = folder();
    let kept = |audit: &str| {
        let config = load(folder.path(), &format!("{}{audit}\n", minimal()), &[]);
        config.map(|config| config.retention.audit.map(|kept| kept.as_secs() / 86_400))
    };
    for (audit, days) in
        [("", Some(400)), ("audit: { keep_for: 30d }", Some(30)), ("audit: { keep_for: ever }", None)]
    {
        assert_eq!(kept(audit).unwrap_or_else(|problems| panic!("{problems}")), days);
    }
    for wrong in ["never", "0d", "1h", "30", "40000d"] {
        let said = kept(&format!("audit: {{ keep_for: {wrong} }}")).expect_err(wrong).to_string();
        assert!(said.contains("audit.keep_for") && said.contains("or ever"), "{said}");
    }
}

#[test]
fn limits_are_shared_only_where_the_store_is() {
    let folder = folder();
    let shared = format!("{}limits: {{ shared: true }}\n", minimal());
    let said = load(folder.path(), &shared, &[]).expect_err("nobody to share with").to_string();
    assert!(said.contains("limits.shared") && said.contains("embedded"), "{said}");
    let redis = format!("{shared}store: {{ kind: redis, url: redis://h }}\n");
    let config = load(folder.path(), &redis, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.gateway.limits.shared);
    let config = load(folder.path(), minimal(), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!config.gateway.limits.shared);
}

#[test]
fn an_open_admin_listener_needs_a_token() {
    let folder = folder();
    let open = format!("admin: {{ address: 0.0.0.0:9464 }}\n{}", minimal());
    let said = load(folder.path(), &open, &[]).expect_err("no token").to_string();
    assert!(said.contains("admin"), "{said}");
    let guarded = format!("admin: {{ address: 0.0.0.0:9464, token_file: admin.token }}\n{}", minimal());
    assert!(load(folder.path(), &guarded, &[]).is_ok());
}

#[test]
fn no_secret_is_in_debug_or_in_a_problem() {
    let folder = folder();
    let yaml = format!(
        "store: {{ kind: redis, url: 'redis://u:{SECRET}@h:1/0' }}\nadmin: {{ address: 127.0.0.1:9464, token_file: admin.token }}\n{}",
        minimal()
    );
    let config = load(folder.path(), &yaml, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!format!("{config:?}").contains("canary"));
    let wrong = yaml.replace("redis://", "http://");
    let said = load(folder.path(), &wrong, &[]).expect_err("not Redis").to_string();
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn no_bytes_make_the_loader_panic() {
    let folder = folder();
    let file: PathBuf = folder.path().join("gateway.yaml");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2000 {
        let mut text = minimal().as_bytes().to_vec();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = usize::try_from(state >> 33).expect("31 bits") % text.len();
            const BYTES: &[u8] = b"{}[]:-#&*!|>'\"%@`,? \n\t\0\xff0a";
            text[place] = BYTES[usize::try_from(state % BYTES.len() as u64).expect("small")];
        }
        std::fs::write(&file, text).expect("a file");
        let _ = Config::load(Sources { file: Some(file.clone()), ..Sources::default() });
    }
}

#[test]
fn what_does_not_go_together_in_a_redis_store_is_refused_where_it_stands() {
    let folder = folder();
    std::fs::write(folder.path().join("empty.pem"), "nothing\n").expect("a file");
    for (store, path, what) in [
        ("url: redis://h, sentinels: [a], master: m", "store.sentinels", "says already where"),
        ("sentinels: [a], master: m, cluster: [b]", "store.cluster", "says already where"),
        ("kind: redis", "store.url", "needs a URL"),
        ("sentinels: [a]", "store.master", "none is named"),
        ("sentinels: [a], master: 'my master'", "store.master", "name of a master"),
        ("sentinels: [], master: m", "store.sentinels", "no server is named"),
        ("sentinels: [a, 'redis://b'], master: m", "store.sentinels[1]", "not a server's address"),
        ("cluster: ['u:p@b:1']", "store.cluster[0]", "(not shown)"),
        ("url: redis://h, master: m", "store.master", "belongs to sentinels"),
        ("cluster: [a], sentinel_user: u", "store.sentinel_user", "belongs to sentinels"),
        ("url: redis://h, user: u", "store.user", "stands in the URL"),
        ("url: redis://h, database: 1", "store.database", "stands in the URL"),
        ("cluster: [a], database: 1", "store.database", "no databases"),
        ("sentinels: [a], master: m, database: x", "store.database", "whole number"),
        ("url: redis://h, tls: true", "store.tls", "URL says"),
        ("url: redis://h, ca_file: redis-ca.pem", "store.ca_file", "without"),
        ("cluster: [a], tls: false, ca_file: redis-ca.pem", "store.ca_file", "without"),
        ("cluster: [a], ca_file: missing.pem", "store.ca_file", "no such file"),
        ("cluster: [a], ca_file: empty.pem", "store.ca_file", "no certificate"),
        ("url: rediss://h, ca_file: redis-ca.pem, key: redis-client.key", "store.key", "store.certificate"),
        (
            "cluster: [a], ca_file: redis-ca.pem, certificate: redis-client.pem, key: empty.pem",
            "store.certificate",
            "no private key",
        ),
        ("kind: embedded, cluster: [a]", "store.cluster", "store is embedded"),
        ("url: 'rediss://h#insecure'", "store.url", "not a Redis URL"),
    ] {
        let yaml = format!("store: {{ {store} }}\n{}", minimal());
        let Err(problems) = load(folder.path(), &yaml, &[]) else { panic!("{store} is accepted") };
        let said = problems.to_string();
        assert!(said.contains("gateway.yaml:1") && said.contains(&format!("{path}: ")), "{store}:\n{said}");
        assert!(said.contains(what), "{store}:\n{said}");
    }
}
