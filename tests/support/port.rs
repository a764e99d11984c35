//! Ports of a test's own, for servers that are started by number, or that are not to be there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below those that the system itself gives out. One of its own, asked for and let go of, it would give to the
/// next who listens or connects anywhere on the machine, before the server has it or while it is down.
const OURS: Range<u16> = 10_000..32_000;

/// A port that nobody listens on, and that no other test is given while this process lives.
///
/// The number is claimed in UDP, which none of these servers speak: the system keeps that claim between
/// processes, and ends it with them.
pub fn free_port() -> u16 {
    static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    for _ in 0..1_000 {
        let port = rand::random_range(OURS);
        let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
            return port;
        }
    }
    panic!("no port is free of {OURS:?}");
}

/// An address at which nobody is.
pub fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
