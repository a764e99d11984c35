//! Arguments, commands, and what a person reads on a terminal. One file a command.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage or configuration. What a command does once its arguments
//! are understood lies elsewhere; here it is only called.

mod check;
mod demo;
mod report;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Problems;

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
}

const EXAMPLES: &str = "\
Examples:
  openbin-gateway demo
  openbin-gateway check --config gateway.yaml
  openbin-gateway serve --config gateway.yaml
  openbin-gateway serve --upstream http://127.0.0.1:1453 --jwt-secret-file /data/.jwt_secret

Every key of the configuration can be set from the environment: OPENBIN_GATEWAY__STORE__URL sets store.url.
Exit status: 0 done, 1 failed, 2 wrong usage or configuration.";

/// Why a command did not do what it was asked for.
enum Failure {
    /// It was started with a configuration that cannot be used.
    Configuration(Problems),
    /// It was told to look for faults and found some; they have been printed.
    Found,
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

/// Runs the command that these arguments, the program's name first, ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
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
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Found) => ExitCode::from(FAILED),
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
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
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
