//! Every path that the gateway lets through without a credential is one for which OpenBin's own router demands
//! none, and the other way round; what can be doubted is refused.

use std::net::SocketAddr;

use crate::support::{Gateway, Response, Wire};

use super::node::router;
use super::paths::{Dice, draw};

const PATHS: usize = 24_000;
const LANES: u64 = 4;

/// A connection that is opened anew where it was closed.
struct Lane {
    address: SocketAddr,
    wire: Option<Wire>,
}

impl Lane {
    /// The answer; `None` where the connection is closed without one.
    async fn ask(&mut self, method: &str, target: &[u8]) -> Option<Response> {
        let head = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::plain(self.address).await,
        };
        if wire.try_send(&head).await.is_err() {
            return None;
        }
        let response = wire.final_response(method).await?;
        let closes = response.field("connection").is_some_and(|value| value.contains("close"));
        self.wire = (!closes).then_some(wire);
        Some(response)
    }
}

#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    protected: usize,
    open: usize,
    wrong: Vec<String>,
}

/// Without the authority of an absolute form, which Express tells as it came.
fn origin_form(target: &str) -> &str {
    const START: &str = "http://localhost";
    match target.split_at_checked(START.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(START) => rest,
        _ => target,
    }
}

/// How the gateway's decision compares.
fn compare(ours: &Response, theirs: Option<&Response>, tally: &mut Tally) -> Result<(), String> {
    let demands = |response: &Response| response.field("x-demands").map(str::to_owned);
    let wanted = theirs.and_then(demands);
    match (ours.status, demands(ours)) {
        (400 | 414 | 431, None) => tally.refused += 1,
        (401, None) => {
            tally.protected += 1;
            if wanted.as_deref() == Some("nothing") {
                return Err("refused for want of a credential, though none is demanded".to_owned());
            }
        }
        (200 | 500, Some(said)) => {
            tally.open += 1;
            if said == "credential" || wanted.as_deref() == Some("credential") {
                return Err(format!("let through to {:?}", ours.field("x-route")));
            }
            let told = |response: &Response| {
                let field = |name| response.field(name).unwrap_or_default().to_owned();
                (field("x-route"), origin_form(&field("x-target")).to_owned())
            };
            // Where Node itself reads a target no further, there is nothing to compare with.
            if theirs.is_some_and(|theirs| wanted.is_some() && told(theirs) != told(ours)) {
                return Err(format!("came to {:?}", told(ours)));
            }
        }
        (status, said) => return Err(format!("answered with {status}, {said:?}")),
    }
    Ok(())
}

async fn lane(gateway: SocketAddr, express: SocketAddr, seed: u64, count: usize) -> Tally {
    let (mut through, mut directly) =
        (Lane { address: gateway, wire: None }, Lane { address: express, wire: None });
    let (mut dice, mut tally) = (Dice::new(seed), Tally::default());
    for _ in 0..count {
        let (method, target) = draw(&mut dice);
        let theirs = directly.ask(method, &target).await;
        let judged = match through.ask(method, &target).await {
            None => Err("closed without an answer".to_owned()),
            Some(ours) => compare(&ours, theirs.as_ref(), &mut tally),
        };
        if let Err(why) = judged {
            let theirs = theirs.map(|theirs| (theirs.status, theirs.fields));
            tally
                .wrong
                .push(format!("{method} {:?}: {why}; Express: {theirs:?}", String::from_utf8_lossy(&target)));
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs node and npm: make express"]
async fn every_path_demands_a_credential_where_express_would_or_is_refused() {
    let seed = std::env::var("EXPRESS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_124);
    println!("EXPRESS_SEED={seed}");
    let (_router, port) = router().await;
    let express = SocketAddr::from(([127, 0, 0, 1], port));
    let gateway = Gateway::in_front_of(express).await;
    let count = PATHS / usize::try_from(LANES).expect("a few");
    let lanes = (0..LANES).map(|lane_| tokio::spawn(lane(gateway.http, express, seed + lane_, count)));
    let mut all = Tally::default();
    for tally in lanes {
        let tally = tally.await.expect("a lane");
        all.refused += tally.refused;
        all.protected += tally.protected;
        all.open += tally.open;
        all.wrong.extend(tally.wrong);
    }
    println!("{PATHS} paths: {} refused, {} protected, {} open", all.refused, all.protected, all.open);
    all.wrong.truncate(40);
    assert!(all.wrong.is_empty(), "EXPRESS_SEED={seed}\n{}", all.wrong.join("\n"));
    // A gateway that refused everything would agree with everybody.
    assert!(all.protected > PATHS / 5 && all.open > PATHS / 10, "{all:?}");
}
