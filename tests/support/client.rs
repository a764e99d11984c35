//! A small client: the same request over each way into the gateway.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::gateway::Gateway;
use super::response::Response;
use super::wait;
use super::wire::{Wire, tls_stream};

/// A way into the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    H2,
}

/// All ways into the gateway.
pub const EVERY_WAY: [Via; 3] = [Via::Plain, Via::Tls, Via::H2];

/// A request, not sent yet.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    host: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "localhost".to_owned(),
            fields: Vec::new(),
            body: None,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..Self::new("POST", target) }
            .field("Content-Type", "application/json")
    }

    pub fn delete(target: &str) -> Self {
        Self::new("DELETE", target)
    }

    /// Its method.
    pub fn asks_by(&self) -> &str {
        &self.method
    }

    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// One more header field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes fields of this name away.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    pub fn fields(self, fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(self, |request, (name, value)| request.field(name, value))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.field("Authorization", &format!("Bearer {token}"))
    }

    /// The session cookie with this value.
    pub fn session(self, value: &str) -> Self {
        self.field("Cookie", &format!("openbin-access={value}"))
    }

    /// Sends it on a connection of its own.
    pub async fn send(&self, gateway: &Gateway, via: Via) -> Response {
        match via {
            Via::Plain => self.to(gateway.http).await,
            Via::Tls => self.on(&mut Wire::tls(gateway.https, self.server_name()).await).await,
            Via::H2 => H2::connect(gateway.https, self.server_name()).await.send(self).await,
        }
    }

    /// Sends it to an address by HTTP/1.1 without TLS.
    pub async fn to(&self, address: SocketAddr) -> Response {
        self.on(&mut Wire::plain(address).await).await
    }

    /// Sends it on a connection that is open.
    pub async fn on(&self, wire: &mut Wire) -> Response {
        wire.send(self.bytes()).await;
        wire.response_to(&self.method).await
    }

    /// Its bytes in HTTP/1.1.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// It as a request of hyper's, for HTTP/2.
    pub fn for_h2(&self) -> hyper::Request<Full<Bytes>> {
        let mut builder = hyper::Request::builder()
            .method(self.method.as_str())
            .uri(format!("https://{}{}", self.host, self.target));
        for (name, value) in &self.fields {
            builder = builder.header(name.as_str(), value.as_str());
        }
        builder.body(Full::from(self.body.clone().unwrap_or_default())).expect("a request")
    }

    fn server_name(&self) -> &str {
        let host = self.host.rsplit_once(':').map_or(self.host.as_str(), |(host, _)| host);
        if super::setup::NAMES.contains(&host) { host } else { "localhost" }
    }
}

/// An HTTP/2 connection to the gateway.
#[derive(Debug, Clone)]
pub struct H2(http2::SendRequest<Full<Bytes>>);

impl H2 {
    /// Connects; the server must agree on HTTP/2.
    pub async fn connect(address: SocketAddr, server_name: &str) -> Self {
        let stream = tls_stream(address, server_name, &[b"h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "the server agrees on HTTP/2");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = wait::within("an HTTP/2 handshake", handshake).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request and reads the whole response.
    pub async fn send(&self, request: &Request) -> Response {
        self.try_send(request).await.expect("a response")
    }

    /// Sends a request and reads the whole response, or says why there is none.
    pub async fn try_send(&self, request: &Request) -> hyper::Result<Response> {
        Ok(collect(self.open(request.for_h2()).await?).await)
    }

    /// Sends a request and returns as soon as the response's head has come.
    pub async fn open(
        &self,
        request: hyper::Request<Full<Bytes>>,
    ) -> hyper::Result<hyper::Response<Incoming>> {
        let mut sender = self.0.clone();
        wait::within("an HTTP/2 response", sender.send_request(request)).await
    }
}

/// Reads the rest of a response.
pub async fn collect(response: hyper::Response<Incoming>) -> Response {
    let (parts, mut body) = response.into_parts();
    let mut out = Response {
        status: parts.status.as_u16(),
        fields: texts(&parts.headers),
        body: Vec::new(),
        trailers: Vec::new(),
        whole: true,
    };
    while let Some(frame) = wait::within("an HTTP/2 frame", body.frame()).await {
        let Ok(frame) = frame else {
            out.whole = false;
            break;
        };
        match frame.into_data() {
            Ok(data) => out.body.extend_from_slice(&data),
            Err(frame) => out.trailers = frame.trailers_ref().map(texts).unwrap_or_default(),
        }
    }
    out
}

fn texts(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
