//! The server over real sockets: TLS, protocols, limits, timeouts, drain.

mod drain;
mod http;
mod limits;
mod support;
mod tls;
