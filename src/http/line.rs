//! The thread that an exchange hangs by: cutting it ends the exchange from outside, wherever it is.
//!
//! A body can only end an exchange when it is asked for its next part, and whoever does not read is never
//! sent one. So the server that drives an exchange looks at its line whenever it is woken, and drops the
//! whole exchange where that is cut. What that looks like to the client is the protocol's matter.
//!
//! Where its protocol allows it, a client can be told something on the line while its answer is waited for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::foreword::{Foreword, Interim, is_interim};

/// The lines of one connection. Places are used again, so that a busy connection allocates none.
#[derive(Debug, Default)]
pub struct Lines {
    places: RefCell<Places>,
    words: Words,
}

/// Where what is said before an answer goes.
#[derive(Debug, Default)]
enum Words {
    /// Nowhere.
    #[default]
    Unsaid,
    /// To the socket, which has one answer after the other.
    InTurn(Arc<Foreword>),
    /// To each exchange's own driver.
    Apart,
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Place>,
    free: Vec<u32>,
}

impl Places {
    fn at(&mut self, index: u32) -> Option<&mut Place> {
        self.all.get_mut(usize::try_from(index).ok()?)
    }
}

#[derive(Debug, Default)]
struct Place {
    holders: usize,
    is_cut: bool,
    /// The client has not taken the last part of the body that was given out.
    due: bool,
    /// Parts were given out since that was last asked.
    moved: bool,
    /// The client has not sent all of its content, as far as anyone has seen.
    uploads: bool,
    driver: Option<Waker>,
    /// Which exchange has its answer yet to come.
    turn: Option<NonZero<u32>>,
    /// What was said, and not taken yet.
    said: Vec<Interim>,
}

impl Lines {
    /// Lines of exchanges that are answered one after the other, for which something can be said in between.
    #[must_use]
    pub fn in_turn(foreword: Arc<Foreword>) -> Self {
        Self { places: RefCell::default(), words: Words::InTurn(foreword) }
    }

    /// Lines of exchanges that are answered apart from each other, to whose drivers something can be said.
    #[must_use]
    pub fn apart() -> Self {
        Self { places: RefCell::default(), words: Words::Apart }
    }

    /// A line that is not cut.
    #[must_use]
    pub fn open(self: &Rc<Self>) -> Line {
        let turn = matches!(self.words, Words::Apart).then_some(NonZero::<u32>::MIN);
        let mut places = self.places.borrow_mut();
        let next = u32::try_from(places.all.len()).unwrap_or(u32::MAX);
        let index = places.free.pop().unwrap_or(next);
        let place = Place { holders: 1, turn, ..Place::default() };
        match places.at(index) {
            Some(free) => *free = place,
            None => places.all.push(place),
        }
        Line { lines: Rc::clone(self), index, turn }
    }

    /// Whether anyone holds one.
    #[must_use]
    pub fn are_held(&self) -> bool {
        let places = self.places.borrow();
        places.free.len() < places.all.len()
    }
}

/// One exchange's line; held by who drives the exchange, and by who may cut it.
#[derive(Debug)]
pub struct Line {
    lines: Rc<Lines>,
    index: u32,
    /// The exchange before whose answer something can be said; `None`: nothing can.
    turn: Option<NonZero<u32>>,
}

impl Line {
    /// The same line, for the exchange whose answer comes next, of a client that takes interim responses.
    #[must_use]
    pub fn for_next(&self) -> Self {
        let turn = self.with(|place| {
            place.holders += 1;
            *place.turn.get_or_insert(NonZero::<u32>::MIN)
        });
        Self { lines: Rc::clone(&self.lines), index: self.index, turn }
    }

    /// It, if anything can be said on it.
    pub(super) fn if_speaking(&self) -> Option<Self> {
        self.turn.map(|_| self.clone())
    }

