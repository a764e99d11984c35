//! Three gateways, each a process of its own with a way of its own to the one Redis, in front of one instance.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::instance::Instance;
use super::line::Line;
use super::sentinels::Sentinels;
use super::stock;
use crate::support::redis::RedisServer;
use crate::support::{Gateway, Relay, Request, Setup};

pub const GATEWAYS: usize = 3;

/// Everything that takes part in a round. Dropped, all processes are killed.
pub struct Fleet {
    pub instance: Instance,
    pub redis: RedisServer,
    pub relays: Vec<Relay>,
    pub gateways: Vec<Gateway>,
    /// Where the store has a replica.
    pub sentinels: Option<Sentinels>,
    pub doors: Arc<Doors>,
    _folder: TempDir,
}

/// What a fleet is made of, where it is not the usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Making {
    /// Redis keeps its content over a restart.
    pub keeps: bool,
    /// No relays: gateways reach Redis directly.
    pub direct: bool,
    /// A replica and sentinels; gateways are led by these, and reach Redis directly.
    pub fails_over: bool,
    /// The first gateway's wall clock is this file's offset away from the true one.
    pub own_clock: bool,
}

/// Where gateways can be reached at the moment, and what is needed to speak with them.
pub struct Doors {
    addresses: Mutex<Vec<Addresses>>,
    setups: Vec<Setup>,
}

#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

/// The name of the file with the first gateway's clock offset.
pub const CLOCK_FILE: &str = "clock";

/// Where Debian's faketime has its library.
pub fn faketime() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH)
}

impl Fleet {
    /// Starts everything, and has the store know so many keys.
    pub async fn start(making: Making, keys: usize) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let instance = Instance::start();
        let place = folder.path().to_string_lossy().into_owned();
        let kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--dir", &place];
        let redis = RedisServer::start_with(if making.keeps { &kept } else { &kept[4..] });
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()));
        let relays: Vec<Relay> = (0..GATEWAYS).map(|_| Relay::to(server)).collect();
        let sentinels = match making.fails_over {
            true => Some(Sentinels::beside(&redis, folder.path()).await),
            false => None,
        };
        let setup = |number: usize| {
            let port = if making.direct { redis.port() } else { relays[number].address().port() };
            let setup = Setup::of(instance.address);
            let setup = match &sentinels {
                Some(sentinels) => sentinels.configure(setup),
                None => setup.in_redis(&format!("redis://127.0.0.1:{port}/0")),
            };
            let setup = setup.with("limits: { bad_credentials: off }").with("workers: 1");
            if making.own_clock && number == 0 { with_own_clock(setup) } else { setup }
        };
        let setups: Vec<Setup> = (0..GATEWAYS).map(setup).collect();
        let gateways = join_all(setups.iter().map(Setup::start)).await;
        let addresses = Mutex::new(gateways.iter().map(Addresses::of).collect());
        let doors = Arc::new(Doors { addresses, setups });
        let fleet = Self { instance, redis, relays, gateways, sentinels, doors, _folder: folder };
        fleet.take_in(keys).await;
        fleet
    }

    async fn take_in(&self, keys: usize) {
        let taken = self.gateways[0].call("POST", "/keys/import", &stock::portion(0..keys)).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
        let results = taken.json()["results"].as_array().cloned().unwrap_or_default();
        assert!(results.len() == keys && results.iter().all(|key| key["outcome"] == "written"));
    }

    /// Kills a gateway, and starts it again after a while, with other addresses.
    pub async fn restart(&mut self, number: usize, after: Duration) {
        self.gateways[number].process.signal("KILL");
        self.gateways[number].process.exit().await;
        tokio::time::sleep(after).await;
        self.gateways[number] = self.doors.setups[number].start().await;
        self.doors.addresses()[number] = Addresses::of(&self.gateways[number]);
    }

    /// Has Redis run a command, and returns what it says.
    pub fn redis(&self, command: &str) -> String {
        ask_redis(self.redis.port(), command)
    }
}

fn with_own_clock(setup: Setup) -> Setup {
    let file = setup.file(CLOCK_FILE, "+0");
    [
        ("LD_PRELOAD", &*faketime()),
        ("FAKETIME_TIMESTAMP_FILE", &file.to_string_lossy()),
        ("FAKETIME_NO_CACHE", "1"),
        // The kernel's monotonic clocks are not stepped either.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]
    .into_iter()
    .fold(setup, |setup, (name, value)| setup.with_environment(name, value))
}

impl Doors {
    fn addresses(&self) -> MutexGuard<'_, Vec<Addresses>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn of(&self, gateway: usize) -> Addresses {
        self.addresses()[gateway]
    }

    pub fn setup(&self, gateway: usize) -> &Setup {
        &self.setups[gateway]
    }

    /// Calls the admin API of a gateway; `None` where no answer comes.
    pub async fn call(&self, gateway: usize, path: &str, content: &str) -> Option<(u16, serde_json::Value)> {
        let mut line = Line::open(self.of(gateway).admin).await.ok()?;
        self.call_on(&mut line, gateway, path, content).await
    }

    /// The same on a connection that is open.
    pub async fn call_on(
        &self,
        line: &mut Line,
        gateway: usize,
        path: &str,
        content: &str,
    ) -> Option<(u16, serde_json::Value)> {
        let token = self.setups[gateway].admin_token()?;
        let request = Request::post(&format!("/admin/api/v1{path}"), content).bearer(&token);
        let reply = line.ask(&request.bytes()).await.ok()?;
        Some((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
    }
}

impl Addresses {
    fn of(gateway: &Gateway) -> Self {
        Self { http: gateway.http, admin: gateway.admin }
    }
}

/// Has the Redis server on this port run a command of plain words.
pub fn ask_redis(port: u16, command: &str) -> String {
    try_redis(port, command).unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// The same, of a server that may not be there, or end connections, as one does that is promoted.
pub fn try_redis(port: u16, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first)?;
    let Some(length) = first.strip_prefix('$').and_then(|length| length.trim().parse().ok()) else {
        return Ok(first.trim().to_owned());
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
