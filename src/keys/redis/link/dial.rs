//! Makes a connection to one server: TCP, TLS where it is wanted, signing in, and asking who is there.

use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::aio::{ConnectionLike as _, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, RedisResult, Value, cmd, pipe,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::bounded::{Bounded, Excess};
use super::trouble::{Trouble, explain, hide};
use crate::keys::{Address, Login, RedisTls, StoreError};

/// The oldest version that will do.
const OLDEST: (u32, u32) = (6, 2);

/// A connection that is read and written by a task of its own, which ends with it.
pub(super) struct Connection {
    pub(super) address: Address,
    pub(super) greeting: Greeting,
    inner: MultiplexedConnection,
    driver: AbortHandle,
    excess: Excess,
    /// The next question's number. It goes with the question, and comes back with its answer.
    next: AtomicU64,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) version: String,
    pub(super) primary: bool,
    pub(super) clustered: bool,
}

/// How one signs in.
pub(super) struct Entrance<'a> {
    pub(super) login: &'a Login,
    pub(super) database: u32,
    pub(super) tls: Option<&'a RedisTls>,
}

/// What shows that an answer belongs to what was asked, and not to something before it.
#[derive(Clone, Copy)]
pub(in super::super) enum Proof<'a> {
    /// A number that goes before the question, and comes back before the answer.
    Number,
    /// The answer to the last command is a list that ends with this text, which no other answer ends with.
    Text(&'a str),
    /// None: nothing is concluded from the answer.
    Needless,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Drop for Connection {
    /// What was asked and not answered is nobody's any more; an answer that comes late finds no one.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects, signs in and asks who is there. Call it on the runtime on which the connection is to live.
    pub(super) async fn make(address: &Address, entrance: Entrance<'_>) -> Result<Self, Trouble> {
        let mut connection = Self::open(address, entrance.tls).await?;
        connection.greeting = connection.sign_in(&entrance).await?;
        Ok(connection)
    }

    /// The same for a server that is asked only one thing, whatever it is.
    pub(super) async fn to_sentinel(address: &Address, entrance: Entrance<'_>) -> Result<Self, Trouble> {
        let connection = Self::open(address, entrance.tls).await?;
        let mut pipeline = pipe();
        if let Some(auth) = auth(entrance.login) {
            pipeline.add_command(auth);
            let values = connection.raw(&pipeline).await.map_err(|error| connection.silent(&error))?;
            connection.judge_sign_in(&values, entrance.login)?;
        }
        Ok(connection)
    }

    async fn open(address: &Address, tls: Option<&RedisTls>) -> Result<Self, Trouble> {
        let unreachable =
            |error: std::io::Error| Trouble::Silent(StoreError::Unreachable(format!("{address}: {error}")));
        let stream = stream(address, tls).await.map_err(unreachable)?;
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        // Whoever asks has a limit of their own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let stream = Bounded::new(stream);
        let excess = stream.excess();
        let (inner, driver) = MultiplexedConnection::new_with_config(&bare, stream, config)
            .await
            .map_err(|error| Trouble::Silent(explain(&error, address)))?;
        let driver = tokio::spawn(driver).abort_handle();
        let greeting = Greeting { version: String::new(), primary: false, clustered: false };
        let next = AtomicU64::new(rand::random::<u32>().into());
        Ok(Self { address: address.clone(), greeting, inner, driver, excess, next })
    }

    /// Asks, and makes sure that what comes back is the answer to this.
    pub(super) async fn ask(&self, pipeline: &Pipeline, proof: Proof<'_>) -> RedisResult<Vec<Value>> {
        if pipeline.is_transaction() {
            let mut inner = self.inner.clone();
            return inner.req_packed_commands(pipeline, pipeline.len() + 1, 1).await;
        }
        match proof {
            Proof::Number => self.ask_numbered(pipeline).await,
            Proof::Needless => self.raw(pipeline).await,
            Proof::Text(text) => {
                let values = self.raw(pipeline).await?;
                match values.last() {
                    Some(Value::ServerError(_)) => Ok(values),
                    Some(Value::Array(items)) if items.last().is_some_and(|last| is_text(last, text)) => {
                        Ok(values)
                    }
                    _ => Err(not_to_this()),
                }
            }
        }
    }

    async fn ask_numbered(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let mut numbered = Pipeline::with_capacity(pipeline.len() + 1);
        numbered.cmd("PING").arg(&number);
        for command in pipeline.cmd_iter() {
            numbered.add_command(command.clone());
        }
        let mut values = self.raw(&numbered).await?;
        match if values.is_empty() { Value::Nil } else { values.remove(0) } {
            Value::ServerError(error) => Err(error.into()),
            first if is_text(&first, &number) => Ok(values),
            _ => Err(not_to_this()),
        }
    }

    /// Asks this node, although the cluster has the slot elsewhere yet.
    pub(super) async fn ask_importing(&self, commands: &[&Cmd]) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len() * 2);
        for command in commands {
            pipeline.cmd("ASKING");
            pipeline.add_command((*command).clone());
        }
        let values = self.ask(&pipeline, Proof::Number).await?;
        Ok(values.into_iter().skip(1).step_by(2).collect())
    }

    async fn raw(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let answer = self.inner.clone().req_packed_commands(pipeline, 0, pipeline.len()).await;
        answer.map_err(|error| match self.excess.get() {
            Some(why) => std::io::Error::new(std::io::ErrorKind::InvalidData, *why).into(),
            None => error,
        })
    }

    fn silent(&self, error: &RedisError) -> Trouble {
        Trouble::Silent(explain(error, &self.address))
    }

    fn refused(&self, why: &str) -> Trouble {
        Trouble::Silent(StoreError::Refused(format!("{} {why}", self.address)))
    }

    fn too_old(&self, why: &str) -> Trouble {
        let why = format!("{} {why}; it must be of version 6.2 or newer", self.address);
        Trouble::Silent(StoreError::Unusable(why))
    }

    fn judge_sign_in(&self, values: &[Value], login: &Login) -> Result<(), Trouble> {
        let refusal = values.iter().find_map(|value| match value {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        let Some(error) = refusal else { return Ok(()) };
        Err(match error.code() {
            "WRONGPASS" => self.refused("does not accept the user and password that are configured"),
            "NOAUTH" => self.refused("wants a password, and none is configured"),
            _ => {
                let text = hide(&RedisError::from(error.clone()).to_string(), login);
                self.refused(&format!("says {text}"))
            }
        })
    }

    async fn sign_in(&self, entrance: &Entrance<'_>) -> Result<Greeting, Trouble> {
        let mut pipeline = pipe();
        if let Some(auth) = auth(entrance.login) {
            pipeline.add_command(auth);
        }
        if entrance.database > 0 {
            pipeline.cmd("SELECT").arg(entrance.database);
        }
        pipeline.cmd("HELLO");
        let values = self.raw(&pipeline).await.map_err(|error| self.silent(&error))?;
        if let Some(Value::ServerError(error)) = values.last()
            && error.details().is_some_and(|details| details.contains("unknown command"))
        {
            return Err(self.too_old("does not know HELLO"));
        }
        self.judge_sign_in(&values, entrance.login)?;
        let greeting = values.last().and_then(greeting);
        let greeting = greeting.ok_or_else(|| self.refused("does not greet as a Redis server does"))?;
        if version(&greeting.version).is_some_and(|version| version < OLDEST) {
            return Err(self.too_old(&format!("is of version {}", greeting.version)));
        }
        Ok(greeting)
    }
}

async fn stream(address: &Address, tls: Option<&RedisTls>) -> std::io::Result<Box<dyn Duplex>> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls.config()).connect(name, stream).await?))
}

