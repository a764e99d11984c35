//! The server over real sockets: TLS, protocols, limits, timeouts, drain.

mod bounds;
mod drain;
mod http;
mod limits;
mod proxy;
mod support;
mod tls;
