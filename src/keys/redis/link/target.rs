//! Where the server with the keys is at the moment: at one address, wherever the sentinels say, or at the
//! node of a cluster that has the slot.
//!
//! In a cluster all of the gateway's names lie in one slot, so there is one server at any time. Its node is not
//! looked up: whichever node is asked says where the slot is, and is believed from then on. That is all that is
//! needed of a cluster, without its table of slots, a connection to every node, or a right to read either.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::IntoConnectionInfo as _;
use ::redis::{ConnectionAddr, Value, pipe};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::dial::{Connection, Entrance, Proof};
use super::trouble::{Trouble, explain, first_error};
use crate::keys::{Address, Login, Place, RedisTls, RedisUrl, Servers, StoreError};

const PORT: u16 = 6379;

/// What is needed to reach the server.
pub(super) struct Target {
    place: Whereabouts,
    login: Login,
    database: u32,
    tls: Option<RedisTls>,
}

enum Whereabouts {
    One(Address),
    Sentinels { sentinels: Vec<Address>, master: String, login: Login },
    Cluster { nodes: Vec<Address>, known: Mutex<Known> },
}

/// What was learned of a cluster.
#[derive(Default)]
struct Known {
    /// Who has the slot, as far as is known.
    owner: Option<Address>,
    /// Which of the nodes to begin with is next.
    next: usize,
}

/// Where sentinels say that the master is.
pub(super) struct Found {
    pub(super) master: Address,
    /// Whether more than half of all say so.
    pub(super) agreed: bool,
}

impl Target {
    /// Makes nothing yet.
    pub(super) fn new(servers: &Servers) -> Result<Self, StoreError> {
        let tls = servers.tls.clone();
        match servers.place.clone() {
            Place::One(url) => Self::one(&url, tls),
            Place::Sentinels { sentinels, master, sentinel_login, login, database } => {
                let place = Whereabouts::Sentinels { sentinels, master, login: sentinel_login };
                Ok(Self { place, login, database, tls })
            }
            Place::Cluster { nodes, login } => {
                let place = Whereabouts::Cluster { nodes, known: Mutex::default() };
                Ok(Self { place, login, database: 0, tls })
            }
        }
    }

