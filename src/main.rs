//! Parses the arguments and calls the command.

/// A request is a few dozen small allocations, and some of them are freed on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // mimalloc asks for huge pages, and within minutes the system would fill up to whole ones again whatever resting
    // connections have given back. Where it cannot be told so, all else works as well.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    openbin_gateway::cli::run(std::env::args_os())
}
