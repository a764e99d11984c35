//! The gateway beside what OpenBin itself uses: Express's router and jose's verification, run by Node.
//!
//! Ignored by `cargo test`, which says so, since it needs `node` and `npm`: `make express` installs them and runs it,
//! and CI always does.

#[path = "../support/mod.rs"]
mod support;

mod node;
mod paths;
mod routes;
mod token_cases;
mod tokens;
