//! `redis-server --sentinel` processes of a test's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::port::free_port;

/// Sentinels that watch over one master by the name of `mymaster`. Gone with the test.
pub struct Sentinels {
    pub ports: Vec<u16>,
    children: Vec<Child>,
    folder: PathBuf,
}

impl Sentinels {
    /// So many sentinels, which take the master for dead after so long; `more` is added to their files.
    pub fn start(count: usize, master: u16, dead_after_ms: u32, more: &str) -> Self {
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let folder = std::env::temp_dir().join(format!("sentinels-{}-{}", std::process::id(), ports[0]));
        std::fs::create_dir_all(&folder).expect("a folder");
        let quorum = count / 2 + 1;
        let start = |port: &u16| {
            let file = folder.join(format!("{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {port}.log\n\
                 sentinel monitor mymaster 127.0.0.1 {master} {quorum}\n\
                 sentinel down-after-milliseconds mymaster {dead_after_ms}\n\
                 sentinel failover-timeout mymaster 3000\n{more}\n",
                folder.display()
            );
            std::fs::write(&file, text).expect("a configuration");
            Command::new("redis-server")
                .arg(&file)
                .arg("--sentinel")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server --sentinel")
        };
        let children = ports.iter().map(start).collect();
        Self { ports, children, folder }
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
