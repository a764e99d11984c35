//! The composition root: takes a [`Config`] apart, makes the parts, and runs them until a signal ends it.
//!
//! The only file that knows every room. Decides nothing about requests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{Admin, Check, Health};
use crate::auth::LimitState;
use crate::config::Config;
use crate::gateway::{Gateway, Plan};
use crate::keys::{KeyStore, Keys, Usage};
use crate::observe::{Metrics, Observer};
use crate::{keys, observe, server, upstream};

/// How a gateway is run, besides its configuration.
pub struct Run {
    /// Reads the configuration again, on SIGHUP.
    pub reload: Reload,
    /// Told the addresses of the listeners, in the order of the configuration, once they are open.
    pub ready: Ready,
}

/// Reads a configuration again.
pub type Reload = Box<dyn Fn() -> anyhow::Result<Config> + Send>;
/// Is told addresses.
pub type Ready = Box<dyn FnOnce(&[SocketAddr]) + Send>;

/// Runs a gateway until SIGTERM or SIGINT, and ends it in order: no new connections, requests in flight
/// finished up to the drain deadline, last use written, logs flushed.
///
/// # Errors
/// Where a part cannot be started.
pub fn run(config: Config, run: Run) -> anyhow::Result<()> {
    observe::init_tracing(&config.observe).context("cannot set up diagnostics")?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("keeper")
        .enable_all()
        .build()
        .context("cannot start the keeper thread")?;
    runtime.block_on(async {
        let parts = Parts::new(&config).await?;
        parts.serve(config, run).await
    })
}

/// What lives as long as the process.
struct Parts {
    metrics: Arc<Metrics>,
    store: Arc<dyn KeyStore>,
    keyring: Keyring,
    counted: Arc<LimitState>,
    plan: Arc<ArcSwap<Plan>>,
    usage: Arc<Usage>,
    observer: Arc<Observer>,
    health: Arc<Health>,
}

/// Each instance's keys, by its name: they outlive a reload, and with them every tombstone.
struct Keyring {
    settings: keys::Settings,
    store: Arc<dyn KeyStore>,
    metrics: Arc<Metrics>,
    known: Mutex<HashMap<Arc<str>, Arc<Keys>>>,
}

impl Keyring {
    fn of(&self, instance: &Arc<str>) -> Arc<Keys> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = known.entry(Arc::clone(instance)).or_insert_with(|| {
            let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
            Arc::new(Keys::new(Arc::clone(instance), &self.settings, store, metrics))
        });
        Arc::clone(keys)
    }
}