    /// Tells the client something before the answer, if it can be told, and the answer is still to come.
    pub fn say(&self, status: StatusCode, fields: &HeaderMap) {
        let Some(turn) = self.turn else { return };
        self.with(|place| {
            // Whoever holds a line may do so for longer than its exchange lasts.
            if place.turn != Some(turn) {
                return;
            }
            match &self.lines.words {
                Words::Unsaid => return,
                Words::InTurn(foreword) => foreword.say(status, fields),
                Words::Apart if is_interim(status) => {
                    place.said.push(Interim { status, fields: fields.clone() });
                }
                Words::Apart => return,
            }
            wake(place);
        });
    }

    /// What was said since this was last asked; for the driver of an exchange that is answered apart from others.
    pub fn take_said(&self) -> Vec<Interim> {
        self.with(|place| std::mem::take(&mut place.said)).unwrap_or_default()
    }

    /// The answer is there: nothing more is said before it. Whether all that was said has left the line.
    pub fn falls_silent(&self) -> bool {
        let Some(turn) = self.turn else { return true };
        self.with(|place| place.turn = turn.checked_add(1));
        match &self.lines.words {
            Words::InTurn(foreword) => !foreword.waits(),
            // Its driver takes it before the answer.
            Words::Apart | Words::Unsaid => true,
        }
    }

