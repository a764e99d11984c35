//! A server that is not Redis, or not honest: between a client and a real Redis, it passes questions and answers
//! on, or gives answers of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What becomes of a question and its answer.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Passed on.
    Pass,
    /// Every question is answered with this.
    Answer(Vec<u8>),
    /// As a server does that is in trouble: it greets and shows that it lives, and answers everything else so.
    Trouble(Vec<u8>),
    /// Every answer is preceded by one that nobody asked for.
    Unasked(Vec<u8>),
    /// Every question gets the answer to the one before.
    Behind,
    /// Answers have one bit in so many bytes turned.
    Corrupt(usize),
    /// Answers come byte by byte, with this between them.
    Drip(Duration),
    /// The connection is reset after so many bytes of answers.
    Reset(usize),
    /// Answers come so much later.
    Late(Duration),
    /// Questions are taken, and nothing comes back.
    Silent,
    /// New connections are reset at once.
    Refuse,
}

/// The server in between.
pub struct Scripted {
    pub address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    connections: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Scripted {
    /// In front of the Redis on this port.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (mode, connections) = (Arc::new(Mutex::new(Mode::Pass)), Arc::new(AtomicUsize::new(0)));
        let (shared, counted) = (Arc::clone(&mode), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = client.set_nodelay(true);
                let mode = Arc::clone(&shared);
                if matches!(now(&mode), Mode::Refuse) {
                    let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let _ = server.set_nodelay(true);
                tokio::spawn(carry(client, server, mode));
            }
        });
        Self { address, mode, connections, accepting: accepting.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// How many connections have come.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn now(mode: &Mutex<Mode>) -> Mode {
    mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

type ToClient = Arc<tokio::sync::Mutex<OwnedWriteHalf>>;

async fn carry(client: TcpStream, server: TcpStream, mode: Arc<Mutex<Mode>>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_client: ToClient = Arc::new(tokio::sync::Mutex::new(to_client));
    let questions = ask(BufReader::new(from_client), to_server, Arc::clone(&to_client), &mode);
    let answers = answer(from_server, Arc::clone(&to_client), &mode);
    tokio::select! { _ = questions => {}, _ = answers => {} }
}

async fn ask(
    mut from: BufReader<OwnedReadHalf>,
    mut server: OwnedWriteHalf,
    client: ToClient,
    mode: &Mutex<Mode>,
) -> Option<()> {
    loop {
        let (bytes, words) = command(&mut from).await?;
        let name = words.first().cloned().unwrap_or_default().to_ascii_uppercase();
        let own = match now(mode) {
            Mode::Answer(answer) => Some(answer),
            Mode::Trouble(answer) => match (name.as_slice(), words.get(1)) {
                (b"HELLO" | b"AUTH" | b"SELECT", _) => None,
                (b"PING", Some(word)) => {
                    Some([format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat())
                }
                _ => Some(answer),
            },
            Mode::Unasked(answer) => {
                client.lock().await.write_all(&answer).await.ok()?;
                None
            }
            Mode::Silent => Some(Vec::new()),
            _ => None,
        };
        match own {
            Some(answer) => client.lock().await.write_all(&answer).await.ok()?,
            None => server.write_all(&bytes).await.ok()?,
        }
    }
}

async fn answer(mut from: OwnedReadHalf, client: ToClient, mode: &Mutex<Mode>) -> Option<()> {
    let (mut buffer, mut passed, mut before) = (vec![0; 64 * 1024], 0, Vec::new());
    loop {
        let length = from.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        let bytes = &mut buffer[..length];
        let earlier = std::mem::replace(&mut before, bytes.to_vec());
        match now(mode) {
            Mode::Behind => {
                client.lock().await.write_all(&earlier).await.ok()?;
                continue;
            }
            Mode::Corrupt(every) => {
                for byte in bytes.iter_mut() {
                    passed += 1;
                    if passed % every == 0 {
                        *byte ^= 1 << (passed / every % 8);
                    }
                }
            }
            Mode::Drip(pause) => {
                for byte in bytes.iter() {
                    client.lock().await.write_all(&[*byte]).await.ok()?;
                    tokio::time::sleep(pause).await;
                }
                continue;
            }
            Mode::Reset(after) => {
                let rest = after.saturating_sub(passed);
                let mut client = client.lock().await;
                client.write_all(&bytes[..rest.min(length)]).await.ok()?;
                passed += length;
                if passed >= after {
                    let _ = socket2::SockRef::from(client.as_ref()).set_linger(Some(Duration::ZERO));
                    return None;
                }
                continue;
            }
            Mode::Late(pause) => tokio::time::sleep(pause).await,
            _ => {}
        }
        client.lock().await.write_all(bytes).await.ok()?;
    }
}

/// Reads one command: its bytes, and its words.
async fn command(from: &mut BufReader<OwnedReadHalf>) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut bytes = Vec::new();
    let count = number(from, &mut bytes).await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(from, &mut bytes).await?;
        let start = bytes.len();
        bytes.resize(start + length + 2, 0);
        from.read_exact(&mut bytes[start..]).await.ok()?;
        words.push(bytes[start..start + length].to_vec());
    }
    Some((bytes, words))
}

async fn number(from: &mut BufReader<OwnedReadHalf>, bytes: &mut Vec<u8>) -> Option<usize> {
    let start = bytes.len();
    from.read_until(b'\n', bytes).await.ok().filter(|read| *read > 0)?;
    let line = String::from_utf8_lossy(&bytes[start..]);
    line.trim_end().get(1..)?.parse().ok()
}
