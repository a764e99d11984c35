//! The connection to Redis: one, shared by all workers, made when it is first needed and again after it broke.
//!
//! An answer, connecting included, takes at most the configured time. Nothing is queued for later: when
//! Redis cannot be reached, whoever asks is told so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline, RedisError,
    ServerErrorKind,
};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::super::{RedisUrl, StoreError};

/// The connection, or the means to make one.
pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    timeout: Duration,
    /// Where the connection is read and written: on the workers' runtimes it would end with its worker.
    runtime: Handle,
    current: Mutex<Slot>,
    /// Held while connecting, so that one attempt serves everyone who waits.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Slot {
    connection: Option<MultiplexedConnection>,
    generation: u64,
}

struct Lent {
    connection: MultiplexedConnection,
    generation: u64,
    age: Age,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    /// Made for this question.
    New,
    /// It may have broken since it was last used.
    Kept,
}

impl Link {
    pub(super) fn new(url: &RedisUrl, timeout: Duration) -> Result<Self, StoreError> {
        let unusable = |why: &str| {
            StoreError::Unusable(format!(
                "{url} is not a Redis URL ({why}). It looks like redis://user:password@host:6379/0, or rediss:// \
                 for TLS; special characters in user and password are percent-encoded"
            ))
        };
        let client = Client::open(url.expose()).map_err(|error| unusable(error.category()))?;
        if matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. }) {
            install_crypto();
        }
        let runtime = Handle::try_current()
            .map_err(|_| StoreError::Unusable("it was opened outside a runtime".to_owned()))?;
        Ok(Self::with(client, timeout, runtime))
    }

    /// Another connection to the same place, with a limit of its own: for questions that must not wait for
    /// each other's answers, or whose answers come late on purpose.
    pub(super) fn sibling(&self, timeout: Duration) -> Self {
        Self::with(self.client.clone(), timeout, self.runtime.clone())
    }

    fn with(client: Client, timeout: Duration, runtime: Handle) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let (current, connecting) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { client, config, timeout, runtime, current, connecting }
    }

    /// Sends commands in one go and reads their answers. A connection that turns out to be broken is
    /// made again once: what is asked may be asked twice.
    pub(super) async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let lent = timeout_at(deadline, self.lend()).await.map_err(|_| StoreError::Timeout)??;
            let mut connection = lent.connection;
            let answer = timeout_at(deadline, pipeline.query_async(&mut connection)).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    self.forget(lent.generation);
                    return Err(StoreError::Timeout);
                }
            };
            if needs_new_connection(&error) {
                self.forget(lent.generation);
            }
            if !(error.is_io_error() && !error.is_timeout() && lent.age == Age::Kept) {
                return Err(self.explain(&error));
            }
        }
    }

    async fn lend(&self) -> Result<Lent, StoreError> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let (client, config) = (self.client.clone(), self.config.clone());
        let connecting = self
            .runtime
            .spawn(async move { client.get_multiplexed_async_connection_with_config(&config).await });
        let connection = connecting
            .await
            .map_err(|_| StoreError::Unreachable("the gateway is stopping".to_owned()))?
            .map_err(|error| self.explain_connecting(&error))?;
        let mut slot = self.slot();
        slot.generation += 1;
        slot.connection = Some(connection.clone());
        Ok(Lent { connection, generation: slot.generation, age: Age::New })
    }

    fn kept(&self) -> Option<Lent> {
        let slot = self.slot();
        let connection = slot.connection.clone()?;
        Some(Lent { connection, generation: slot.generation, age: Age::Kept })
    }

    /// Lets go of a broken connection, unless another has taken its place.
    fn forget(&self, generation: u64) {
        let mut slot = self.slot();
        if slot.generation == generation {
            slot.connection = None;
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn explain_connecting(&self, error: &RedisError) -> StoreError {
        match error.kind() {
            ErrorKind::Io => self.explain(error),
            ErrorKind::AuthenticationFailed => StoreError::Refused(format!(
                "{} does not accept the user and password of store.url",
                self.client.get_connection_info().addr()
            )),
            _ => StoreError::Refused(self.say(error)),
        }
    }

    fn explain(&self, error: &RedisError) -> StoreError {
        if error.is_timeout() {
            return StoreError::Timeout;
        }
        let text = self.say(error);
        match error.kind() {
            ErrorKind::Io => StoreError::Unreachable(text),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Corrupt(text),
            _ if text.contains("WRONGTYPE") => StoreError::Corrupt(text),
            _ => StoreError::Refused(text),
        }
    }

    /// The error's text with the server's address. Some servers repeat a command in their error, and it
    /// may have been the one with the password.
    fn say(&self, error: &RedisError) -> String {
        let info = self.client.get_connection_info();
        let text = format!("{}: {error}", info.addr());
        match info.redis_settings().password() {
            Some(password) if !password.is_empty() => text.replace(password, "***"),
            Some(_) | None => text,
        }
    }
}

/// A broken connection; or one to a server that has become a replica, whose name may lead elsewhere now.
fn needs_new_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => true,
        ErrorKind::Server(kind) => matches!(kind, ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown),
        _ => false,
    }
}

/// The client takes the process' default for its TLS; where nobody has chosen one, it is ours.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Someone else may be quicker, and then it is theirs.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
