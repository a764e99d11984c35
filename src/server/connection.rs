//! One connection from its acceptance: PROXY header, TLS handshake, choice of the protocol, [`Peer`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::http1 as hyper1;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::{Handler, Peer, Protocol, TlsSession};

use super::accept::Complaint;
use super::drain::Seat;
use super::ended::Ended;
use super::gate::Permit;
use super::guard::Guard;
use super::socket::Socket;
use super::{Addresses, Timeouts, http1, http2, proxy, tls};

/// What the connections of one listener of one worker have in common.
pub(super) struct Door<H> {
    pub(super) handler: Rc<H>,
    pub(super) local: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) proxies: Option<Addresses>,
    pub(super) timeouts: Timeouts,
    pub(super) ended: Ended,
    pub(super) failed_handshakes: RefCell<Complaint>,
    pub(super) max_header_bytes: usize,
    pub(super) max_headers: usize,
    pub(super) http1: hyper1::Builder,
    pub(super) http2: http2::Builder,
}

impl<H> Door<H> {
    /// Whether a connection from there may go on, as far as it is known whose it is.
    pub(super) fn admit(&self, permit: Permit, peer: IpAddr) -> Option<Permit> {
        match &self.proxies {
            None => permit.of(peer).inspect_err(|_| self.ended.address.inc()).ok(),
            Some(proxies) if proxies.have(peer) => Some(permit),
            Some(_) => {
                tracing::debug!(%peer, listener = %self.local, "not one of the proxies, connection closed");
                self.ended.proxy.inc();
                None
            }
        }
    }
}

/// Serves one connection to its end.
///
/// The large futures are boxed, so that each takes room only while it runs.
pub(super) async fn serve<H: Handler>(
    door: Rc<Door<H>>,
    stream: TcpStream,
    address: SocketAddr,
    permit: Permit,
    mut seat: Seat,
) {
    let mut arrived = Some((stream, address, permit));
    if door.proxies.is_some()
        && let Some(by_proxy) = arrived.take()
    {
        arrived = Box::pin(introduced(&door, by_proxy, &mut seat)).await;
    }
    let Some((stream, address, permit)) = arrived else { return };
    let peer = |tls| Peer { address, local: door.local, tls };
    let Some(acceptor) = &door.tls else {
        let peer = peer(None);
        let socket = Socket::guarded(stream, permit, Guard::new(door.max_header_bytes));
        return Box::pin(http1::serve(door, socket, peer, seat)).await;
    };
    let Some(stream) = Box::pin(handshake(&door, acceptor, (stream, address), &mut seat)).await else {
        return;
    };
    let session = tls_session(&stream);
    let protocol = session.protocol;
    let peer = peer(Some(session));
    match protocol {
        Protocol::Http1 => {
            let socket = Socket::guarded(stream, permit, Guard::new(door.max_header_bytes));
            Box::pin(http1::serve(door, socket, peer, seat)).await;
        }
        Protocol::Http2 => Box::pin(http2::serve(door, Socket::new(stream, permit), peer, seat)).await,
    }
}

/// A connection, where it comes from, and the right to keep it open.
type Arrived = (TcpStream, SocketAddr, Permit);

/// Has a proxy say whose connection it is; `None` when it did not, or its client has too many.
async fn introduced<H>(door: &Door<H>, arrived: Arrived, seat: &mut Seat) -> Option<Arrived> {
    let (mut stream, proxy, permit) = arrived;
    let error = match in_time(door.timeouts.handshake, proxy::read(&mut stream), seat).await? {
        Ok(Ok(None)) => return Some((stream, proxy, permit)),
        Ok(Ok(Some(client))) => {
            let permit = permit.of(client.ip()).inspect_err(|_| door.ended.address.inc()).ok()?;
            return Some((stream, client, permit));
        }
        Ok(Err(error)) => error,
        Err(Elapsed { .. }) => std::io::ErrorKind::TimedOut.into(),
    };
    // A probe that only looks whether the port is open says nothing, and is nothing to be told of.
    tracing::debug!(%proxy, %error, "no PROXY header, connection closed");
    door.ended.proxy.inc();
    None
}

/// `None` when the worker drains meanwhile.
async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = T>,
    seat: &mut Seat,
) -> Option<Result<T, Elapsed>> {
    let mut future = pin!(timeout(limit, future));
    poll_fn(|cx| {
        if seat.draining(cx) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// `None` when it failed, took too long, or the worker drains.
async fn handshake<H>(
    door: &Door<H>,
    acceptor: &TlsAcceptor,
    (stream, client): (TcpStream, SocketAddr),
    seat: &mut Seat,
) -> Option<TlsStream<TcpStream>> {
    match in_time(door.timeouts.handshake, acceptor.accept(stream), seat).await? {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            door.ended.tls.inc();
            if door.failed_handshakes.borrow_mut().due(Instant::now()) {
                tracing::info!(%client, listener = %door.local, %error, "TLS handshake failed; others, this minute, are only counted");
            } else {
                tracing::debug!(%client, %error, "TLS handshake failed");
            }
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake took too long, connection closed");
            door.ended.handshake.inc();
            None
        }
    }
}

/// Between two messages about handshakes that failed: anybody can make them fail.
pub(super) const TELL_OF_HANDSHAKES_EVERY: Duration = Duration::from_secs(60);

fn tls_session(stream: &TlsStream<TcpStream>) -> TlsSession {
    let (_, connection) = stream.get_ref();
    TlsSession {
        server_name: connection.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str()),
        protocol: match connection.alpn_protocol() {
            Some(protocol) if protocol == tls::H2 => Protocol::Http2,
            _ => Protocol::Http1,
        },
    }
}
