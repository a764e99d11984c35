//! A connection on which exact bytes are sent, and HTTP/1.1 is read as strictly as a client can.

use std::future::Future;
use std::io::{self, Error};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::place::Place;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection, by TCP or TLS.
pub struct Wire(BufReader<Box<dyn Stream>>);

/// A response as it came.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// Its content.
    pub body: Vec<u8>,
    /// Whether it came to its proper end.
    pub whole: bool,
}

/// Nobody answers as slowly as that who answers at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of one line, so that nobody fills this machine's memory.
const LONGEST_LINE: u64 = 1 << 20;

impl Wire {
    /// Connects for HTTP/1.1.
    ///
    /// # Errors
    /// Where nobody is there, or who is there is not believed.
    pub async fn connect(place: &Place) -> io::Result<Self> {
        Ok(Self(BufReader::with_capacity(64 * 1024, connect(place, false).await?)))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Where the other end does not take them.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        })
        .await
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Reads the final response to a request of this method; `None` where the connection ends before its head
    /// is whole.
    ///
    /// # Errors
    /// Where something comes that is no response, or nothing.
    pub async fn answer(&mut self, method: &str) -> io::Result<Option<Answer>> {
        loop {
            let Some(mut answer) = self.head().await? else { return Ok(None) };
            // 101 is final for HTTP: what follows it is another protocol (RFC 9110 §15.2.2).
            if answer.status < 200 && answer.status != 101 {
                continue;
            }
            if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) {
                answer.whole = true;
            } else {
                self.content(&mut answer).await?;
            }
            return Ok(Some(answer));
        }
    }

    /// Whatever comes until the connection ends.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        let read = within(async {
            // A connection that is cut ends, too.
            let _ = (&mut self.0).take(LONGEST_LINE).read_to_end(&mut rest).await;
            Ok(())
        });
        read.await?;
        Ok(rest)
    }

    async fn head(&mut self) -> io::Result<Option<Answer>> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::other(format!("not a status line: {line:?}")))?;
        let mut answer = Answer { status, ..Answer::default() };
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some(answer));
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| Error::other(format!("not a field: {line:?}")))?;
            answer.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// One line without its end; `None` where the connection ends first.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(LONGEST_LINE);
        let read = async { Ok(limited.read_until(b'\n', &mut line).await.is_ok()) };
        if !within(read).await? || !line.ends_with(b"\n") {
            return Ok(None);
        }
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            None => Err(Error::other("a line without CRLF")),
        }
    }

    async fn content(&mut self, answer: &mut Answer) -> io::Result<()> {
        if answer.all("transfer-encoding").any(|coding| coding.contains("chunked")) {
            return self.chunks(answer).await;
        }
        let Some(length) = answer.all("content-length").next() else {
            answer.body = self.rest().await?;
            answer.whole = true;
            return Ok(());
        };
        let length: u64 = length.parse().map_err(Error::other)?;
        answer.whole = self.exactly(length, &mut answer.body).await?;
        Ok(())
    }

    async fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        while let Some(size) = self.line().await? {
            let size = u64::from_str_radix(&size, 16).map_err(Error::other)?;
            if size == 0 {
                while let Some(line) = self.line().await? {
                    if line.is_empty() {
                        answer.whole = true;
                        break;
                    }
                }
                break;
            }
            if !self.exactly(size, &mut answer.body).await? || self.line().await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn exactly(&mut self, count: u64, body: &mut Vec<u8>) -> io::Result<bool> {
        let before = body.len() as u64;
        let mut limited = (&mut self.0).take(count);
        within(async { Ok(limited.read_to_end(body).await.is_ok()) }).await?;
        Ok(body.len() as u64 - before == count)
    }
}

impl Answer {
    /// The values of all fields of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Connects to a place, for HTTP/1.1 or HTTP/2.
pub(super) async fn connect(place: &Place, http2: bool) -> io::Result<Box<dyn Stream>> {
    within(async {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &place.tls else { return Ok(Box::new(stream) as Box<dyn Stream>) };
        let name = ServerName::try_from(place.host.clone()).map_err(Error::other)?;
        let config = if http2 { &tls.http2 } else { &tls.http1 };
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
        Ok(Box::new(stream) as Box<dyn Stream>)
    })
    .await
}

/// Lets something take its time, but not for ever.
pub(super) async fn within<T>(doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(PATIENCE, doing).await;
    done.unwrap_or_else(|_| Err(Error::new(io::ErrorKind::TimedOut, "nobody says anything")))
}