    fn one(url: &RedisUrl, tls: Option<RedisTls>) -> Result<Self, StoreError> {
        let unusable = |why: &str| {
            StoreError::Unusable(format!(
                "{url} is not a Redis URL ({why}). It looks like redis://user:password@host:6379/0, or rediss:// \
                 for TLS; special characters in user and password are percent-encoded"
            ))
        };
        let (plain, wants_tls) = match url.expose().strip_prefix("rediss://") {
            Some(rest) => (format!("redis://{rest}"), true),
            None => (url.expose().to_owned(), false),
        };
        let plain = Zeroizing::new(plain);
        let parts = plain.as_str().into_connection_info().map_err(|error| unusable(error.category()))?;
        let ConnectionAddr::Tcp(host, port) = parts.addr().clone() else {
            return Err(unusable("it names no host"));
        };
        let settings = parts.redis_settings();
        let login = Login {
            user: settings.username().map(str::to_owned),
            password: settings.password().map(|password| Zeroizing::new(password.to_owned())),
        };
        let database = u32::try_from(settings.db()).map_err(|_| unusable("its database is no number"))?;
        let tls = match (wants_tls, tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls),
            (true, None) => {
                Some(RedisTls::new(None, None).map_err(|error| StoreError::Unusable(error.to_string()))?)
            }
        };
        Ok(Self { place: Whereabouts::One(Address { host, port }), login, database, tls })
    }

    /// Whether the slot can move from node to node.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.place, Whereabouts::Cluster { .. })
    }

    /// Whether somebody watches over who is the master.
    pub(super) fn has_sentinels(&self) -> bool {
        matches!(self.place, Whereabouts::Sentinels { .. })
    }

    /// Connects to the server, within this time.
    pub(super) async fn connect(&self, patience: Duration) -> Result<Connection, Trouble> {
        let deadline = Instant::now() + patience;
        let connecting = async {
            match &self.place {
                Whereabouts::One(address) => self.connect_to(address).await,
                Whereabouts::Sentinels { .. } => self.connect_to_master(patience / 4).await,
                Whereabouts::Cluster { nodes, known } => self.connect_to_node(nodes, known).await,
            }
        };
        timeout_at(deadline, connecting).await.unwrap_or(Err(Trouble::Silent(StoreError::Timeout)))
    }

    /// Connects to this server, whoever it is.
    pub(super) async fn connect_to(&self, address: &Address) -> Result<Connection, Trouble> {
        let entrance = Entrance { login: &self.login, database: self.database, tls: self.tls.as_ref() };
        Connection::make(address, entrance).await
    }

    async fn connect_to_master(&self, patience: Duration) -> Result<Connection, Trouble> {
        let address = self.master(patience).await?.master;
        let connection = self.connect_to(&address).await?;
        if connection.greeting.primary {
            return Ok(connection);
        }
        // It was, or is about to be.
        let why = format!("{address} is not the master, although the sentinels say so");
        Err(Trouble::Silent(StoreError::Unreachable(why)))
    }

    /// Where most of the sentinels say that the master is. More than half of all are enough; where fewer
    /// answer in time, those count that did.
    pub(super) async fn master(&self, patience: Duration) -> Result<Found, Trouble> {
        let Whereabouts::Sentinels { sentinels, master, login } = &self.place else {
            return Err(Trouble::Silent(StoreError::Unusable("there are no sentinels".to_owned())));
        };
        let deadline = Instant::now() + patience;
        let mut asked: FuturesUnordered<_> =
            sentinels.iter().map(|sentinel| self.ask_sentinel(sentinel, master, login)).collect();
        let (mut votes, mut trouble): (Vec<(Address, usize)>, _) = (Vec::new(), StoreError::Timeout);
        while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
            let address = match answer {
                Ok(address) => address,
                Err(silence) => {
                    trouble = silence.into_error();
                    continue;
                }
            };
            match votes.iter_mut().find(|(known, _)| *known == address) {
                Some((_, count)) => *count += 1,
                None => votes.push((address, 1)),
            }
            if votes.iter().any(|(_, count)| *count * 2 > sentinels.len()) {
                break;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        let found = most.map(|(master, count)| Found { master, agreed: count * 2 > sentinels.len() });
        found.ok_or(Trouble::Silent(trouble))
    }

    async fn ask_sentinel(
        &self,
        sentinel: &Address,
        master: &str,
        login: &Login,
    ) -> Result<Address, Trouble> {
        let entrance = Entrance { login, database: 0, tls: self.tls.as_ref() };
        let connection = Connection::to_sentinel(sentinel, entrance).await?;
        let mut pipeline = pipe();
        pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let values = connection.ask(&pipeline, Proof::Number).await;
        let values = values.map_err(|error| Trouble::Silent(explain(&error, sentinel)))?;
        if let Some(error) = first_error(&values) {
            return Err(Trouble::Silent(explain(&error, sentinel)));
        }
        let unknown = || {
            let why = format!("the sentinel {sentinel} knows no master {master}");
            Trouble::Silent(StoreError::Refused(why))
        };
        match values.first() {
            Some(Value::Array(parts)) => match parts.as_slice() {
                [Value::BulkString(host), Value::BulkString(port)] => {
                    read_address(host, port).ok_or_else(unknown)
                }
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }

    /// Begins with the node that had the slot, and goes on to another where that fails.
    async fn connect_to_node(&self, nodes: &[Address], known: &Mutex<Known>) -> Result<Connection, Trouble> {
        let begin = {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match known.owner.take() {
                Some(owner) => owner,
                None => {
                    known.next = known.next.wrapping_add(1);
                    let next = nodes.get(known.next.wrapping_sub(1) % nodes.len().max(1));
                    next.cloned().unwrap_or(Address { host: String::new(), port: PORT })
                }
            }
        };
        let connection = self.connect_to(&begin).await?;
        if connection.greeting.clustered {
            self.follow(begin);
            return Ok(connection);
        }
        let why = format!("{begin} is no node of a cluster; name it by store.url");
        Err(Trouble::Silent(StoreError::Unusable(why)))
    }

    /// A node said that this one has the slot.
    pub(super) fn follow(&self, owner: Address) {
        if let Whereabouts::Cluster { known, .. } = &self.place {
            known.lock().unwrap_or_else(PoisonError::into_inner).owner = Some(owner);
        }
    }

    /// Whoever had the slot does not answer, or does not have it: the next connection begins elsewhere.
    pub(super) fn lose(&self) {
        if let Whereabouts::Cluster { known, .. } = &self.place {
            known.lock().unwrap_or_else(PoisonError::into_inner).owner = None;
        }
    }
}

fn read_address(host: &[u8], port: &[u8]) -> Option<Address> {
    let (host, port) = (std::str::from_utf8(host).ok()?, std::str::from_utf8(port).ok()?);
    Some(Address { host: host.to_owned(), port: port.parse().ok().filter(|port| *port > 0)? })
}

/// The node that an error `MOVED` or `ASK` names; one without a host is on the host that was asked.
pub(super) fn named_node(node: &str, asked: &Address) -> Option<Address> {
    let (host, port) = node.rsplit_once(':')?;
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "" | "?" => asked.host.clone(),
        host => host.to_owned(),
    };
    Some(Address { host, port: port.parse().ok().filter(|port| *port > 0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_address_name_or_port_alone() {
        let asked = Address { host: "10.0.0.1".to_owned(), port: 7000 };
        let named = |node| named_node(node, &asked).map(|node| (node.host, node.port));
        for (node, host, port) in [
            ("10.0.0.2:7001", "10.0.0.2", 7001),
            ("node.example:7001", "node.example", 7001),
            (":7001", "10.0.0.1", 7001),
            ("?:7001", "10.0.0.1", 7001),
            ("fe80::1:7001", "fe80::1", 7001),
        ] {
            assert_eq!(named(node), Some((host.to_owned(), port)));
        }
        for wrong in ["", "host", "host:", "host:0", "host:x"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_url_holds_address_login_and_database() {
        let servers = |text: &str| Servers::from(RedisUrl::new(text.to_owned()));
        let target = Target::new(&servers("redis://ann:p%40ss@db:7000/3")).expect("a target");
        assert_eq!((target.login.user.as_deref(), target.database), (Some("ann"), 3));
        assert_eq!(target.login.password.as_ref().map(|password| password.as_str()), Some("p@ss"));
        assert!(target.tls.is_none());
        assert!(Target::new(&servers("redis+unix:///run/redis.sock")).is_err());
        assert!(Target::new(&servers("redis://db/-1")).is_err());
    }
}