impl Parts {
    async fn new(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new().context("cannot register the metrics")?);
        let store = keys::open(&config.keys.store).await.context("cannot open the key store")?;
        let keyring = Keyring {
            settings: config.keys.clone(),
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            known: Mutex::default(),
        };
        let counted = Arc::new(LimitState::new(&metrics));
        let plan = Plan::new(&config.gateway, Arc::clone(&counted), |instance| keyring.of(instance));
        let observer =
            Observer::open(&config.observe, Arc::clone(&metrics)).context("cannot open the access log")?;
        Ok(Self {
            usage: Usage::new(Arc::clone(&metrics)),
            health: Arc::new(Health::new(checks(config, &store))),
            counted,
            plan: Arc::new(ArcSwap::from_pointee(plan)),
            keyring,
            store,
            observer,
            metrics,
        })
    }

    async fn serve(self, config: Config, run: Run) -> anyhow::Result<()> {
        // Before anything listens: whoever can see the gateway may already signal it.
        let signals = Signals::follow()?;
        let interval = config.keys.usage_interval;
        let listeners = config.server.listeners.clone();
        let gateway = {
            let (plan, usage) = (Arc::clone(&self.plan), Arc::clone(&self.usage));
            let (metrics, observer) = (Arc::clone(&self.metrics), Arc::clone(&self.observer));
            server::start(config.server, Arc::clone(&self.metrics), move |_| {
                Gateway::new(Arc::clone(&plan), usage.shard(), Arc::clone(&metrics), observer.worker())
            })
            .context("cannot listen")?
        };
        let admin = {
            let (token, metrics) = (config.admin.token.clone(), Arc::clone(&self.metrics));
            let health = Arc::clone(&self.health);
            server::start(admin_listener(&config.admin), Arc::clone(&self.metrics), move |_| {
                Admin::new(token.clone(), Arc::clone(&metrics), Arc::clone(&health))
            })
            .context("cannot open the admin listener")?
        };
        announce(&listeners, &gateway, &admin);
        (run.ready)(gateway.addresses());
        let reload = || self.reload(&listeners, &gateway, &run.reload);
        self.until_told_to_stop(signals, interval, reload).await;
        self.end(gateway, admin).await;
        Ok(())
    }

    /// Writes last uses and follows signals until one says to stop.
    async fn until_told_to_stop(&self, mut signals: Signals, interval: Duration, reload: impl Fn()) {
        let mut flush = tokio::time::interval(interval);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => reload(),
                _ = flush.tick() => self.flush().await,
            }
        }
        tracing::info!("told to stop: finishing requests in flight");
    }

    async fn flush(&self) {
        if let Err(error) = self.usage.flush(&*self.store).await {
            tracing::warn!(%error, "last use of keys not written yet");
        }
    }

    /// Takes a new configuration where it is a good one; a bad one changes nothing.
    fn reload(&self, listeners: &[server::ListenerSettings], gateway: &server::Running, reload: &Reload) {
        self.observer.reopen();
        let config = match reload() {
            Ok(config) => config,
            Err(error) => {
                tracing::error!("configuration not reloaded, the old one stays: {error:#}");
                return;
            }
        };
        for held in listeners {
            let same = config.server.listeners.iter().find(|next| next.address == held.address);
            if let (Some(held), Some(next)) = (&held.tls, same.and_then(|next| next.tls.as_ref())) {
                held.replace((*next.current()).clone());
            }
        }
        gateway.report_certificates();
        self.health.watch(checks(&config, &self.store));
        let counted = Arc::clone(&self.counted);
        let plan = Plan::new(&config.gateway, counted, |instance| self.keyring.of(instance));
        self.plan.store(Arc::new(plan));
        tracing::info!(
            "configuration reloaded: instances, secrets, rate limits and certificates; other parts need a restart"
        );
    }

    async fn end(&self, gateway: server::Running, admin: server::Running) {
        self.health.drain();
        let drained = gateway.drain().await;
        self.flush().await;
        tracing::info!(finished = drained.finished, cut = drained.cut, "stopped");
        admin.drain().await;
        self.observer.close();
    }
}

/// The signals that a gateway follows.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn follow() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot follow SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot follow SIGINT")?,
            hang_up: signal(SignalKind::hangup()).context("cannot follow SIGHUP")?,
        })
    }
}

fn admin_listener(settings: &crate::api::Settings) -> server::Settings {
    server::Settings {
        workers: 1,
        listeners: vec![server::ListenerSettings { address: settings.address, tls: None }],
        timeouts: server::Timeouts {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            drain: Duration::from_secs(1),
        },
        max_connections: 64,
        max_header_bytes: 16 * 1024,
        max_headers: 64,
        max_concurrent_streams: 16,
    }
}

/// Says where to connect, one line a listener.
fn announce(listeners: &[server::ListenerSettings], gateway: &server::Running, admin: &server::Running) {
    for (settings, address) in listeners.iter().zip(gateway.addresses()) {
        let listener = if settings.tls.is_some() { "https" } else { "http" };
        tracing::info!(%address, listener, "listening");
    }
    for address in admin.addresses() {
        tracing::info!(%address, listener = "admin", "listening");
    }
}

/// What `/readyz` asks: the store, and each instance.
fn checks(config: &Config, store: &Arc<dyn KeyStore>) -> Vec<Check> {
    let store = Arc::clone(store);
    let mut checks = vec![Check::store(move || {
        let store = Arc::clone(&store);
        Box::pin(async move { store.ping().await.map_err(|error| error.to_string()) })
    })];
    checks.extend(config.gateway.instances.iter().map(|instance| {
        let settings = instance.upstream.clone();
        Check::instance(&instance.name, move || {
            let settings = settings.clone();
            Box::pin(async move { upstream::reach(&settings).await.map_err(|error| error.to_string()) })
        })
    }));
    checks
}
