//! The connection to Redis: one, shared by all workers, made when it is first needed and again after it broke.
//!
//! An answer, connecting included, takes at most the configured time; after silence nobody waits but one who
//! tries it anew from time to time. Nothing is queued for later: when Redis cannot be reached, whoever asks is
//! told so. Which server it is, [`target`] finds out.

mod bounded;
mod breaker;
mod current;
mod dial;
mod target;
mod trouble;
mod visit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ServerErrorKind, Value};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use self::current::{Age, Current, Lent};
use self::dial::Connection;
pub(super) use self::dial::Proof;
use self::target::{Found, Target, named_node};
use self::trouble::{Trouble, explain, first_error, is_broken, is_elsewhere};
use self::visit::Gate;
use crate::keys::lease::Moment;
use crate::keys::{Address, Servers, StoreError};
use crate::observe::Metrics;

/// Connections are made that far apart, at least.
const BETWEEN_CONNECTIONS: Duration = Duration::from_millis(50);
/// A server that seems not to be the right one any more is looked up anew this often, at most.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// In a cluster whose slot is on its way, for that long before asking again.
const ON_ITS_WAY: Duration = Duration::from_millis(5);
/// So many nodes of a cluster are followed for one question.
const MOST_HOPS: u32 = 5;

/// The connection, or the means to make one.
pub(super) struct Link {
    target: Arc<Target>,
    timeout: Duration,
    /// For connecting, which may take longer than anybody waits for it.
    patience: Duration,
    /// Where the connection is read and written: on the workers' runtimes it would end with its worker.
    runtime: Handle,
    current: Arc<Current>,
    /// Held while connecting, so that one attempt serves everyone who waits.
    connecting: Arc<tokio::sync::Mutex<Attempts>>,
    /// How many attempts have come to an end.
    attempts: Arc<AtomicU64>,
    gate: Gate,
}

struct Attempts {
    /// When the next may begin.
    next: Instant,
    /// Why the last one failed.
    trouble: Option<Trouble>,
}

/// What came of one try.
enum Turn {
    Done(Vec<Value>),
    /// The same once more; what is asked may be asked twice.
    Again,
    Failed(Trouble),
}

impl Link {
    /// A link to these servers. Connects to nothing yet.
    pub(super) fn new(servers: &Servers, timeout: Duration, metrics: &Metrics) -> Result<Self, StoreError> {
        let target = Arc::new(Target::new(servers)?);
        let runtime = Handle::try_current()
            .map_err(|_| StoreError::Unusable("it was opened outside a runtime".to_owned()))?;
        Ok(Self::with(target, timeout, timeout * 2, runtime, Gate::new(metrics)))
    }

    /// Another connection to the same place, with a limit of its own: for questions that must not wait for
    /// each other's answers, or whose answers come late on purpose.
    pub(super) fn sibling(&self, timeout: Duration) -> Self {
        let (target, runtime) = (Arc::clone(&self.target), self.runtime.clone());
        Self::with(target, timeout, self.patience, runtime, self.gate.another())
    }

    fn with(target: Arc<Target>, timeout: Duration, patience: Duration, runtime: Handle, gate: Gate) -> Self {
        let attempts = Attempts { next: Instant::now(), trouble: None };
        let connecting = Arc::new(tokio::sync::Mutex::new(attempts));
        let (current, attempts) = (Arc::default(), Arc::default());
        Self { target, timeout, patience, runtime, current, connecting, attempts, gate }
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the connection was made that is in use, or was last: only since then is it certain which server
    /// answers.
    pub(super) fn since(&self) -> Moment {
        self.current.since().unwrap_or_else(Moment::now)
    }

    /// Sends commands in one go and reads their answers. A connection that turns out to be broken is
    /// made again once: what is asked may be asked twice.
    pub(super) async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        self.run_with(pipeline, Proof::Number).await
    }

