//! `selftest …`: whether a gateway decides as the instance behind it does, and whether one request in is one
//! request out at most.

mod desync;
mod parity;

use super::Failure;

/// What can be tried.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Compare what OpenBin decides with what a gateway in front of it decides
    Parity(parity::Args),
    /// Send what is misread by some through a running gateway, and look at what comes out
    Desync(desync::Args),
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Parity(args) => parity::run(args),
        Command::Desync(args) => desync::run(args),
    }
}
