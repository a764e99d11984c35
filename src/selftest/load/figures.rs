//! What was measured of one request at one place, over all rounds.

use std::time::Duration;

/// What came of asking as fast as it is answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// How many requests were answered.
    pub answered: u64,
    /// In this time.
    pub took: Duration,
    /// What the rest of this process spent meanwhile; `None` where that cannot be told.
    pub cpu: Option<Duration>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    paces: Vec<Pace>,
    latencies: Vec<Duration>,
}

impl Figures {
    /// Adds a round.
    pub fn add(&mut self, pace: Pace, latencies: Vec<Duration>) {
        self.paces.push(pace);
        self.latencies.extend(latencies);
        self.latencies.sort_unstable();
    }

    /// How many requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.paces.iter().map(|pace| pace.answered).sum::<u64>() + self.latencies.len() as u64
    }

    /// Requests a second, as fast as they are answered: the median of the rounds.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // Nobody answers 2^53 requests.
    pub fn rate(&self) -> f64 {
        median(self.paces.iter().map(|pace| pace.answered as f64 / pace.took.as_secs_f64()).collect())
    }

    /// The CPU time of a request, in microseconds: the median of the rounds.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn cpu_micros(&self) -> Option<f64> {
        let cost = |pace: &Pace| Some(pace.cpu?.as_secs_f64() * 1e6 / pace.answered.max(1) as f64);
        self.paces.iter().map(cost).collect::<Option<Vec<f64>>>().map(median)
    }

    /// The latency that so many of a thousand requests stay within, at the fixed rate.
    #[must_use]
    pub fn latency(&self, per_mille: usize) -> Duration {
        let rank = (self.latencies.len() * per_mille).div_ceil(1000);
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = |index: usize| values.get(index).copied().unwrap_or_default();
    (middle(values.len().saturating_sub(1) / 2) + middle(values.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_all_rounds() {
        let mut figures = Figures::default();
        let pace = |answered, micros| Pace {
            answered,
            took: Duration::from_secs(2),
            cpu: Some(Duration::from_micros(micros)),
        };
        figures.add(pace(100, 1000), (1..=60).map(Duration::from_millis).rev().collect());
        figures.add(pace(300, 9000), (61..=100).map(Duration::from_millis).collect());
        figures.add(pace(200, 4000), Vec::new());
        assert_eq!(figures.requests(), 700);
        assert!((figures.rate() - 100.0).abs() < 1e-9, "{}", figures.rate());
        assert!(figures.cpu_micros().is_some_and(|cpu| (cpu - 20.0).abs() < 1e-9));
        assert_eq!(figures.latency(500), Duration::from_millis(50));
        assert_eq!(figures.latency(990), Duration::from_millis(99));
        assert_eq!(figures.latency(1000), Duration::from_millis(100));
    }

    #[test]
    fn without_anything_measured_nothing_is_told() {
        let figures = Figures::default();
        assert_eq!((figures.requests(), figures.latency(500)), (0, Duration::ZERO));
    }
}
