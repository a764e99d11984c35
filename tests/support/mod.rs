//! What the black-box tests share: gateways as real processes, clients that speak exact bytes, and
//! upstreams that record them.
//!
//! Nothing here knows the inside of the gateway; it is driven through its command line, its files and
//! its sockets only. Each file of tests uses a part of this, so what one of them leaves unused is no mistake.
#![allow(dead_code, missing_docs, unused_imports)]

pub mod certificate;
pub mod client;
pub mod frames;
pub mod gateway;
pub mod issuer;
pub mod jwt;
pub mod long;
pub mod metrics;
pub mod openbin;
pub mod port;
pub mod process;
pub mod recorder;
pub mod redis;
pub mod relay;
pub mod response;
pub mod scripted;
pub mod sentinel;
pub mod setup;
pub mod store;
pub mod tap;
pub mod wait;
pub mod websocket;
pub mod wire;

pub use client::{EVERY_WAY, Request, Via};
pub use gateway::Gateway;
pub use issuer::Issuer;
pub use recorder::Recorder;
pub use relay::Relay;
pub use response::Response;
pub use setup::{Instance, Setup};
pub use store::Store;
pub use wire::Wire;
