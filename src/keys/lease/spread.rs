//! Whether a change has reached every gateway. Pure: it is told how far each has come, and how long was waited.

use std::time::Duration;

use super::EntryId;

/// A gateway, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    /// Up to where it has applied the log.
    pub applied: EntryId,
    /// For how long its leases are.
    pub term: Duration,
}

/// Whom a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whom {
    /// A key. Nobody accepts one without a lease or a look-up.
    Key,
    /// A user or a session. Session tokens are accepted without the store, so only a gateway that has said
    /// so is known to refuse one.
    Session,
}

/// What can be said of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// It is felt everywhere.
    Everywhere,
    /// Not known yet.
    Wait,
    /// It cannot be known.
    Unconfirmed,
}

/// For how long things have been as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Waited {
    /// Since the entry was appended, at least.
    pub appended: Duration,
    /// Since when this process has known this server and this log without a break. A server that took over,
    /// or was emptied, may not know of leases that were granted before; they are over after one term.
    pub steady: Duration,
    /// How long the leases are of whom the server may not know.
    pub term: Duration,
}

/// Judges a change that was appended as `entry`.
///
/// A lease that was granted before the entry was appended ends within its term from then on, whatever
/// clocks say: it was counted from before it was granted. One that was granted later was granted together
/// with the entry. So after the longest term nobody uses what they remembered before.
#[must_use]
pub fn judge(entry: EntryId, replicas: &[Replica], waited: Waited, whom: Whom) -> Judgement {
    let behind = replicas.iter().filter(|replica| replica.applied < entry).map(|replica| replica.term).max();
    let longest = replicas.iter().map(|replica| replica.term).max().unwrap_or_default().max(waited.term);
    let unknown = (waited.steady < longest).then_some(longest);
    match (behind, unknown.max(behind), whom) {
        (_, Some(term), _) if waited.appended < term => Judgement::Wait,
        (Some(_), _, Whom::Session) => Judgement::Unconfirmed,
        (_, _, Whom::Key) | (None, _, Whom::Session) => Judgement::Everywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(applied: u64, term: u64) -> Replica {
        Replica { applied: EntryId { millis: applied, number: 0 }, term: Duration::from_secs(term) }
    }

    #[test]
    fn it_is_felt_everywhere_once_all_have_come_so_far_or_their_leases_are_over() {
        let entry = EntryId { millis: 5, number: 0 };
        let seconds = Duration::from_secs;
        for (replicas, waited, judgement) in [
            (vec![], 0, Judgement::Everywhere),
            (vec![replica(5, 1), replica(9, 1)], 0, Judgement::Everywhere),
            (vec![replica(5, 1), replica(4, 2)], 0, Judgement::Wait),
            (vec![replica(5, 9), replica(4, 2)], 1, Judgement::Wait),
            (vec![replica(5, 9), replica(4, 2), replica(3, 1)], 2, Judgement::Everywhere),
        ] {
            let waited = Waited { appended: seconds(waited), steady: seconds(99), term: seconds(1) };
            assert_eq!(judge(entry, &replicas, waited, Whom::Key), judgement, "{replicas:?}");
        }
        let late = Waited { appended: seconds(9), steady: seconds(99), term: seconds(1) };
        assert_eq!(judge(entry, &[replica(4, 2)], late, Whom::Session), Judgement::Unconfirmed);
        let at_once = Waited { appended: seconds(0), ..late };
        assert_eq!(judge(entry, &[replica(5, 2)], at_once, Whom::Session), Judgement::Everywhere);
    }

    #[test]
    fn leases_that_a_new_server_may_not_know_of_are_waited_out() {
        let (entry, second) = (EntryId { millis: 5, number: 0 }, Duration::from_secs(1));
        for replicas in [vec![], vec![replica(5, 1)]] {
            let mut waited = Waited { appended: Duration::ZERO, steady: second / 2, term: second };
            assert_eq!(judge(entry, &replicas, waited, Whom::Key), Judgement::Wait);
            waited.appended = second;
            assert_eq!(judge(entry, &replicas, waited, Whom::Key), Judgement::Everywhere);
            assert_eq!(judge(entry, &replicas, waited, Whom::Session), Judgement::Everywhere);
            let steady = Waited { appended: Duration::ZERO, steady: second, term: second };
            assert_eq!(judge(entry, &replicas, steady, Whom::Key), Judgement::Everywhere);
        }
    }
}
