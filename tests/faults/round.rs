//! One round: clients use keys through all gateways, keys are ended one after the other, and something goes wrong
//! meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::calls::Call;
use super::fleet::{Fleet, GATEWAYS};
use super::footprint::Footprint;
use super::journal::{Asked, Credential, Ended, Journal, Outcome, Subject, Through};
use super::judge::{Verdict, judge};
use super::load::Board;
use super::trouble::Trouble;
use crate::support::{jwt, wait};

/// How much happens in a round.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub before: usize,
    pub during: usize,
    pub after: usize,
    pub lasts: Duration,
}

/// What became of a round.
pub struct Report {
    pub name: &'static str,
    pub verdict: Verdict,
    pub broken: Vec<String>,
}

const GOOD: usize = 10;
const CLIENTS_OF_EACH: u64 = 2;
/// Between two calls, before and after the fault.
const PACE: Duration = Duration::from_millis(25);
/// For so long is asked again for what was not confirmed.
const INSISTS: Duration = Duration::from_secs(8);

/// What is ended when it is this number's turn: mostly keys, some users, some sessions.
pub fn subject(number: usize) -> Subject {
    match number % 20 {
        7 => Subject::User(number),
        13 => Subject::Session(number),
        _ => Subject::Key(number),
    }
}

/// Nobody has used it before its turn: the first look at it and its end are under way at the same time.
pub fn is_new(number: usize) -> bool {
    number % 4 == 3
}

/// By turns through each gateway, now and then by the command line.
fn through(number: usize) -> Through {
    let gateway = number % GATEWAYS;
    match number % 40 {
        11 => Through::Command(gateway),
        31 => Through::Store(gateway),
        _ => Through::Gateway(gateway),
    }
}

/// What comes out of one call: what it said, and what was answered to those who asked at once.
type Called = (Ended, Vec<Asked>);

/// Makes the calls of a round.
struct Caller {
    board: Arc<Board>,
    calls: JoinSet<Called>,
}

impl Caller {
    /// Makes the next calls evenly over a time, without waiting for answers.
    async fn pace(&mut self, count: usize, over: Duration) {
        for _ in 0..count {
            sleep(over / u32::try_from(count).unwrap_or(u32::MAX)).await;
            let number = self.board.turn.fetch_add(1, Ordering::Relaxed);
            self.calls.spawn(call(Arc::clone(&self.board), number));
        }
    }
}

/// One call; the moment it has returned, the credential is tried at each gateway on a connection of its own.
async fn call(board: Arc<Board>, number: usize) -> Called {
    let (subject, through) = (subject(number), through(number));
    let call = Call { subject, through, again: false, expires: board.expires };
    let first_look =
        async { if is_new(number) { try_everywhere(&board, subject).await } else { Vec::new() } };
    let ending = async {
        let ended = call.make(&board.doors, board.clock).await;
        (ended, try_everywhere(&board, subject).await)
    };
    let (mut asked, (ended, after)) = tokio::join!(first_look, ending);
    asked.extend(after);
    (ended, asked)
}

async fn try_everywhere(board: &Board, subject: Subject) -> Vec<Asked> {
    let credential = match subject {
        Subject::Key(number) | Subject::User(number) => Credential::Key(number),
        Subject::Session(number) => Credential::Session(number),
    };
    join_all((0..GATEWAYS).map(async |gateway| board.ask(gateway, credential, &mut None).await)).await
}

/// Asks again, through whatever gateway, until it is confirmed.
async fn insist(board: &Board, subject: Subject) -> Vec<Ended> {
    let over = board.clock.now() + INSISTS;
    let mut ended = Vec::new();
    loop {
        let through = Through::Gateway((subject.number() + ended.len()) % GATEWAYS);
        let call = Call { subject, through, again: true, expires: board.expires };
        let end = call.make(&board.doors, board.clock).await;
        let is_over = end.outcome == Outcome::Confirmed || board.clock.now() > over;
        ended.push(end);
        if is_over {
            return ended;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Every number's credential once at each gateway.
async fn sweep(board: &Board, numbers: std::ops::Range<usize>) -> Vec<Asked> {
    let at = async |gateway: usize| {
        let (mut line, mut all) = (None, Vec::new());
        for number in numbers.clone() {
            let credential = match subject(number) {
                Subject::Session(number) => Credential::Session(number),
                Subject::Key(number) | Subject::User(number) => Credential::Key(number),
            };
            all.push(board.ask(gateway, credential, &mut line).await);
        }
        all
    };
    join_all((0..GATEWAYS).map(at)).await.concat()
}

/// Runs a round and judges it.
pub async fn run(trouble: Trouble, plan: Plan) -> Report {
    let ending = plan.before + plan.during + plan.after;
    let mut fleet = Fleet::start(trouble.making(), ending + GOOD).await;
    let board = Board::new(Arc::clone(&fleet.doors), ending, GOOD, jwt::now() + 3600);
    let mut journal = Journal { disturbed: trouble.disturbs(), ..Journal::default() };
    journal.asked = sweep(&board, ending..ending + GOOD).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS_OF_EACH * GATEWAYS as u64 {
        clients.spawn(Arc::clone(&board).client(number as usize % GATEWAYS, number));
    }
    let mut caller = Caller { board: Arc::clone(&board), calls: JoinSet::new() };
    let small = Footprint::of(&fleet);
    let times = |count: usize| PACE * u32::try_from(count).unwrap_or(u32::MAX);
    caller.pace(plan.before, times(plan.before)).await;
    let begins = board.clock.now();
    let span = trouble.span(plan.lasts);
    let befallen = async {
        trouble.befall(&mut fleet, span).await;
        board.clock.now()
    };
    let (over, ()) = tokio::join!(befallen, caller.pace(plan.during, span));
    journal.fault = Some((begins, over));
    caller.pace(plan.after, times(plan.after)).await;
    let calls = wait::within_time("all calls to return", LONG, caller.calls.join_all()).await;
    for (ended, asked) in calls {
        journal.ended.push(ended);
        journal.asked.extend(asked);
    }
    let open = open_ends(&journal.ended);
    let insisted = join_all(open.into_iter().map(|subject| insist(&board, subject))).await;
    journal.ended.extend(insisted.concat());
    journal.asked.extend(sweep(&board, 0..ending + GOOD).await);
    board.stop.store(true, Ordering::Relaxed);
    for asked in wait::within_time("all clients to stop", LONG, clients.join_all()).await {
        journal.asked.extend(asked);
    }
    let seen = fleet.instance.take();
    (journal.arrived, journal.crossed) = (seen.arrived, seen.crossed);
    let verdict = judge(&journal, GATEWAYS);
    let mut broken = verdict.broken(trouble.recovers_within());
    broken.extend(small.outgrown(&fleet).await);
    Report { name: trouble.name(), verdict, broken }
}

const LONG: Duration = Duration::from_secs(60);

fn open_ends(ended: &[Ended]) -> HashSet<Subject> {
    ended.iter().filter(|end| end.outcome != Outcome::Confirmed).map(|end| end.subject).collect()
}
