//! Arguments, commands, and what a person reads on a terminal. One file a command.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 revoked but not yet confirmed everywhere.
//! What a command does once its arguments are understood lies elsewhere; here it is only called.

mod audit;
mod bench;
mod check;
mod demo;
mod door;
mod keys;
mod listener;
mod out;
mod persona;
mod progress;
mod record;
mod rehearsal;
mod report;
mod selftest;
mod serve;
mod table;
mod users;
mod wording;

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::{Config, Problems};
use crate::keys::holds_key;
use door::Door;
use serve::SourceArgs;

/// Authentication gateway in front of OpenBin: TLS, verified sessions and API keys, one place to revoke them.
#[derive(Debug, Parser)]
#[command(name = "openbin-gateway", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand in front of OpenBin until told to stop (SIGTERM or Ctrl-C)
    Serve(serve::Args),
    /// Check a configuration, and whether everything that it names answers
    Check(check::Args),
    /// Try everything out: a sample OpenBin, a user and a key, all in memory
    Demo(demo::Args),
    /// Make, list, limit, rotate, revoke, import and search for API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Block users, and revoke all of their keys
    #[command(subcommand)]
    Users(users::Command),
    /// Read and verify the record of what was done to keys, users and sessions
    #[command(subcommand)]
    Audit(audit::Command),
    /// See whether a gateway keeps its promises in front of your own OpenBin
    #[command(subcommand)]
    Selftest(selftest::Command),
    /// Measure what a gateway in front of your own OpenBin costs
    Bench(bench::Args),
}

const EXAMPLES: &str = "\
Examples:
  openbin-gateway demo
  openbin-gateway check --config gateway.yaml
  openbin-gateway serve --config gateway.yaml
  openbin-gateway serve --upstream http://127.0.0.1:1453 --jwt-secret-file /data/.jwt_secret
  openbin-gateway keys list --config gateway.yaml
  openbin-gateway audit verify --config gateway.yaml

Every key of the configuration can be set from the environment: OPENBIN_GATEWAY__STORE__URL sets store.url.
Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 revoked but not yet confirmed everywhere.";

/// Why a command did not do what it was asked for.
enum Failure {
    /// It was started with a configuration that cannot be used.
    Configuration(Problems),
    /// It was asked for something that cannot be meant.
    Usage(String),
    /// It was told to look for faults and found some; they have been printed.
    Found,
    /// It revoked something, and not everybody has confirmed that yet; it has been said.
    Unconfirmed,
    /// Nobody reads its output any more.
    Closed,
    /// Anything else.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Configuration(problems)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(anyhow::Error::new(error).context("cannot write")),
        }
    }
}

/// Where a command that works on keys finds the gateway or the store.
#[derive(Debug, Clone, clap::Args)]
struct OfficeArgs {
    /// Print what the admin API answers, as one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Configuration, the same as of `serve`")]
    source: SourceArgs,
}

impl OfficeArgs {
    /// Opens the door and does something there.
    fn work(self, work: impl AsyncFnOnce(&Door) -> Result<(), Failure>) -> Result<(), Failure> {
        let config = Config::load(self.source.sources())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(async {
            let door = Door::open(&config).await?;
            let done = work(&door).await;
            door.close().await;
            done
        })
    }
}

/// Runs the command that these arguments, the program's name first, ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.iter().any(|argument| holds_a_key(argument)) {
        // Told before anything else: an error that repeats its argument would repeat the key.
        eprintln!("openbin-gateway: {A_KEY_IS_NO_ARGUMENT}");
        return ExitCode::from(WRONG);
    }
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(answer) => {
            // Help and version are answers, too. A closed terminal is nothing to complain to.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(WRONG));
        }
    };
    let done = match command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args).map_err(Failure::from),
        Command::Keys(command) => keys::run(command),
        Command::Users(command) => users::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Selftest(command) => selftest::run(command),
        Command::Bench(args) => bench::run(args),
    };
    match done {
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Found) => ExitCode::from(FAILED),
        Err(Failure::Unconfirmed) => ExitCode::from(UNCONFIRMED),
        Err(Failure::Usage(text)) => {
            eprintln!("openbin-gateway: {text}");
            ExitCode::from(WRONG)
        }
        Err(Failure::Failed(error)) => {
            eprintln!("openbin-gateway: {error:#}");
            ExitCode::from(FAILED)
        }
        Err(Failure::Configuration(problems)) => {
            eprint!("{}", report::refusal(&problems));
            ExitCode::from(WRONG)
        }
    }
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;
const UNCONFIRMED: u8 = 3;

const A_KEY_IS_NO_ARGUMENT: &str = "an argument holds a whole API key. Arguments can be seen by everybody on this \
    machine, and stay in the shell's history: take this key for known to others. Write - in its place, and give \
    the key on standard input";

/// Whether an argument holds more of a key than the 18 characters that lists show.
fn holds_a_key(argument: &OsStr) -> bool {
    holds_key(argument.as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(arguments: &str) -> Result<Command, String> {
        let arguments = std::iter::once("openbin-gateway").chain(arguments.split_whitespace());
        Arguments::try_parse_from(arguments).map(|a| a.command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_file_and_flags_exclude_each_other() {
        assert!(parsed("serve --config gateway.yaml").is_ok());
        assert!(parsed("serve --upstream http://127.0.0.1:1453 --jwt-secret-file s --plain").is_ok());
        for wrong in [
            "serve --config gateway.yaml --upstream http://127.0.0.1:1453",
            "serve --plain --self-signed",
            "serve --tls-certificate c.pem",
            "serve --tls-key k.pem",
            "serve --jwt-secret-file s --jwt-secret-env S",
            "check --config gateway.yaml --plain",
            "",
            "keys",
            "users",
            "keys revoke",
            "keys revoke a --all-of-user b",
            "keys limit a --rate 1/s --no-rate",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn more_of_a_key_than_lists_show_is_no_argument() {
        let digits = "0123456789abcdef".repeat(4);
        for (argument, is_key) in [
            ("sk_openbin_0123456".to_owned(), false),
            ("sk_openbin_01234567".to_owned(), true),
            (format!("sk_openbin_{digits}"), true),
            (format!("--reason=sk_openbin_{digits}"), true),
            (digits, false),
            ("sk_openbin_".to_owned(), false),
        ] {
            assert_eq!(holds_a_key(OsStr::new(&argument)), is_key, "{argument}");
        }
    }

    #[test]
    fn wrong_usage_and_a_wrong_configuration_exit_with_2() {
        let code = |arguments: &str| {
            run(std::iter::once("openbin-gateway").chain(arguments.split_whitespace()).map(OsString::from))
        };
        assert_eq!(code("serve --nonsense"), ExitCode::from(2));
        assert_eq!(code("serve --config /nonexistent/gateway.yaml"), ExitCode::from(2));
        assert_eq!(code("check --offline --config /nonexistent/gateway.yaml"), ExitCode::from(2));
        assert_eq!(code("--version"), ExitCode::from(0));
    }
}
