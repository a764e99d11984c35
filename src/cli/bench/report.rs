//! What `bench` measured, as a table for people or as JSON for programs.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::table::{Column, table, terminal_width};
use crate::selftest::{Figures, Load};

/// One credential at one place.
pub(super) struct Row {
    pub(super) credential: &'static str,
    pub(super) way: &'static str,
    pub(super) figures: Figures,
}

/// All of it. The rows of a credential follow each other, the direct one first.
pub(super) struct Report<'r> {
    pub(super) instance: &'r str,
    pub(super) path: &'r str,
    pub(super) load: Load,
    pub(super) rounds: u32,
    pub(super) rows: Vec<Row>,
}

const COLUMNS: [Column; 7] = [
    Column::whole("CREDENTIAL"),
    Column::whole("WAY"),
    Column::whole("REQUESTS/S"),
    Column::whole("P50"),
    Column::whole("P99"),
    Column::whole("ADDED"),
    Column::whole("GATEWAY'S CPU"),
];

impl Report<'_> {
    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_to_json(row)).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "debug_build": cfg!(debug_assertions),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "instance": self.instance,
            "path": self.path,
            "connections": self.load.connections,
            "rate": self.load.rate,
            "seconds": self.load.time.as_secs(),
            "rounds": self.rounds,
            "rows": rows,
        })
    }

    fn row_to_json(&self, row: &Row) -> Value {
        let figures = &row.figures;
        let added = |per_mille| {
            let added = self.added(row, per_mille)?;
            Some(rounded(added * 1e6, 1.0))
        };
        json!({
            "credential": row.credential,
            "way": row.way,
            "requests": figures.requests(),
            "requests_per_second": rounded(figures.rate(), 10.0),
            "p50_us": rounded(figures.latency(500).as_secs_f64() * 1e6, 1.0),
            "p99_us": rounded(figures.latency(990).as_secs_f64() * 1e6, 1.0),
            "added_p50_us": added(500),
            "added_p99_us": added(990),
            "gateway_cpu_us": self.cpu(row).map(|micros| rounded(micros, 10.0)),
        })
    }

    /// The seconds by which a latency is above the direct one's; `None` for the direct one itself.
    fn added(&self, row: &Row, per_mille: usize) -> Option<f64> {
        let direct = self.rows.iter().find(|other| other.credential == row.credential)?;
        let seconds = |row: &Row| row.figures.latency(per_mille).as_secs_f64();
        (direct.way != row.way).then(|| seconds(row) - seconds(direct))
    }

    /// What the gateway spends on a request: nothing where it is not asked.
    fn cpu(&self, row: &Row) -> Option<f64> {
        self.added(row, 500).and_then(|_| row.figures.cpu_micros())
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let added = self.added(row, 500).zip(self.added(row, 990));
        vec![
            row.credential.to_owned(),
            row.way.to_owned(),
            format!("{:.0}", row.figures.rate()),
            millis(row.figures.latency(500)),
            millis(row.figures.latency(990)),
            added.map_or(String::new(), |(p50, p99)| format!("{:+.2}, {:+.2} ms", p50 * 1e3, p99 * 1e3)),
            self.cpu(row).map_or(String::new(), |micros| format!("{micros:.0} µs")),
        ]
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| self.cells(row)).collect();
        f.write_str(&table(&COLUMNS, &rows, terminal_width()))?;
        write!(
            f,
            "\nREQUESTS/S: as many as are answered, over {} connections.\n\
             P50, P99: latency at {} requests a second, each from when it was due; ADDED to the direct ones.\n\
             GATEWAY'S CPU: its CPU time for a request.\n",
            self.load.connections, self.load.rate
        )
    }
}

fn millis(latency: Duration) -> String {
    format!("{:.2} ms", latency.as_secs_f64() * 1e3)
}

/// To whole numbers of one part of so many.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
