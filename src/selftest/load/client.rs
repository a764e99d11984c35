//! One connection that asks the same thing again and again.

use std::io;

use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::LoadError;
use crate::selftest::place::Place;
use crate::selftest::wire::{Answer, Wire};

/// A request that is sent again and again. Has no `Debug`: it holds a credential.
#[derive(Clone)]
pub struct Repeated {
    /// The path and query; asked for with GET.
    pub path: String,
    /// What it presents.
    pub presented: Presented,
    /// The status that is right.
    pub expected: u16,
}

/// The credential of a request.
#[derive(Clone)]
pub enum Presented {
    /// A session token, as browsers send it.
    Session(Zeroizing<String>),
    /// An API key.
    Key(Zeroizing<String>),
    /// A key that nobody has issued, another one in each request.
    MadeUp,
}

/// A connection, and what is sent on it.
pub(super) struct Client<'l> {
    runtime: Runtime,
    place: &'l Place,
    request: &'l Repeated,
    /// The request up to its credential's digits; whole where the credential stays the same.
    bytes: Zeroizing<Vec<u8>>,
    wire: Option<Wire>,
}

impl<'l> Client<'l> {
    pub(super) fn new(place: &'l Place, request: &'l Repeated) -> io::Result<Self> {
        let credential = match &request.presented {
            Presented::Session(token) => {
                Zeroizing::new(format!("Cookie: openbin-access={}\r\n\r\n", &**token))
            }
            Presented::Key(key) => Zeroizing::new(format!("Authorization: Bearer {}\r\n\r\n", &**key)),
            Presented::MadeUp => Zeroizing::new("Authorization: Bearer sk_openbin_".to_owned()),
        };
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: openbin-gateway/bench\r\nAccept: application/json\r\n",
            request.path,
            place.authority()
        );
        let bytes = Zeroizing::new([head.as_bytes(), credential.as_bytes()].concat());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, place, request, bytes, wire: None })
    }

    /// Sends the request and reads its answer.
    pub(super) fn ask(&mut self) -> Result<(), LoadError> {
        let digits = match self.request.presented {
            Presented::MadeUp => made_up(),
            Presented::Session(_) | Presented::Key(_) => String::new(),
        };
        let (place, held) = (self.place, self.wire.take());
        let bytes = [&self.bytes, digits.as_bytes()];
        let (wire, answer) = self.runtime.block_on(async {
            if let Some(wire) = held
                && let Ok(answered) = exchange(wire, &bytes).await
            {
                return Ok(answered);
            }
            // A kept connection may have been closed meanwhile; what is sent here can be sent twice.
            exchange(Wire::connect(place).await?, &bytes).await
        })?;
        self.wire = wire;
        if answer.status == self.request.expected {
            return Ok(());
        }
        Err(LoadError::Answered {
            status: answer.status,
            code: code(&answer),
            expected: self.request.expected,
        })
    }
}

async fn exchange(mut wire: Wire, parts: &[&[u8]; 2]) -> io::Result<(Option<Wire>, Answer)> {
    match parts {
        [whole, []] => wire.send(whole).await?,
        [start, rest] => wire.send(&Zeroizing::new([*start, *rest].concat())).await?,
    }
    let answer = wire.answer("GET").await?.filter(|answer| answer.whole);
    let answer = answer.ok_or_else(|| io::Error::other("the answer is cut short"))?;
    let ends = answer.all("connection").any(|value| value.eq_ignore_ascii_case("close"));
    Ok(((!ends).then_some(wire), answer))
}

/// The rest of a key of the right shape, and of the head.
fn made_up() -> String {
    let digits: [u128; 2] = rand::random();
    format!("{:032x}{:032x}\r\n\r\n", digits[0], digits[1])
}

/// The error code that OpenBin and the gateway answer with, after a space; nothing where there is none.
fn code(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = body.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
    let plain =
        !code.is_empty() && code.len() <= 40 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if plain { format!(" {code}") } else { String::new() }
}
