//! The cases of a corpus, read from its text.
//!
//! One case a line: `name | section of an RFC | outcome | bytes`. In bytes, `\r \n \t \0 \\ \xNN` stand for
//! what they do in Rust, `{text*count}` for a text repeated, and `<GET>`, `<POST>`, `<CHUNKED>` for the
//! beginning of a request that is still open; `<NEXT>` is a whole request that must never be seen behind.

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub section: String,
    pub outcome: Outcome,
    pub bytes: Vec<u8>,
}

/// What may become of a case.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub verdict: Verdict,
    /// The requests that reach the instance, in order.
    pub passed: Vec<Passed>,
}

/// How a case ends, after what passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it passed; the connection can be used again, or is closed.
    Passed,
    /// All of it passed, or it was refused.
    Either,
    /// An error is answered, the connection closed, and nothing of the rest reaches the instance.
    Refused,
    /// The same, but a part of the request may have reached the instance: it must be left unfinished.
    RefusedWithin,
    /// The same, where no answer needs to be given.
    Cut,
    /// The client ends within its request: the instance sees no whole one.
    Broken,
    /// The connection is closed, and the rest thrown away.
    Closed,
    /// The gateway answers the rest itself.
    Answered(u16),
    /// The gateway answers, and closes the connection.
    AnsweredThenClosed(u16),
    /// The gateway answers; the rest is content, and never answered.
    AnsweredThenNothing(u16),
}

/// A request as it must reach the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
}

/// Whole, and never to be seen by the instance.
pub const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const POST: &str = "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n";
const CHUNKED: &str =
    "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Reads the cases of a text.
pub fn cases(text: &str) -> Vec<Case> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let parts: Vec<_> = line.splitn(4, " | ").collect();
    let [name, section, outcome, bytes] = parts[..] else { panic!("not a case: {line}") };
    Case {
        name: name.to_owned(),
        section: section.to_owned(),
        outcome: Outcome::read(outcome),
        bytes: unescape(bytes),
    }
}

impl Outcome {
    /// Reads an outcome.
    pub fn read(text: &str) -> Self {
        let (word, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut status = || {
            let (number, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            number.parse().unwrap_or_else(|_| panic!("not a status: {text}"))
        };
        let verdict = match word {
            "passed" => Verdict::Passed,
            "either" => Verdict::Either,
            "refused" | "passed-then-refused" => Verdict::Refused,
            "refused-within" => Verdict::RefusedWithin,
            "cut" | "passed-then-cut" => Verdict::Cut,
            "broken" => Verdict::Broken,
            "passed-then-closed" => Verdict::Closed,
            "answered" | "passed-then-answered" => Verdict::Answered(status()),
            "answered-then-closed" => Verdict::AnsweredThenClosed(status()),
            "answered-then-nothing" => Verdict::AnsweredThenNothing(status()),
            _ => panic!("not an outcome: {text}"),
        };
        let passed = rest.split("; ").filter(|one| !one.is_empty()).map(Passed::read).collect();
        Self { verdict, passed }
    }
}

impl Passed {
    fn read(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let (method, target, body) = (part().to_owned(), part(), part());
        let target = String::from_utf8(unescape(target)).expect("a target");
        Self { method, target, body: unescape(body) }
    }
}

/// The bytes that a text stands for.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((stand_in, bytes)) = STAND_INS.iter().find(|(name, _)| rest.starts_with(name)) {
            out.extend_from_slice(bytes.as_bytes());
            rest = &rest[stand_in.len()..];
        } else if let Some((bytes, length)) = repeated(rest) {
            out.extend(bytes);
            rest = &rest[length..];
        } else if let Some(escape) = rest.strip_prefix('\\') {
            let (byte, length) = escaped(escape);
            out.push(byte);
            rest = &escape[length..];
        } else {
            let mut buffer = [0; 4];
            out.extend_from_slice(first.encode_utf8(&mut buffer).as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

const STAND_INS: [(&str, &str); 4] =
    [("<GET>", GET), ("<POST>", POST), ("<CHUNKED>", CHUNKED), ("<NEXT>", NEXT)];

/// `{text*count}`; anything else in braces is itself.
fn repeated(rest: &str) -> Option<(Vec<u8>, usize)> {
    let (inner, _) = rest.strip_prefix('{')?.split_once('}')?;
    let (text, count) = inner.rsplit_once('*')?;
    Some((unescape(text).repeat(count.parse().ok()?), inner.len() + 2))
}

fn escaped(escape: &str) -> (u8, usize) {
    match escape.as_bytes() {
        [b'r', ..] => (b'\r', 1),
        [b'n', ..] => (b'\n', 1),
        [b't', ..] => (b'\t', 1),
        [b'0', ..] => (0, 1),
        [b'\\', ..] => (b'\\', 1),
        [b'x', ..] => (u8::from_str_radix(&escape[1..3], 16).expect("two hexadecimal digits"), 3),
        _ => panic!("not an escape: \\{escape}"),
    }
}

#[test]
fn a_text_stands_for_its_bytes() {
    assert_eq!(unescape(r"a\r\n\t\0\\\xff{ab*2}{x}"), b"a\r\n\t\0\\\xffabab{x}");
    let case = case(r"n | 9112 §1 | passed POST /a b\n; GET /c | <GET>\r\n");
    assert_eq!(case.bytes, format!("{GET}\r\n").as_bytes());
    assert_eq!(case.outcome.passed[0].body, b"b\n");
    assert_eq!(case.outcome.passed[1].target, "/c");
}
