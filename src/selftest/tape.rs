//! An instance that keeps every byte that it gets, and answers each whole request with 200.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::strict::{self, Message};

/// A recording instance on a port of its own.
#[derive(Debug)]
pub struct Tape {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What has come since it was last taken.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Whole requests, in order.
    pub requests: Vec<Message>,
    /// What broke the rules.
    pub faults: Vec<String>,
    /// Requests that have begun and are neither whole nor broken off.
    pub open: usize,
}

impl Tape {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn start() -> io::Result<Self> {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Listens there.
    ///
    /// # Errors
    /// Where that is not possible.
    pub async fn at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let held = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(record(stream, Arc::clone(&held)));
            }
        });
        Ok(Self { address, seen })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come, left in place.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Forgets what has come.
    pub fn clear(&self) {
        let mut seen = lock(&self.seen);
        seen.requests.clear();
        seen.faults.clear();
    }

    /// Waits until every request that has begun is whole or broken off; false where that takes longer.
    pub async fn settled(&self, patience: Duration) -> bool {
        let settled = async {
            while lock(&self.seen).open > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(patience, settled).await.is_ok()
    }
}

async fn record(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let (mut bytes, mut is_open) = (Vec::new(), false);
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        loop {
            if bytes.is_empty() {
                break;
            }
            if !std::mem::replace(&mut is_open, true) {
                lock(&seen).open += 1;
            }
            match strict::request(&bytes) {
                Ok(None) => break,
                Ok(Some((message, length))) => {
                    bytes.drain(..length);
                    is_open = false;
                    let answer = answer(&message);
                    {
                        let mut seen = lock(&seen);
                        seen.open -= 1;
                        seen.requests.push(message);
                    }
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
                Err(fault) => {
                    let mut seen = lock(&seen);
                    seen.open -= 1;
                    seen.faults.push(format!("{fault}: {:?}", String::from_utf8_lossy(&bytes)));
                    return;
                }
            }
        }
    }
    if is_open {
        lock(&seen).open -= 1;
    }
}

fn answer(message: &Message) -> Vec<u8> {
    let content = if message.method == "HEAD" { "" } else { "ok" };
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{content}").into_bytes()
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
