//! What `check` found, as a list for people or as JSON for programs.

use std::fmt;

use serde_json::{Value, json};

use crate::config::{Place, Problem, Problems};

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Ok,
    Warn,
    Fail,
}

impl Mark {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Finding {
    part: String,
    mark: Mark,
    text: String,
    problem: Option<Problem>,
}

/// Everything that was looked at, in that order.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn add(&mut self, part: impl Into<String>, mark: Mark, text: impl Into<String>) {
        self.0.push(Finding { part: part.into(), mark, text: text.into(), problem: None });
    }

    pub(super) fn add_problem(&mut self, mark: Mark, problem: &Problem) {
        let (part, text) = ("configuration".into(), problem.to_string());
        self.0.push(Finding { part, mark, text, problem: Some(problem.clone()) });
    }

    pub(super) fn failed(&self) -> bool {
        self.0.iter().any(|finding| finding.mark == Mark::Fail)
    }

    pub(super) fn to_json(&self) -> Value {
        let findings: Vec<Value> = self.0.iter().map(Finding::to_json).collect();
        json!({ "ok": !self.failed(), "findings": findings })
    }
}

impl Finding {
    fn to_json(&self) -> Value {
        let mut json = json!({ "part": self.part, "mark": self.mark.as_str(), "text": self.text });
        if let (Some(problem), Value::Object(fields)) = (&self.problem, &mut json) {
            fields.insert("path".into(), problem.path.clone().into());
            fields.insert("what".into(), problem.what.clone().into());
            fields.insert("mend".into(), problem.mend.clone().into());
            match &problem.place {
                Place::Line(file, line) => {
                    fields.insert("file".into(), file.to_string_lossy().into());
                    fields.insert("line".into(), (*line).into());
                }
                Place::File(file) => drop(fields.insert("file".into(), file.to_string_lossy().into())),
                Place::Variable(name) => drop(fields.insert("variable".into(), name.clone().into())),
                Place::Flag(name) => drop(fields.insert("flag".into(), (*name).into())),
                Place::Nowhere => {}
            }
        }
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut part = "";
        for finding in &self.0 {
            if finding.part != part {
                writeln!(f, "{}", finding.part)?;
                part = &finding.part;
            }
            writeln!(f, "  {:<4}  {}", finding.mark.as_str(), finding.text)?;
        }
        let count = |mark| self.0.iter().filter(|finding| finding.mark == mark).count();
        match (count(Mark::Fail), count(Mark::Warn)) {
            (0, 0) => writeln!(f, "\nEverything is well."),
            (0, warnings) => writeln!(f, "\nIt works; {}.", number(warnings, "warning")),
            (failures, 0) => writeln!(f, "\n{}.", number(failures, "failure")),
            (failures, warnings) => {
                writeln!(f, "\n{}, {}.", number(failures, "failure"), number(warnings, "warning"))
            }
        }
    }
}

/// What a command that needs a configuration says when it cannot be used.
pub(super) fn refusal(problems: &Problems) -> String {
    let count = number(problems.all().len(), "problem");
    format!("openbin-gateway: the configuration cannot be used ({count}):\n{problems}\n")
}

fn number(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn report() -> Report {
        let mut report = Report::default();
        report.add_problem(
            Mark::Warn,
            &Problem {
                place: Place::Line(Path::new("gateway.yaml").into(), 3),
                path: "store.url".into(),
                what: "is odd".into(),
                mend: "mend it".into(),
            },
        );
        report.add("store", Mark::Ok, "answers");
        report
    }

    #[test]
    fn a_report_reads_as_a_list() {
        assert_eq!(
            report().to_string(),
            "configuration\n  warn  gateway.yaml:3: store.url: is odd; mend it\n\
             store\n  ok    answers\n\nIt works; 1 warning.\n"
        );
    }

    #[test]
    fn a_report_as_json_has_path_and_line_apart() {
        let json = report().to_json();
        assert_eq!(json["ok"], true);
        assert_eq!(json["findings"][0]["line"], 3);
        assert_eq!(json["findings"][0]["path"], "store.url");
        assert_eq!(json["findings"][1]["mark"], "ok");
    }
}
