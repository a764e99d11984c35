//! openbin-gateway: the authentication gateway in front of OpenBin instances.
//!
//! TLS is terminated here, the session cookie, Bearer token or API key of each request is verified,
//! the identity is stamped on the request, and the request is forwarded to the instance as if nothing
//! stood between.
//!
//! The rooms, in the order in which data flows through them:
//!
//! | room | job |
//! |---|---|
//! | [`cli`] | arguments, commands, what a person reads on a terminal |
//! | [`app`] | composition root: configuration → parts → listeners; signals, reload, drain |
//! | [`config`] | YAML and environment → one `Settings` per part, every problem at once |
//! | [`server`] | sockets: worker threads, listeners, TLS, connection timers, drain |
//! | [`gateway`] | the straight path of one request |
//! | [`upstream`] | connections to the instances, one pool per worker |
//! | [`auth`] | credential → identity, or the reason why not |
//! | [`keys`] | the key store and its rules: records, cache, last use |
//! | [`api`] | the admin listener: health and metrics |
//! | [`http`] | bodies, replies and header names shared by the parts that speak HTTP |
//! | [`observe`] | metrics, access log, tracing set-up |
//! | [`sample`] | a small OpenBin in memory, for the demo and for tests |
//! | [`selftest`] | what an operator runs against a gateway to see whether it keeps its promises |
//!
//! Which room may know which is fixed, and checked by a test (`tests/house.rs`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod http;
pub mod keys;
pub mod observe;
pub mod sample;
pub mod selftest;
pub mod server;
pub mod upstream;
