//! What an operator runs against a gateway of their own: commands, in processes of their own.

#[path = "../support/mod.rs"]
mod support;

mod desync;
mod parity;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs `openbin-gateway selftest …` with a text on standard input.
fn selftest(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_openbin-gateway"))
        .arg("selftest")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    child.stdin.take().expect("standard input").write_all(input.as_bytes()).expect("written");
    child.wait_with_output().expect("the command's end")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
