//! `selftest desync`: the framing corpus, through a running gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::cli::Failure;
use crate::cli::out::{Out, say};
use crate::selftest::case::corpus_for;
use crate::selftest::judge::Judge;
use crate::selftest::tape::Tape;
use crate::selftest::{Place, Trust, Wire};

/// What `selftest desync` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The gateway's URL, http or https
    #[arg(long, value_name = "URL")]
    listen_through: String,
    /// Listen here as the instance behind the gateway, and look at every byte that comes
    #[arg(long, value_name = "ADDRESS")]
    record_at: Option<SocketAddr>,
    /// The host that the requests are for [default: that of the URL]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Believe any certificate
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
    /// Believe certificates that these have signed, PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Only cases whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

const EXAMPLES: &str = "\
With --record-at, that address has to be the `upstream` of an instance of that gateway (one made for the test, say):
then each case is judged by what reaches it, too. Without, the answers have to tell, and OpenBin gets the requests
that pass: reads of its page, and sign-ins that fail.

Examples:
  openbin-gateway selftest desync --listen-through https://bins.example.com
  openbin-gateway selftest desync --listen-through http://127.0.0.1:8080 --record-at 127.0.0.1:1453

Exit status: 0 every case passed, 1 some did not, 2 wrong usage.";

/// For one case.
const LONGEST: Duration = Duration::from_secs(20);

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let trust = match (&args.ca_file, args.insecure) {
        (Some(file), _) => Trust::File(file.clone()),
        (None, true) => Trust::Anyone,
        (None, false) => Trust::System,
    };
    let place = Place::of(&args.listen_through, &trust).map_err(Failure::Usage)?;
    let host = args.host.clone().unwrap_or_else(|| place.name());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(try_all(&args, &place, &host))
}

async fn try_all(args: &Args, place: &Place, host: &str) -> Result<(), Failure> {
    let tape = match args.record_at {
        None => None,
        Some(address) => {
            Some(Tape::at(address).await.with_context(|| format!("cannot listen on {address}"))?)
        }
    };
    let judge = Judge { tape: tape.as_ref(), host, part: usize::MAX };
    reach(place, &judge).await?;
    let (mut out, mut count, mut failed) = (Out::new(), 0_u32, 0_u32);
    for case in corpus_for(host).iter().filter(|case| case.name.contains(&args.only)) {
        count += 1;
        let judged = tokio::time::timeout(LONGEST, async {
            let mut wire = Wire::connect(place).await.map_err(|error| error.to_string())?;
            judge.judge(case, &mut wire).await
        });
        if let Err(why) = judged.await.unwrap_or_else(|_| Err("nobody says anything".to_owned())) {
            failed += 1;
            let why: String = why.chars().flat_map(char::escape_debug).take(300).collect();
            out.line(&format!("{} (RFC {}): {why}", case.name, case.section))?;
        }
    }
    if count == 0 {
        return Err(Failure::Usage("no case has such a name".to_owned()));
    }
    let by = if tape.is_some() { "by what came through" } else { "by the answers alone" };
    out.line(&format!("{} of {count} cases passed, judged {by}", count - failed))?;
    out.flush()?;
    if failed == 0 { Ok(()) } else { Err(Failure::Found) }
}

/// Tells early what would fail every case.
async fn reach(place: &Place, judge: &Judge<'_>) -> Result<(), Failure> {
    let plain = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", judge.host);
    let answer = async {
        let mut wire = Wire::connect(place).await?;
        wire.send(plain.as_bytes()).await?;
        wire.answer("GET").await
    };
    let answer =
        answer.await.context("the gateway cannot be reached")?.context("the gateway does not answer")?;
    say(&format!("the gateway answers {} to GET / for {}", answer.status, judge.host));
    match judge.tape {
        Some(tape) if tape.seen().requests.is_empty() && tape.seen().faults.is_empty() => {
            Err(Failure::Usage(format!(
                "nothing reached {}: make it the upstream of the gateway's instance for {}",
                tape.address(),
                judge.host
            )))
        }
        _ if answer.status == 421 => {
            Err(Failure::Usage("the gateway knows no such host: name one with --host".to_owned()))
        }
        _ => Ok(()),
    }
}
