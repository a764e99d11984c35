//! `bench`: what a gateway costs in front of the operator's own OpenBin, on the operator's own machine.
//!
//! The same request goes straight to the instance and through a gateway in this process, in turns, so that whatever
//! else the machine does meets both.

mod cases;
mod report;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::Failure;
use super::out::{print, print_json, say};
use super::persona::PersonaArgs;
use super::progress;
use super::rehearsal::{Aim, Rehearsal, chosen};
use super::serve::SourceArgs;
use crate::config::Config;
use crate::gateway::InstanceSettings;
use crate::keys::Issuer;
use crate::selftest::{Figures, Load, LoadError, Place, Trust};
use cases::{Case, Cases};
use report::{Report, Row};

/// What `bench` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    who: PersonaArgs,
    /// Which instance; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// What is asked for, with GET
    #[arg(long, default_value = "/api/auth/me", value_parser = readable)]
    path: String,
    /// Over how many connections
    #[arg(long, default_value = "4", value_name = "COUNT")]
    connections: NonZeroUsize,
    /// Requests a second while latency is measured
    #[arg(long, default_value = "200", value_name = "COUNT")]
    rate: NonZeroU32,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How often everything is measured
    #[arg(long, default_value = "3", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only credentials whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Measure the gateway that runs at this URL instead of one in this process
    #[arg(long, value_name = "URL")]
    through: Option<String>,
    /// Believe any certificate of that gateway
    #[arg(long, requires = "through")]
    insecure: bool,
    /// Print the figures as one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Configuration, the same as of `serve`")]
    source: SourceArgs,
}

const EXAMPLES: &str = "\
A gateway is started in this process, with an empty key store that goes when it ends; a running one is touched only
with --through, and then without bad credentials, which it would penalise.
Only GET is sent. OpenBin notes the key's last use and counts its uses, as for any request, and changes nothing else;
but it is kept busy, so others will find it slower meanwhile.

Examples:
  openbin-gateway bench --stdin --config gateway.yaml < key.txt
  openbin-gateway bench --user ID --upstream http://127.0.0.1:1453 --jwt-secret-file /data/.jwt_secret
  openbin-gateway bench --stdin --config gateway.yaml --through https://bins.example.com < key.txt
  openbin-gateway bench --key-env OPENBIN_API_KEY --json --config gateway.yaml

Exit status: 0 measured, 1 not, 2 wrong usage or configuration.";

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(args.source.clone().sources())?;
    let instance = chosen(&config, args.instance.as_deref())?;
    let given = args.who.given()?;
    if given.key.is_some() && instance.key_issuer == Issuer::Gateway {
        return Err(Failure::Usage(
            "this instance does not know keys that the gateway issues, so nothing can be compared: name a user \
             with --user, and give no key"
                .to_owned(),
        ));
    }
    let direct = place(&format!("http://{}", instance.upstream.authority), &Trust::Anyone)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let persona =
        runtime.context("cannot start a runtime")?.block_on(args.who.complete(given, instance, &direct))?;
    let cases = Cases::of(&persona, &args.path, |case| {
        case.name.contains(&args.only) && (args.through.is_none() || case.request.expected == 200)
    });
    if cases.all().is_empty() {
        return Err(Failure::Usage("no credential that can be measured has such a name".to_owned()));
    }
    let load = Load {
        connections: args.connections.get(),
        rate: args.rate.get(),
        time: Duration::from_secs(args.seconds),
    };
    warn(&args, instance, &cases);
    try_all(&load, &direct, &cases, "OpenBin")?;
    let rehearsal = match args.through {
        Some(_) => None,
        None => Some(Rehearsal::start(&config, instance, Aim::Cost)?),
    };
    let mut ways = vec![("direct", direct)];
    if let Some(own) = &rehearsal {
        ways.push(("gateway", place(&format!("http://{}", own.plain), &Trust::Anyone)?));
        ways.push(("gateway, TLS", place(&format!("https://{}", own.tls), &Trust::Anyone)?));
    }
    if let Some(url) = &args.through {
        let trust = if args.insecure { Trust::Anyone } else { Trust::System };
        ways.push(("through", place(url, &trust)?));
    }
    ways.iter().skip(1).try_for_each(|(way, place)| try_all(&load, place, &cases, way))?;
    let rows = measure(&load, args.rounds, &cases, &ways, rehearsal.is_some())?;
    let report = Report { instance: &instance.name, path: &args.path, load, rounds: args.rounds, rows };
    if args.json { print_json(&report.to_json()) } else { print(&report.to_string()) }
}

