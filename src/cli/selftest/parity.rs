//! `selftest parity`: OpenBin's decisions, and those of a gateway in front of it.

use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use zeroize::Zeroizing;

use super::rehearsal::Rehearsal;
use crate::cli::Failure;
use crate::cli::out::{Out, say};
use crate::cli::serve::SourceArgs;
use crate::config::Config;
use crate::gateway::InstanceSettings;
use crate::keys::PREFIX;
use crate::selftest::{Both, Found, Parity, Persona, Place, STRICTER, Trust, whose};

/// What `selftest parity` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The id of an OpenBin user: sessions are made for them with the instance's JWT secret
    #[arg(long, value_name = "ID", required_unless_present = "stdin")]
    user: Option<String>,
    /// Read an API key, a session token, or both from standard input, one a line
    #[arg(long)]
    stdin: bool,
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
    let given = if args.stdin { given()? } else { Persona::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start a runtime")?;
    let place = |url: String| Place::of(&url, &Trust::Anyone).map_err(Failure::Usage);
    let direct = place(format!("http://{}", instance.upstream.authority))?;
    let persona = runtime.block_on(persona(&args, given, instance, &direct))?;
    let rehearsal = Rehearsal::start(&config, instance)?;
    let both = Both { instance: direct, gateway: place(format!("https://{}", rehearsal.address))? };
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    say(&format!("seed {seed}: {} requests, each to {} and through a gateway", args.count, instance.name));
    let parity = Parity { seed, first: args.first, count: args.count, lanes: LANES };
    let found = runtime.block_on(parity.run(&both, &persona));
    report(seed, &found)?;
    if found.different == 0 { Ok(()) } else { Err(Failure::Found) }
}

fn chosen<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c InstanceSettings, Failure> {
    let instances = &config.gateway.instances;
    let found = match name {
        Some(name) => instances.iter().find(|instance| &*instance.name == name),
        None => instances.first().filter(|_| instances.len() == 1),
    };
    let names: Vec<&str> = instances.iter().map(|instance| &*instance.name).collect();
    found.ok_or_else(|| Failure::Usage(format!("choose one with --instance: {}", names.join(", "))))
}

/// What stands on standard input.
fn given() -> Result<Persona, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(64 * 1024).read_to_string(&mut text)?;
    let mut persona = Persona::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let held = if line.starts_with(PREFIX) { &mut persona.key } else { &mut persona.session };
        *held = Some(line.to_owned());
    }
    if persona.key.is_none() && persona.session.is_none() {
        return Err(Failure::Usage("standard input holds neither an API key nor a session token".to_owned()));
    }
    Ok(persona)
}

async fn persona(
    args: &Args,
    given: Persona,
    instance: &InstanceSettings,
    direct: &Place,
) -> Result<Persona, Failure> {
    let user_id = match (&args.user, given.key.as_ref().or(given.session.as_ref())) {
        (Some(user), _) => user.clone(),
        (None, Some(credential)) => whose(direct, credential)
            .await
            .map_err(|why| anyhow!("OpenBin does not say whose credential this is: {why}"))?,
        (None, None) => return Err(Failure::Usage("name a user with --user".to_owned())),
    };
    let secret = instance.auth.jwt_secrets.first().map(|secret| Zeroizing::new(secret.expose().to_vec()));
    Ok(Persona { user_id, secret, ..given })
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
