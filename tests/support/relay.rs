//! A TCP relay that fails as networks fail, and heals, while it runs.
//!
//! It has a thread and a runtime of its own: a test that blocks stops no byte, and every call has taken effect when it
//! returns. Bytes are never lost within a connection that lives on, because TCP loses none: what a healed network has
//! dropped was dropped with its connection.
//!
//! ```ignore
//! let relay = Relay::to(redis.address());
//! // … let a gateway connect to relay.address(), then:
//! relay.suffer(Fault::Blackhole { way: Way::ToClient, heal: Heal::Delivers });
//! relay.heal();
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// What is wrong with the network between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections stay open, and no byte moves this way. Where the way to the server is cut, none can be opened.
    Blackhole { way: Way, heal: Heal },
    /// Every byte takes so long, and up to `jitter` longer. Order is kept.
    Latency { base: Duration, jitter: Duration },
    /// New connections are refused; open ones go on.
    Refuse,
    /// New connections are refused, and open ones are reset.
    Down,
    /// One byte at a time.
    Drip,
    /// One in so many bytes to the client is another.
    Corrupt { one_in: u32 },
    /// Each connection is reset when so many bytes have gone to the client.
    ResetAfter { bytes: u64 },
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Both,
    ToServer,
    ToClient,
}

/// What becomes of the bytes that a blackhole has held, when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heal {
    /// They arrive, as if sent again.
    Delivers,
    /// They are gone, and the connections that they were sent on are reset.
    Drops,
}

/// A running relay. Dropped, it closes its port and all connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: Option<mpsc::UnboundedSender<(Order, blocking::Sender<()>)>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    fault: watch::Sender<Fault>,
    /// Counts the times that all connections were reset.
    resets: watch::Sender<usize>,
    opened: AtomicUsize,
    open: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Fault(Fault),
    Reset,
}

impl Relay {
    /// A relay to this server, on a free port of its own.
    pub fn to(server: SocketAddr) -> Self {
        // Bound and never listening: it keeps the port ours while nobody listens there.
        let reserved = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reserved.local_addr().expect("an address").as_socket().expect("an IP address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            fault: watch::Sender::new(Fault::None),
            resets: watch::Sender::new(0),
            opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let (orders, ordered) = mpsc::unbounded_channel();
        let (own, (up, is_up)) = (Arc::clone(&shared), blocking::channel());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = listen(address);
                let _ = up.send(());
                own.run(address, listener, ordered).await;
            });
            drop(reserved);
        });
        is_up.recv().expect("a relay");
        Self { address, shared, orders: Some(orders), thread: Some(thread) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on something is wrong, instead of what was wrong before.
    pub fn suffer(&self, fault: Fault) {
        self.order(Order::Fault(fault));
    }

    /// Nothing is wrong any more.
    pub fn heal(&self) {
        self.suffer(Fault::None);
    }

    /// Resets all connections once; new ones can be opened.
    pub fn reset_all(&self) {
        self.order(Order::Reset);
    }

    /// New connections lead to this server.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// How many connections there have been.
    pub fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    fn order(&self, order: Order) {
        let (done, is_done) = blocking::channel();
        self.orders.as_ref().expect("a running relay").send((order, done)).expect("a running relay");
        is_done.recv().expect("a running relay");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    async fn run(
        self: Arc<Self>,
        address: SocketAddr,
        listener: TcpListener,
        mut orders: mpsc::UnboundedReceiver<(Order, blocking::Sender<()>)>,
    ) {
        let mut listener = Some(listener);
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    self.obey(order, address, &mut listener);
                    let _ = done.send(());
                }
                client = accept(listener.as_ref()) => {
                    tokio::spawn(Arc::clone(&self).connection(client));
                }
            }
        }
    }

    fn obey(&self, order: Order, address: SocketAddr, listener: &mut Option<TcpListener>) {
        if let Order::Fault(fault) = order {
            match fault {
                Fault::Refuse | Fault::Down => *listener = None,
                _ if listener.is_none() => *listener = Some(listen(address)),
                _ => {}
            }
            self.fault.send_replace(fault);
        }
        if matches!(order, Order::Reset | Order::Fault(Fault::Down)) {
            self.resets.send_modify(|resets| *resets += 1);
        }
    }

    async fn connection(self: Arc<Self>, mut client: TcpStream) {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let (mut resets, mut server) = (self.resets.subscribe(), None);
        let end = tokio::select! {
            end = self.carry(number, &mut client, &mut server) => end,
            _ = resets.changed() => End::Broken,
        };
        if end == End::Broken {
            [Some(&client), server.as_ref()].into_iter().flatten().for_each(reset);
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn carry(&self, number: usize, client: &mut TcpStream, server: &mut Option<TcpStream>) -> End {
        if self.passable(Way::ToServer).await == End::Broken {
            return End::Broken;
        }
        let address = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(connected) = TcpStream::connect(address).await else { return End::Broken };
        let server = server.insert(connected);
        [&*client, &*server].into_iter().for_each(|stream| drop(stream.set_nodelay(true)));
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let questions = self.pipe(Way::ToServer, number, from_client, to_server);
        let answers = self.pipe(Way::ToClient, number, from_server, to_client);
        match tokio::try_join!(questions, answers) {
            Ok(_) => End::Proper,
            Err(end) => end,
        }
    }

    /// Carries bytes one way, until the sender has no more.
    async fn pipe(
        &self,
        way: Way,
        number: usize,
        mut from: ReadHalf<'_>,
        to: WriteHalf<'_>,
    ) -> Result<(), End> {
        let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUED);
        let mut chance = Chance::new(number, way);
        let mut delays = Chance::new(number, way);
        let reading = async move {
            let (mut buffer, mut last) = (vec![0; 64 * 1024], Instant::now());
            loop {
                let read = from.read(&mut buffer).await.map_err(|_| End::Broken)?;
                let now = Instant::now();
                let due = match *self.fault.borrow() {
                    Fault::Latency { base, jitter } => now + base + jitter.mul_f64(delays.fraction()),
                    _ => now,
                };
                last = last.max(due);
                // Nothing read is the end, and takes as long as anything else.
                let told = queue.send((last, buffer[..read].to_vec())).await;
                if read == 0 || told.is_err() {
                    return Ok(());
                }
            }
        };
        let writing = async move {
            let mut out = Out { to, way, sent: 0 };
            while let Some((due, bytes)) = queued.recv().await {
                sleep_until(due).await;
                if self.passable(way).await == End::Broken {
                    return Err(End::Broken);
                }
                let fault = *self.fault.borrow();
                out.put(bytes, fault, &mut chance).await?;
            }
            Ok(())
        };
        tokio::try_join!(reading, writing).map(|_: ((), ())| ())
    }

    /// Waits while this way is cut. Broken: what was held meanwhile is gone, and its connection with it.
    async fn passable(&self, way: Way) -> End {
        let mut fault = self.fault.subscribe();
        let mut end = End::Proper;
        loop {
            match *fault.borrow_and_update() {
                Fault::Blackhole { way: cut, heal } if cut == Way::Both || cut == way => {
                    end = if heal == Heal::Drops { End::Broken } else { End::Proper };
                }
                _ => return end,
            }
            if fault.changed().await.is_err() {
                return End::Broken;
            }
        }
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both sides had nothing more to send.
    Proper,
    /// By a reset on both sides.
    Broken,
}

/// Where the bytes of one way go.
struct Out<'a> {
    to: WriteHalf<'a>,
    way: Way,
    sent: u64,
}

