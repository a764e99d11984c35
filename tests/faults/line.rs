//! A client's connection on which anything may go wrong: what does not come is no failure of the test.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One connection, kept open.
pub struct Line(BufReader<TcpStream>);

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    /// Whether the connection takes another request.
    pub stays: bool,
}

/// No request of the gateway's takes as long.
const PATIENCE: Duration = Duration::from_secs(15);

impl Line {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let connecting = TcpStream::connect(address);
        let stream = tokio::time::timeout(PATIENCE, connecting).await.map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a whole request, and reads the answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Reply> {
        let exchange = async {
            self.0.write_all(request).await?;
            self.reply().await
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(io::Error::from)?
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = String::from_utf8(head).map_err(|_| broken())?.to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = field("content-length:").and_then(|length| length.parse().ok()).ok_or_else(broken)?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Reply { status, body, stays: field("connection:") != Some("close") })
    }
}
