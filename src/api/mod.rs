//! The admin listener: health and metrics.
//!
//! It has a listener of its own and is never reached through those of the gateway. Knows no sockets.

mod admin;
mod health;

pub use admin::Admin;
pub use health::{Check, Health};

use std::net::SocketAddr;

/// Where the admin listener is, and who may use it.
#[derive(Clone)]
pub struct Settings {
    /// The address; loopback unless there is a token.
    pub address: SocketAddr,
    /// What a caller must send as `Authorization: Bearer`; `None` on loopback only.
    pub token: Option<zeroize::Zeroizing<String>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .finish()
    }
}
