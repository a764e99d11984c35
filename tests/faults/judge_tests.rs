//! The judge finds what is planted in a log, and nothing where nothing is.

use std::time::Duration;

use super::journal::{Asked, Credential, Ended, Journal, Outcome, Subject, Through};
use super::judge::{Spread, judge};

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn asked(serial: u64, credential: Credential, sent: u64, status: u16) -> Asked {
    let status = (status != 0).then_some(status);
    Asked { serial, credential, gateway: 0, sent: at(sent), answered: at(sent + 2), status }
}

fn ended(subject: Subject, called: u64, outcome: Outcome) -> Ended {
    let (called, returned) = (at(called), at(called + 10));
    Ended {
        subject,
        through: Through::Gateway(1),
        called,
        returned,
        outcome,
        again: false,
        said: String::new(),
    }
}

/// A log in which all promises are kept: key 1 is revoked from 100 to 110, key 2 is good.
fn kept() -> Journal {
    Journal {
        asked: vec![
            asked(1, Credential::Key(1), 50, 200),
            // Sent before the call returned: either answer is right.
            asked(2, Credential::Key(1), 105, 200),
            asked(3, Credential::Key(1), 110, 200),
            asked(4, Credential::Key(1), 111, 401),
            asked(5, Credential::Key(2), 120, 200),
            asked(6, Credential::Session(2), 120, 200),
            asked(7, Credential::Stranger(3), 120, 401),
        ],
        ended: vec![ended(Subject::Key(1), 100, Outcome::Confirmed)],
        arrived: vec![1, 2, 3, 5, 6],
        ..Journal::default()
    }
}

#[test]
fn a_log_in_which_all_promises_are_kept_is_found_whole() {
    let verdict = judge(&kept(), 1);
    assert!(verdict.broken(at(1000)).is_empty(), "{:?}", verdict.broken(at(1000)));
    assert_eq!((verdict.tried, verdict.confirmed, verdict.requests, verdict.sessions), (1, 1, 7, 1));
    assert_eq!(verdict.recovered, Some(at(52)));
}

#[test]
fn one_acceptance_after_a_confirmed_revocation_is_found_by_its_status_or_by_its_arrival() {
    let mut journal = kept();
    journal.asked.push(Asked { gateway: 2, ..asked(8, Credential::Key(1), 111, 200) });
    let breaches = judge(&journal, 1).accepted_after;
    assert_eq!(breaches.len(), 1);
    assert_eq!((breaches[0].subject, breaches[0].gateway, breaches[0].late), (Subject::Key(1), 2, at(1)));
    // The client never heard the answer, and the instance had the request all the same.
    let mut journal = kept();
    journal.asked.push(asked(8, Credential::Key(1), 900, 0));
    assert_eq!(judge(&journal, 1).accepted_after.len(), 0);
    journal.arrived.push(8);
    assert_eq!(judge(&journal, 1).accepted_after.len(), 1);
}

#[test]
fn what_was_not_confirmed_promises_nothing_until_it_is() {
    let mut journal = kept();
    for outcome in [Outcome::Unconfirmed, Outcome::Failed] {
        journal.ended[0].outcome = outcome;
        journal.asked.push(asked(8, Credential::Key(1), 500, 200));
        let verdict = judge(&journal, 1);
        assert!(verdict.accepted_after.is_empty());
        assert_eq!(verdict.broken(at(1000)), ["Key(1) was not confirmed though asked for after the fault: "]);
    }
    journal.ended.push(Ended { again: true, ..ended(Subject::Key(1), 600, Outcome::Confirmed) });
    assert!(judge(&journal, 1).broken(at(1000)).is_empty());
    journal.asked.push(asked(9, Credential::Key(1), 611, 200));
    assert_eq!(judge(&journal, 1).accepted_after.len(), 1);
}

#[test]
fn a_blocked_user_loses_key_and_session_and_an_ended_session_is_only_itself() {
    let mut journal = kept();
    journal.ended.push(ended(Subject::User(2), 130, Outcome::Confirmed));
    journal.ended.push(ended(Subject::Session(4), 130, Outcome::Confirmed));
    journal.asked.push(asked(8, Credential::Key(2), 150, 403));
    journal.asked.push(asked(9, Credential::Key(4), 150, 200));
    assert!(judge(&journal, 1).broken(at(1000)).is_empty());
    for (serial, credential) in
        [(10, Credential::Key(2)), (11, Credential::Session(2)), (12, Credential::Session(4))]
    {
        journal.asked.push(asked(serial, credential, 150, 200));
    }
    assert_eq!(judge(&journal, 1).accepted_after.len(), 3);
}

#[test]
fn good_credentials_that_are_refused_strangers_that_are_not_and_mixed_up_identities_are_found() {
    let mut journal = kept();
    journal.asked.extend([
        asked(8, Credential::Key(2), 200, 401),
        asked(9, Credential::Key(2), 200, 403),
        asked(10, Credential::Key(2), 200, 503),
        // Its revocation had begun: refusing it is right.
        asked(11, Credential::Key(1), 99, 401),
    ]);
    let verdict = judge(&journal, 1);
    assert_eq!(verdict.broken(at(1000)), ["2 good credentials refused with 401 or 403"]);
    assert_eq!(verdict.errors.into_iter().collect::<Vec<_>>(), [(401, 1), (403, 1), (503, 1)]);
    let mut journal = kept();
    journal.arrived.push(7);
    journal.crossed.push("one as another".to_owned());
    journal.asked.push(asked(8, Credential::Session(2), 300, 503));
    assert_eq!(judge(&journal, 1).broken(at(1000)).len(), 3);
}

#[test]
fn a_gateway_that_is_down_itself_is_excused_and_one_that_never_recovers_is_not() {
    let mut journal = kept();
    journal.asked.push(asked(8, Credential::Session(2), 300, 0));
    assert_eq!(judge(&journal, 1).sessions_failed, 1);
    journal.disturbed = Some(0);
    assert_eq!(judge(&journal, 1).sessions_failed, 0);
    journal.fault = Some((at(200), at(400)));
    assert_eq!(judge(&journal, 1).broken(at(1000)), ["a gateway accepted no good key after the fault"]);
    journal.asked.push(asked(9, Credential::Key(2), 1500, 200));
    assert_eq!(judge(&journal, 1).recovered, Some(at(1102)));
    assert_eq!(judge(&journal, 1).broken(at(1000)).len(), 1, "too late");
    journal.asked.push(asked(10, Credential::Key(2), 450, 200));
    assert!(judge(&journal, 1).broken(at(1000)).is_empty());
    assert_eq!(judge(&journal, 2).broken(at(1000)).len(), 1, "the other gateway accepted nothing");
}

#[test]
fn spreads_are_read_off_the_sorted_list() {
    let spread = Spread::of((1..=200).rev().map(at).collect());
    assert_eq!((spread.half, spread.most, spread.longest), (at(100), at(198), at(200)));
    assert_eq!(Spread::of(Vec::new()), Spread::default());
}
