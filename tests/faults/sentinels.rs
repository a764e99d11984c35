//! A Redis with a replica, and three sentinels that fail over from one to the other.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::fleet::{ask_redis, try_redis};
use crate::support::port::free_port;
use crate::support::process::Process;
use crate::support::redis::RedisServer;
use crate::support::{Setup, wait};

/// What stands beside the first server. Dropped, all of it is killed.
pub struct Sentinels {
    replica: RedisServer,
    ports: Vec<u16>,
    _processes: Vec<Process>,
}

/// The name under which sentinels know the server.
const MASTER: &str = "keys";
const COUNT: usize = 3;

impl Sentinels {
    /// Starts them; when this returns they are ready to fail over.
    pub async fn beside(master: &RedisServer, folder: &Path) -> Self {
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        let follows = || tells(replica.port(), "master_link_status:up");
        wait::until("the replica to follow", follows).await;
        let ports: Vec<u16> = (0..COUNT).map(|_| free_port()).collect();
        let start = |own: &u16| {
            let file = folder.join(format!("sentinel-{own}.conf"));
            let place = folder.display();
            let text = format!(
                "port {own}\nbind 127.0.0.1\ndir {place}\nsentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 5000\n"
            );
            std::fs::write(&file, text).expect("a file");
            Process::start(Command::new("redis-server").arg(&file).arg("--sentinel"))
        };
        let processes = ports.iter().map(start).collect();
        let sentinels = Self { replica, ports, _processes: processes };
        sentinels.until_they_agree().await;
        sentinels
    }

    /// Each knows the other two and the replica.
    async fn until_they_agree(&self) {
        let known = format!("name={MASTER},status=ok,address=");
        let agree = |port: &u16| {
            let said = try_redis(*port, "INFO sentinel").unwrap_or_default();
            said.contains(&known) && said.contains("slaves=1,sentinels=3")
        };
        wait::until("the sentinels to know one another", || self.ports.iter().all(agree)).await;
    }

    /// A setup whose keys are wherever the sentinels say.
    pub fn configure(&self, setup: Setup) -> Setup {
        let addresses: Vec<String> = self.ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        setup.in_store(&format!(
            "{{ kind: redis, sentinels: [{}], master: {MASTER}, revoke_wait_replicas: 1 }}",
            addresses.join(", ")
        ))
    }

    /// Waits until the replica is the master.
    pub async fn until_promoted(&self) {
        let promoted = || tells(self.replica.port(), "role:master");
        wait::within_time("a failover", Duration::from_secs(30), wait::until("the promotion", promoted))
            .await;
    }

    /// Has the server that was the master follow the one that is.
    pub async fn until_follows(&self, former: u16) {
        ask_redis(former, &format!("REPLICAOF 127.0.0.1 {}", self.replica.port()));
        let follows = || tells(former, "master_link_status:up");
        wait::until("the former master to follow", follows).await;
    }

    /// Whether gateways can be configured with sentinels.
    pub fn are_known_to_gateways() -> bool {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("gateway.yaml");
        let text = "store: { kind: redis, sentinels: ['127.0.0.1:1'], master: keys }\n\
                    instances: [{ upstream: 'http://127.0.0.1:1', jwt_secret_env: NONE }]\n";
        std::fs::write(&file, text).expect("a file");
        let mut check = Command::new(env!("CARGO_BIN_EXE_openbin-gateway"));
        let checked = check.args(["check", "--config"]).arg(&file).output().expect("the program");
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(said.contains("jwt_secret"), "the configuration was read: {said}");
        !said.contains("store.sentinels: there is no such setting")
    }
}

/// Whether a server says this of its part in replication.
fn tells(server: u16, what: &str) -> bool {
    try_redis(server, "INFO replication").is_ok_and(|said| said.contains(what))
}

#[tokio::test]
async fn the_sentinels_make_the_replica_the_master_when_the_master_is_gone() {
    let (mut master, folder) = (RedisServer::start(), tempfile::tempdir().expect("a directory"));
    let sentinels = Sentinels::beside(&master, folder.path()).await;
    assert!(ask_redis(sentinels.replica.port(), "SET a 1").contains("READONLY"));
    master.stop();
    sentinels.until_promoted().await;
    assert_eq!(ask_redis(sentinels.replica.port(), "SET a 1"), "+OK");
}
