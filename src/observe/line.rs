//! One line of the access log, as JSON or as text.
//!
//! Every byte that a client chose goes through [`redact`](super::redact). Writes no file.

use std::time::{Duration, Instant, SystemTime};

use super::figures;
use super::metrics::{auth_label, protocol_label};
use super::redact::{self, Value};
use super::{Format, Record};

const LONGEST_PATH: usize = 1024;
const LONGEST_QUERY: usize = 512;
const LONGEST_USER_AGENT: usize = 256;
const LONGEST_WORD: usize = 128;

/// Finished requests on their way into the log.
///
/// Their texts are copied together. The bytes themselves belong to the buffers of connections, which could not
/// be used again as long as a line holds on to them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    texts: Vec<u8>,
}

/// A finished request.
#[derive(Debug)]
struct Line {
    /// Without its texts.
    record: Record,
    /// From the request's head to the end of the response.
    took: Duration,
    target: usize,
    user_agent: Option<usize>,
    user_id: Option<usize>,
    key_id: Option<usize>,
}

/// A finished request with its texts.
struct Whole<'l> {
    record: &'l Record,
    took: Duration,
    target: &'l [u8],
    user_agent: Option<&'l [u8]>,
    user_id: Option<&'l [u8]>,
    key_id: Option<&'l [u8]>,
}

/// What the clock on the wall showed at a moment of the steady clock, so that requests need not look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    moment: Instant,
    time: SystemTime,
}

impl Anchor {
    pub(super) fn new(moment: Instant, time: SystemTime) -> Self {
        Self { moment, time }
    }

    fn time_of(&self, moment: Instant) -> SystemTime {
        match self.moment.checked_duration_since(moment) {
            Some(before) => self.time.checked_sub(before),
            None => self.time.checked_add(moment.duration_since(self.moment)),
        }
        .unwrap_or(self.time)
    }
}

impl Lines {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Bytes of their texts.
    pub(super) fn text_bytes(&self) -> usize {
        self.texts.len()
    }

    /// Adds a request that took so long.
    pub(super) fn push(&mut self, mut record: Box<Record>, took: Duration) {
        let texts = &mut self.texts;
        let mut keep = |text: &[u8]| {
            texts.extend_from_slice(text);
            text.len()
        };
        let target = record.target.take().map_or(0, |target| keep(target.as_str().as_bytes()));
        let user_agent = record.user_agent.take().map(|agent| keep(agent.as_bytes()));
        let user_id = record.user_id.take().map(|id| keep(&id));
        let key_id = record.key_id.take().map(|id| keep(&id));
        self.lines.push(Line { record: *record, took, target, user_agent, user_id, key_id });
    }

    /// Hands each to `write`, which appends it, and keeps none.
    pub(super) fn drain(&mut self, format: Format, anchor: Anchor, mut put: impl FnMut(LineWriter<'_>)) {
        let mut rest = self.texts.as_slice();
        let mut take = |length: usize| {
            let (text, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            text
        };
        for line in &self.lines {
            let whole = Whole {
                record: &line.record,
                took: line.took,
                target: take(line.target),
                user_agent: line.user_agent.map(&mut take),
                user_id: line.user_id.map(&mut take),
                key_id: line.key_id.map(&mut take),
            };
            put(LineWriter { whole, format, anchor });
        }
        self.lines.clear();
        self.texts.clear();
    }
}

/// One of [`Lines`], ready to be written.
pub(super) struct LineWriter<'l> {
    whole: Whole<'l>,
    format: Format,
    anchor: Anchor,
}

impl LineWriter<'_> {
    /// Appends the line and its end.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Json => self.whole.write_json(out, self.anchor),
            Format::Text => self.whole.write_text(out, self.anchor),
        }
        out.push(b'\n');
    }
}

