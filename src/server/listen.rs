//! Sockets to listen on: one for each worker, all bound before the first connection is taken.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::{ListenerSettings, ServerError};

/// One listener's sockets, one for each worker.
#[derive(Debug)]
pub(super) struct Bound {
    /// The address, with the port that was taken if any was asked for.
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// Binds every listener for every worker.
pub(super) fn bind(listeners: &[ListenerSettings], workers: usize) -> Result<Vec<Bound>, ServerError> {
    if listeners.is_empty() {
        return Err(ServerError::NoListener);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    for (index, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses.iter().skip(index + 1).any(|other| other == address) {
            return Err(ServerError::ListedTwice(*address));
        }
    }
    let bind_all = |&address| {
        let stack = stack(address, &addresses);
        bind_one(address, stack, workers).map_err(|error| ServerError::listen(address, error))
    };
    addresses.iter().map(bind_all).collect()
}

/// Which addresses an IPv6 socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stack {
    /// IPv4 as well, where it listens on all addresses.
    Dual,
    /// IPv6 only.
    Single,
}

/// `[::]` takes IPv4 as well, unless another listener has that port of `0.0.0.0`.
fn stack(address: SocketAddr, all: &[SocketAddr]) -> Stack {
    let taken = all.iter().any(|other| {
        other.is_ipv4() && other.port() == address.port() && other.ip().is_unspecified() && other.port() != 0
    });
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !taken { Stack::Dual } else { Stack::Single }
}

fn bind_one(address: SocketAddr, stack: Stack, workers: usize) -> io::Result<Bound> {
    if address.port() != 0 {
        // With SO_REUSEPORT, a second gateway of the same user would quietly take half of the
        // connections. Without it, the system says that somebody is there.
        drop(socket(address, stack, Sharing::Alone)?);
    }
    let first: TcpListener = socket(address, stack, Sharing::BetweenWorkers)?.into();
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(socket(address, stack, Sharing::BetweenWorkers)?.into());
    }
    Ok(Bound { address, sockets })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    BetweenWorkers,
}

/// Accepted connections inherit what is set here, which saves a few system calls for each.
fn socket(address: SocketAddr, stack: Stack, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(stack == Stack::Single)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::BetweenWorkers)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if sharing == Sharing::BetweenWorkers {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_FOR))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Connections that wait to be accepted; the system's own limit (`net.core.somaxconn`) also holds.
const BACKLOG: i32 = 4096;
/// Silence before the system asks whether the client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// How long sent bytes may wait for a client that does not take them.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(300);
/// Bytes that may wait in the system beyond what the client's own window takes. With fewer of them a client that reads
/// slowly is seen to read, and many of them cost the system little.
const UNSENT_BYTES: u32 = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str) -> ListenerSettings {
        ListenerSettings { address: address.parse().expect("address"), tls: None, proxies: None }
    }

    #[test]
    fn port_0_is_one_and_the_same_port_for_every_worker() {
        let bound = bind(&[listener("127.0.0.1:0")], 3).expect("bound");
        let ports: Vec<u16> =
            bound[0].sockets.iter().map(|socket| socket.local_addr().expect("address").port()).collect();
        assert_eq!(ports, vec![bound[0].address.port(); 3]);
        assert_ne!(bound[0].address.port(), 0);
    }

    #[test]
    fn a_port_that_another_server_shares_is_still_refused() {
        let bound = bind(&[listener("127.0.0.1:0")], 2).expect("bound");
        let error = bind(&[listener(&bound[0].address.to_string())], 2).expect_err("in use");
        assert!(matches!(error, ServerError::AddressInUse(address) if address == bound[0].address));
        let plain = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = plain.local_addr().expect("address").to_string();
        assert!(matches!(bind(&[listener(&address)], 1), Err(ServerError::AddressInUse(_))));
    }

    #[test]
    fn a_port_is_free_again_as_soon_as_its_server_is_gone() {
        let bound = bind(&[listener("127.0.0.1:0")], 2).expect("bound");
        let address = bound[0].address;
        let client = std::net::TcpStream::connect(address).expect("connected");
        drop(bound);
        drop(client);
        bind(&[listener(&address.to_string())], 2).expect("bound again");
    }

    #[test]
    fn the_same_address_twice_is_refused_by_name() {
        let twice = [listener("127.0.0.1:18080"), listener("127.0.0.1:18080")];
        assert!(matches!(bind(&twice, 1), Err(ServerError::ListedTwice(_))));
        assert!(matches!(bind(&[], 1), Err(ServerError::NoListener)));
    }

    #[test]
    fn all_ipv6_addresses_mean_all_ipv4_addresses_too_unless_these_are_listed() {
        let any6: SocketAddr = "[::]:8080".parse().expect("address");
        let any4: SocketAddr = "0.0.0.0:8080".parse().expect("address");
        assert_eq!(stack(any6, &[any6]), Stack::Dual);
        assert_eq!(stack(any6, &[any4, any6]), Stack::Single);
        assert_eq!(stack(any6, &["0.0.0.0:8081".parse().expect("address"), any6]), Stack::Dual);
        assert_eq!(stack("[::1]:8080".parse().expect("address"), &[]), Stack::Single);
    }

    #[test]
    fn accepted_connections_inherit_what_the_listener_has_set() {
        let bound = bind(&[listener("127.0.0.1:0")], 1).expect("bound");
        let _client = std::net::TcpStream::connect(bound[0].address).expect("connected");
        bound[0].sockets[0].set_nonblocking(false).expect("blocking");
        let (accepted, _) = bound[0].sockets[0].accept().expect("accepted");
        let accepted = Socket::from(accepted);
        assert!(accepted.tcp_nodelay().expect("option"));
        assert!(accepted.keepalive().expect("option"));
        assert_eq!(accepted.tcp_notsent_lowat().expect("option"), UNSENT_BYTES);
        assert_eq!(accepted.tcp_user_timeout().expect("option"), Some(UNACKNOWLEDGED_FOR));
    }
}
