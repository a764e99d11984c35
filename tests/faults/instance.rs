//! The instance behind the gateways: the worst one for a revocation, since every key stays good for it.
//!
//! It answers whatever comes through, notes it, and compares the identity that the gateway stamped with the one that
//! the request is known to have. Told to revoke a key it agrees, and forgets it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::stock;

/// A running instance, on a thread of its own.
pub struct Instance {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _stop: oneshot::Sender<()>,
}

/// What came through.
#[derive(Debug, Default)]
pub struct Seen {
    pub arrived: Vec<u64>,
    pub crossed: Vec<String>,
}

/// The head field in which a request tells its serial number, its user's id and its key's id or `-`.
pub const PROBE: &str = "x-probe";

impl Instance {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let own = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, own) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, _stop: stop }
    }

    /// What has come through since this was asked last.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(BufReader::new(stream), Arc::clone(&seen)));
        }
    }
}

async fn serve(mut stream: BufReader<TcpStream>, seen: Arc<Mutex<Seen>>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await.ok()? == 0 {
                return None;
            }
        }
        let head = Head(String::from_utf8(head).ok()?);
        let length = head.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        stream.read_exact(&mut vec![0; length]).await.ok()?;
        let (status, body) = answer(&head, &seen);
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn answer(head: &Head, seen: &Mutex<Seen>) -> (u16, String) {
    if let Some(probe) = head.field(PROBE) {
        note(head, probe, &mut seen.lock().unwrap_or_else(PoisonError::into_inner));
        return (200, json!({ "ok": true }).to_string());
    }
    let token = head.field("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let key = token.filter(|token| token.starts_with("sk_openbin_"));
    let owner = key.and_then(stock::number_of);
    let (status, answer) = match (head.line(), key, owner) {
        (_, Some(_), None) => (401, json!({ "error": "UNAUTHORIZED", "message": "Invalid API key" })),
        (line, _, Some(number)) if line.starts_with("GET /api/auth/me ") => {
            (200, json!({ "id": stock::user(number), "email": "who@example.com" }))
        }
        (line, _, Some(number)) if line.starts_with("GET /api/api-keys ") => {
            let listed = json!({ "id": stock::id(number), "key_prefix": &stock::key(number)[..18],
                                 "name": "fault", "created_at": "2026-01-01 00:00:00" });
            (200, json!({ "count": 1, "results": [listed] }))
        }
        _ => (200, json!({ "message": "API key revoked" })),
    };
    (status, answer.to_string())
}

fn note(head: &Head, probe: &str, seen: &mut Seen) {
    let (serial, owner) = probe.split_once(' ').expect("a probe");
    seen.arrived.push(serial.parse().expect("a serial number"));
    let stamped = format!(
        "{} {}",
        head.field("x-auth-user-id").unwrap_or("-"),
        head.field("x-auth-key-id").unwrap_or("-")
    );
    if stamped != owner {
        seen.crossed.push(format!("request {serial} of {owner} came as {stamped}"));
    }
}

/// The head of a request.
struct Head(String);

impl Head {
    fn line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }
}
