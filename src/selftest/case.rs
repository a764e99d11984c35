//! The cases of a corpus, read from its text.
//!
//! One case a line: `name | section of an RFC | outcome | bytes`. In bytes, `\r \n \t \0 \\ \xNN` stand for
//! what they do in Rust, `{text*count}` for a text repeated, and `<GET>`, `<POST>`, `<CHUNKED>` for the
//! beginning of a request that is still open; `<NEXT>` is a whole request that must never be seen behind.
//! The requests are for `localhost`, or for another host where one is given.

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// The section of an RFC that decides it.
    pub section: String,
    /// What may become of it.
    pub outcome: Outcome,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// What may become of a case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ends.
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
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// Its content.
    pub body: Vec<u8>,
}

/// Whole, and never to be seen by the instance.
pub const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const POST: &str = "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n";
const CHUNKED: &str =
    "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

const CORPUS: [&str; 5] = [
    include_str!("corpus/lengths.txt"),
    include_str!("corpus/chunks.txt"),
    include_str!("corpus/heads.txt"),
    include_str!("corpus/targets.txt"),
    include_str!("corpus/connections.txt"),
];

/// All requests of HTTP/1.1.
#[must_use]
pub fn corpus() -> Vec<Case> {
    CORPUS.iter().flat_map(|text| lines(text)).filter_map(case).collect()
}

/// The same for another host than `localhost`. What lies behind a request, and is never answered, stays as it is:
/// some cases count its bytes.
#[must_use]
pub fn corpus_for(host: &str) -> Vec<Case> {
    let named = |line: &str| {
        let (about, bytes) = line.rsplit_once(" | ")?;
        let bytes = bytes.replace("<CHUNKED>", r"<POST>Transfer-Encoding: chunked\r\n\r\n");
        let bytes = bytes.replace("<GET>", r"GET / HTTP/1.1\r\nHost: localhost\r\n");
        let bytes = bytes.replace("<POST>", r"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n");
        case(&format!("{about} | {}", bytes.replace("localhost", host)))
    };
    CORPUS.iter().flat_map(|text| lines(text)).filter_map(named).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn case(line: &str) -> Option<Case> {
    let parts: Vec<_> = line.splitn(4, " | ").collect();
    let [name, section, outcome, bytes] = parts[..] else { return None };
    Some(Case {
        name: name.to_owned(),
        section: section.to_owned(),
        outcome: Outcome::read(outcome)?,
        bytes: unescape(bytes),
    })
}

impl Outcome {
    /// Reads an outcome; `None` where it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (word, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut status = || {
            let (number, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            number.parse().ok()
        };
        let verdict = match word {
            "passed" => Verdict::Passed,
            "either" => Verdict::Either,
            "refused" | "passed-then-refused" => Verdict::Refused,
            "refused-within" => Verdict::RefusedWithin,
            "cut" | "passed-then-cut" => Verdict::Cut,
            "broken" => Verdict::Broken,
            "passed-then-closed" => Verdict::Closed,
            "answered" | "passed-then-answered" => Verdict::Answered(status()?),
            "answered-then-closed" => Verdict::AnsweredThenClosed(status()?),
            "answered-then-nothing" => Verdict::AnsweredThenNothing(status()?),
            _ => return None,
        };
        let passed = rest.split("; ").filter(|one| !one.is_empty()).map(Passed::read).collect();
        Some(Self { verdict, passed })
    }
}

impl Passed {
    fn read(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let (method, target, body) = (part().to_owned(), part(), part());
        let target = String::from_utf8_lossy(&unescape(target)).into_owned();
        Self { method, target, body: unescape(body) }
    }
}

/// The bytes that a text stands for.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let stand_in = STAND_INS.iter().find_map(|(name, bytes)| Some((rest.strip_prefix(name)?, bytes)));
        if let Some((after, bytes)) = stand_in {
            out.extend_from_slice(bytes.as_bytes());
            rest = after;
        } else if let Some((bytes, after)) = repeated(rest) {
            out.extend(bytes);
            rest = after;
        } else if let Some((byte, after)) = rest.strip_prefix('\\').and_then(escaped) {
            out.push(byte);
            rest = after;
        } else {
            let mut buffer = [0; 4];
            out.extend_from_slice(first.encode_utf8(&mut buffer).as_bytes());
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

const STAND_INS: [(&str, &str); 4] =
    [("<GET>", GET), ("<POST>", POST), ("<CHUNKED>", CHUNKED), ("<NEXT>", NEXT)];

/// `{text*count}`; anything else in braces is itself.
fn repeated(rest: &str) -> Option<(Vec<u8>, &str)> {
    let (inner, after) = rest.strip_prefix('{')?.split_once('}')?;
    let (text, count) = inner.rsplit_once('*')?;
    Some((unescape(text).repeat(count.parse().ok()?), after))
}

fn escaped(escape: &str) -> Option<(u8, &str)> {
    let byte = match escape.bytes().next()? {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => return Some((u8::from_str_radix(escape.get(1..3)?, 16).ok()?, escape.get(3..)?)),
        _ => return None,
    };
    Some((byte, escape.get(1..)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_text_stands_for_its_bytes() {
        assert_eq!(unescape(r"a\r\n\t\0\\\xff{ab*2}{x}"), b"a\r\n\t\0\\\xffabab{x}");
        let case = case(r"n | 9112 §1 | passed POST /a b\n; GET /c | <GET>\r\n").expect("a case");
        assert_eq!(case.bytes, format!("{GET}\r\n").as_bytes());
        assert_eq!(case.outcome.passed[0].body, b"b\n");
        assert_eq!(case.outcome.passed[1].target, "/c");
    }

    #[test]
    fn every_line_of_the_corpus_is_a_case_with_a_name_of_its_own() {
        let corpus = corpus();
        let written: usize = CORPUS.iter().map(|text| lines(text).count()).sum();
        let names: BTreeSet<_> = corpus.iter().map(|case| &case.name).collect();
        assert_eq!((corpus.len(), names.len()), (written, written));
        assert!(written >= 400, "{written}");
    }

    #[test]
    fn for_localhost_the_corpus_is_the_same() {
        for (one, other) in corpus().iter().zip(corpus_for("localhost")) {
            assert_eq!(one.bytes, other.bytes, "{}", one.name);
        }
    }
}