impl Out<'_> {
    async fn put(&mut self, mut bytes: Vec<u8>, fault: Fault, chance: &mut Chance) -> Result<(), End> {
        if bytes.is_empty() {
            return self.to.shutdown().await.map_err(|_| End::Broken);
        }
        let step = if fault == Fault::Drip { 1 } else { bytes.len() };
        let mut most = None;
        if self.way == Way::ToClient {
            match fault {
                Fault::Corrupt { one_in } => chance.spoil(&mut bytes, one_in),
                Fault::ResetAfter { bytes: limit } => {
                    most = usize::try_from(limit.saturating_sub(self.sent)).ok();
                }
                _ => {}
            }
        }
        let whole = most.is_none_or(|most| bytes.len() < most);
        bytes.truncate(most.unwrap_or(usize::MAX));
        for part in bytes.chunks(step.max(1)) {
            self.to.write_all(part).await.map_err(|_| End::Broken)?;
            self.sent += part.len() as u64;
            tokio::task::yield_now().await;
        }
        if whole { Ok(()) } else { Err(End::Broken) }
    }
}

/// The same chances in every run, and others on each connection.
struct Chance(u64);

impl Chance {
    fn new(number: usize, way: Way) -> Self {
        Self((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (way as u64 + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn spoil(&mut self, bytes: &mut [u8], one_in: u32) {
        for byte in bytes {
            if self.next().is_multiple_of(u64::from(one_in.max(1))) {
                *byte ^= 0x55;
            }
        }
    }
}

/// How many pieces of a way are under way at most.
const QUEUED: usize = 256;

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an address that is used again");
    socket.bind(&address.into()).unwrap_or_else(|error| panic!("{address}: {error}"));
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = bound(address);
    socket.listen(512).expect("a listener");
    socket.set_nonblocking(true).expect("a listener that does not block");
    TcpListener::from_std(socket.into()).expect("a listener")
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

/// Closed from now on, it is closed by a reset.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
