//! Requests of HTTP/2, frame by frame: what cannot be said in HTTP/1.1 is not said to the instance.

use std::time::Duration;

use crate::support::frames::{Field, Frames, StreamEnd};
use crate::support::{Gateway, wait};

use super::case::{Outcome, Passed, Verdict, unescape};
use super::judge::instance_side;
use super::tape::Tape;

struct Case {
    name: String,
    section: String,
    outcome: Outcome,
    head: Vec<Field>,
    content: Vec<Vec<u8>>,
    trailers: Option<Vec<Field>>,
}

const GET: &str = ":method=GET ;; :scheme=https ;; :authority=localhost ;; :path=/";
const POST: &str = ":method=POST ;; :scheme=https ;; :authority=localhost ;; :path=/api/auth/login";
const WITHOUT_PATH: &str = ":method=GET ;; :scheme=https ;; :authority=localhost";

fn corpus() -> Vec<Case> {
    let lines = include_str!("corpus/h2.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let parts: Vec<_> = line.splitn(4, " | ").collect();
    let [name, section, outcome, frames] = parts[..] else { panic!("not a case: {line}") };
    let frames = frames.replace("<G>", GET).replace("<P>", POST).replace("<A>", WITHOUT_PATH);
    let mut frames = frames.split(" || ");
    let head = fields(frames.next().expect("a head"));
    let (mut content, mut trailers) = (Vec::new(), None);
    for frame in frames {
        match frame.strip_prefix('~') {
            Some(block) => trailers = Some(fields(block)),
            None => content.push(unescape(frame)),
        }
    }
    let (name, section) = (name.to_owned(), section.to_owned());
    Case { name, section, outcome: Outcome::read(outcome).expect("an outcome"), head, content, trailers }
}

fn fields(block: &str) -> Vec<Field> {
    let field = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or_else(|| panic!("not a field: {text}"));
        (unescape(name), unescape(value))
    };
    block.split(" ;; ").map(field).collect()
}

async fn send(case: &Case, frames: &mut Frames) -> u32 {
    let only_head = case.content.is_empty() && case.trailers.is_none();
    let stream = frames.open(&case.head, only_head).await;
    for (position, content) in case.content.iter().enumerate() {
        let last = position + 1 == case.content.len() && case.trailers.is_none();
        frames.data(stream, content, last).await;
    }
    if let Some(trailers) = &case.trailers {
        frames.fields(stream, trailers, true).await;
    }
    stream
}

async fn judge(case: &Case, gateway: &Gateway, tape: &Tape) -> Result<(), String> {
    tape.clear();
    let mut frames = Frames::connect(gateway.https).await;
    let stream = send(case, &mut frames).await;
    let end = frames.end(stream).await;
    let refused = match (case.outcome.verdict, &end) {
        (Verdict::Passed | Verdict::Either, StreamEnd::Answered { status: 200, .. }) => false,
        (Verdict::Answered(expected), StreamEnd::Answered { status, .. }) if *status == expected => false,
        (
            Verdict::Refused | Verdict::RefusedWithin | Verdict::Either,
            StreamEnd::Answered { status: 400..600, .. }
            | StreamEnd::Reset { status: None, .. }
            | StreamEnd::Gone,
        ) => true,
        _ => return Err(format!("{end:?}")),
    };
    wait::until("unfinished requests to be broken off", || tape.seen().open == 0).await;
    instance_side(&case.outcome.passed, refused, tape)?;
    if end == StreamEnd::Gone {
        return Ok(());
    }
    // A malformed request is an error of its stream only.
    tape.clear();
    let next = frames.open(&fields(GET), true).await;
    match frames.end(next).await {
        StreamEnd::Reset { .. } => Err("the next request was reset".to_owned()),
        StreamEnd::Gone => Ok(()),
        StreamEnd::Answered { .. } => {
            let passed = Passed { method: "GET".to_owned(), target: "/".to_owned(), body: Vec::new() };
            instance_side(&[passed], false, tape)
        }
    }
}

#[tokio::test]
async fn every_request_over_http2_becomes_one_at_most() {
    let tape = Tape::start().await.expect("a free port");
    let gateway = Gateway::in_front_of(tape.address()).await;
    let only = std::env::var("WIRE_CASE").unwrap_or_default();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in corpus().iter().filter(|case| case.name.contains(&only)) {
        count += 1;
        let judged = tokio::time::timeout(Duration::from_secs(8), judge(case, &gateway, &tape)).await;
        if let Err(why) = judged.unwrap_or_else(|_| Err("nobody says anything".to_owned())) {
            wrong.push(format!("{} (RFC {}): {why}", case.name, case.section));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_stream_that_is_given_up_within_its_content_leaves_an_unfinished_request() {
    const NO_ERROR: u32 = 0;
    const CANCEL: u32 = 8;
    let tape = Tape::start().await.expect("a free port");
    let gateway = Gateway::in_front_of(tape.address()).await;
    for code in [NO_ERROR, CANCEL] {
        let mut frames = Frames::connect(gateway.https).await;
        let stream = frames.open(&fields(POST), false).await;
        frames.data(stream, b"hello", false).await;
        wait::until("the request at the instance", || tape.seen().open == 1).await;
        frames.reset(stream, code).await;
        wait::until("the request to be broken off", || tape.seen().open == 0).await;
        assert!(tape.seen().requests.is_empty(), "{code}: {:?}", tape.seen());
    }
}
