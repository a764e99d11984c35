//! Where a request really comes from: the peer, or who a trusted proxy says is behind it.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderValue};

use crate::http::Peer;
use crate::http::header::{X_FORWARDED_FOR, X_FORWARDED_PROTO};
use crate::keys::Network;

/// The client, as OpenBin shall see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) address: IpAddr,
    pub(super) scheme: Scheme,
}

/// The scheme that the client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Origin {
    /// Believes `X-Forwarded-*` only where the peer is a trusted proxy.
    pub(super) fn of(peer: &Peer, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let own = if peer.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if !is_trusted(peer.ip()) {
            return Self { address: peer.ip(), scheme: own };
        }
        Self {
            address: walk(headers, peer.ip(), is_trusted),
            scheme: forwarded_scheme(headers).unwrap_or(own),
        }
    }
}

/// Walks from the nearest hop to the farthest, and stops at the first that is not a trusted proxy, or
/// behind which nothing can be read.
fn walk(headers: &HeaderMap, nearest: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = nearest;
    for field in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        let Ok(field) = field.to_str() else { return client };
        for hop in field.rsplit(',') {
            let Some(address) = hop_address(hop.trim()) else { return client };
            client = address;
            if !is_trusted(client) {
                return client;
            }
        }
    }
    client
}

/// Reads an address that may have a port, or brackets.
fn hop_address(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = hop.parse::<std::net::SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = hop.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let value = headers.get_all(X_FORWARDED_PROTO).iter().next_back().map(HeaderValue::as_bytes)?;
    let nearest = value.rsplit(|byte| *byte == b',').next()?.trim_ascii();
    if nearest.eq_ignore_ascii_case(b"https") {
        Some(Scheme::Https)
    } else if nearest.eq_ignore_ascii_case(b"http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let peer = Peer {
            address: format!("{peer}:1000").parse().expect("address"),
            local: "127.0.0.1:443".parse().expect("address"),
            tls: None,
        };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, value.parse().expect("value"));
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().expect("network")).collect();
        Origin::of(&peer, &headers, &trusted).address.to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(client("203.0.113.9", &["1.1.1.1"], &[]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["1.1.1.1"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_first_hop_that_is_not_trusted() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], &trusted), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.1.1.1"], &trusted), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3"], &trusted), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &["1.1.1.1:99"], &trusted), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &[], &trusted), "10.0.0.1");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["6.6.6.6, junk, 10.0.0.2"], &trusted), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["a"], &trusted), "10.0.0.1");
    }
}
