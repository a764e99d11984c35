//! Parses the arguments and calls the command.

fn main() -> std::process::ExitCode {
    openbin_gateway::cli::run(std::env::args_os())
}
