//! What goes over the wires, byte by byte: what a gateway lets through to an instance, and what it makes of
//! what comes back.
//!
//! The cases are data, in `corpus/`; `case` reads them, `tape` is an instance that records and believes
//! nothing, `judge` compares. Every case runs against a gateway as its operator runs it.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod case;
mod h2;
mod identity;
mod judge;
mod requests;
mod strict;
mod tape;