    /// The same, where there is another proof that the answer belongs to what was asked, or none is needed.
    pub(super) async fn run_with<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        proof: Proof<'_>,
    ) -> Result<T, StoreError> {
        let asked = Instant::now();
        let visit = self.gate.enter(asked.into_std())?;
        let outcome = self.converse(pipeline, proof, asked + self.timeout).await;
        visit.leave(&outcome);
        let answer = match outcome {
            Ok((values, address)) => {
                let answer = pipeline.query_async(&mut Replay(Some(values))).await;
                answer.map_err(|error| explain(&error, &address))
            }
            Err(trouble) => Err(trouble.into_error()),
        };
        answer.inspect_err(|error| self.gate.count(error))
    }

    async fn converse(
        &self,
        pipeline: &Pipeline,
        proof: Proof<'_>,
        deadline: Instant,
    ) -> Result<(Vec<Value>, Address), Trouble> {
        let mut hops = 0;
        loop {
            let lent = timeout_at(deadline, self.lend()).await.unwrap_or(Err(silence()))?;
            let asking = self.ask(&lent, (pipeline, proof), deadline, &mut hops);
            let turn = match timeout_at(deadline, asking).await {
                Ok(turn) => turn,
                Err(_) => {
                    // Its late answer must find nobody.
                    self.current.forget(lent.generation);
                    self.current.keep_beside(None);
                    self.target.lose();
                    Turn::Failed(silence())
                }
            };
            match turn {
                Turn::Done(values) => return Ok((values, lent.connection.address.clone())),
                Turn::Again => {}
                Turn::Failed(trouble) => return Err(trouble),
            }
        }
    }

    async fn ask(
        &self,
        lent: &Lent,
        (pipeline, proof): (&Pipeline, Proof<'_>),
        deadline: Instant,
        hops: &mut u32,
    ) -> Turn {
        let from = &lent.connection;
        let error = match from.ask(pipeline, proof).await {
            Ok(mut values) => {
                if self.target.is_cluster()
                    && let Err(trouble) = self.fetch(from, pipeline, &mut values).await
                {
                    return Turn::Failed(trouble);
                }
                match first_error(&values) {
                    Some(error) => error,
                    None => return Turn::Done(values),
                }
            }
            Err(error) => error,
        };
        if is_broken(&error) {
            self.current.forget(lent.generation);
            self.target.lose();
            return match lent.age {
                Age::Kept => Turn::Again,
                Age::New => Turn::Failed(Trouble::Silent(explain(&error, &from.address))),
            };
        }
        if self.target.is_cluster() && self.is_on_its_way(&error, lent, deadline, hops).await {
            return Turn::Again;
        }
        if is_elsewhere(&error) && self.current.doubt(lent.generation, BETWEEN_LOOKS) {
            self.target.lose();
        }
        Turn::Failed(Trouble::Answered(explain(&error, &from.address)))
    }

    /// Whether the same should be asked again, because the slot is at another node, or on its way there.
    async fn is_on_its_way(
        &self,
        error: &RedisError,
        lent: &Lent,
        deadline: Instant,
        hops: &mut u32,
    ) -> bool {
        let node = error.redirect_node().and_then(|(node, _)| named_node(node, &lent.connection.address));
        match (error.kind(), node) {
            (ErrorKind::Server(ServerErrorKind::Moved), Some(owner)) if *hops < MOST_HOPS => {
                *hops += 1;
                self.target.follow(owner);
                self.current.forget(lent.generation);
                true
            }
            (ErrorKind::Server(ServerErrorKind::TryAgain), _)
                if Instant::now() + ON_ITS_WAY * 8 < deadline =>
            {
                sleep(ON_ITS_WAY).await;
                true
            }
            _ => false,
        }
    }

    /// While the slot is on its way to another node, what has arrived there is fetched from there.
    async fn fetch(
        &self,
        from: &Connection,
        pipeline: &Pipeline,
        values: &mut [Value],
    ) -> Result<(), Trouble> {
        let arrived = |value: &Value| match value {
            Value::ServerError(error) if error.code() == "ASK" => {
                let error = RedisError::from(error.clone());
                error.redirect_node().and_then(|(node, _)| named_node(node, &from.address))
            }
            _ => None,
        };
        let Some(node) = values.iter().find_map(arrived) else { return Ok(()) };
        let (places, commands): (Vec<usize>, Vec<&Cmd>) = pipeline
            .cmd_iter()
            .enumerate()
            .filter(|(place, _)| values.get(*place).and_then(arrived).is_some_and(|to| to == node))
            .unzip();
        // The node that was asked did answer, so whatever happens now is no silence.
        let answered = |trouble: Trouble| Trouble::Answered(trouble.into_error());
        let beside = self.beside(&node).await.map_err(answered)?;
        let fetched = beside.ask_importing(&commands).await.map_err(|error| {
            self.current.keep_beside(None);
            Trouble::Answered(explain(&error, &node))
        })?;
        for (place, value) in places.into_iter().zip(fetched) {
            if let Some(slot) = values.get_mut(place) {
                *slot = value;
            }
        }
        Ok(())
    }

    async fn beside(&self, node: &Address) -> Result<Arc<Connection>, Trouble> {
        if let Some(beside) = self.current.beside(node) {
            return Ok(beside);
        }
        let (target, node) = (Arc::clone(&self.target), node.clone());
        let connecting = self.runtime.spawn(async move { target.connect_to(&node).await });
        let connection = Arc::new(connecting.await.unwrap_or_else(|_| Err(stopping()))?);
        self.current.keep_beside(Some(Arc::clone(&connection)));
        Ok(connection)
    }

    async fn lend(&self) -> Result<Lent, Trouble> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let before = self.attempts.load(Ordering::Acquire);
        let mut attempts = Arc::clone(&self.connecting).lock_owned().await;
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        if self.attempts.load(Ordering::Acquire) != before
            && let Some(trouble) = &attempts.trouble
        {
            return Err(trouble.clone());
        }
        let (target, patience) = (Arc::clone(&self.target), self.patience);
        let (current, ended) = (Arc::clone(&self.current), Arc::clone(&self.attempts));
        // It goes on where nobody waits for it any more: the next may have more use of it.
        let connecting = self.runtime.spawn(async move {
            sleep_until(attempts.next).await;
            attempts.next = Instant::now() + BETWEEN_CONNECTIONS;
            let made = target.connect(patience).await.map(|connection| current.keep(connection));
            attempts.trouble = made.as_ref().err().cloned();
            ended.fetch_add(1, Ordering::Release);
            made
        });
        connecting.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn kept(&self) -> Option<Lent> {
        let lent = self.current.lend()?;
        if self.target.has_sentinels() && self.current.is_look_due(BETWEEN_LOOKS) {
            self.look_after(&lent);
        }
        Some(lent)
    }

    /// A master that was cut off from its sentinels may not know that there is another: they are asked anew.
    fn look_after(&self, lent: &Lent) {
        let (target, patience, current) =
            (Arc::clone(&self.target), self.patience, Arc::clone(&self.current));
        let (address, generation) = (lent.connection.address.clone(), lent.generation);
        self.runtime.spawn(async move {
            // A few that were cut off themselves are no reason to leave a master that works.
            if let Ok(Found { master, agreed: true }) = target.master(patience).await
                && master != address
            {
                current.forget(generation);
            }
        });
    }
}

/// Gives the answers that are there already to whoever takes them apart.
struct Replay(Option<Vec<Value>>);

impl ConnectionLike for Replay {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(std::future::ready(Ok(Value::Nil)))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(std::future::ready(Ok(self.0.take().unwrap_or_default())))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn silence() -> Trouble {
    Trouble::Silent(StoreError::Timeout)
}

fn stopping() -> Trouble {
    Trouble::Silent(StoreError::Unreachable("the gateway is stopping".to_owned()))
}
