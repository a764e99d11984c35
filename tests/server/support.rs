//! A server with a tiny handler, and clients that can misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openbin_gateway::http::{Abort, Handler, Line, Peer, Received, Refusal};
use openbin_gateway::observe::Metrics;
use openbin_gateway::server::{
    Addresses, Certificates, ListenerSettings, Running, ServerError, Settings, Timeouts, start,
};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than anything here should ever take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// More than all buffers between two sockets.
pub const HUGE: usize = 24 << 20;

/// Holds requests to `/wait` until the test lets them go.
#[derive(Debug)]
pub struct Turnstile {
    pub entered: Semaphore,
    pub released: Semaphore,
}

pub struct Probe {
    worker: usize,
    turnstile: Arc<Turnstile>,
}

impl Handler for Probe {
    type Body = Full<Bytes>;

    async fn handle(
        &self,
        request: &mut Option<Request<Received>>,
        peer: &Peer,
        _line: Line,
    ) -> Result<Response<Self::Body>, Abort> {
        let request = request.take().ok_or(Abort)?;
        let own = |text: String| Ok(Response::new(Full::from(text)));
        match request.uri().path() {
            "/wait" => {
                self.turnstile.entered.add_permits(1);
                self.turnstile.released.acquire().await.map_err(|_| Abort)?.forget();
                own("waited".to_owned())
            }
            "/echo" => {
                own(request.into_body().collect().await.map_err(|_| Abort)?.to_bytes().len().to_string())
            }
            "/peer" => own(peer.address.to_string()),
            "/huge" => Ok(Response::new(Full::from(vec![b'x'; HUGE]))),
            "/big" => own("x".repeat(1024 * 1024)),
            "/refuse" => {
                let mut response = Response::new(Full::from("too large"));
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                Ok(response)
            }
            "/keep" => {
                let turnstile = Arc::clone(&self.turnstile);
                tokio::task::spawn_local(async move {
                    let mut body = request.into_body();
                    while let Some(Ok(frame)) = body.frame().await {
                        turnstile.entered.add_permits(frame.data_ref().map_or(0, Bytes::len));
                    }
                });
                own("kept".to_owned())
            }
            "/abort" => Err(Abort),
            "/panic" => panic!("the handler panics"),
            _ => {
                let thread = std::thread::current().name().unwrap_or_default().to_owned();
                assert_eq!(thread, format!("worker-{}", self.worker));
                own(format!("{thread} {:?} {:?}", peer.tls, request.version()))
            }
        }
    }

    fn refuse(&self, refusal: Refusal, _: Version, _: &Peer) -> Response<Self::Body> {
        let mut response = Response::new(Full::from("not a request"));
        *response.status_mut() = refusal.status();
        response
    }
}

pub struct Server {
    pub running: Running,
    pub address: SocketAddr,
    pub turnstile: Arc<Turnstile>,
    pub metrics: Arc<Metrics>,
}

pub fn settings(tls: Option<Certificates>) -> Settings {
    Settings {
        workers: 1,
        listeners: vec![ListenerSettings { address: ([127, 0, 0, 1], 0).into(), tls, proxies: None }],
        timeouts: Timeouts {
            handshake: PATIENCE,
            header: PATIENCE,
            idle: PATIENCE * 3,
            write: PATIENCE * 3,
            lifetime: None,
            drain: PATIENCE,
        },
        max_connections: 1000,
        max_connections_per_address: 1000,
        exempt: Addresses::none(),
        max_header_bytes: 64 * 1024,
        max_headers: 100,
        max_concurrent_streams: 100,
        extended_connect: false,
    }
}

pub fn try_serve(settings: Settings) -> Result<Server, ServerError> {
    let turnstile = Arc::new(Turnstile { entered: Semaphore::new(0), released: Semaphore::new(0) });
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let make = {
        let turnstile = Arc::clone(&turnstile);
        move |worker| Probe { worker, turnstile: Arc::clone(&turnstile) }
    };
    let running = start(settings, Arc::clone(&metrics), make)?;
    let address = running.addresses()[0];
    Ok(Server { running, address, turnstile, metrics })
}

pub fn serve(settings: Settings) -> Server {
    try_serve(settings).expect("started")
}

pub fn plain() -> Server {
    serve(settings(None))
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        stream.set_nodelay(true).expect("option");
        stream
    }

    /// Waits until the metrics say that so many connections are open.
    pub async fn has_connections(&self, count: usize) {
        self.says(format!("openbin_gateway_connections{{listener=\"{}\"}} {count}\n", self.address)).await;
    }

    /// Waits until the metrics say that so many connections were ended by a bound.
    pub async fn has_ended(&self, reason: &str, count: usize) {
        self.says(format!("openbin_gateway_connections_ended_total{{reason=\"{reason}\"}} {count}\n")).await;
    }

    async fn says(&self, line: String) {
        let seen = async {
            while !self.metrics.render().expect("metrics").contains(&line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(seen).await;
    }
}

/// Fails instead of hanging.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

pub fn certificate() -> CertifiedKey {
    Certificates::self_signed(&["localhost".to_owned(), "other.test".to_owned()]).expect("certificate")
}

/// A client that trusts only this certificate.
pub fn client_config(
    trusted: &CertifiedKey,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.cert[0].clone()).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("name")
}

pub async fn tls(
    server: &Server,
    config: &Arc<rustls::ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(Arc::clone(config)).connect(name(), server.connect().await).await
}

pub type Http2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// An HTTP/2 client, and a task that ends with its connection.
pub async fn http2(stream: TlsStream<TcpStream>) -> (Http2, tokio::task::JoinHandle<hyper::Result<()>>) {
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(Full::default()).expect("request")
}

pub async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("body").to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends bytes and reads one response: its head and as much content as its `Content-Length` says.
pub async fn exchange<S: AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("sent");
    stream.flush().await.expect("sent");
    response(stream).await
}

pub async fn response<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut seen = Vec::new();
    let whole = |seen: &[u8]| {
        let text = String::from_utf8_lossy(seen).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let field = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        (body.len() >= field.parse().ok()?).then_some(text)
    };
    within(async {
        loop {
            if let Some(text) = whole(&seen) {
                return text;
            }
            let mut buffer = [0; 16 * 1024];
            let length = stream.read(&mut buffer).await.expect("a response");
            assert_ne!(length, 0, "connection ended: {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..length]);
        }
    })
    .await
}

/// What still comes until the connection ends, in whichever way.
pub async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut seen = Vec::new();
    let _ = within(stream.read_to_end(&mut seen)).await;
    seen
}
