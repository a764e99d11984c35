//! One worker: a thread, its runtime, its accept sockets and its handler, from start to drain.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::http::Handler;

use super::accept::{Complaint, accept};
use super::connection::{self, Door};
use super::drain::{Drained, Occupancy, Roster};
use super::ended::Ended;
use super::gate::{Gate, Permit};
use super::{Addresses, Settings, http1, http2};

/// What the workers are told to do. When nobody is left to tell them, they stop at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    Draining,
}

/// One worker's own socket on one listener.
pub(super) struct Entrance {
    pub(super) socket: StdListener,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) proxies: Option<Addresses>,
    pub(super) gauge: IntGauge,
}

/// What a worker is started with.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) settings: Arc<Settings>,
    pub(super) entrances: Vec<Entrance>,
    pub(super) gate: Arc<Gate>,
    pub(super) ended: Ended,
    pub(super) stage: watch::Receiver<Stage>,
    /// Told once the worker serves, or why it cannot.
    pub(super) ready: mpsc::Sender<io::Result<()>>,
    /// Told when everything of the worker is gone.
    pub(super) gone: oneshot::Sender<Drained>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn spawn<H, F>(self, make: F) -> io::Result<()>
    where
        H: Handler,
        F: FnOnce(usize) -> H + Send + 'static,
    {
        let name = format!("worker-{}", self.index);
        std::thread::Builder::new().name(name).spawn(move || self.run(make)).map(drop)
    }

    fn run<H: Handler>(self, make: impl FnOnce(usize) -> H) {
        let Self { index, settings, entrances, gate, ended, stage, ready, gone } = self;
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
        {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let drained = runtime.block_on(async {
            let site = Site::new(&settings, make(index), gate, ended);
            match site.open(entrances) {
                Ok(doors) => {
                    let _ = ready.send(Ok(()));
                    drop(ready);
                    site.serve(doors, stage).await
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Drained::default()
                }
            }
        });
        // Not waiting for a look-up or the like that may still block in the background.
        runtime.shutdown_background();
        let _ = gone.send(drained);
    }
}

/// What all connections of one worker have in common.
struct Site<'a, H> {
    settings: &'a Settings,
    handler: Rc<H>,
    gate: Arc<Gate>,
    ended: Ended,
    occupancy: Arc<Occupancy>,
    roster: Rc<Roster>,
    full: Rc<RefCell<Complaint>>,
}

impl<'a, H: Handler> Site<'a, H> {
    fn new(settings: &'a Settings, handler: H, gate: Arc<Gate>, ended: Ended) -> Self {
        Self {
            settings,
            handler: Rc::new(handler),
            gate,
            ended,
            occupancy: Arc::default(),
            roster: Rc::default(),
            full: Rc::default(),
        }
    }

    fn open(&self, entrances: Vec<Entrance>) -> io::Result<Vec<JoinHandle<()>>> {
        entrances.into_iter().map(|entrance| self.open_one(entrance)).collect()
    }

    fn open_one(&self, entrance: Entrance) -> io::Result<JoinHandle<()>> {
        let Entrance { socket, address, tls, proxies, gauge } = entrance;
        let listener = TcpListener::from_std(socket)?;
        let door = Rc::new(Door {
            handler: Rc::clone(&self.handler),
            local: address,
            tls,
            proxies,
            timeouts: self.settings.timeouts,
            ended: self.ended.clone(),
            failed_handshakes: Complaint::every(connection::TELL_OF_HANDSHAKES_EVERY).into(),
            max_header_bytes: self.settings.max_header_bytes,
            max_headers: self.settings.max_headers,
            http1: http1::builder(self.settings),
            http2: http2::builder(self.settings),
        });
        let (gate, occupancy) = (Arc::clone(&self.gate), Arc::clone(&self.occupancy));
        let (roster, full) = (Rc::clone(&self.roster), Rc::clone(&self.full));
        let each = move |stream: TcpStream, peer: SocketAddr| {
            let Some(permit) = Permit::take(&gate, &occupancy, &gauge) else {
                door.ended.full.inc();
                if full.borrow_mut().due(Instant::now()) {
                    tracing::warn!(listener = %address, "max_connections reached, connections are refused");
                }
                return;
            };
            let Some(permit) = door.admit(permit, peer.ip()) else { return };
            let door = Rc::clone(&door);
            tokio::task::spawn_local(connection::serve(door, stream, peer, permit, roster.seat()));
        };
        Ok(tokio::task::spawn_local(accept(listener, each)))
    }

    async fn serve(&self, doors: Vec<JoinHandle<()>>, mut stage: watch::Receiver<Stage>) -> Drained {
        let told = stage.wait_for(|stage| *stage == Stage::Draining).await.is_ok();
        let open = self.occupancy.open();
        if told {
            // Before the sockets close: who is refused may rely on the drain having begun.
            self.roster.drain();
        }
        for door in doors {
            door.abort();
            // The socket is closed once the task is gone.
            let _ = door.await;
        }
        if told {
            let _ = timeout(self.settings.timeouts.drain, self.occupancy.empty()).await;
        }
        let cut = self.occupancy.open().min(open);
        Drained { finished: open - cut, cut }
    }
}
