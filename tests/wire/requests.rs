//! Requests of HTTP/1.1 as raw bytes: one in is one out at most, with every byte accounted for.

use std::time::Duration;

use openbin_gateway::selftest::{Place, Trust, Wire};

use crate::support::Gateway;

use super::case::corpus;
use super::judge::Judge;
use super::tape::Tape;

/// For one case; more than the gateway takes to let go of a client that it has refused.
const LONGEST: Duration = Duration::from_secs(8);

/// Cuts within every line end and every name sooner or later.
const PART: usize = 7;

/// A way for bytes into the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Tcp,
    Tls,
    /// Plain, and cut into small parts, each read alone.
    Parts,
}

/// Judges every case; `WIRE_CASE` in the environment picks those whose names contain it.
async fn run(way: Way) {
    let tape = Tape::start().await.expect("a free port");
    let gateway = Gateway::in_front_of(tape.address()).await;
    let url = match way {
        Way::Tls => format!("https://{}", gateway.https),
        Way::Tcp | Way::Parts => format!("http://{}", gateway.http),
    };
    let place = Place::of(&url, &Trust::Anyone).expect("a place");
    let only = std::env::var("WIRE_CASE").unwrap_or_default();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in corpus().iter().filter(|case| case.name.contains(&only)) {
        let mut wire = Wire::connect(&place).await.expect("a connection");
        // What is large is read in parts anyhow.
        let part = if way == Way::Parts && case.bytes.len() < 1000 { PART } else { usize::MAX };
        let judge = Judge { tape: Some(&tape), host: "localhost", part };
        count += 1;
        let judged = tokio::time::timeout(LONGEST, judge.judge(case, &mut wire)).await;
        if let Err(why) = judged.unwrap_or_else(|_| Err("nobody says anything".to_owned())) {
            wrong.push(format!("{} (RFC {}): {why}", case.name, case.section));
        }
    }
    assert!(count > 0);
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_request_over_tcp_becomes_one_at_most() {
    run(Way::Tcp).await;
}

#[tokio::test]
async fn every_request_over_tls_becomes_one_at_most() {
    run(Way::Tls).await;
}

#[tokio::test]
async fn every_request_that_comes_in_parts_becomes_one_at_most() {
    run(Way::Parts).await;
}
