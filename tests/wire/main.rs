//! What goes over the wires, byte by byte: what a gateway lets through to an instance, and what it makes of
//! what comes back.
//!
//! The cases are data; what reads and judges them is what operators run as `selftest desync`. Every case runs against a gateway as its operator runs it.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod h2;
mod identity;
mod requests;

use openbin_gateway::selftest::{case, judge, strict, tape};
