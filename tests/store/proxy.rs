//! What stands between a gateway and its Redis: a wire that can be slow, or lose an answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A port that leads to a server.
pub struct Proxy {
    port: u16,
    lossy: Arc<AtomicU64>,
}

impl Proxy {
    /// Every answer takes as long as `delay` longer.
    pub async fn to(server: &RedisServer, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (port, lossy) = (listener.local_addr().expect("its address").port(), Arc::new(AtomicU64::new(0)));
        let (server, losses) = (server.port(), Arc::clone(&lossy));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                tokio::spawn(carry(client, server, Arc::clone(&losses), delay));
            }
        });
        Self { port, lossy }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The next answer is lost, and the connection with it.
    pub fn lose_an_answer(&self) {
        self.lossy.store(1, Ordering::SeqCst);
    }

    /// Whether the answer that was to be lost has been.
    pub fn has_lost_it(&self) -> bool {
        self.lossy.load(Ordering::SeqCst) == 0
    }
}

async fn carry(client: TcpStream, server: TcpStream, losses: Arc<AtomicU64>, delay: Duration) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let questions = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answers = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            if losses.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return;
            }
            tokio::time::sleep(delay).await;
            if to_client.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = questions => {}, () = answers => {} }
}
