//! Faults of the network and of the store, and what must hold while they last and after.

#[path = "../support/mod.rs"]
mod support;

mod relay;
