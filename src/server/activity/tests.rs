//! What a connection is taken to be doing, and for how long it may.

use super::*;

const HTTP1: Patience = Patience {
    idle: Duration::from_secs(60),
    doze: Some(Duration::from_secs(2)),
    write: Duration::from_secs(30),
    head: Some(Duration::from_secs(10)),
};
const HTTP2: Patience = Patience { doze: None, head: None, ..HTTP1 };

fn activity() -> (Arc<Traffic>, Activity) {
    let traffic = Arc::new(Traffic::default());
    (Arc::clone(&traffic), Activity::new(traffic, Rc::default()))
}

#[test]
fn a_client_that_does_not_read_is_given_up_and_one_that_reads_a_little_is_not() {
    let (traffic, activity) = activity();
    activity.begin(Version::HTTP_11, Framing::Bodyless);
    traffic.tried(true);
    assert_eq!(activity.deadline(&HTTP1), None, "nothing waits for the client");
    traffic.tried(false);
    let first = activity.deadline(&HTTP1).expect("a deadline");
    traffic.tried(false);
    assert_eq!(activity.deadline(&HTTP1), Some(first), "the same stall goes on");
    assert_eq!(activity.due(&HTTP1, first), Due::Unread);
    traffic.tried(true);
    traffic.tried(false);
    assert!(activity.deadline(&HTTP1).expect("a deadline") > first, "another stall");
    traffic.tried(true);
    assert_eq!(activity.deadline(&HTTP1), None);
}

#[test]
fn a_silent_connection_dozes_then_is_idle_and_neither_too_early() {
    let (_, activity) = activity();
    let since = activity.idle_since();
    assert_eq!(activity.due(&HTTP1, since), Due::Later(since + Duration::from_secs(2)));
    assert_eq!(activity.due(&HTTP1, since + Duration::from_secs(2)), Due::Doze);
    assert_eq!(activity.due(&HTTP1, since + HTTP1.idle), Due::Idle);
    assert_eq!(activity.due(&HTTP2, since), Due::Later(since + HTTP2.idle));
}

#[test]
fn part_of_a_head_may_take_the_header_time_and_bytes_do_not_extend_it() {
    let (traffic, activity) = activity();
    traffic.read(1);
    let deadline = activity.deadline(&HTTP1).expect("a head is coming in");
    traffic.read(1);
    assert_eq!(activity.deadline(&HTTP1), Some(deadline));
    assert_eq!(activity.due(&HTTP1, deadline), Due::SlowHead);
}

#[test]
fn frames_between_http2_requests_do_not_count_as_a_head() {
    let (traffic, activity) = activity();
    traffic.read(1);
    assert_eq!(activity.due(&HTTP2, activity.idle_since() + HTTP2.idle), Due::Idle);
}

#[test]
fn a_request_being_answered_is_never_due_and_idleness_starts_at_its_end() {
    let (traffic, activity) = activity();
    let start = activity.idle_since();
    traffic.read(1);
    activity.begin(Version::HTTP_11, Framing::Bodyless);
    activity.begin(Version::HTTP_11, Framing::Bodyless);
    assert_eq!(activity.deadline(&HTTP1), None);
    activity.end();
    assert!(activity.busy());
    assert!(matches!(activity.due(&HTTP1, start + HTTP1.idle * 9), Due::Later(_)));
    activity.end();
    assert!(!activity.busy());
    assert!(activity.idle_since() >= start);
    assert_eq!(activity.deadline(&HTTP1), Some(activity.idle_since() + Duration::from_secs(2)));
}

#[test]
fn a_response_that_has_not_left_yet_keeps_the_connection_from_resting() {
    let (traffic, activity) = activity();
    activity.begin(Version::HTTP_11, Framing::Bodyless);
    activity.end();
    traffic.writing();
    assert!(matches!(activity.due(&HTTP1, activity.idle_since() + HTTP1.idle), Due::Later(_)));
    traffic.flushed();
    assert_eq!(activity.due(&HTTP1, activity.idle_since() + HTTP1.idle), Due::Idle);
}

#[test]
fn a_connection_whose_request_had_content_never_dozes() {
    let (_, activity) = activity();
    activity.begin(Version::HTTP_11, Framing::Content);
    activity.end();
    assert_eq!(activity.deadline(&HTTP1), Some(activity.idle_since() + HTTP1.idle));
}
