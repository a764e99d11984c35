//! `openbin-gateway demo`: the lines that it prints can be pasted, and do what they promise.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::process::Process;
use crate::support::{Setup, wait};

/// What one printed line did.
struct Outcome {
    status: u16,
    output: String,
}

/// Runs a printed line in a shell, as a visitor would paste it.
fn paste(setup: &Setup, line: &str) -> Outcome {
    // Settings that a visitor would not type, but that tell this test the status.
    setup.file(".curlrc", "silent\nshow-error\ninclude\nmax-time = 20\n");
    let shell = Command::new("sh")
        .args(["-c", line])
        .env("CURL_HOME", setup.directory())
        .env("HOME", setup.directory())
        .current_dir(setup.directory())
        .output()
        .expect("a shell");
    let output = String::from_utf8_lossy(&shell.stdout).into_owned();
    let status = output.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
    let told = String::from_utf8_lossy(&shell.stderr);
    let status = status
        .unwrap_or_else(|| panic!("{line}\n{output}\n{told}\n(is curl installed? apt-get install -y curl)"));
    Outcome { status, output }
}

/// A demo on a free port, whose temporary files lie in the setup's directory.
async fn start() -> (Setup, Process, Vec<String>) {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let setup = Setup::of(nobody);
    let setup = setup.clone().with_environment("TMPDIR", &setup.directory().to_string_lossy());
    let demo = setup.run(&["demo", "--port", "0"]);
    wait::until("the end of the demo's text", || {
        assert!(demo.ended().is_none(), "{}", demo.stderr().join("\n"));
        demo.stdout().iter().any(|line| line.contains("Ctrl-C"))
    })
    .await;
    let printed = demo.stdout();
    let curls = printed.iter().map(|line| line.trim()).filter(|line| line.starts_with("curl "));
    let curls = curls.map(str::to_owned).collect();
    (setup, demo, curls)
}

#[tokio::test]
async fn the_printed_lines_show_a_key_working_a_forgery_failing_and_a_revocation() {
    let (setup, demo, lines) = start().await;
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let outcomes: Vec<Outcome> = lines.iter().map(|line| paste(&setup, line)).collect();
    let [works, forged, revoked, refused] = &outcomes[..] else { panic!("four outcomes") };
    assert_eq!((works.status, revoked.status, refused.status), (200, 200, 401), "{lines:#?}");
    let forgery = lines[1].split("X-Auth-User-Id: ").nth(1).and_then(|rest| rest.split('\'').next());
    let forgery = forgery.unwrap_or_else(|| panic!("the second line forges an identity: {}", lines[1]));
    assert_eq!(forged.status, 200, "{}", forged.output);
    assert!(!forged.output.contains(forgery), "{}", forged.output);
    assert!(forged.output.contains("api_key"), "what was verified is shown: {}", forged.output);
    assert!(refused.output.contains("Invalid API key"), "{}", refused.output);
    demo.signal("INT");
    assert_eq!(demo.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_demo_keeps_to_this_machine_and_leaves_nothing_behind() {
    let (setup, demo, lines) = start().await;
    for line in &lines {
        assert!(line.contains("https://localhost:") || line.contains("https://127.0.0.1:"), "{line}");
    }
    demo.signal("TERM");
    assert_eq!(demo.exit().await.code(), Some(0));
    let left = std::fs::read_dir(setup.directory()).expect("directory").flatten();
    let left: Vec<_> = left.map(|file| file.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}
