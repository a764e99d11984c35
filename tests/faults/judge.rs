//! Joins what clients sent, what calls returned and what the instance saw, and says what was broken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::journal::{Asked, Credential, Ended, Journal, Outcome, Subject, Through};

/// What a round came to.
#[derive(Debug, Default)]
pub struct Verdict {
    pub requests: usize,
    pub tried: usize,
    pub confirmed: usize,
    pub unconfirmed: usize,
    pub failed: usize,
    /// What was not confirmed at first, and was when it was asked for again.
    pub confirmed_later: usize,
    /// What was not confirmed either way, and what was said of it last. Must be none.
    pub never_confirmed: Vec<(Subject, String)>,
    /// Requests that were sent after a confirmed end of their credential, and accepted. Must be none.
    pub accepted_after: Vec<Breach>,
    /// Requests with a key that nobody issued, and accepted. Must be none.
    pub strangers: usize,
    /// Requests that came through with somebody else's identity. Must be none.
    pub crossed: Vec<String>,
    /// 401 or 403 to a credential that nobody had begun to end. Must be none.
    pub wrongly_refused: usize,
    /// Requests with good sessions that were not accepted. Must be none in faults of the store.
    pub sessions_failed: usize,
    pub sessions: usize,
    /// Answers other than 200 to good credentials, by status; 0: no answer.
    pub errors: BTreeMap<u16, usize>,
    /// Of the calls that were confirmed at first, through gateways that were well.
    pub latency: Spread,
    pub session_latency: Spread,
    pub key_latency: Spread,
    /// From the fault's end until each gateway had accepted a good key that was sent after it. `None`: one never did.
    pub recovered: Option<Duration>,
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breach {
    pub subject: Subject,
    /// How its end was called for.
    pub through: Through,
    pub gateway: usize,
    /// How long after the call had returned the request was sent.
    pub late: Duration,
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    pub half: Duration,
    pub most: Duration,
    pub longest: Duration,
}

impl Spread {
    pub fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: f64| {
            let position = (all.len() as f64 * part).ceil() as usize;
            all.get(position.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { half: at(0.5), most: at(0.99), longest: at(1.0) }
    }
}

/// When the ends of a round's subjects were called for, and when they were confirmed.
#[derive(Default)]
struct Ends {
    called: HashMap<Subject, Duration>,
    confirmed: HashMap<Subject, (Duration, Through)>,
}

impl Ends {
    fn of(ended: &[Ended]) -> Self {
        let mut ends = Self::default();
        for end in ended {
            let called = ends.called.entry(end.subject).or_insert(end.called);
            *called = end.called.min(*called);
            if end.outcome == Outcome::Confirmed {
                let new = (end.returned, end.through);
                let confirmed = ends.confirmed.entry(end.subject).or_insert(new);
                *confirmed = if new.0 < confirmed.0 { new } else { *confirmed };
            }
        }
        ends
    }

    /// The subjects whose end a credential does not outlive.
    fn subjects(credential: Credential) -> Vec<Subject> {
        let (Credential::Key(number) | Credential::Session(number) | Credential::Stranger(number)) =
            credential;
        let all = [Subject::Key(number), Subject::User(number), Subject::Session(number)];
        all.into_iter().filter(|subject| subject.covers(credential)).collect()
    }

    /// What is broken if this request is accepted: an end that was confirmed before it was sent.
    fn breached_by(&self, asked: &Asked) -> Option<Breach> {
        let ends = Self::subjects(asked.credential);
        ends.into_iter().find_map(|subject| {
            let (returned, through) = *self.confirmed.get(&subject)?;
            let (gateway, late) = (asked.gateway, asked.sent.checked_sub(returned)?);
            (!late.is_zero()).then_some(Breach { subject, through, gateway, late })
        })
    }

