//! A walk along a chain that may have lost its oldest entries for their age, and what is said there of that.
//!
//! Where entries were removed, the store keeps the *base*: number and hash of the last of them, which the first
//! entry that is left follows. The removal is an entry itself, and names the base. So whoever takes more off the
//! old end has to write down in the chain that it was done, where everybody sees it; that they cannot be kept
//! from who can write to the store, is what the numbers and hashes noted elsewhere are for.

use std::time::SystemTime;

use super::{Action, Actor, Broken, Entry, Event, Head, Link};

/// What is to be taken off the old end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trim {
    /// The base as it is thought to be.
    pub from: Head,
    /// The base as it is to be: the last entry that goes.
    pub to: Head,
    /// What is written to the chain.
    pub event: Event,
}

impl Trim {
    /// The removal of all entries up to that one.
    #[must_use]
    pub fn new(from: Head, to: Head, now: SystemTime) -> Self {
        let mut event = Event::new(now, &Actor::gateway(), Action::AuditTrimmed);
        event.detail = Some(format!("{UP_TO}{}{WITH_HASH}{}", to.seq, to.hash));
        Self { from, to, event }
    }

    /// The base that an entry tells of.
    fn told(entry: &Entry) -> Option<Head> {
        if entry.action != Action::AuditTrimmed {
            return None;
        }
        let (seq, hash) = entry.detail.as_deref()?.strip_prefix(UP_TO)?.split_once(WITH_HASH)?;
        let seq = seq.parse().ok().filter(|seq| *seq < entry.seq)?;
        Some(Head { seq, hash: hash.to_owned() })
    }
}

const UP_TO: &str = "up to entry ";
const WITH_HASH: &str = " with hash ";

/// How far somebody has come along a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Where it began: the last entry that was removed.
    pub base: Head,
    /// The last entry that was passed.
    pub at: Head,
    /// The base that the entries so far tell of.
    told: Option<Head>,
}

impl Walk {
    /// Begins behind the last entry that was removed.
    #[must_use]
    pub fn behind(base: Head) -> Self {
        Self { at: base.clone(), base, told: None }
    }

    /// How many entries were passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.at.seq - self.base.seq
    }

    /// Checks that a link follows, and moves on to it.
    ///
    /// # Errors
    /// What is wrong with the link.
    pub fn advance(&mut self, link: &Link) -> Result<Entry, Broken> {
        let entry = self.at.advance(link)?;
        if let Some(told) = Trim::told(&entry) {
            self.told = Some(told);
        }
        Ok(entry)
    }

    /// Checks that this is where the chain ends, or behind it, and that it began where it says itself.
    ///
    /// # Errors
    /// What is missing at either end.
    pub fn end(&self, written: &Head) -> Result<(), Broken> {
        if self.at.seq < written.seq {
            return Err(Broken::Cut { wanted: written.seq, found: self.at.seq });
        }
        // More may be left than the chain tells: an interrupted removal has taken nothing away.
        let is_told = match &self.told {
            Some(told) => told.seq > self.base.seq || *told == self.base,
            None => false,
        };
        if self.base.seq > 0 && !is_told {
            return Err(Broken::Untold { begins: self.base.seq + 1 });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of ten entries whose first five were removed, as the ninth tells.
    struct Trimmed {
        base: Head,
        links: Vec<Link>,
        head: Head,
    }

    fn trimmed() -> Trimmed {
        let (mut head, mut base, mut links) = (Head::start(), Head::start(), Vec::new());
        for number in 1..=10 {
            let event = Event::new(SystemTime::UNIX_EPOCH, &Actor::gateway(), Action::KeyLearned);
            let trim = Trim::new(Head::start(), base.clone(), SystemTime::UNIX_EPOCH);
            let link = if number == 9 { trim.event } else { event }.follow(&head);
            head.advance(&link).expect("it follows");
            links.push(link);
            if number == 5 {
                base = head.clone();
            }
        }
        Trimmed { base, links: links.split_off(5), head }
    }

    fn verdict(base: &Head, links: &[Link], head: &Head) -> Result<u64, Broken> {
        let mut walk = Walk::behind(base.clone());
        links.iter().try_for_each(|link| walk.advance(link).map(|_| ()))?;
        walk.end(head).map(|()| walk.passed())
    }

    #[test]
    fn a_chain_that_was_trimmed_is_whole_from_its_base_on() {
        let Trimmed { base, links, head } = trimmed();
        assert_eq!(verdict(&base, &links, &head), Ok(5));
        assert_eq!(verdict(&Head::start(), &links, &head), Err(Broken::Missing { wanted: 1, found: 6 }));
        assert_eq!(verdict(&base, &links[1..], &head), Err(Broken::Missing { wanted: 6, found: 7 }));
        assert_eq!(verdict(&base, &links[..4], &head), Err(Broken::Cut { wanted: 10, found: 9 }));
    }

    #[test]
    fn a_base_that_was_moved_is_found_unless_the_chain_tells_of_it() {
        let Trimmed { base, links, head } = trimmed();
        let mut moved = base.clone();
        moved.advance(&links[0]).expect("it follows");
        assert_eq!(verdict(&moved, &links[1..], &head), Err(Broken::Untold { begins: 7 }));
        let wrong = Head { hash: head.hash.clone(), ..base.clone() };
        assert_eq!(verdict(&wrong, &links, &head), Err(Broken::Changed(6)));
        // Without the entry that tells of it, too.
        let mut cut = base.clone();
        links[..4].iter().for_each(|link| drop(cut.advance(link).expect("it follows")));
        assert_eq!(verdict(&cut, &links[4..], &head), Err(Broken::Untold { begins: 10 }));
    }

    #[test]
    fn more_may_be_left_than_was_to_be_removed() {
        let (mut head, mut links) = (Head::start(), Vec::new());
        for number in 1..=3 {
            let event = Event::new(SystemTime::UNIX_EPOCH, &Actor::gateway(), Action::KeyLearned);
            let trim = Trim::new(Head::start(), head.clone(), SystemTime::UNIX_EPOCH);
            let link = if number == 3 { trim.event } else { event }.follow(&head);
            head.advance(&link).expect("it follows");
            links.push(link);
        }
        assert_eq!(verdict(&Head::start(), &links, &head), Ok(3));
    }
}
