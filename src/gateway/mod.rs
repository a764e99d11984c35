//! The straight path of one request: chosen instance, route, credential, identity, stamp, forward.
//!
//! [`Gateway::pass`] reads as these steps, in their order. Knows no sockets and no configuration file.

mod adopt;
mod agent;
mod authority;
#[doc(hidden)]
pub mod bench;
mod credential;
mod csrf;
mod denial;
mod errands;
mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod limits;
mod live;
mod mirror;
mod openbin;
mod origin;
mod pass;
mod plan;
mod recorded;
mod request_id;
mod route;
mod stamp;
mod stand_in;
mod target;
mod upgrade;

use std::sync::Arc;

use crate::http::{Cors, Floor};
use crate::keys::{Issuer, Network};
use crate::{auth, upstream};

pub use agent::{Agent, AgentError, Made, Owner};
pub use errands::run_errands;
pub use pass::Gateway;
pub use plan::{Instance, Plan};
pub use recorded::Recorded;

/// What the gateway forwards to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The instances; at least one.
    pub instances: Vec<InstanceSettings>,
    /// Networks whose `X-Forwarded-*` fields are believed.
    pub trusted_proxies: Vec<Network>,
    /// The most content that a request may have.
    pub max_body_bytes: u64,
    /// The least that a client must send of it; `None`: any pace will do.
    pub body_floor: Option<Floor>,
    /// The longest request target.
    pub max_target_bytes: usize,
    /// The protocols that clients may switch to, in lower case.
    pub upgrades: Vec<String>,
    /// Whether exchanges under way end with their credential.
    pub cut_live_exchanges: bool,
    /// How much keys and addresses may do.
    pub limits: auth::LimitSettings,
}

/// One OpenBin instance.
#[derive(Debug, Clone)]
pub struct InstanceSettings {
    /// Its name in logs, metrics and the key store.
    pub name: Arc<str>,
    /// The hosts that it answers to, lower-case, without port; empty: every host.
    pub hosts: Vec<String>,
    /// Where it is.
    pub upstream: upstream::Settings,
    /// How its credentials are checked.
    pub auth: auth::Settings,
    /// Who issues its keys.
    pub key_issuer: Issuer,
    /// Whether a session is over when its user signs out through the gateway.
    pub end_sessions: bool,
    /// The origin whose pages may read the gateway's own replies.
    pub cors: Option<Cors>,
}
