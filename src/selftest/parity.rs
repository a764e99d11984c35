//! Sends every trial to an instance and through a gateway in front of it, and compares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::task::JoinSet;

use super::compare::{Difference, Seen, Standing, compare};
use super::lane::Lane;
use super::place::Place;
use super::stricter::STRICTER;
use super::trial::{Persona, Trial, Trials};

/// Where both sides are.
#[derive(Debug, Clone)]
pub struct Both {
    /// The instance.
    pub instance: Place,
    /// The gateway, by TLS where HTTP/2 is to be tried.
    pub gateway: Place,
}

/// Which trials are made.
#[derive(Debug, Clone, Copy)]
pub struct Parity {
    /// What they are made from.
    pub seed: u64,
    /// The number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// How many at a time.
    pub lanes: usize,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// How many requests were compared.
    pub compared: u64,
    /// How many of them were let through by both.
    pub allowed: u64,
    /// How often each of [`STRICTER`] was the reason for a difference.
    pub stricter: Vec<u64>,
    /// The differences, of which as many are kept as can be read.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub different: u64,
}

/// More than anybody reads.
const KEPT: usize = 1000;

impl Parity {
    /// Makes all trials.
    pub async fn run(self, both: &Both, persona: &Persona) -> Found {
        let trials = Arc::new(Trials::new(self.seed, persona, SystemTime::now()));
        let next = Arc::new(AtomicU64::new(self.first));
        let mut lanes = JoinSet::new();
        for _ in 0..self.lanes.max(1) {
            let (both, trials, next) = (both.clone(), Arc::clone(&trials), Arc::clone(&next));
            lanes.spawn(self.lane(both, trials, next));
        }
        let mut found = Found { stricter: vec![0; STRICTER.len()], ..Found::default() };
        while let Some(lane) = lanes.join_next().await {
            if let Ok(lane) = lane {
                found.add(lane);
            }
        }
        found.differences.sort_by_key(|difference| difference.trial.number);
        found
    }

    async fn lane(self, both: Both, trials: Arc<Trials>, next: Arc<AtomicU64>) -> Found {
        let (mut instance, mut gateway) = (Lane::to(both.instance), Lane::to(both.gateway));
        let mut found = Found { stricter: vec![0; STRICTER.len()], ..Found::default() };
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number - self.first >= self.count {
                return found;
            }
            let trial = trials.number(number);
            let direct = seen(&mut instance, &trial).await;
            let through = seen(&mut gateway, &trial).await;
            found.note(trial, direct, through);
        }
    }
}

async fn seen(lane: &mut Lane, trial: &Trial) -> Result<Seen, String> {
    match lane.ask(trial).await {
        Ok(answer) => Ok(Seen::of(trial, &answer)),
        Err(error) => Err(error.to_string()),
    }
}

impl Found {
    fn note(&mut self, trial: Trial, instance: Result<Seen, String>, gateway: Result<Seen, String>) {
        self.compared += 1;
        if let (Ok(direct), Ok(through)) = (&instance, &gateway) {
            match compare(&trial, direct, through) {
                Standing::Same => {
                    self.allowed += u64::from(direct.status < 400);
                    return;
                }
                Standing::Stricter(reason) => {
                    if let Some(count) = self.stricter.get_mut(reason) {
                        *count += 1;
                    }
                    return;
                }
                Standing::Different => {}
            }
        }
        self.different += 1;
        if self.differences.len() < KEPT {
            self.differences.push(Difference { trial, instance, gateway });
        }
    }

    fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.allowed += other.allowed;
        self.different += other.different;
        self.stricter.iter_mut().zip(other.stricter).for_each(|(sum, count)| *sum += count);
        self.differences.extend(other.differences);
        self.differences.truncate(KEPT);
    }
}

/// The id of the user whose session or key this is, as the instance says.
///
/// # Errors
/// Where the instance does not answer, or does not know it.
pub async fn whose(instance: &Place, credential: &str) -> Result<String, String> {
    let trial = Trial::with_bearer("/api/auth/me", credential);
    let seen = seen(&mut Lane::to(instance.clone()), &trial).await?;
    seen.user.clone().ok_or_else(|| format!("the instance answers {seen}"))
}
