//! Parses the arguments and calls the command.

/// A request is a few dozen small allocations, and some of them are freed on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    openbin_gateway::cli::run(std::env::args_os())
}
