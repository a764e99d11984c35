//! Node and the two libraries that OpenBin routes and verifies with, installed below `target`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::process::Process;
use crate::support::wait;

/// A folder that has the scripts and what they require.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/express");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("express");
        std::fs::create_dir_all(&folder).expect("a folder below target");
        for name in ["package.json", "routes.cjs", "tokens.mjs"] {
            std::fs::copy(source.join(name), folder.join(name)).expect("a copy");
        }
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"])
            .current_dir(&folder);
        let status = npm.status().expect("npm, which `make tools` installs");
        assert!(status.success(), "npm could not install what tests/express/package.json names");
        folder
    })
}

/// Starts the router, and returns it with its port.
pub async fn router() -> (Process, u16) {
    let mut command = Command::new("node");
    command.arg("routes.cjs").current_dir(folder());
    let process = Process::start(&mut command);
    let port = wait::until_some("the router's port", || {
        assert!(process.ended().is_none(), "{}", process.stderr().join("\n"));
        process.stdout().first().and_then(|line| line.parse().ok())
    })
    .await;
    (process, port)
}

/// Asks the verifier about tokens.
pub fn verdicts(question: &serde_json::Value) -> Vec<serde_json::Value> {
    let mut command = Command::new("node");
    command.arg("tokens.mjs").current_dir(folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("node");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(question.to_string().as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("verdicts")
}
