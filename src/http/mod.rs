//! What every part that speaks HTTP shares: bodies, handlers, the gateway's own
//! replies, and header names.
//!
//! Knows no authentication, no sockets and no store.

mod body;
mod digits;
mod foreword;
mod handler;
pub mod header;
mod line;
mod pace;
mod parts;
mod received;
mod reply;
mod switch;
mod token;

pub use body::{Body, BodyLimitExceeded, Progress, RequestBody, RequestBodyError};
pub use digits::{append_address, append_number};
pub use foreword::{Foreword, Interim};
pub use handler::{Abort, Handler, Peer, Protocol, TlsSession};
pub use line::{Line, Lines};
pub use pace::Floor;
pub use parts::poll_write_parts;
pub use received::{ReceiveError, Received, Stream};
pub use reply::{Cors, Refusal, reply, whole_seconds};
pub use switch::{ClientEnd, Offer, OnSwitch};
pub use token::is_token_byte;
