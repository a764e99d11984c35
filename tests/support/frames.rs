//! HTTP/2 frame by frame, so that a test can send what no client would (RFC 9113).
//!
//! Header blocks are literals without indexing and without Huffman coding (RFC 7541 §6.2.2). Of answers only
//! the status and the end are read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::wait;
use super::wire::tls_stream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A field of a header block, as it is sent.
pub type Field = (Vec<u8>, Vec<u8>);

/// A connection by TLS on which HTTP/2 was agreed.
pub struct Frames {
    stream: TlsStream<TcpStream>,
    next: u32,
    /// The last stream that was seen to end by [`Self::content`].
    ended: u32,
    broken: bool,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// With a whole response.
    Answered { status: u16, content: Vec<u8> },
    /// By a reset, after so much of a response.
    Reset { status: Option<u16>, content: Vec<u8> },
    /// The connection ended first.
    Gone,
}

impl Frames {
    pub async fn connect(address: SocketAddr) -> Self {
        let mut stream = tls_stream(address, "localhost", &[b"h2"]).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface");
        let mut frames = Self { stream, next: 1, ended: 0, broken: false };
        frames.frame(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Opens a stream with this head; `last` where nothing follows.
    pub async fn open(&mut self, fields: &[Field], last: bool) -> u32 {
        let stream = self.next_stream();
        self.fields(stream, fields, last).await;
        stream
    }

    /// Sends a header block: a head or trailers.
    pub async fn fields(&mut self, stream: u32, fields: &[Field], last: bool) {
        let flags = END_HEADERS | if last { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block(fields)).await;
    }

    /// Sends content.
    pub async fn data(&mut self, stream: u32, content: &[u8], last: bool) {
        self.frame(DATA, if last { END_STREAM } else { 0 }, stream, content).await;
    }

    /// Resets a stream with this error code.
    pub async fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// Sends a frame of any kind, if the other end still takes it.
    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw(&Self::bytes(kind, flags, stream, payload)).await;
    }

    /// The bytes of a frame.
    pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    /// Sends bytes as they are, if the other end still takes them.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let failed = sent.await.is_err();
        self.broken |= failed;
    }

    /// Whether the other end took no more at some time.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The number of the next stream.
    pub fn next_stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// A plain head.
    pub fn head(&self, method: &str, path: &str) -> Vec<Field> {
        [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec()
    }

    /// Fields as a header block.
    pub fn block_of(&self, fields: &[Field]) -> Vec<u8> {
        block(fields)
    }

    /// Reads until the connection ends, and returns the error that was said before; `None` where none was.
    pub async fn goes_away(&mut self) -> Option<u32> {
        while let Some((kind, flags, _, payload)) = self.read().await {
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]).await,
                GOAWAY => {
                    return payload.get(4..8).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
                }
                _ => {}
            }
        }
        None
    }

    /// Reads until this stream ends.
    pub async fn end(&mut self, stream: u32) -> StreamEnd {
        let (mut status, mut content) = (None, Vec::new());
        while let Some((kind, flags, own, payload)) = self.read().await {
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload).await,
                GOAWAY if stream > u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]) => {
                    return StreamEnd::Gone;
                }
                RST_STREAM if own == stream => return StreamEnd::Reset { status, content },
                // Of interim answers and trailers there is nothing to tell.
                HEADERS if own == stream && status.is_none_or(|status| status < 200) => {
                    status = Some(status_of(&payload));
                }
                DATA if own == stream => content.extend_from_slice(&payload),
                _ => {}
            }
            if own == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                let status = status.expect("a head before the end");
                return StreamEnd::Answered { status, content };
            }
        }
        StreamEnd::Gone
    }

    /// The next content of this stream; `None` where it has ended.
    pub async fn content(&mut self, stream: u32) -> Option<Vec<u8>> {
        while self.ended != stream {
            let (kind, flags, own, payload) = self.read().await?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload).await,
                _ => {}
            }
            if own == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                self.ended = stream;
            }
            if own == stream && kind == DATA && !payload.is_empty() {
                return Some(payload);
            }
        }
        None
    }

    /// Asks for a sign of life; whether it comes before this stream is reset.
    pub async fn shows_life_before_the_reset_of(&mut self, stream: u32) -> bool {
        self.frame(PING, 0, 0, b"are you?").await;
        while let Some((kind, flags, own, _)) = self.read().await {
            match kind {
                PING if flags & ACK != 0 => return true,
                RST_STREAM if own == stream => return false,
                _ => {}
            }
        }
        false
    }

    /// Reads until this stream is reset, and returns why; `None` where it is not.
    pub async fn reset_of(&mut self, stream: u32) -> Option<u32> {
        while let Some((kind, _, own, payload)) = self.read().await {
            if kind == RST_STREAM && own == stream {
                return payload.try_into().ok().map(u32::from_be_bytes);
            }
        }
        None
    }

    async fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        wait::within("a frame", self.stream.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        wait::within("a frame", self.stream.read_exact(&mut payload)).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream) & 0x7fff_ffff, payload))
    }
}

fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        block.push(u8::try_from(length).expect("seven bits"));
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest & 127).expect("seven bits") | 128);
        rest >>= 7;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
}

/// The status in the first response of a connection: its first field, indexed or with the name indexed.
fn status_of(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // A change of the table's size may come first (RFC 7541 §6.3).
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).expect("a field");
    match block[start..] {
        [indexed @ 0x88..=0x8e, ..] => INDEXED[usize::from(indexed - 0x88)],
        [_, length, ref rest @ ..] if length & 0x80 == 0 => {
            String::from_utf8_lossy(&rest[..usize::from(length)]).parse().expect("a status")
        }
        [_, length, ref rest @ ..] => digits(&rest[..usize::from(length & 0x7f)]),
        _ => panic!("no status in {block:?}"),
    }
}

/// Three digits in the Huffman code of RFC 7541, Appendix B.
fn digits(coded: &[u8]) -> u16 {
    let bits: String = coded.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut rest = bits.as_str();
    let mut number = 0;
    for _ in 0..3 {
        let short = u16::from_str_radix(&rest[..5], 2).expect("bits");
        let (digit, length) = if short < 3 {
            (short, 5)
        } else {
            (u16::from_str_radix(&rest[..6], 2).expect("bits") - 0b01_1001 + 3, 6)
        };
        number = number * 10 + digit;
        rest = &rest[length..];
    }
    number
}
