//! The composition root: takes a [`Config`] apart, makes the parts, and runs them until a signal ends it.
//!
//! The only file that knows every room. Decides nothing about requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{self, Admin, Check, Door, Health};
use crate::auth::LimitState;
use crate::config::Config;
use crate::gateway::{Gateway, Plan, run_errands};
use crate::keys::{Concern, Keyring, Ledger, StoreError, StoreSettings, Usage};
use crate::observe::{Metrics, Observer};
use crate::{keys, observe, server, upstream};

mod desks;
mod office;
#[cfg(test)]
mod seeds;
mod tidy;

pub use desks::rest;
pub use office::Office;

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
    store: Arc<dyn Ledger>,
    keyring: Arc<Keyring>,
    counted: Arc<LimitState>,
    plan: Arc<ArcSwap<Plan>>,
    usage: Arc<Usage>,
    observer: Arc<Observer>,
    health: Arc<Health>,
    following: tokio::task::JoinHandle<()>,
}

impl Parts {
    async fn new(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new().context("cannot register the metrics")?);
        let store =
            keys::open_measured(&config.keys.store, &metrics).await.context("cannot open the key store")?;
        refuse_what_forgets(&*store).await?;
        let keyring = Arc::new(Keyring::new(config.keys.clone(), Arc::clone(&store), Arc::clone(&metrics)));
        let counted = Arc::new(LimitState::new(&metrics));
        let plan = Plan::new(&config.gateway, &counted, &keyring);
        if let Err(error) = keyring.refresh_blocks().await {
            tracing::warn!(%error, "blocked users and ended sessions are not known yet");
        }
        let following = tokio::spawn(Arc::clone(&keyring).follow());
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
            following,
        })
    }

    async fn serve(self, config: Config, run: Run) -> anyhow::Result<()> {
        // Before anything listens: whoever can see the gateway may already signal it.
        let signals = Signals::follow()?;
        let interval = config.keys.usage_interval;
        let listeners = config.server.listeners.clone();
        let door = Arc::new(door(&config, &self.keyring)?);
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
            let (health, door) = (Arc::clone(&self.health), Arc::clone(&door));
            server::start(admin_listener(&config.admin), Arc::clone(&self.metrics), move |_| {
                Admin::new(token.clone(), Arc::clone(&metrics), Arc::clone(&health), Arc::clone(&door))
            })
            .context("cannot open the admin listener")?
        };
        announce(&listeners, &gateway, &admin);
        (run.ready)(gateway.addresses());
        let reload = || self.reload(&listeners, &gateway, &door, &run.reload);
        let upkeep = tokio::spawn(upkeep(Arc::clone(&self.keyring), Arc::clone(&self.plan)));
        let tidy = tokio::spawn(tidy::tidy(Arc::clone(&self.keyring), config.retention));
        self.until_told_to_stop(signals, interval, reload).await;
        upkeep.abort();
        tidy.abort();
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
    fn reload(
        &self,
        listeners: &[server::ListenerSettings],
        gateway: &server::Running,
        door: &Door,
        reload: &Reload,
    ) {
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
        let plan = Plan::new(&config.gateway, &self.counted, &self.keyring);
        self.plan.store(Arc::new(plan));
        door.replace(rest(&config, &self.keyring));
        tracing::info!(
            "configuration reloaded: instances, secrets, rate limits and certificates; other parts need a restart"
        );
    }

    async fn end(&self, gateway: server::Running, admin: server::Running) {
        self.health.drain();
        let drained = gateway.drain().await;
        self.flush().await;
        self.following.abort();
        self.keyring.leave().await;
        tracing::info!(finished = drained.finished, cut = drained.cut, "stopped");
        admin.drain().await;
        self.observer.close();
    }
}

/// How long a revocation or a block may wait for what follows from it.
const UPKEEP: Duration = Duration::from_secs(1);

/// How often what is over is forgotten.
const TIDYING: u32 = 600;

/// Runs errands, and forgets what is over. Trouble with the store is told elsewhere.
async fn upkeep(keyring: Arc<Keyring>, plan: Arc<ArcSwap<Plan>>) {
    let mut tick = tokio::time::interval(UPKEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for second in 1_u32.. {
        tick.tick().await;
        if second % TIDYING == 0
            && let Err(error) = keyring.forget_over().await
        {
            tracing::debug!(%error, "blocks that are over are not forgotten yet");
        }
        let plan = plan.load_full();
        if let Err(error) = run_errands(&keyring, &plan).await {
            tracing::debug!(%error, "errands not run");
        }
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
        listeners: vec![server::ListenerSettings { address: settings.address, tls: None, proxies: None }],
        timeouts: server::Timeouts {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(60),
            lifetime: None,
            drain: Duration::from_secs(1),
        },
        max_connections: 64,
        max_connections_per_address: 64,
        exempt: server::Addresses::none(),
        max_header_bytes: 16 * 1024,
        max_headers: 64,
        max_concurrent_streams: 16,
        extended_connect: false,
    }
}

/// The way to the admin API. Where no token is configured and the store is a file of this machine, the
/// token is in a file beside it: who may read the store may do everything anyway.
fn door(config: &Config, keyring: &Arc<Keyring>) -> anyhow::Result<Door> {
    let token = match (&config.admin.token, &config.keys.store) {
        (Some(token), _) => Some(token.clone()),
        (None, StoreSettings::Embedded { path }) => {
            let path = api::token_beside(path);
            let token = api::own_token(&path);
            Some(token.with_context(|| format!("cannot use the admin token {}", path.display()))?)
        }
        (None, StoreSettings::Redis { .. }) => None,
    };
    Ok(Door::new(token.as_ref(), rest(config, keyring)))
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

/// A store that loses revocations by itself, or can never be used, is no store; one that does not answer may
/// be there later.
async fn refuse_what_forgets(store: &dyn Ledger) -> anyhow::Result<()> {
    match store.survey().await {
        Ok(concerns) => {
            for concern in concerns {
                match concern {
                    Concern::Forgets(why) => anyhow::bail!("the key store must not be used: {why}"),
                    Concern::Note(why) => tracing::warn!("the key store: {why}"),
                }
            }
        }
        Err(error @ StoreError::Unusable(_)) => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "the key store does not answer yet"),
    }
    Ok(())
}

/// What `/readyz` asks: the store, and each instance.
fn checks(config: &Config, store: &Arc<dyn Ledger>) -> Vec<Check> {
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
