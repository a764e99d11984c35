//! Faults of the network, of the store and of gateways: when a call that ends a key, a user or a session has
//! returned success, no gateway accepts it again.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod fleet;
mod footprint;
mod instance;
mod journal;
mod judge;
mod line;
mod load;
mod round;
mod sentinels;
mod stock;
mod table;
mod trouble;

mod campaign;
mod judge_tests;
mod measure;
mod ports;
mod relay;
