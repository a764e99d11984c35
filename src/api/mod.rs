//! The admin listener: health, metrics and the admin API; and what owners do to their own keys.
//!
//! The admin listener is never reached through those of the gateway; [`api_keys`] is reached through
//! nothing else. Knows no sockets.

mod admin;
pub mod api_keys;
mod door;
mod health;
mod rest;
mod token;

pub use admin::Admin;
pub use door::Door;
pub use health::{Check, Health};
pub use rest::{
    Caller, Client, Desk, DeskError, FindEmail, Later, MakeKey, NewKeyThere, ROOT, ReadSession, Rest,
};
pub use token::{own_token, token_beside};

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