    /// Until what was said has left; only for the connection's own task, which the socket wakes then.
    pub async fn told(&self) {
        let waits = || matches!(&self.lines.words, Words::InTurn(foreword) if foreword.waits());
        poll_fn(|_| if waits() { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Ends the exchange without another byte.
    pub fn cut(&self) {
        self.with(|place| {
            place.is_cut = true;
            wake(place);
        });
    }

    /// Has the exchange looked at, as if something had come in for it.
    pub fn wake(&self) {
        self.with(wake);
    }

    /// Whether it is cut; for its driver, which is woken from now on when it is.
    pub fn is_cut(&self, cx: &Context<'_>) -> bool {
        let cut = self.with(|place| {
            let known = place.driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if !known {
                place.driver = Some(cx.waker().clone());
            }
            place.is_cut
        });
        cut.unwrap_or_default()
    }

    /// Whether it is cut; for whoever is woken anyway.
    pub fn was_cut(&self) -> bool {
        self.with(|place| place.is_cut).unwrap_or_default()
    }

    /// A part of the body was given out, and the next is not asked for before the client has room for it; or the
    /// next was asked for, and is not there yet.
    pub fn note_due(&self, due: bool) {
        self.with(|place| {
            place.due = due;
            place.moved |= due;
        });
    }

    /// Whether the exchange waits for the client to take what it has.
    pub fn is_due(&self) -> bool {
        self.with(|place| place.due).unwrap_or_default()
    }

    /// Whether the client has taken anything since this was last asked.
    pub fn has_moved(&self) -> bool {
        self.with(|place| std::mem::take(&mut place.moved)).unwrap_or_default()
    }

    /// The request has content that goes on, or all of it has come.
    pub fn note_upload(&self, goes_on: bool) {
        self.with(|place| place.uploads = goes_on);
    }

    /// Whether the client may still be sending its content.
    pub fn has_upload(&self) -> bool {
        self.with(|place| place.uploads).unwrap_or_default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Place) -> T) -> Option<T> {
        self.lines.places.borrow_mut().at(self.index).map(act)
    }
}

fn wake(place: &mut Place) {
    if let Some(driver) = &place.driver {
        driver.wake_by_ref();
    }
}

impl Clone for Line {
    fn clone(&self) -> Self {
        self.with(|place| place.holders += 1);
        Self { lines: Rc::clone(&self.lines), index: self.index, turn: self.turn }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut places = self.lines.places.borrow_mut();
        let Some(place) = places.at(self.index) else { return };
        place.holders -= 1;
        if place.holders == 0 {
            *place = Place::default();
            places.free.push(self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_drives_a_line_is_woken_when_it_is_cut() {
        let (lines, count) = (Rc::<Lines>::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let (driver, other) = (lines.open(), lines.open());
        let holder = driver.clone();
        assert!(!driver.is_cut(&context) && !other.is_cut(&context));
        holder.wake();
        assert!(!driver.is_cut(&context));
        holder.cut();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(driver.is_cut(&context) && !other.is_cut(&context));
    }

    #[test]
    fn something_is_said_only_by_the_exchange_whose_answer_comes_next() {
        let (foreword, count) = (Arc::<Foreword>::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let line = Rc::new(Lines::in_turn(Arc::clone(&foreword))).open();
        assert!(!line.is_cut(&Context::from_waker(&waker)));
        let say = |line: &Line| line.say(StatusCode::EARLY_HINTS, &HeaderMap::new());
        say(&line);
        assert!(!foreword.waits(), "no exchange");
        let first = line.for_next();
        let late = first.clone();
        assert!(first.falls_silent(), "nothing was said");
        say(&late);
        assert!(!foreword.waits() && count.0.load(Ordering::Relaxed) == 0, "it is answered");
        let second = line.for_next();
        say(&late);
        assert!(!foreword.waits(), "another's turn");
        for answer in [StatusCode::OK, StatusCode::SWITCHING_PROTOCOLS] {
            second.say(answer, &HeaderMap::new());
        }
        assert!(!foreword.waits(), "it is an answer");
        say(&second);
        assert!(foreword.waits());
        assert!(count.0.load(Ordering::Relaxed) > 0, "its driver is woken");
        assert!(!second.falls_silent(), "it has not left yet");
        foreword.told();
        let deaf = Rc::<Lines>::default().open().for_next();
        say(&deaf);
        assert!(deaf.falls_silent());
    }

    #[test]
    fn what_is_said_of_one_exchange_is_there_for_its_own_driver_and_for_no_later_one() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let lines = Rc::new(Lines::apart());
        let (one, other) = (lines.open(), lines.open());
        assert!(!one.is_cut(&Context::from_waker(&waker)));
        let said = |line: &Line| line.take_said().iter().map(|one| one.status.as_u16()).collect::<Vec<_>>();
        for status in [StatusCode::PROCESSING, StatusCode::OK, StatusCode::SWITCHING_PROTOCOLS] {
            one.clone().say(status, &HeaderMap::new());
        }
        one.say(StatusCode::EARLY_HINTS, &HeaderMap::new());
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "its driver is woken");
        assert!(said(&other).is_empty(), "it is another's");
        assert_eq!(said(&one), [102, 103]);
        assert!(said(&one).is_empty(), "once");
        other.say(StatusCode::EARLY_HINTS, &HeaderMap::new());
        drop(other);
        let next = lines.open();
        assert!(said(&next).is_empty(), "it was said of the one before");
        assert!(next.falls_silent());
        next.say(StatusCode::EARLY_HINTS, &HeaderMap::new());
        assert!(said(&next).is_empty(), "it is answered");
    }

    #[test]
    fn a_place_is_used_again_once_nobody_holds_it_and_never_before() {
        let lines = Rc::<Lines>::default();
        let context = Context::from_waker(Waker::noop());
        let line = lines.open();
        let holder = line.clone();
        drop(line);
        assert!(lines.are_held());
        let next = lines.open();
        holder.cut();
        assert!(!next.is_cut(&context), "the place was still held");
        drop(holder);
        let again = lines.open();
        assert!(!again.is_cut(&context), "a new line is whole");
        assert_eq!(lines.places.borrow().all.len(), 2);
        drop((next, again));
        assert!(!lines.are_held());
    }

    #[test]
    fn what_is_said_is_hidden_in_debug() {
        let foreword = Arc::<Foreword>::default();
        let lines = Rc::new(Lines::in_turn(Arc::clone(&foreword)));
        let value = hyper::header::HeaderValue::from_static("a=s3cret");
        lines
            .open()
            .for_next()
            .say(StatusCode::EARLY_HINTS, &HeaderMap::from_iter([(hyper::header::SET_COOKIE, value)]));
        assert!(foreword.waits());
        assert!(!format!("{lines:?} {foreword:?}").contains("s3cret"));
    }
}
