//! The command line's keys, users and audit chain: through a running gateway, and straight to its store.

#[path = "../support/mod.rs"]
mod support;

mod desk;

mod audit;
mod bulk;
mod import;
mod life;
mod refusals;
mod scan;
