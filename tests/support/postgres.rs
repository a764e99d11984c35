//! A PostgreSQL server of a test's own: on a free port, in a folder of its own, gone with the test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::port::free_port;

const MISSING: &str = "PostgreSQL is not installed, and these tests need a real one. \
                       Install it with: apt-get install -y postgresql";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// The password of the server's only user at first, `postgres`.
pub const PASSWORD: &str = "p@ss/w0rd";

/// A running PostgreSQL server.
pub struct PostgresServer {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl PostgresServer {
    /// Starts a server without TLS.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// Starts a server with this certificate chain and private key, as PEM.
    pub async fn start_with_tls(chain: &str, key: &str) -> Self {
        Self::launch(Some((chain, key))).await
    }

    async fn launch(tls: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("rights");
        let owner = Owner::choose();
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        owner.give(&data, 0o700);
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).expect("a file");
        owner.give(&password, 0o600);
        let made = owner
            .command("initdb")
            .args([
                "--no-sync",
                "--auth=scram-sha-256",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg("-D")
            .arg(&data)
            .arg(format!("--pwfile={}", password.display()))
            .output();
        let made = made.unwrap_or_else(|error| panic!("{MISSING} ({error})"));
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = owner.command("postgres");
        if let Some((chain, key)) = tls {
            for (name, text) in [("server.crt", chain), ("server.key", key)] {
                fs::write(data.join(name), text).expect("a file");
                owner.give(&data.join(name), 0o600);
            }
            command.args(["-c", "ssl=on"]);
        }
        let port = free_port();
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let child = command
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off", "-k"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres");
        let mut server = Self { folder, port, child };
        server.wait_until_it_answers().await;
        server
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, as the server's first user.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:p%40ss%2Fw0rd@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of the server's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A client of a database.
    pub async fn client(&self, database: &str) -> Client {
        self.try_client(database).await.expect("a connection")
    }

    async fn try_client(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn wait_until_it_answers(&mut self) {
        let began = Instant::now();
        while self.try_client("postgres").await.is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("postgres ended at once, {status}: {}", log());
            }
            assert!(began.elapsed() < STARTS_WITHIN, "postgres does not answer: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// `SIGQUIT` ends the server and all of its processes at once; `SIGKILL` would leave its shared memory behind.
impl Drop for PostgresServer {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// PostgreSQL refuses to run as root.
enum Owner {
    Ourselves,
    Other { user: u32, group: u32 },
}

impl Owner {
    fn choose() -> Self {
        if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
            return Self::Ourselves;
        }
        let users = fs::read_to_string("/etc/passwd").expect("the users");
        let line = ["postgres:", "nobody:"]
            .iter()
            .find_map(|name| users.lines().find(|line| line.starts_with(name)));
        let fields: Vec<_> = line.expect("a user other than root").split(':').collect();
        let number = |field: &str| field.parse().expect("a number");
        Self::Other { user: number(fields[2]), group: number(fields[3]) }
    }

    fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("rights");
        if let Self::Other { user, group } = *self {
            chown(path, Some(user), Some(group)).expect("an owner");
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program_path(program));
        command.current_dir("/");
        if let Self::Other { user, group } = *self {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Where Debian keeps the newest version's programs; else wherever `PATH` leads. A version of which only the
/// client is installed has a folder too.
fn program_path(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let servers = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    match servers.max_by_key(number) {
        Some(newest) => newest.join("bin").join(program),
        None => PathBuf::from(program),
    }
}
