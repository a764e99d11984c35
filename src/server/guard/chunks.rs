//! The chunked coding (RFC 9112 §7.1), read to the letter; what chunks hold is passed over.

use std::ops::ControlFlow;

use crate::http::is_token_byte;

/// A chunked body in passing.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    size: u64,
    digits: u8,
}

/// Where in the body the next byte belongs.
#[derive(Debug, Clone, Copy)]
enum Place {
    Size,
    /// White space, which only an extension may follow (RFC 9112 §7.1.1).
    Blank,
    Extension(Extension),
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// The start of a trailer line.
    Trailers,
    /// Within a trailer line.
    Trailer,
    /// The LF of a trailer line.
    TrailerEnd,
    /// The LF of the empty line.
    End,
}

/// Where in an extension the next byte belongs: `; name`, `; name=token` or `; name="text"`, with white space
/// around the marks (RFC 9112 §7.1.1).
#[derive(Debug, Clone, Copy)]
enum Extension {
    /// The first byte of a name.
    Start,
    Name,
    /// White space behind a name.
    Named,
    /// The first byte of a value.
    Value,
    Token,
    Quoted,
    Escaped,
    /// Behind the quotes.
    Closed,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { place: Place::Size, size: 0, digits: 0 }
    }

    /// Looks at the bytes that came next; breaks with how many of them belong to the body where it ends.
    ///
    /// # Errors
    /// The place of the first byte that is at fault.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> Result<ControlFlow<usize>, usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Place::Data = self.place {
                let rest = bytes.len() - at;
                let used = usize::try_from(self.size).map_or(rest, |size| size.min(rest));
                self.size -= used as u64;
                at += used;
                if self.size == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            self.place = match self.step(byte).ok_or(at)? {
                ControlFlow::Continue(place) => place,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(at + 1)),
            };
            at += 1;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn step(&mut self, byte: u8) -> Option<ControlFlow<(), Place>> {
        let next = match (self.place, byte) {
            (Place::Size, b'\r') if self.digits > 0 => Place::SizeEnd,
            (Place::Size, b';') if self.digits > 0 => Place::Extension(Extension::Start),
            (Place::Size, b' ' | b'\t') if self.digits > 0 => Place::Blank,
            (Place::Size, digit) => return self.digit(digit).map(ControlFlow::Continue),
            (Place::Blank, b' ' | b'\t') => Place::Blank,
            (Place::Blank, b';') => Place::Extension(Extension::Start),
            (Place::Extension(extension), byte) => extension.step(byte)?,
            (Place::SizeEnd, b'\n') if self.size == 0 => Place::Trailers,
            (Place::SizeEnd, b'\n') => Place::Data,
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => {
                *self = Self::new();
                Place::Size
            }
            (Place::Trailers, b'\r') => Place::End,
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::Trailers | Place::Trailer, byte) if byte != b'\n' => Place::Trailer,
            (Place::TrailerEnd, b'\n') => Place::Trailers,
            (Place::End, b'\n') => return Some(ControlFlow::Break(())),
            (
                Place::Blank
                | Place::SizeEnd
                | Place::Data
                | Place::DataCr
                | Place::DataLf
                | Place::Trailers
                | Place::Trailer
                | Place::TrailerEnd
                | Place::End,
                _,
            ) => return None,
        };
        Some(ControlFlow::Continue(next))
    }

    fn digit(&mut self, digit: u8) -> Option<Place> {
        let digit = char::from(digit).to_digit(16)?;
        self.digits = self.digits.checked_add(1).filter(|digits| *digits <= MOST_DIGITS)?;
        self.size = self.size << 4 | u64::from(digit);
        Some(Place::Size)
    }
}

impl Extension {
    fn step(self, byte: u8) -> Option<Place> {
        let next = match (self, byte) {
            (Self::Start, b' ' | b'\t') => Self::Start,
            (Self::Start | Self::Name, byte) if is_token_byte(byte) => Self::Name,
            (Self::Name | Self::Named, b' ' | b'\t') => Self::Named,
            (Self::Name | Self::Named, b'=') => Self::Value,
            (Self::Value, b' ' | b'\t') => Self::Value,
            (Self::Value, b'"') => Self::Quoted,
            (Self::Value | Self::Token, byte) if is_token_byte(byte) => Self::Token,
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, byte) if byte == b'\t' || !byte.is_ascii_control() => Self::Quoted,
            (Self::Name | Self::Named | Self::Token | Self::Closed, b';') => Self::Start,
            (Self::Name | Self::Token | Self::Closed, b'\r') => return Some(Place::SizeEnd),
            (Self::Token | Self::Closed, b' ' | b'\t') => return Some(Place::Blank),
            (
                Self::Start
                | Self::Name
                | Self::Named
                | Self::Value
                | Self::Token
                | Self::Quoted
                | Self::Escaped
                | Self::Closed,
                _,
            ) => return None,
        };
        Some(Place::Extension(next))
    }
}

/// Of a chunk's size; more would come near to what does not fit 64 bits.
const MOST_DIGITS: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_says() {
        for body in [
            "0\r\n\r\n",
            "0000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "a\r\n0123456789\r\n0 ;x\r\n\r\n",
            "0;a;b = c ;d=\"\" ; e\r\n\r\n",
            "0 ; a=\"\\\"\\\\\t\u{e4};\"\r\n\r\n",
            "5;a=\"b c\";d\r\n\r\n\n\r\n\r\n0\r\nX: y\r\nZ: 1\r\n\r\n",
        ] {
            let text = format!("{body}next");
            assert_eq!(
                Chunks::new().inspect(text.as_bytes()),
                Ok(ControlFlow::Break(body.len())),
                "{body:?}"
            );
        }
    }

    #[test]
    fn a_body_that_breaks_the_rules_is_at_fault_at_once() {
        for (body, at) in [
            ("\r\n", 0),
            ("-1\r\n", 0),
            ("0x5\r\nhello", 1),
            ("5 \r\n", 2),
            (" 5\r\n", 0),
            ("5\nhello", 1),
            ("5;a\nhello", 3),
            ("5;\0\r\n", 2),
            ("5;\r\n", 2),
            ("5;;a\r\n", 2),
            ("5;=a\r\n", 2),
            ("5;a[b\r\n", 3),
            ("5;\u{e4}\r\n", 2),
            ("5;a b\r\n", 4),
            ("5;a \r\n", 4),
            ("5;a=\r\n", 4),
            ("5;a=b,c\r\n", 5),
            ("5;a=b\"c\"\r\n", 5),
            ("5;a=\"b\r\n", 6),
            ("5;a=\"b\\\r\n", 7),
            ("5;a=\"b\"c\r\n", 7),
            ("5\r\rhello", 2),
            ("5\r\nhello!", 8),
            ("5\r\nhello\n0", 8),
            ("5\r\nhello\r0", 9),
            ("1000000000000000\r\n", 15),
            ("0\r\n\n", 3),
            ("0\r\nX: y\n\r\n", 7),
            ("0\r\nX: y\rz\r\n\r\n", 8),
            ("0\r\n\r\r", 4),
        ] {
            assert_eq!(Chunks::new().inspect(body.as_bytes()), Err(at), "{body:?}");
        }
    }
}