    /// Whether nobody had begun to end this credential before the answer had come.
    fn good_throughout(&self, asked: &Asked) -> bool {
        let begun = |subject| self.called.get(&subject).is_some_and(|called| *called <= asked.answered);
        !matches!(asked.credential, Credential::Stranger(_))
            && !Self::subjects(asked.credential).into_iter().any(begun)
    }
}

/// Judges a round in which so many gateways took part.
pub fn judge(journal: &Journal, gateways: usize) -> Verdict {
    let ends = Ends::of(&journal.ended);
    let arrived: HashSet<u64> = journal.arrived.iter().copied().collect();
    let mut verdict = Verdict {
        requests: journal.asked.len(),
        crossed: journal.crossed.clone(),
        recovered: recovered(journal, &ends, gateways),
        ..Verdict::default()
    };
    verdict.count(&journal.ended, journal.disturbed);
    let (mut keys, mut sessions) = (Vec::new(), Vec::new());
    for asked in &journal.asked {
        let accepted = asked.status == Some(200) || arrived.contains(&asked.serial);
        verdict.accepted_after.extend(ends.breached_by(asked).filter(|_| accepted));
        let took = (journal.disturbed != Some(asked.gateway)).then(|| asked.answered - asked.sent);
        match asked.credential {
            Credential::Stranger(_) => verdict.strangers += usize::from(accepted),
            Credential::Key(_) => keys.extend(took),
            Credential::Session(_) => sessions.extend(took),
        }
        if ends.good_throughout(asked) {
            verdict.look_at_good(asked, journal.disturbed);
        }
    }
    (verdict.key_latency, verdict.session_latency) = (Spread::of(keys), Spread::of(sessions));
    verdict
}

impl Verdict {
    fn count(&mut self, ended: &[Ended], disturbed: Option<usize>) {
        let first = ended.iter().filter(|end| !end.again);
        for end in first.clone() {
            self.tried += 1;
            match end.outcome {
                Outcome::Confirmed => self.confirmed += 1,
                Outcome::Unconfirmed => self.unconfirmed += 1,
                Outcome::Failed => self.failed += 1,
            }
        }
        let confirmed = |end: &&Ended| end.outcome == Outcome::Confirmed;
        let again: HashSet<_> =
            ended.iter().filter(|end| end.again).filter(confirmed).map(|end| end.subject).collect();
        self.confirmed_later = again.len();
        let last: HashMap<_, _> = ended.iter().map(|end| (end.subject, end)).collect();
        let open = last.into_values().filter(|end| end.outcome != Outcome::Confirmed);
        self.never_confirmed = open.map(|end| (end.subject, end.said.clone())).collect();
        // A command takes its own time to start, and whoever is stopped takes as long as that lasts.
        let timed =
            |end: &&Ended| matches!(end.through, Through::Gateway(gateway) if disturbed != Some(gateway));
        let took = first.filter(confirmed).filter(timed).map(|end| end.returned - end.called);
        self.latency = Spread::of(took.collect());
    }

    fn look_at_good(&mut self, asked: &Asked, disturbed: Option<usize>) {
        let is_session = matches!(asked.credential, Credential::Session(_));
        self.sessions += usize::from(is_session);
        if asked.status == Some(200) {
            return;
        }
        *self.errors.entry(asked.status.unwrap_or_default()).or_default() += 1;
        self.wrongly_refused += usize::from(matches!(asked.status, Some(401 | 403)));
        let excused = asked.status.is_none() && disturbed == Some(asked.gateway);
        self.sessions_failed += usize::from(is_session && !excused);
    }

    /// Everything that must not be, in words; nothing where all promises were kept.
    pub fn broken(&self, recovers_within: Duration) -> Vec<String> {
        let mut broken = Vec::new();
        let mut say = |count: usize, what: &str| {
            if count > 0 {
                broken.push(format!("{count} {what}"));
            }
        };
        let of = |kind: fn(Subject) -> bool| {
            self.accepted_after.iter().filter(|breach| kind(breach.subject)).count()
        };
        say(of(|subject| matches!(subject, Subject::Key(_))), "accepted after their key was revoked");
        say(of(|subject| matches!(subject, Subject::User(_))), "accepted after their user was blocked");
        say(of(|subject| matches!(subject, Subject::Session(_))), "accepted after their session was ended");
        say(self.strangers, "keys accepted that nobody issued");
        say(self.crossed.len(), "requests with somebody else's identity");
        say(self.wrongly_refused, "good credentials refused with 401 or 403");
        say(self.sessions_failed, "good sessions not accepted");
        match self.recovered {
            None => broken.push("a gateway accepted no good key after the fault".to_owned()),
            Some(took) if took > recovers_within => {
                broken.push(format!("good keys were accepted again only {took:?} after the fault"));
            }
            Some(_) => {}
        }
        for (who, p99, limit) in [
            ("keys", self.key_latency.most, KEYS_WAIT),
            ("sessions", self.session_latency.most, SESSIONS_WAIT),
        ] {
            if p99 > limit {
                broken.push(format!("requests with {who} took {p99:?} (p99)"));
            }
        }
        broken.extend(self.never_confirmed.iter().take(MOST_TOLD).map(|(subject, said)| {
            format!("{subject:?} was not confirmed though asked for after the fault: {said}")
        }));
        broken
    }
}

const MOST_TOLD: usize = 5;

/// No request waits longer for the store, and no session waits for it at all. The usual times are far below; these
/// are for machines with other things to do.
const KEYS_WAIT: Duration = Duration::from_secs(1);
const SESSIONS_WAIT: Duration = Duration::from_millis(500);

fn recovered(journal: &Journal, ends: &Ends, gateways: usize) -> Option<Duration> {
    let (_, over) = journal.fault.unwrap_or_default();
    let mut first = vec![None::<Duration>; gateways];
    for asked in &journal.asked {
        let good_key = matches!(asked.credential, Credential::Key(_)) && ends.good_throughout(asked);
        if good_key && asked.status == Some(200) && asked.sent >= over {
            let took = asked.answered - over;
            let known = &mut first[asked.gateway];
            *known = Some(known.map_or(took, |known| known.min(took)));
        }
    }
    first.into_iter().try_fold(Duration::ZERO, |most, first| Some(most.max(first?)))
}
