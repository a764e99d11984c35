//! A Redis Cluster: the node with the slot is found, followed when the slot moves, and missed when it is gone.

use super::*;

const SLOTS: u32 = 16_384;

struct Node {
    server: RedisServer,
    _folder: Folder,
}

/// Three nodes that share the slots among them, without replicas.
struct Cluster {
    nodes: Vec<Node>,
    slot: u32,
}

impl Cluster {
    async fn start() -> Self {
        let nodes: Vec<Node> = (0..3).map(|_| Self::node()).collect();
        let first = &nodes[0].server;
        let slot = raw(first, ::redis::cmd("CLUSTER").arg("KEYSLOT").arg("{ns}:x")).await;
        for (place, node) in (0_u32..).zip(&nodes) {
            let (from, to) = (SLOTS * place / 3, SLOTS * (place + 1) / 3 - 1);
            let () = raw(&node.server, ::redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(to)).await;
            let () = raw(&node.server, ::redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(place + 1)).await;
            let rights = super::only_redis::documented_rights();
            let () = raw(&node.server, ::redis::cmd("ACL").arg(rights).arg("+asking")).await;
        }
        for node in &nodes[1..] {
            let bus: (String, String) =
                raw(&node.server, ::redis::cmd("CONFIG").arg("GET").arg("cluster-port")).await;
            let mut meet = ::redis::cmd("CLUSTER");
            let () = raw(first, meet.arg("MEET").arg("127.0.0.1").arg(node.server.port()).arg(bus.1)).await;
        }
        let cluster = Self { nodes, slot };
        for node in &cluster.nodes {
            let since = Instant::now();
            loop {
                let info: String = raw(&node.server, ::redis::cmd("CLUSTER").arg("INFO")).await;
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                    break;
                }
                assert!(since.elapsed() < Duration::from_secs(30), "{info}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        cluster
    }

    fn node() -> Node {
        let folder = Folder::new();
        let (directory, bus) =
            (folder.0.to_string_lossy().into_owned(), support::port::free_port().to_string());
        let mut arguments = vec!["--cluster-enabled", "yes", "--dir", &directory, "--cluster-port", &bus];
        arguments.extend(["--cluster-node-timeout", "2000"]);
        Node { server: RedisServer::start_with(&arguments), _folder: folder }
    }

    fn owner(&self) -> usize {
        (self.slot * 3 / SLOTS) as usize
    }

    async fn id(&self, node: usize) -> String {
        raw(&self.nodes[node].server, ::redis::cmd("CLUSTER").arg("MYID")).await
    }

    /// The seeds begin with one that does not have the slot.
    async fn store(&self, timeout: Duration) -> Arc<dyn Ledger> {
        let seed = |place: usize| Address {
            host: "127.0.0.1".to_owned(),
            port: self.nodes[(self.owner() + place) % 3].server.port(),
        };
        let password = Some("right-password".to_owned().into());
        let login = Login { user: Some("gateway".to_owned()), password };
        let place = Place::Cluster { nodes: vec![seed(1), seed(2)], login };
        store_at(place, None, timeout).await
    }

    async fn set_slot(&self, node: usize, what: &str, of: usize) {
        let mut command = ::redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(self.slot).arg(what).arg(self.id(of).await);
        let () = raw(&self.nodes[node].server, &mut command).await;
    }

    /// Moves the next key; `false`: there is none left.
    async fn move_a_key(&self, from: usize, to: usize) -> bool {
        let (source, port) = (&self.nodes[from].server, self.nodes[to].server.port());
        let mut list = ::redis::cmd("CLUSTER");
        let keys: Vec<String> = raw(source, list.arg("GETKEYSINSLOT").arg(self.slot).arg(1)).await;
        let Some(key) = keys.first() else { return false };
        let mut migrate = ::redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(port).arg(key).arg(0).arg(5000);
        let _: ::redis::Value = raw(source, &mut migrate).await;
        true
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_and_no_key_is_missed_meanwhile() {
    let cluster = Cluster::start().await;
    let store = cluster.store(Duration::from_millis(500)).await;
    until_it_answers(|| store.probe()).await;
    let records: Vec<KeyRecord> = (0..10).map(|number| record(&number.to_string())).collect();
    for record in &records {
        try_to_learn(&*store, record).await.expect("learned");
        store.note_used("r1", &[use_of(record, 1)]).await.expect("noted");
    }
    let (from, to) = (cluster.owner(), (cluster.owner() + 1) % 3);
    cluster.set_slot(to, "IMPORTING", from).await;
    cluster.set_slot(from, "MIGRATING", to).await;
    let (mut found, mut failed, mut moved) = (0, 0, 0);
    loop {
        for record in &records {
            match store.find("home", &record.hash).await {
                Ok(Some(answer)) => {
                    assert_eq!((&answer.id, answer.hash), (&record.id, record.hash));
                    assert_eq!(answer.last_used_at, Some(at(1)), "its use lies elsewhere");
                    found += 1;
                }
                Ok(None) => panic!("a key was missed after {moved} had moved"),
                Err(_) => failed += 1,
            }
        }
        // While parts are here and parts are there, a change may be refused, but not half done.
        let _ = store.record(&event(Action::AdminRefused)).await;
        if !cluster.move_a_key(from, to).await {
            break;
        }
        moved += 1;
    }
    println!("{moved} entries moved; {found} look-ups answered, {failed} failed");
    assert!(moved >= 20 && found > failed, "{moved} moved, {found} found, {failed} failed");
    for node in [to, from, (to + 1) % 3] {
        cluster.set_slot(node, "NODE", to).await;
    }
    for record in &records {
        assert!(store.find("home", &record.hash).await.expect("an answer").is_some());
    }
    try_to_learn(&*store, &record("new")).await.expect("learned");
    store.probe().await.expect("all works");
    let (links, mut head) = (store.links(0, 1000).await.expect("links"), Head::start());
    links.iter().for_each(|link| drop(head.advance(link).expect("a whole chain")));
    assert_eq!(head, store.head().await.expect("the end"));
    // Whoever begins anew finds it, too.
    assert!(cluster.store(TIMEOUT).await.find("home", &record("new").hash).await.expect("it").is_some());
}

#[tokio::test]
async fn a_node_that_is_gone_is_an_error_in_time_and_never_an_unknown_key() {
    let timeout = Duration::from_millis(500);
    let mut cluster = Cluster::start().await;
    let store = cluster.store(timeout).await;
    let record = record("a");
    until_it_answers(|| store.ping()).await;
    try_to_learn(&*store, &record).await.expect("learned");
    let owner = cluster.owner();
    cluster.nodes[owner].server.stop();
    let since = Instant::now();
    let mut said = String::new();
    // First nobody listens there; then the others take the whole cluster for down.
    while !said.contains("ClusterDown") {
        let asked = Instant::now();
        let error = store.find("home", &record.hash).await.expect_err("nobody has the slot");
        assert!(asked.elapsed() < timeout + SLACK);
        assert!(store.ping().await.is_err(), "a node that does not have the slot is no sign of life");
        said = error.to_string();
        assert!(since.elapsed() < Duration::from_secs(30), "{said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_no_node_of_a_cluster_is_refused() {
    let server = RedisServer::start();
    let nodes = vec![Address { host: "127.0.0.1".to_owned(), port: server.port() }];
    let store = store_at(Place::Cluster { nodes, login: Login::default() }, None, TIMEOUT).await;
    let error = store.ping().await.expect_err("no cluster");
    assert!(error.to_string().contains("no node of a cluster"), "{error}");
}
