//! What an operator runs against a gateway: whether it decides as the instance behind it does, and whether one
//! request in is one request out at most. Knows no configuration, and of the gateway only what it answers.

pub mod case;
mod compare;
mod dice;
pub mod judge;
mod lane;
mod parity;
mod place;
pub mod strict;
mod stricter;
pub mod tape;
mod token;
mod trial;
mod wire;

pub use compare::{Difference, Seen};
pub use parity::{Both, Found, Parity, whose};
pub use place::{Place, Trust};
pub use stricter::{Noticed, STRICTER, Stricter};
pub use trial::{Persona, Trial};
pub use wire::{Answer, Wire};
