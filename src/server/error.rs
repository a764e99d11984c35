//! Why the server could not start, and what to do about it.

use std::io;
use std::net::SocketAddr;

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is nothing to listen on.
    #[error("no address to listen on: name at least one")]
    NoListener,
    /// Two listeners have the same address.
    #[error("{0} is listed twice as an address to listen on: remove one of the two")]
    ListedTwice(SocketAddr),
    /// Somebody else listens there already.
    #[error(
        "cannot listen on {0}: address in use by another process or another listener; \
         stop it (`ss -ltnp 'sport = :{port}'` names it) or choose another port",
        port = .0.port()
    )]
    AddressInUse(SocketAddr),
    /// A port below 1024 without the privilege for it.
    #[error(
        "cannot listen on {0}: permission denied; ports below 1024 need a privilege: set \
         `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the systemd unit, or run \
         `sudo setcap cap_net_bind_service=+ep` on the program, or choose a port from 1024 up"
    )]
    PermissionDenied(SocketAddr),
    /// The address belongs to no network interface here.
    #[error(
        "cannot listen on {0}: this machine has no such address; use one that `ip address` shows, \
         or 0.0.0.0 or [::] for all of them"
    )]
    NoSuchAddress(SocketAddr),
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS on {address}: {source}")]
    Tls {
        /// The listener's address.
        address: SocketAddr,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A worker thread could not be started.
    #[error("cannot start a worker thread: {0}; check the limits on threads and open files")]
    Worker(#[source] io::Error),
}

impl ServerError {
    /// The error for an address that could not be bound.
    pub(super) fn listen(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(address),
            io::ErrorKind::PermissionDenied => Self::PermissionDenied(address),
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress(address),
            _ => Self::Listen { address, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: io::ErrorKind) -> String {
        let address = "127.0.0.1:443".parse().expect("address");
        ServerError::listen(address, io::Error::from(kind)).to_string()
    }

    #[test]
    fn every_refusal_names_the_address_and_the_mend() {
        let in_use = text(io::ErrorKind::AddrInUse);
        assert!(in_use.contains("127.0.0.1:443: address in use by another process"), "{in_use}");
        assert!(in_use.contains("ss -ltnp 'sport = :443'"), "{in_use}");
        let denied = text(io::ErrorKind::PermissionDenied);
        assert!(denied.contains("127.0.0.1:443") && denied.contains("setcap"), "{denied}");
        assert!(denied.contains("AmbientCapabilities"), "{denied}");
        assert!(text(io::ErrorKind::AddrNotAvailable).contains("no such address"));
        assert!(text(io::ErrorKind::Unsupported).contains("127.0.0.1:443"));
    }
}
