//! One connection from its acceptance: TLS handshake, choice of the protocol, [`Peer`].

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::{http1 as hyper1, http2 as hyper2};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::{Handler, Peer, Protocol, TlsSession};

use super::drain::{Permit, Seat};
use super::guard::Guard;
use super::http2::LocalExecutor;
use super::socket::Socket;
use super::{Timeouts, http1, http2, tls};

/// What the connections of one listener of one worker have in common.
pub(super) struct Door<H> {
    pub(super) handler: Rc<H>,
    pub(super) local: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) timeouts: Timeouts,
    pub(super) max_header_bytes: usize,
    pub(super) http1: hyper1::Builder,
    pub(super) http2: hyper2::Builder<LocalExecutor>,
    pub(super) executor: LocalExecutor,
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
    let peer = |tls| Peer { address, local: door.local, tls };
    let Some(acceptor) = &door.tls else {
        let peer = peer(None);
        let socket = Socket::guarded(stream, permit, Guard::new(door.max_header_bytes));
        return Box::pin(http1::serve(door, socket, peer, seat)).await;
    };
    let Some(stream) = Box::pin(handshake(&door, acceptor, stream, &mut seat)).await else {
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

/// `None` when it failed, took too long, or the worker drains.
async fn handshake<H>(
    door: &Door<H>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    seat: &mut Seat,
) -> Option<TlsStream<TcpStream>> {
    let mut handshake = pin!(timeout(door.timeouts.handshake, acceptor.accept(stream)));
    let outcome = poll_fn(|cx| {
        if seat.draining(cx) {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Some)
    })
    .await?;
    match outcome {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake took too long, connection closed");
            None
        }
    }
}

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
