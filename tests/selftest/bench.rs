//! What a gateway costs is measured with the same request straight and through it, and nothing else is done to the
//! instance.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use openbin_gateway::selftest::{Load, LoadError, Place, Presented, Repeated, Trust};
use serde_json::Value;

use crate::instance::Instance;
use crate::support::Setup;
use crate::{command, run, said};

/// As short as it can be.
const SHORT: [&str; 6] = ["--seconds", "1", "--rounds", "1", "--rate", "50"];

fn bench(instance: &Instance, more: &[&str], input: &str) -> std::process::Output {
    let secret = instance.secret.path().to_str().expect("a path");
    let place = ["bench", "--upstream", &instance.url, "--jwt-secret-file", secret];
    run(&[&place[..], &SHORT, more].concat(), input)
}

#[test]
fn every_credential_is_measured_straight_and_through_a_gateway_by_reading_only() {
    let instance = Instance::new();
    let output = bench(&instance, &["--stdin", "--json"], &instance.key);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains(&instance.key) && !said.contains(instance.sample.secret()), "a secret is printed");
    assert!(said.contains("Nothing is changed there but the last use of the key"), "{said}");

    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let rows = report["rows"].as_array().expect("rows");
    let credentials: Vec<&str> = rows.iter().filter_map(|row| row["credential"].as_str()).collect();
    let names = ["session", "known key", "unknown key, always another", "bad key, always the same"];
    assert_eq!(credentials, names.map(|name| [name; 3]).concat());
    for row in rows {
        // At the fixed rate alone there were that many.
        assert!(row["requests"].as_u64() > Some(50), "{row}");
        assert!(
            row["requests_per_second"].as_f64() > Some(0.0) && row["p50_us"].as_f64() > Some(0.0),
            "{row}"
        );
        let is_direct = row["way"] == "direct";
        assert_eq!(row["added_p50_us"].is_null(), is_direct, "{row}");
        assert_eq!(row["gateway_cpu_us"].is_null(), is_direct, "{row}");
    }
    let seen = instance.sample.requests();
    assert!(seen.len() > 100 && seen.iter().all(|request| request.method == "GET"), "only GET is sent");
}

#[test]
fn without_a_key_the_table_has_all_but_that_and_says_so() {
    let instance = Instance::new();
    let output = bench(&instance, &["--user", &instance.user, "--connections", "2"], "");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("No known key is measured"), "{said}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.starts_with("CREDENTIAL") && table.contains("\nsession "), "{table}");
    assert!(!table.contains("\nknown key"), "{table}");
}

#[test]
fn a_key_may_stand_in_the_environment() {
    let instance = Instance::new();
    let secret = instance.secret.path().to_str().expect("a path");
    let mut command = command(&["bench", "--upstream", &instance.url, "--jwt-secret-file", secret]);
    command.args(["--key-env", "THE_KEY", "--path", "/api/nothing"]).env("THE_KEY", &instance.key);
    let output = command.output().expect("the command's end");
    assert!(said(&output).contains("OpenBin, session: it answers 404"), "{}", said(&output));
    assert!(!said(&output).contains(&instance.key), "a key is printed");
}

#[tokio::test]
async fn a_gateway_that_runs_already_is_measured_with_good_credentials_only() {
    let instance = Instance::new();
    let upstream = instance.url.trim_start_matches("http://").parse().expect("an address");
    let gateway = Setup::of(upstream).start().await;
    let url = format!("https://{}", gateway.https);
    let ran = tokio::task::spawn_blocking(move || {
        let refused = bench(&instance, &["--user", "u", "--through", &url], "");
        (
            refused,
            bench(
                &instance,
                &["--stdin", "--json", "--only", "key", "--insecure", "--through", &url],
                &instance.key,
            ),
        )
    });
    let (refused, output) = ran.await.expect("two runs");
    assert_eq!(refused.status.code(), Some(1), "a certificate that nobody vouches for: {}", said(&refused));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let rows = report["rows"].as_array().expect("rows");
    let ways: Vec<_> = rows.iter().map(|row| (row["credential"].as_str(), row["way"].as_str())).collect();
    assert_eq!(ways, ["direct", "through"].map(|way| (Some("known key"), Some(way))));
    assert!(rows[1]["gateway_cpu_us"].is_null() && rows[1]["added_p50_us"].is_number(), "{report}");
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is() {
    let instance = Instance::new();
    let nobody = bench(&instance, &[], "");
    assert_eq!(nobody.status.code(), Some(2), "{}", said(&nobody));
    assert!(said(&nobody).contains("--user"), "{}", said(&nobody));
    let unset = bench(&instance, &["--key-env", "NO_SUCH_VARIABLE"], "");
    assert_eq!(unset.status.code(), Some(2), "{}", said(&unset));
    let posted = bench(&instance, &["--user", "u", "--path", "http://elsewhere/"], "");
    assert_eq!(posted.status.code(), Some(2), "{}", said(&posted));
    let stranger = bench(&instance, &["--stdin"], "not.a.token");
    assert_eq!(stranger.status.code(), Some(1), "{}", said(&stranger));
    assert!(said(&stranger).contains("does not say whose credential"), "{}", said(&stranger));
    let missing = bench(&instance, &["--user", &instance.user, "--path", "/api/nothing"], "");
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    assert!(said(&missing).contains("it answers 404"), "{}", said(&missing));
}

#[test]
fn a_key_that_only_the_gateway_knows_is_not_measured_straight() {
    let instance = Instance::new();
    let mut config = tempfile::NamedTempFile::new().expect("a file");
    let (url, secret) = (&instance.url, instance.secret.path().display());
    write!(config, "instances: [{{ upstream: '{url}', jwt_secret_file: '{secret}', key_issuer: gateway }}]")
        .expect("written");
    let output =
        run(&["bench", "--stdin", "--config", config.path().to_str().expect("a path")], &instance.key);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("does not know keys that the gateway issues"), "{}", said(&output));
}

#[test]
fn an_instance_that_is_not_there_is_told() {
    let mut instance = Instance::new();
    instance.url = "http://127.0.0.1:1".to_owned();
    let output = bench(&instance, &["--user", "u"], "");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("OpenBin, session: it does not answer"), "{}", said(&output));
}

/// An instance that answers, but for one answer that it holds back for so long.
fn stalling(stall: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut buffer = [0; 4096];
        for number in 0.. {
            if !stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                return;
            }
            if number == 20 {
                std::thread::sleep(stall);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("an answer");
        }
    });
    url
}

fn repeated() -> Repeated {
    Repeated { path: "/".to_owned(), presented: Presented::MadeUp, expected: 200 }
}

#[test]
fn at_a_fixed_rate_a_stall_is_charged_to_all_that_came_due_meanwhile() {
    let place = Place::of(&stalling(Duration::from_millis(500)), &Trust::Anyone).expect("a place");
    let load = Load { connections: 1, rate: 100, time: Duration::from_secs(1) };
    let latencies = load.paced(&place, &repeated()).expect("measured");
    assert_eq!(latencies.len(), 100);
    let late = latencies.iter().filter(|latency| **latency > Duration::from_millis(100)).count();
    assert!(late >= 35, "of 50 requests that came due in the stall only {late} are charged for it");
}

#[test]
fn a_place_that_cannot_keep_up_is_told_instead_of_measured() {
    let place = Place::of(&stalling(Duration::from_millis(2500)), &Trust::Anyone).expect("a place");
    let load = Load { connections: 1, rate: 100, time: Duration::from_secs(1) };
    assert!(matches!(load.paced(&place, &repeated()), Err(LoadError::Behind(100))));
}
