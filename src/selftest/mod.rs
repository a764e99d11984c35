//! What an operator runs against a gateway: whether it decides as the instance behind it does, whether one request in
//! is one request out at most, and what it costs. Knows no configuration, and of the gateway only what it answers.

pub mod case;
mod compare;
mod dice;
pub mod judge;
mod lane;
mod load;
mod parity;
mod place;
pub mod strict;
mod stricter;
pub mod tape;
mod token;
mod trial;
mod wire;

pub use compare::{Difference, Seen};
pub use load::{Figures, Load, LoadError, Pace, Presented, Repeated};
pub use parity::{Both, Found, Parity, whose};
pub use place::{Place, Trust};
pub use stricter::{Noticed, STRICTER, Stricter};
pub use token::session;
pub use trial::{Persona, Trial};
pub use wire::{Answer, Wire};
