//! What stands between a gateway and its Redis: a wire that can be slow, or lose an answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server that is not busy has done by then what it was told.
const SETTLES_WITHIN: Duration = Duration::from_millis(100);
/// What is left of the bytes until the break, while it breaks.
const BREAKING: u64 = u64::MAX;

/// A port that leads to a server.
pub struct Proxy {
    port: u16,
    lossy: Arc<AtomicU64>,
    /// So many more bytes get to the server before the connection breaks; 0: as many as there are.
    budget: Arc<AtomicU64>,
    /// So long four kibibytes of questions take, in microseconds.
    pace: Arc<AtomicU64>,
}

impl Proxy {
    /// Every answer takes as long as `delay` longer.
    pub async fn to(server: &RedisServer, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (port, lossy) = (listener.local_addr().expect("its address").port(), Arc::new(AtomicU64::new(0)));
        let (server, losses) = (server.port(), Arc::clone(&lossy));
        let (budget, pace) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (bytes, slowness) = (Arc::clone(&budget), Arc::clone(&pace));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                let faults = [&losses, &bytes, &slowness].map(Arc::clone);
                tokio::spawn(carry(client, server, faults, delay));
            }
        });
        Self { port, lossy, budget, pace }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Questions pass slowly from now on: four kibibytes take so long.
    pub fn slow_down(&self, pace: Duration) {
        let micros = u64::try_from(pace.as_micros()).expect("a short time");
        self.pace.store(micros, Ordering::SeqCst);
    }

    /// The next answer is lost, and the connection with it.
    pub fn lose_an_answer(&self) {
        self.lossy.store(1, Ordering::SeqCst);
    }

    /// Only so many bytes of the next questions get to the server; then the connection breaks, and what it
    /// answers from then on is lost.
    pub fn break_after(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::SeqCst);
    }

    /// Whether the connection that was to break has.
    pub fn has_broken(&self) -> bool {
        self.budget.load(Ordering::SeqCst) == 0
    }

    /// Whether the answer that was to be lost has been.
    pub fn has_lost_it(&self) -> bool {
        self.lossy.load(Ordering::SeqCst) == 0
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    [losses, budget, pace]: [Arc<AtomicU64>; 3],
    delay: Duration,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let questions = async {
        let mut bytes = vec![0; 4 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
            let micros = pace.load(Ordering::SeqCst) * length as u64 / 4096;
            if micros > 0 {
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
            let left = budget.load(Ordering::SeqCst);
            let breaks = left > 0 && left <= length as u64;
            let passed = if breaks { usize::try_from(left).expect("a number") } else { length };
            if to_server.write_all(&bytes[..passed]).await.is_err() {
                return;
            }
            if breaks {
                // What has arrived whole is done before the connection is seen to be gone.
                budget.store(BREAKING, Ordering::SeqCst);
                tokio::time::sleep(SETTLES_WITHIN).await;
                budget.store(0, Ordering::SeqCst);
                return;
            }
            budget.store(left.saturating_sub(length as u64), Ordering::SeqCst);
        }
    };
    let answers = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            if losses.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return;
            }
            tokio::time::sleep(delay).await;
            if budget.load(Ordering::SeqCst) == BREAKING {
                continue;
            }
            if to_client.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = questions => {}, () = answers => {} }
}
