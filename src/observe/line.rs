//! One line of the access log, as JSON or as text.
//!
//! Every byte that a client chose goes through [`redact`](super::redact). Writes no file.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use super::metrics::{auth_label, protocol_label};
use super::redact::{self, Value};
use super::{Format, Record};

const LONGEST_PATH: usize = 1024;
const LONGEST_QUERY: usize = 512;
const LONGEST_USER_AGENT: usize = 256;
const LONGEST_WORD: usize = 128;

/// A finished request on its way into the log.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) record: Record,
    /// From the request's head to the end of the response.
    pub(super) took: Duration,
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

impl Line {
    /// Appends the line and its end.
    pub(super) fn write(&self, out: &mut Vec<u8>, format: Format, anchor: Anchor) {
        match format {
            Format::Json => self.write_json(out, anchor),
            Format::Text => self.write_text(out, anchor),
        }
        out.push(b'\n');
    }

    fn write_json(&self, out: &mut Vec<u8>, anchor: Anchor) {
        let record = &self.record;
        let (path, query) = redact::split(record.target());
        out.extend_from_slice(br#"{"time":""#);
        write_time(out, anchor.time_of(record.started));
        out.push(b'"');
        json_text(out, "request_id", Some(&record.request_id), LONGEST_WORD, redact::plain);
        put(out, format_args!(r#","client":"{}""#, record.client));
        let instance = record.instance.as_ref().map(|name| name.as_bytes());
        json_text(out, "instance", instance, LONGEST_WORD, redact::plain);
        json_text(out, "method", Some(record.method.as_str().as_bytes()), LONGEST_WORD, redact::words);
        json_text(out, "path", Some(path), LONGEST_PATH, redact::path);
        json_text(out, "query", query, LONGEST_QUERY, redact::query);
        put(out, format_args!(r#","protocol":"{}""#, protocol_label(record.version)));
        match record.status {
            Some(status) => put(out, format_args!(r#","status":{status}"#)),
            None => put(out, format_args!(r#","status":"aborted""#)),
        }
        let (auth, outcome) = (auth_label(record), record.outcome.as_str());
        put(out, format_args!(r#","auth":"{auth}","outcome":"{outcome}""#));
        json_text(out, "user_id", record.user_id.as_deref(), LONGEST_WORD, redact::plain);
        json_text(out, "key_id", record.key_id.as_deref(), LONGEST_WORD, redact::plain);
        put(out, format_args!(r#","duration_ms":{:.3}"#, milliseconds(self.took)));
        match record.upstream {
            Some(upstream) => put(out, format_args!(r#","upstream_ms":{:.3}"#, milliseconds(upstream))),
            None => put(out, format_args!(r#","upstream_ms":null"#)),
        }
        let (received, sent, complete) = (record.request_bytes, record.response_bytes, record.complete);
        put(
            out,
            format_args!(r#","request_bytes":{received},"response_bytes":{sent},"complete":{complete}"#),
        );
        match record.cut {
            Some(cut) => put(out, format_args!(r#","cut":"{}""#, cut.as_str())),
            None => out.extend_from_slice(br#","cut":null"#),
        }
        json_text(out, "user_agent", record.user_agent(), LONGEST_USER_AGENT, redact::words);
        out.push(b'}');
    }

    /// The same for people: always the same columns, `-` for what there is not.
    fn write_text(&self, out: &mut Vec<u8>, anchor: Anchor) {
        let record = &self.record;
        let (path, query) = redact::split(record.target());
        write_time(out, anchor.time_of(record.started));
        put(out, format_args!(" {} ", record.client));
        text(out, record.instance.as_ref().map(|name| name.as_bytes()), LONGEST_WORD, redact::plain);
        out.extend_from_slice(b" \"");
        text(out, Some(record.method.as_str().as_bytes()), LONGEST_WORD, redact::words);
        out.push(b' ');
        text(out, Some(path), LONGEST_PATH, redact::path);
        if query.is_some() {
            out.push(b'?');
            text(out, query, LONGEST_QUERY, redact::query);
        }
        put(out, format_args!(" HTTP/{}\" ", protocol_label(record.version)));
        match record.status {
            Some(status) => put(out, format_args!("{status}")),
            None => out.extend_from_slice(b"aborted"),
        }
        put(out, format_args!(" {} {} user=", auth_label(record), record.outcome.as_str()));
        text(out, record.user_id.as_deref(), LONGEST_WORD, redact::plain);
        out.extend_from_slice(b" key=");
        text(out, record.key_id.as_deref(), LONGEST_WORD, redact::plain);
        put(out, format_args!(" {:.3}ms upstream=", milliseconds(self.took)));
        match record.upstream {
            Some(upstream) => put(out, format_args!("{:.3}ms", milliseconds(upstream))),
            None => out.push(b'-'),
        }
        let completeness = match (record.cut, record.complete) {
            (Some(_), _) => "cut",
            (None, true) => "complete",
            (None, false) => "incomplete",
        };
        put(
            out,
            format_args!(" in={} out={} {completeness} id=", record.request_bytes, record.response_bytes),
        );
        text(out, Some(&record.request_id), LONGEST_WORD, redact::plain);
        out.extend_from_slice(b" \"");
        text(out, record.user_agent(), LONGEST_USER_AGENT, redact::words);
        out.push(b'"');
    }
}

type Redaction = fn(&mut Value<'_>, &[u8]);

fn json_text(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>, longest: usize, redaction: Redaction) {
    put(out, format_args!(r#","{name}":"#));
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

fn put(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(what);
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Writes a time as RFC 3339 does, in UTC with milliseconds.
fn write_time(out: &mut Vec<u8>, time: SystemTime) {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millisecond = since_epoch.subsec_millis();
    put(
        out,
        format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"),
    );
}

/// The Gregorian date of a day since 1970-01-01, counted in years that begin in March, so that the leap
/// day is the last of its year.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    const FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days_since_1970 + FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
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
        let mut out = Vec::new();
        Line { record, took: Duration::from_micros(1500) }.write(&mut out, format, anchor);
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
    fn times_are_rfc_3339() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(out, wanted.as_bytes());
        }
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
