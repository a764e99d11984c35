//! Parses the arguments and calls the command.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
