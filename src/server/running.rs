//! Starting the workers, and what can be done with them while they run.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::http::Handler;
use crate::observe::Metrics;

use super::drain::Drained;
use super::ended::Ended;
use super::gate::Gate;
use super::listen::{Bound, bind};
use super::worker::{Entrance, Stage, Worker};
use super::{Certificates, ServerError, Settings, tls};

/// Listeners and workers at work. Dropped without a drain, the workers stop at once.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    certificates: Vec<(SocketAddr, Certificates)>,
    metrics: Arc<Metrics>,
    stage: watch::Sender<Stage>,
    workers: Vec<oneshot::Receiver<Drained>>,
}

/// Binds every listener, then starts the workers; each makes its handler on its own thread, inside its
/// runtime. When this returns, connections are being accepted.
///
/// # Errors
/// Where an address cannot be listened on, or a worker cannot be started. Nothing is left running then.
pub fn start<H, F>(settings: Settings, metrics: Arc<Metrics>, make: F) -> Result<Running, ServerError>
where
    H: Handler,
    F: Fn(usize) -> H + Clone + Send + 'static,
{
    let count = settings.workers.max(1);
    let bound = bind(&settings.listeners, count)?;
    let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
    let certificates: Vec<(SocketAddr, Certificates)> = settings
        .listeners
        .iter()
        .zip(&addresses)
        .filter_map(|(listener, address)| Some((*address, listener.tls.clone()?)))
        .collect();
    let entrances = entrances(&settings, bound, count, &metrics)?;

    let (stage, told) = watch::channel(Stage::Serving);
    let (ready, all_ready) = mpsc::channel();
    let ended = Ended::new(&metrics.connections_ended);
    let (max, per_address) = (settings.max_connections, settings.max_connections_per_address);
    let gate = Gate::new(max, per_address, settings.exempt.clone());
    let settings = Arc::new(settings);
    let mut workers = Vec::with_capacity(count);
    for (index, entrances) in entrances.into_iter().enumerate() {
        let (gone, is_gone) = oneshot::channel();
        let worker = Worker {
            index,
            settings: Arc::clone(&settings),
            entrances,
            gate: Arc::clone(&gate),
            ended: ended.clone(),
            stage: told.clone(),
            ready: ready.clone(),
            gone,
        };
        worker.spawn(make.clone()).map_err(ServerError::Worker)?;
        workers.push(is_gone);
    }
    drop(ready);
    for _ in 0..count {
        let answer = all_ready.recv().unwrap_or_else(|_| Err(std::io::Error::other("it stopped at once")));
        answer.map_err(ServerError::Worker)?;
    }
    let running = Running { addresses, certificates, metrics, stage, workers };
    running.report_certificates();
    Ok(running)
}

/// Sorts every listener's sockets by worker.
fn entrances(
    settings: &Settings,
    bound: Vec<Bound>,
    workers: usize,
    metrics: &Metrics,
) -> Result<Vec<Vec<Entrance>>, ServerError> {
    let mut by_worker: Vec<Vec<Entrance>> = Vec::new();
    by_worker.resize_with(workers, Vec::new);
    for (listener, Bound { address, sockets }) in settings.listeners.iter().zip(bound) {
        let tls = listener
            .tls
            .as_ref()
            .map(tls::server_config)
            .transpose()
            .map_err(|source| ServerError::Tls { address, source })?
            .map(TlsAcceptor::from);
        let gauge = metrics.connections.with_label_values(&[address.to_string().as_str()]);
        for (entrances, socket) in by_worker.iter_mut().zip(sockets) {
            let (tls, proxies) = (tls.clone(), listener.proxies.clone());
            entrances.push(Entrance { socket, address, tls, proxies, gauge: gauge.clone() });
        }
    }
    Ok(by_worker)
}

impl Running {
    /// The addresses listened on, in the order of the settings, with the ports that were taken.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Writes when each listener's certificate ends into the metrics; to be called after an exchange.
    pub fn report_certificates(&self) {
        for (address, certificates) in &self.certificates {
            if let Some(validity) = certificates.validity() {
                let gauge = &self.metrics.certificate_expiry;
                gauge.with_label_values(&[address.to_string().as_str()]).set(validity.not_after_unix());
            }
        }
    }

    /// Stops accepting, lets requests in flight finish for as long as `timeouts.drain` says, then cuts
    /// what is left. Connections without a request are closed at once.
    pub async fn drain(self) -> Drained {
        let _ = self.stage.send(Stage::Draining);
        let mut drained = Drained::default();
        for worker in self.workers {
            drained = drained + worker.await.unwrap_or_default();
        }
        drained
    }
}
