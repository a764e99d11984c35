//! Black-box tests of whole gateways, each a process of its own with its own ports and files.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod adoption;
mod bounds;
mod cors;
mod credentials;
mod cut;
mod demo;
mod emptied;
mod fidelity;
mod floods;
mod framing;
mod hosts;
mod imports;
mod journey;
mod kept;
mod last_use;
mod limits;
mod mirror;
mod own_keys;
mod own_keys_rules;
mod own_keys_twin;
mod proxied;
mod refusals;
mod registry;
mod reload;
mod revocation;
mod routes;
mod secrecy;
mod several;
mod shared_limits;
mod shutdown;
mod soak;
mod stamping;
mod startup;
mod store_down;
mod store_faults;
mod store_states;
mod streams;
mod tokens;
mod transfer;
mod upgrades;
mod upstream_faults;
