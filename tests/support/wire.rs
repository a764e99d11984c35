//! A connection on which a test sends exact bytes, and reads HTTP/1.1 as strictly as a client can.

use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use super::response::{Response, all, first};
use super::{certificate, wait};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection, by TCP or TLS.
pub struct Wire(BufReader<Box<dyn Stream>>);

impl Wire {
    /// Connects without TLS.
    pub async fn plain(address: SocketAddr) -> Self {
        let stream = wait::within("a connection", TcpStream::connect(address)).await.expect("connection");
        stream.set_nodelay(true).expect("nodelay");
        Self(BufReader::with_capacity(64 * 1024, Box::new(stream)))
    }

    /// Connects without TLS, and has the system hold little of what was not read.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 * 1024).expect("option");
        let stream = wait::within("a connection", socket.connect(address)).await.expect("connection");
        stream.set_nodelay(true).expect("nodelay");
        Self(BufReader::with_capacity(1024, Box::new(stream)))
    }

    /// Connects by TLS for HTTP/1.1, asking for this server name.
    pub async fn tls(address: SocketAddr, server_name: &str) -> Self {
        let stream = tls_stream(address, server_name, &[b"http/1.1"]).await;
        Self(BufReader::with_capacity(64 * 1024, Box::new(stream)))
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("sent");
    }

    /// Sends bytes as they are, if the other end still takes them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let sent = async {
            self.0.write_all(bytes.as_ref()).await?;
            self.0.flush().await
        };
        wait::within("the other end to take bytes", sent).await
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Reads the final response to a request that is not HEAD, passing over interim ones.
    pub async fn response(&mut self) -> Response {
        self.response_to("GET").await
    }

    /// Reads the final response to a request of this method.
    pub async fn response_to(&mut self, method: &str) -> Response {
        self.final_response(method).await.expect("a response before the connection ends")
    }

    /// Like [`Self::response_to`]; `None` where the connection ends before the head is whole.
    pub async fn final_response(&mut self, method: &str) -> Option<Response> {
        let mut response = self.head().await?;
        // 101 is final for HTTP: what follows it is another protocol (RFC 9110 §15.2.2).
        while response.status < 200 && response.status != 101 {
            response = self.head().await?;
        }
        if method != "HEAD" && !matches!(response.status, 101 | 204 | 304) {
            self.read_body(&mut response).await;
        }
        Some(response)
    }

    /// Reads a response's head, interim or final; `None` where the connection ends before it is whole.
    pub async fn head(&mut self) -> Option<Response> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines[0].strip_prefix("HTTP/1.1 ").or_else(|| lines[0].strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {:?}", lines[0]));
        let fields = lines[1..].iter().map(|line| parse_field(line)).collect();
        Some(Response { status, fields, body: Vec::new(), trailers: Vec::new(), whole: true })
    }

    /// Reads one line without its end; `None` where the connection ends first.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let byte = wait::within("a line", self.0.read_u8()).await.ok()?;
            if byte == b'\n' {
                break;
            }
            line.push(byte);
        }
        let end = line.strip_suffix(b"\r").expect("a line ends with CRLF");
        Some(String::from_utf8_lossy(end).into_owned())
    }

    /// Reads one chunk; `Some(empty)` is the last one, `None` a connection that ends before.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("not a chunk size: {size:?}"));
        if size == 0 {
            return Some(Vec::new());
        }
        let mut chunk = vec![0; size];
        wait::within("a chunk", self.0.read_exact(&mut chunk)).await.ok()?;
        self.line().await?;
        Some(chunk)
    }

    /// Reads exactly so many bytes; `None` where the connection ends first.
    pub async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        wait::within("bytes", self.0.read_exact(&mut bytes)).await.ok()?;
        Some(bytes)
    }

    /// Reads and counts so many bytes without keeping them; `None` where the connection ends first.
    pub async fn skip(&mut self, mut count: u64) -> Option<()> {
        let mut buffer = vec![0; 256 * 1024];
        while count > 0 {
            let most = usize::try_from(count).map_or(buffer.len(), |count| count.min(buffer.len()));
            let read = wait::within("bytes", self.0.read(&mut buffer[..most])).await.ok()?;
            if read == 0 {
                return None;
            }
            count -= read as u64;
        }
        Some(())
    }

    /// Reads whatever comes until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = wait::within("the connection to end", self.0.read_to_end(&mut rest)).await;
        rest
    }

    async fn read_body(&mut self, response: &mut Response) {
        if all(&response.fields, "transfer-encoding").iter().any(|coding| coding.contains("chunked")) {
            return self.read_chunks(response).await;
        }
        if let Some(length) = first(&response.fields, "content-length") {
            let length: u64 = length.parse().expect("a content length");
            let mut limited = (&mut self.0).take(length);
            let read = wait::within("a body", limited.read_to_end(&mut response.body)).await;
            response.whole = read.is_ok_and(|read| read as u64 == length);
            return;
        }
        response.body = self.rest().await;
    }

    async fn read_chunks(&mut self, response: &mut Response) {
        response.whole = false;
        loop {
            let Some(chunk) = self.chunk().await else { return };
            if chunk.is_empty() {
                break;
            }
            response.body.extend_from_slice(&chunk);
        }
        loop {
            match self.line().await {
                None => return,
                Some(line) if line.is_empty() => break,
                Some(line) => response.trailers.push(parse_field(&line)),
            }
        }
        response.whole = true;
    }
}

/// Connects by TLS, offering these protocols.
pub async fn tls_stream(
    address: SocketAddr,
    server_name: &str,
    protocols: &[&[u8]],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = wait::within("a connection", TcpStream::connect(address)).await.expect("connection");
    stream.set_nodelay(true).expect("nodelay");
    let name = ServerName::try_from(server_name.to_owned()).expect("a server name");
    let connector = tokio_rustls::TlsConnector::from(certificate::client(protocols));
    wait::within("a TLS handshake", connector.connect(name, stream)).await.expect("TLS handshake")
}

fn parse_field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
