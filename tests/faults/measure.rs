//! What a revocation takes with all gateways well, and what gateways ask of Redis when nobody asks anything of them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::calls::{Call, read};
use super::fleet::{Fleet, GATEWAYS, Making};
use super::journal::{Credential, Outcome, Subject, Through};
use super::judge::Spread;
use super::line::Line;
use super::load::Board;
use crate::support::jwt;

const REVOCATIONS: usize = 500;
const IDLE: Duration = Duration::from_secs(5);

/// What Redis has done since it was asked to forget, as its own commands are named, without ours.
fn commands(fleet: &Fleet) -> Vec<(String, u64)> {
    let said = fleet.redis("INFO commandstats");
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        let ours = ["config", "info"].iter().any(|own| name.starts_with(own));
        (!ours).then(|| (name.to_owned(), calls))
    };
    let mut all: Vec<(String, u64)> = said.lines().filter_map(line).collect();
    all.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: make faults"]
async fn what_revocations_and_idle_gateways_cost() {
    let fleet = Fleet::start(Making { direct: true, ..Making::default() }, REVOCATIONS).await;
    let board = Board::new(fleet.doors.clone(), REVOCATIONS, 1, jwt::now() + 3600);
    let mut lines = Vec::new();
    for gateway in 0..GATEWAYS {
        let (mut proxy, admin) = (None, Line::open(fleet.doors.of(gateway).admin).await);
        for number in 0..REVOCATIONS {
            // Every gateway holds every key.
            let asked = board.ask(gateway, Credential::Key(number), &mut proxy).await;
            assert_eq!(asked.status, Some(200));
        }
        lines.push(admin.expect("a connection"));
    }
    let mut took = Vec::new();
    for number in 0..REVOCATIONS {
        let gateway = number % GATEWAYS;
        let (subject, through) = (Subject::Key(number), Through::Gateway(gateway));
        let (path, content) = Call { subject, through, again: false, expires: 0 }.words();
        let began = Instant::now();
        let answer = fleet.doors.call_on(&mut lines[gateway], gateway, &path, &content).await;
        took.push(began.elapsed());
        assert_eq!(read(answer), Outcome::Confirmed);
    }
    let Spread { half, most, longest } = Spread::of(took);
    println!("{REVOCATIONS} revocations, one after another: p50 {half:?}, p99 {most:?}, max {longest:?}");
    // What is still to be told to the instance and written to the store is not idling.
    sleep(IDLE).await;
    fleet.redis("CONFIG RESETSTAT");
    sleep(IDLE).await;
    let all = commands(&fleet);
    let a_second = |calls: u64| calls as f64 / IDLE.as_secs_f64() / GATEWAYS as f64;
    let sum = a_second(all.iter().map(|(_, calls)| calls).sum());
    println!("{sum:.1} commands a second for each idle gateway, those within scripts included:");
    for (name, calls) in &all {
        println!("  {:>6.1} {name}", a_second(*calls));
    }
}
