//! Reads Prometheus' text format.

/// The samples of one scrape.
#[derive(Debug, Clone)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads a scrape. The tests' label values hold neither commas nor braces.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Self(lines.map(sample).collect())
    }

    /// The sum of all samples of this metric that have these labels; the name without its common prefix.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("openbin_gateway_{name}");
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| {
                    sample.labels.iter().any(|(own, content)| own == key && content == value)
                })
        };
        self.0.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// Whether there is any sample of this metric.
    pub fn has(&self, name: &str) -> bool {
        let name = format!("openbin_gateway_{name}");
        self.0.iter().any(|sample| sample.name == name || sample.name == format!("{name}_count"))
    }

    /// How many samples there are in all.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
    let (name, labels) = match head.split_once('{') {
        None => (head, Vec::new()),
        Some((name, labels)) => (name, labels.trim_end_matches('}').split(',').map(label).collect()),
    };
    let value = value.parse().unwrap_or_else(|_| panic!("not a value: {line}"));
    Sample { name: name.to_owned(), labels, value }
}

fn label(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or_else(|| panic!("not a label: {text}"));
    (key.to_owned(), value.trim_matches('"').to_owned())
}