fn is_text(value: &Value, text: &str) -> bool {
    matches!(value, Value::BulkString(bytes) if bytes == text.as_bytes())
}

fn not_to_this() -> RedisError {
    std::io::Error::other("its answers do not belong to what was asked").into()
}

fn auth(login: &Login) -> Option<Cmd> {
    let password = login.password.as_ref()?;
    let mut auth = cmd("AUTH");
    auth.arg(&login.user).arg(password.as_str());
    Some(auth)
}

/// Reads the answer to `HELLO`: names and values in turn.
fn greeting(value: &Value) -> Option<Greeting> {
    let Value::Array(items) = value else { return None };
    let text = |wanted: &str| {
        items.chunks_exact(2).find_map(|pair| match pair {
            [Value::BulkString(name), Value::BulkString(text)] if name == wanted.as_bytes() => {
                String::from_utf8(text.clone()).ok()
            }
            _ => None,
        })
    };
    let primary = text("role")? == "master";
    Some(Greeting { version: text("version")?, primary, clustered: text("mode")? == "cluster" })
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: &str, mode: &str, role: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = ["server", "redis", "version", version, "proto"].map(text);
        let rest = ["mode", mode, "role", role].map(text);
        Value::Array([&fields[..], &[Value::Int(2)], &rest[..]].concat())
    }

    #[test]
    fn a_greeting_says_who_is_there() {
        let read = greeting(&hello("7.0.15", "cluster", "slave")).expect("a greeting");
        assert_eq!(read, Greeting { version: "7.0.15".to_owned(), primary: false, clustered: true });
        assert!(greeting(&hello("7.0.15", "standalone", "master")).is_some_and(|read| read.primary));
        for odd in [Value::Okay, Value::Nil, Value::Array(Vec::new()), Value::Int(1)] {
            assert_eq!(greeting(&odd), None);
        }
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(version("6.0.16").is_some_and(|old| old < OLDEST));
        assert!(version("5.0").is_some_and(|old| old < OLDEST));
        for new in ["6.2.0", "7.0.15", "10.1"] {
            assert!(version(new).is_some_and(|new| new >= OLDEST), "{new}");
        }
        assert_eq!(version("unstable"), None);
    }
}
