//! WebSocket connections through a gateway as their client sees them, and the server behind it. Speaks the
//! handshake only: for what comes after it, bytes are bytes.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Request, Via};
use super::recorder::{Call, Recorded};
use super::tap::{Heard, Tap};
use super::wire::tls_stream;
use super::{Gateway, wait};

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// RFC 9113 §7.
pub const CANCEL: u32 = 8;
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a WebSocket server answers.
pub fn accepting(head: &Recorded) -> String {
    let key = head.field("sec-websocket-key").expect("a key");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sum);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// A server that sends back whatever comes, 4 bytes at a time, until its client has said its last.
pub async fn echo(mut call: Call) {
    let Some(head) = call.head().await else { return };
    call.send(accepting(&head)).await;
    while let Some(bytes) = call.exactly(4).await {
        if !call.send(bytes).await {
            return;
        }
    }
    call.send(b"bye!").await;
    call.finish().await;
}

pub fn request(bearer: &str) -> Request {
    let request = Request::get("/api/live?x=1").fields(&[
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "h2c, websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("X-Auth-User-Id", "root"),
    ]);
    if bearer.is_empty() { request } else { request.bearer(bearer) }
}

/// Asks for a WebSocket; the status and the fields of the answer, and the stream behind it.
pub async fn open(
    gateway: &Gateway,
    via: Via,
    bearer: &str,
) -> (u16, Vec<(String, String)>, Box<dyn Stream>) {
    match via {
        Via::Plain => {
            open_h1(Box::new(TcpStream::connect(gateway.http).await.expect("connected")), bearer).await
        }
        Via::Tls => {
            let stream = tls_stream(gateway.https, "localhost", &[b"http/1.1"]).await;
            open_h1(Box::new(stream), bearer).await
        }
        Via::H2 => open_h2(gateway, bearer).await.expect("an answer").0,
    }
}

async fn open_h1(mut stream: Box<dyn Stream>, bearer: &str) -> (u16, Vec<(String, String)>, Box<dyn Stream>) {
    stream.write_all(&request(bearer).bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(wait::within("a head", stream.read_u8()).await.expect("a byte"));
    }
    let head = String::from_utf8(head).expect("text");
    let status = head[9..12].parse().expect("a status");
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    (status, fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(), stream)
}

pub type Opened = (u16, Vec<(String, String)>, Box<dyn Stream>);

/// Of the first request of a connection comes stream 1 (RFC 9113 §5.1.1).
pub const SECOND_STREAM: u32 = 3;

pub async fn open_h2(gateway: &Gateway, bearer: &str) -> hyper::Result<(Opened, Heard)> {
    let (stream, heard) = Tap::new(tls_stream(gateway.https, "localhost", &[b"h2"]).await);
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    // The server's settings must have come before its extension can be used (RFC 8441 §3).
    let first = hyper::Request::get("https://localhost/api/none").body(Empty::<Bytes>::new()).expect("one");
    assert_eq!(sender.send_request(first).await?.status(), 401);
    let mut builder = hyper::Request::builder()
        .method("CONNECT")
        .uri("https://localhost/api/live?x=1")
        .extension(Protocol::from_static("websocket"))
        .header("Sec-WebSocket-Version", "13")
        .header("X-Auth-User-Id", "root");
    if !bearer.is_empty() {
        builder = builder.header("Authorization", format!("Bearer {bearer}"));
    }
    let response = sender.send_request(builder.body(Empty::new()).expect("a request")).await?;
    let status = response.status().as_u16();
    let text = |value: &hyper::header::HeaderValue| value.to_str().expect("text").to_owned();
    let fields = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    if status != 200 {
        return Ok(((status, fields, Box::new(tokio::io::empty())), heard));
    }
    Ok(((status, fields, Box::new(TokioIo::new(hyper::upgrade::on(response).await?))), heard))
}

pub fn value<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

pub async fn opened(gateway: &Gateway, via: Via, bearer: &str) -> Box<dyn Stream> {
    let (status, fields, stream) = open(gateway, via, bearer).await;
    assert_eq!(status, if via == Via::H2 { 200 } else { 101 }, "{via:?} {fields:?}");
    stream
}

pub async fn exchange(stream: &mut Box<dyn Stream>, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut back = vec![0; bytes.len()];
    wait::within("bytes back", stream.read_exact(&mut back)).await.expect("bytes back");
    assert_eq!(back, bytes);
}

/// What still comes, and whether that is all of it rather than broken off.
pub async fn rest(stream: &mut Box<dyn Stream>) -> (Vec<u8>, bool) {
    let mut rest = Vec::new();
    let ended = wait::within("the end", stream.read_to_end(&mut rest)).await;
    (rest, ended.is_ok())
}