fn place(url: &str, trust: &Trust) -> Result<Place, Failure> {
    Place::of(url, trust).map_err(Failure::Usage)
}

/// Says what will happen to the instance, before it does.
fn warn(args: &Args, instance: &InstanceSettings, cases: &Cases) {
    if cfg!(debug_assertions) {
        say("This is a debug build: what it measures says nothing about the program that is shipped.");
    }
    let (ways, whose) = match &args.through {
        Some(url) => (2, format!("the gateway at {url}")),
        None => (3, "a gateway in this process".to_owned()),
    };
    let measured = u64::try_from(cases.all().len()).unwrap_or(u64::MAX) * ways;
    let seconds = measured * args.seconds * 2 * u64::from(args.rounds);
    say(&format!(
        "For about {seconds} s, {} at {} is asked for {} as fast as it answers over {} connections, and {} times a \
         second, in turns straight and through {whose}. Nothing is changed there but the last use of the key, and \
         the count of its uses.",
        instance.name, instance.upstream.authority, args.path, args.connections, args.rate
    ));
    for missing in cases.missing() {
        say(missing);
    }
}

/// Tells early what would fail every measurement.
fn try_all(load: &Load, place: &Place, cases: &Cases, whom: &str) -> Result<(), Failure> {
    for case in cases.all() {
        load.try_once(place, &case.request).map_err(|error| explained(error, whom, case))?;
    }
    Ok(())
}

fn measure(
    load: &Load,
    rounds: u32,
    cases: &Cases,
    ways: &[(&'static str, Place)],
    runs_here: bool,
) -> Result<Vec<Row>, Failure> {
    let blank = |case: &Case| {
        let name = case.name;
        ways.iter().map(move |(way, _)| Row { credential: name, way, figures: Figures::default() })
    };
    let mut rows: Vec<Row> = cases.all().iter().flat_map(blank).collect();
    let bar = progress::bar(Some(u64::from(rounds) * rows.len() as u64));
    for _ in 0..rounds {
        let mut row = rows.iter_mut();
        for case in cases.all() {
            for ((way, place), row) in ways.iter().zip(row.by_ref()) {
                let wrong = |error| explained(error, way, case);
                let mut pace = load.at_once(place, &case.request).map_err(wrong)?;
                // Of a gateway elsewhere nothing is known but its answers.
                pace.cpu = pace.cpu.filter(|_| runs_here);
                let latencies = load.paced(place, &case.request).map_err(wrong)?;
                row.figures.add(pace, latencies);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// What went wrong, where, and what to do about it.
fn explained(error: LoadError, whom: &str, case: &Case) -> anyhow::Error {
    let mend = match &error {
        LoadError::Silent(_) => "",
        LoadError::Answered { status: 429, .. } => {
            "; its limit would be measured: run OpenBin with DISABLE_RATE_LIMIT=true for this"
        }
        LoadError::Answered { status: 401, .. } => {
            "; is the credential still good, and the secret OpenBin's own?"
        }
        LoadError::Answered { .. } => "; another --path, perhaps?",
        LoadError::Behind(_) => "; lower --rate",
    };
    anyhow!("{whom}, {}: {error}{mend}", case.name)
}

/// A path that only reads.
fn readable(path: &str) -> Result<String, String> {
    let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && !path.to_ascii_lowercase().contains("/oauth/") {
        return Ok(path.to_owned());
    }
    Err("a path of OpenBin's API that only reads, such as /api/auth/me".to_owned())
}
