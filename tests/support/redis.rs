//! A `redis-server` process of a test's own: on a free port, in a folder of its own, gone with the test.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::port::free_port;

const MISSING: &str = "redis-server is not installed, and these tests need a real one. \
                       Install it with: apt-get install -y redis-server";
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// A running Redis server.
pub struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server that needs no password.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, such as `["--requirepass", "secret"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { port: free_port(), arguments, child: None };
        server.restart();
        server
    }

    /// Starts a server that has everything again after a restart.
    pub fn start_lasting() -> Self {
        Self::start_with(&["--appendonly", "yes"])
    }

    /// The server's port; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's URL, without user and password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Kills the server; its content is lost, unless it is to last.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server again on its port; empty, unless it is to last.
    pub fn restart(&mut self) {
        self.stop();
        // A replica has what it was sent in a file, and would begin with it.
        let folder = self.folder();
        let _ = std::fs::remove_file(folder.join("dump.rdb"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let child = Command::new("redis-server")
            .args([std::ffi::OsStr::new("--dir"), folder.as_os_str()])
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("log")).expect("a file"))
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{MISSING} ({error})")));
        self.wait_until_it_answers();
    }

    /// Suspends the server (`SIGSTOP`): it is there, and does not answer.
    pub fn suspend(&self) {
        self.signal("-STOP");
    }

    /// Lets a suspended server go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("a running server");
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    fn folder(&self) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("gateway-redis-{}-{}", std::process::id(), self.port))
    }

    fn wait_until_it_answers(&mut self) {
        let began = Instant::now();
        while !answers(self.port) {
            let child = self.child.as_mut().expect("a started server");
            if let Ok(Some(status)) = child.try_wait() {
                let said = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
                panic!("redis-server ended at once, {status}: {said}");
            }
            assert!(began.elapsed() < STARTS_WITHIN, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(self.folder());
    }
}

/// Any answer will do: a server with a password says so.
fn answers(port: u16) -> bool {
    let exchange = || -> std::io::Result<u8> {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(first[0])
    };
    matches!(exchange(), Ok(b'+' | b'-'))
}
