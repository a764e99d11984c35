//! What a campaign came to, in a table for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::round::Report;

/// What all rounds come to.
pub fn sums(reports: &[Report]) -> String {
    let sum = |count: fn(&Report) -> usize| reports.iter().map(count).sum::<usize>();
    format!(
        "{} revocations, blocks and ended sessions; {} confirmed; {} requests; accepted after confirmation: {}",
        sum(|report| report.verdict.tried),
        sum(|report| report.verdict.confirmed + report.verdict.confirmed_later),
        sum(|report| report.verdict.requests),
        sum(|report| report.verdict.accepted_after.len()),
    )
}

/// What the columns are.
pub fn heading() -> String {
    format!(
        "{:<38} {:>5} {:>9} {:>4} {:>6} {:>5} {:>8} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8}  errors by status\n",
        "fault",
        "tried",
        "confirmed",
        "202",
        "failed",
        "later",
        "ACCEPTED",
        "p50 ms",
        "p99 ms",
        "max ms",
        "refused",
        "sessions",
        "back ms",
        "requests",
        "key p99",
        "jwt p99",
    )
}

pub fn line(report: &Report) -> String {
    let verdict = &report.verdict;
    let errors: Vec<String> =
        verdict.errors.iter().map(|(status, count)| format!("{count} x {status}")).collect();
    let mut line = format!(
        "{:<38} {:>5} {:>9} {:>4} {:>6} {:>5} {:>8} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8}  {}\n",
        report.name,
        verdict.tried,
        verdict.confirmed,
        verdict.unconfirmed,
        verdict.failed,
        verdict.confirmed_later,
        verdict.accepted_after.len(),
        millis(verdict.latency.half),
        millis(verdict.latency.most),
        millis(verdict.latency.longest),
        verdict.wrongly_refused,
        verdict.sessions_failed,
        verdict.recovered.map_or("never".to_owned(), millis),
        verdict.requests,
        millis(verdict.key_latency.most),
        millis(verdict.session_latency.most),
        errors.join(", "),
    );
    for broken in &report.broken {
        let _ = writeln!(line, "    BROKEN: {broken}");
    }
    let latest = verdict.accepted_after.iter().max_by_key(|breach| breach.late);
    if let Some(breach) = latest {
        let _ = writeln!(line, "    the latest: {breach:?}");
    }
    for crossed in verdict.crossed.iter().take(3) {
        let _ = writeln!(line, "    {crossed}");
    }
    line
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
