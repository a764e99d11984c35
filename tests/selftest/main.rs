//! What an operator runs against a gateway of their own: commands, in processes of their own.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod desync;
mod instance;
mod parity;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs `openbin-gateway selftest …` with a text on standard input.
fn selftest(arguments: &[&str], input: &str) -> Output {
    run(&[&["selftest"], arguments].concat(), input)
}

/// Runs `openbin-gateway …` with a text on standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    // It may end without reading.
    let _ = child.stdin.take().expect("standard input").write_all(input.as_bytes());
    child.wait_with_output().expect("the command's end")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openbin-gateway"));
    command.args(arguments);
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