impl Whole<'_> {
    fn write_json(&self, out: &mut Vec<u8>, anchor: Anchor) {
        let record = self.record;
        let (path, query) = redact::split(self.target);
        out.extend_from_slice(br#"{"time":""#);
        figures::time(out, anchor.time_of(record.started));
        json_text(out, br#"","request_id":"#, Some(&record.request_id), LONGEST_WORD, redact::plain);
        out.extend_from_slice(br#","client":""#);
        figures::address(out, record.client);
        let instance = record.instance.as_ref().map(|name| name.as_bytes());
        json_text(out, br#"","instance":"#, instance, LONGEST_WORD, redact::plain);
        let method = record.method.as_str().as_bytes();
        json_text(out, br#","method":"#, Some(method), LONGEST_WORD, redact::words);
        json_text(out, br#","path":"#, Some(path), LONGEST_PATH, redact::path);
        json_text(out, br#","query":"#, query, LONGEST_QUERY, redact::query);
        put(out, [r#","protocol":""#, protocol_label(record.version), r#"","status":"#]);
        match record.status {
            Some(status) => figures::number(out, status.into()),
            None => out.extend_from_slice(br#""aborted""#),
        }
        put(out, [r#","auth":""#, auth_label(record), r#"","outcome":""#, record.outcome.as_str()]);
        json_text(out, br#"","user_id":"#, self.user_id, LONGEST_WORD, redact::plain);
        json_text(out, br#","key_id":"#, self.key_id, LONGEST_WORD, redact::plain);
        out.extend_from_slice(br#","duration_ms":"#);
        figures::milliseconds(out, self.took);
        out.extend_from_slice(br#","upstream_ms":"#);
        match record.upstream {
            Some(upstream) => figures::milliseconds(out, upstream),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","request_bytes":"#);
        figures::number(out, record.request_bytes);
        out.extend_from_slice(br#","response_bytes":"#);
        figures::number(out, record.response_bytes);
        put(out, [r#","complete":"#, if record.complete { "true" } else { "false" }]);
        match record.cut {
            Some(cut) => put(out, [r#","cut":""#, cut.as_str(), r#"""#]),
            None => out.extend_from_slice(br#","cut":null"#),
        }
        json_text(out, br#","user_agent":"#, self.user_agent, LONGEST_USER_AGENT, redact::words);
        out.push(b'}');
    }

    /// The same for people: always the same columns, `-` for what there is not.
    fn write_text(&self, out: &mut Vec<u8>, anchor: Anchor) {
        let record = self.record;
        let (path, query) = redact::split(self.target);
        figures::time(out, anchor.time_of(record.started));
        out.push(b' ');
        figures::address(out, record.client);
        out.push(b' ');
        text(out, record.instance.as_ref().map(|name| name.as_bytes()), LONGEST_WORD, redact::plain);
        out.extend_from_slice(b" \"");
        text(out, Some(record.method.as_str().as_bytes()), LONGEST_WORD, redact::words);
        out.push(b' ');
        text(out, Some(path), LONGEST_PATH, redact::path);
        if query.is_some() {
            out.push(b'?');
            text(out, query, LONGEST_QUERY, redact::query);
        }
        put(out, [" HTTP/", protocol_label(record.version), "\" "]);
        match record.status {
            Some(status) => figures::number(out, status.into()),
            None => out.extend_from_slice(b"aborted"),
        }
        put(out, [" ", auth_label(record), " ", record.outcome.as_str(), " user="]);
        text(out, self.user_id, LONGEST_WORD, redact::plain);
        out.extend_from_slice(b" key=");
        text(out, self.key_id, LONGEST_WORD, redact::plain);
        out.push(b' ');
        figures::milliseconds(out, self.took);
        out.extend_from_slice(b"ms upstream=");
        match record.upstream {
            Some(upstream) => {
                figures::milliseconds(out, upstream);
                out.extend_from_slice(b"ms");
            }
            None => out.push(b'-'),
        }
        let completeness = match (record.cut, record.complete) {
            (Some(_), _) => "cut",
            (None, true) => "complete",
            (None, false) => "incomplete",
        };
        out.extend_from_slice(b" in=");
        figures::number(out, record.request_bytes);
        out.extend_from_slice(b" out=");
        figures::number(out, record.response_bytes);
        put(out, [" ", completeness, " id="]);
        text(out, Some(&record.request_id), LONGEST_WORD, redact::plain);
        out.extend_from_slice(b" \"");
        text(out, self.user_agent, LONGEST_USER_AGENT, redact::words);
        out.push(b'"');
    }
}

type Redaction = fn(&mut Value<'_>, &[u8]);

/// Writes what goes before the value, and the value.
fn json_text(out: &mut Vec<u8>, before: &[u8], bytes: Option<&[u8]>, longest: usize, redaction: Redaction) {
    out.extend_from_slice(before);
    match bytes {
        Some(bytes) => {
            out.push(b'"');
            redaction(&mut Value::json(out, longest), bytes);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn text(out: &mut Vec<u8>, bytes: Option<&[u8]>, longest: usize, redaction: Redaction) {
    match bytes {
        Some(bytes) => redaction(&mut Value::text(out, longest), bytes),
        None => out.push(b'-'),
    }
}

fn put<const PARTS: usize>(out: &mut Vec<u8>, parts: [&str; PARTS]) {
    parts.into_iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::header::HeaderValue;
    use hyper::http::uri::PathAndQuery;
    use hyper::{Method, Version};

    use super::super::canary::{CANARIES, CANARY_KEY, Dice};
    use super::super::{Credential, Outcome, example_record};
    use super::*;

    fn written(record: Record, format: Format) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let anchor = Anchor::new(record.started, at);
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        lines.push(Box::new(record), Duration::from_micros(1500));
        lines.drain(format, anchor, |line| line.write(&mut out));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_json_line_has_every_field() {
        let mut record = example_record();
        record.target = Some(PathAndQuery::from_static("/api/bins?q=drill"));
        record.upstream = Some(Duration::from_millis(1));
        record.user_agent = Some(HeaderValue::from_static("curl/8"));
        assert_eq!(
            written(record, Format::Json),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.123Z","request_id":"00000000000000000000000000000000","#,
                r#""client":"192.0.2.7","instance":"home","method":"GET","path":"/api/bins","query":"q=*","#,
                r#""protocol":"1.1","status":200,"auth":"api_key","outcome":"accepted","user_id":"u-1","#,
                r#""key_id":"k-1","duration_ms":1.500,"upstream_ms":1.000,"request_bytes":3,"#,
                r#""response_bytes":5,"complete":true,"cut":null,"user_agent":"curl/8"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_text_line_marks_what_there_is_not() {
        let mut record = example_record();
        record.instance = None;
        record.user_id = None;
        record.key_id = None;
        record.status = None;
        record.complete = false;
        record.outcome = Outcome::UnknownKey;
        assert_eq!(
            written(record, Format::Text),
            concat!(
                r#"2023-11-14T22:13:20.123Z 192.0.2.7 -"#,
                r#" "GET /api/bins HTTP/1.1" aborted none unknown_key user=- key=- 1.500ms upstream=- in=3 out=5"#,
                r#" incomplete id=00000000000000000000000000000000 "-""#,
                "\n"
            )
        );
    }

    #[test]
    fn an_exchange_that_was_cut_says_so() {
        let record = || Record { complete: false, cut: Some(super::super::Cut::Session), ..example_record() };
        assert!(written(record(), Format::Json).contains(r#""complete":false,"cut":"session","#));
        assert!(written(record(), Format::Text).contains(" out=5 cut id="));
    }

    #[test]
    fn no_input_breaks_a_line_or_gets_a_canary_into_it() {
        let mut dice = Dice::new();
        let mut targets = 0;
        for round in 0..20_000 {
            let mut record = example_record();
            let target = [b"/".to_vec(), dice.bytes()].concat();
            record.target = PathAndQuery::from_maybe_shared(Bytes::from(target)).ok();
            targets += usize::from(record.target.is_some());
            record.user_agent = HeaderValue::from_bytes(&dice.words()).ok();
            record.user_id = Some(Bytes::from(dice.noise()));
            record.method = Method::from_bytes(CANARY_KEY.as_bytes()).expect("a token");
            let format = if round % 2 == 0 { Format::Json } else { Format::Text };
            let line = written(record, format);
            assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{line:?}");
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
            assert!(line.len() < 10_000, "{}", line.len());
            for canary in CANARIES {
                assert!(!line.contains(canary), "{line}");
            }
            if format == Format::Json {
                let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!(value.as_object().map(serde_json::Map::len), Some(20));
            }
        }
        assert!(targets > 1000, "{targets}");
    }

    #[test]
    fn a_refused_credential_is_not_called_authenticated() {
        let mut record = example_record();
        record.version = Version::HTTP_2;
        record.credential = Credential::Jwt;
        record.outcome = Outcome::InvalidToken;
        let line = written(record, Format::Json);
        assert!(
            line.contains(r#""protocol":"2""#) && line.contains(r#""auth":"none","outcome":"invalid_token""#)
        );
    }
}
