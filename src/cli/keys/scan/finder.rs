//! Finds keys in a stream of bytes, whatever it is and however long. Holds no more than one piece of it.

use std::io::{self, Read};

use memchr::memmem;

use crate::keys::{PREFIX, Token};

/// A key that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) token: Token,
    /// In which line, counted from 1.
    pub(super) line: u64,
}

/// Looks through a stream.
pub(super) struct Finder<R> {
    input: R,
    pieces: Vec<u8>,
    /// What of `pieces` is still to be looked at.
    start: usize,
    end: usize,
    line: u64,
    ended: bool,
    prefix: memmem::Finder<'static>,
}

const PIECE: usize = 64 << 10;
const DIGITS: usize = 64;
const LENGTH: usize = PREFIX.len() + DIGITS;

impl<R: Read> Finder<R> {
    pub(super) fn new(input: R) -> Self {
        let (pieces, prefix) = (vec![0; PIECE], memmem::Finder::new(PREFIX));
        Self { input, pieces, start: 0, end: 0, line: 1, ended: false, prefix }
    }

    /// The next key; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            let window = self.pieces.get(self.start..self.end).unwrap_or_default();
            match self.prefix.find(window) {
                Some(at) if window.len() - at < LENGTH && !self.ended => {
                    self.pass(at);
                    self.read_on()?;
                }
                Some(at) => {
                    self.pass(at);
                    if let Some(token) = self.key_here() {
                        let found = Found { token, line: self.line };
                        self.pass(LENGTH);
                        return Ok(Some(found));
                    }
                    self.pass(PREFIX.len());
                }
                None if self.ended => return Ok(None),
                None => {
                    // A prefix may have begun here.
                    self.pass(window.len().saturating_sub(PREFIX.len() - 1));
                    self.read_on()?;
                }
            }
        }
    }

    /// The key that begins where the window does. What follows its digits is not looked at: a key in a dump is
    /// found, too, where more digits happen to stand behind it.
    fn key_here(&self) -> Option<Token> {
        let text = self.pieces.get(self.start..self.end)?.get(..LENGTH)?;
        Token::parse(std::str::from_utf8(text).ok()?)
    }

    fn pass(&mut self, length: usize) {
        let passed = self.pieces.get(self.start..self.start + length).unwrap_or_default();
        self.line += u64::try_from(memchr::memchr_iter(b'\n', passed).count()).unwrap_or_default();
        self.start += length;
    }

    fn read_on(&mut self) -> io::Result<()> {
        self.pieces.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let free = self.pieces.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.input.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        self.ended = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> String {
        format!("{PREFIX}{}", digit.to_string().repeat(DIGITS))
    }

    /// Gives so many bytes at a time.
    struct Dribble<'t>(&'t [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn found(text: &[u8], at_once: usize) -> Vec<(String, u64)> {
        let mut finder = Finder::new(Dribble(text, at_once));
        let mut all = Vec::new();
        while let Some(found) = finder.next().expect("read") {
            all.push((found.token.expose().to_owned(), found.line));
        }
        all
    }

    #[test]
    fn keys_are_found_with_their_lines_however_the_stream_is_cut() {
        let text = format!("a\n{}{}\n\nx={}", key('0'), key('1'), key('2'));
        let wanted = [(key('0'), 2), (key('1'), 2), (key('2'), 4)];
        for at_once in 1..=text.len() {
            assert_eq!(found(text.as_bytes(), at_once), wanted, "{at_once}");
        }
    }

    #[test]
    fn a_key_is_found_wherever_it_lies_in_a_long_binary_stream() {
        for before in [PIECE - LENGTH, PIECE - 1, PIECE, 3 * PIECE - 40] {
            let mut bytes = vec![0xff; before];
            bytes.extend(key('7').bytes());
            bytes.extend(vec![0; PIECE]);
            assert_eq!(found(&bytes, PIECE), [(key('7'), 1)], "{before}");
        }
    }

    #[test]
    fn what_only_looks_like_a_key_is_none() {
        let short = &key('a')[..LENGTH - 1];
        for text in [short.to_owned(), short.to_uppercase(), key('g'), format!("{short}\n"), PREFIX.repeat(9)]
        {
            assert!(found(text.as_bytes(), 7).is_empty(), "{text}");
        }
        let nested = format!("{PREFIX}{PREFIX}{}{}", "ab".repeat(20), key('3'));
        assert_eq!(found(nested.as_bytes(), 5), [(key('3'), 1)]);
        assert_eq!(found(format!("{}ff", key('4')).as_bytes(), 9), [(key('4'), 1)]);
    }
}
