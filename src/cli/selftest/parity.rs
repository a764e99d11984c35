//! `selftest parity`: OpenBin's decisions, and those of a gateway in front of it.

use anyhow::Context as _;

use crate::cli::Failure;
use crate::cli::out::{Out, say};
use crate::cli::persona::PersonaArgs;
use crate::cli::rehearsal::{Aim, Rehearsal, chosen};
use crate::cli::serve::SourceArgs;
use crate::config::Config;
use crate::selftest::{Both, Found, Parity, Place, STRICTER, Trust};

/// What `selftest parity` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    who: PersonaArgs,
    /// Which instance; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// What the requests are made from [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// How many requests
    #[arg(long, default_value_t = 5000)]
    count: u64,
    /// The number of the first request; with `--count 1` it is the only one
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    first: u64,
    #[command(flatten, next_help_heading = "Configuration, the same as of `serve`")]
    source: SourceArgs,
}

const EXAMPLES: &str = "\
A gateway is started in this process, for the time of the test, in front of the instance; a running one is not touched.
No request changes anything but last use. Run OpenBin with DISABLE_RATE_LIMIT=true: its limits would be counted, too.

Examples:
  openbin-gateway selftest parity --stdin --config gateway.yaml < key.txt
  openbin-gateway selftest parity --user ID --upstream http://127.0.0.1:1453 --jwt-secret-file /data/.jwt_secret

Exit status: 0 they agree, 1 they differ, 2 wrong usage or configuration.";

/// Enough to keep one OpenBin busy.
const LANES: usize = 8;
/// More than anybody reads on a terminal.
const SHOWN: usize = 50;

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(args.source.clone().sources())?;
    let instance = chosen(&config, args.instance.as_deref())?;
    let given = args.who.given()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start a runtime")?;
    let place = |url: String| Place::of(&url, &Trust::Anyone).map_err(Failure::Usage);
    let direct = place(format!("http://{}", instance.upstream.authority))?;
    let persona = runtime.block_on(args.who.complete(given, instance, &direct))?;
    let rehearsal = Rehearsal::start(&config, instance, Aim::Decide)?;
    let both = Both { instance: direct, gateway: place(format!("https://{}", rehearsal.tls))? };
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    say(&format!("seed {seed}: {} requests, each to {} and through a gateway", args.count, instance.name));
    let parity = Parity { seed, first: args.first, count: args.count, lanes: LANES };
    let found = runtime.block_on(parity.run(&both, &persona));
    report(seed, &found)?;
    if found.different == 0 { Ok(()) } else { Err(Failure::Found) }
}

fn report(seed: u64, found: &Found) -> Result<(), Failure> {
    let mut out = Out::new();
    for difference in found.differences.iter().take(SHOWN) {
        out.line(&difference.to_string())?;
    }
    if found.different > 0 {
        out.line(&format!(
            "\n{} of {} requests were decided differently. One again: --seed {seed} --first NUMBER --count 1",
            found.different, found.compared
        ))?;
    } else {
        let stricter: u64 = found.stricter.iter().sum();
        out.line(&format!(
            "{} requests: {} were decided alike, of which {} were let in; {stricter} more strictly, as documented",
            found.compared,
            found.compared - stricter,
            found.allowed
        ))?;
    }
    for (reason, count) in STRICTER.iter().zip(&found.stricter).filter(|(_, count)| **count > 0) {
        out.line(&format!("{count:>9}  {}", reason.text))?;
    }
    out.flush()
}
