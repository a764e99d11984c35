//! `demo`: the gateway in front of a sample inventory, with a user and a key, ready to be tried with curl.
//!
//! Prepares a folder with a certificate, a secret and a configuration file, and then serves that configuration
//! exactly as `serve` does. Everything is gone when it ends.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use crate::app::{self, Run};
use crate::config::{Config, Flags, Problems, Sources};
use crate::sample::{Sample, SampleOptions, SampleUser};

const EMAIL: &str = "ann@example.com";

/// What `demo` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let listen = free_address(SocketAddr::new(args.address, args.port))?;
    let admin = free_address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let folder = Folder::make().context("cannot make a temporary folder")?;
    let password = format!("{:016x}", rand::random::<u64>());
    let sample = Sample::new(SampleOptions {
        users: vec![SampleUser::member(EMAIL, &password)],
        // Behind a trusted proxy the sample sends HSTS, and a browser would then want HTTPS of everything else
        // on localhost, too.
        trust_proxy: false,
        ..SampleOptions::default()
    });
    let user = sample.user_id(EMAIL).context("the sample has no user")?;
    let key = sample.create_key(&user, "demo").context("the sample has no room for a key")?;
    let upstream = sample.listen().context("cannot start the sample inventory")?;

    let file = furnish(&folder.0, &Places { listen, admin, upstream }, sample.secret())
        .with_context(|| format!("cannot write to {}", folder.0.display()))?;
    let script = Script {
        url: format!("https://{}", reachable(listen)),
        folder: folder.0.clone(),
        password,
        key: key.key,
        key_id: key.id,
        admin,
    };
    let outcome = app::run(
        load(&file)?,
        Run { reload: Box::new(move || load(&file)), ready: Box::new(move |_| say(&script.to_string())) },
    );
    drop(folder);
    outcome?;
    say("\nThe demo is over, and its folder is removed.\n");
    Ok(())
}

/// What a person reads; a closed terminal is nothing to fail for.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The address itself, or for port 0 one with a port that is free. Says how to choose another where it is taken.
///
/// Asked before the gateway's own sockets are opened: those share their port, so that a second demo would take
/// half of the first one's connections instead of failing.
fn free_address(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let (ip, port) = (address.ip(), address.port());
    match TcpListener::bind(address).and_then(|listener| listener.local_addr()) {
        Ok(free) => Ok(free),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!(
                "port {port} of {ip} is already in use; choose another, such as \
                 `openbin-gateway demo --port {}`, or `--port 0` for any free one",
                port.checked_add(1000).unwrap_or(9443)
            )
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("this user may not listen on port {port}; choose one above 1023 with --port")
        }
        Err(error) => Err(error)
            .with_context(|| format!("cannot listen on {address}; choose another with --address and --port")),
    }
}

/// Where one connects to what listens on every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    };
    SocketAddr::new(ip, listen.port())
}

/// A temporary folder that only its owner may look into; removed when dropped.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("openbin-gateway-demo-{:08x}", rand::random::<u32>()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Who listens where.
struct Places {
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
}

/// Writes certificate, secret and configuration into the folder and returns the configuration's path.
fn furnish(folder: &Path, places: &Places, secret: &str) -> anyhow::Result<PathBuf> {
    let mut names = vec!["localhost".to_owned(), reachable(places.listen).ip().to_string()];
    names.dedup();
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    write_private(&folder.join("certificate.pem"), &made.cert.pem())?;
    write_private(&folder.join("key.pem"), &made.signing_key.serialize_pem())?;
    write_private(&folder.join("jwt.secret"), secret)?;
    let file = folder.join("gateway.yaml");
    write_private(&file, &yaml(places))?;
    Ok(file)
}

/// Writes a new file that only its owner may read.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

fn yaml(places: &Places) -> String {
    let Places { listen, admin, upstream } = places;
    format!(
        "\
# What `openbin-gateway demo` runs with. In front of your own OpenBin it looks the same: name its address
# and its secret below, and a certificate of your own above, then `openbin-gateway serve --config gateway.yaml`.
listen:
  - address: \"{listen}\"
    tls:
      certificate: certificate.pem
      key: key.pem
admin:
  address: \"{admin}\"
store:
  kind: embedded
  path: gateway.db
access_log:
  path: access.log
  format: text
log:
  level: warn
instances:
  - name: demo
    upstream: http://{upstream}
    jwt_secret_file: jwt.secret
"
    )
}

fn load(file: &Path) -> anyhow::Result<Config> {
    // The environment is left out: settings meant for a real gateway must not bend the demo.
    let sources = Sources { file: Some(file.to_owned()), environment: Vec::new(), flags: Flags::default() };
    Config::load(sources).map_err(|problems: Problems| anyhow!("the demo's own configuration: {problems}"))
}

/// What the visitor is told: where everything is, and four things to try.
struct Script {
    url: String,
    folder: PathBuf,
    password: String,
    key: String,
    key_id: String,
    admin: SocketAddr,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, password, key, key_id, admin, .. } = self;
        let folder = self.folder.display();
        let curl =
            format!("curl -w '\\n' --cacert {folder}/certificate.pem -H 'Authorization: Bearer {key}'");
        write!(
            f,
            "
openbin-gateway is in front of a sample inventory; nothing of it is kept.

  open     {url}
  user     {EMAIL}, password {password}
  metrics  http://{admin}/metrics
  files    {folder}   (gateway.yaml, access.log)

Paste into another terminal:

# 1. The key works.
{curl} {url}/api/bins

# 2. A forged identity does nothing: only what the gateway verified reaches the inventory.
{curl} -H 'X-Auth-User-Id: somebody-else' {url}/api/sample/headers

# 3. Revoke the key, with the key itself.
{curl} -X DELETE {url}/api/api-keys/{key_id}

# 4. Refused: the first request again.
{curl} -i {url}/api/bins

Ctrl-C ends the demo.
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_taken_port_is_told_with_how_to_choose_another() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let error = free_address(taken.local_addr().expect("its address")).expect_err("taken").to_string();
        assert!(error.contains("already in use") && error.contains("--port"), "{error}");
        assert_ne!(free_address(address("127.0.0.1:0")).expect("any").port(), 0);
    }

    #[test]
    fn what_listens_everywhere_is_reached_on_loopback() {
        assert_eq!(reachable(address("0.0.0.0:8443")), address("127.0.0.1:8443"));
        assert_eq!(reachable(address("[::]:8443")), address("[::1]:8443"));
        assert_eq!(reachable(address("192.0.2.1:1")), address("192.0.2.1:1"));
    }

    #[test]
    fn the_folder_is_private_and_goes_when_it_is_dropped() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::make().expect("a folder");
        let path = folder.0.clone();
        assert_eq!(fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_configuration_that_is_written_can_be_loaded() {
        let folder = Folder::make().expect("a folder");
        let places = Places {
            listen: address("127.0.0.1:8443"),
            admin: address("127.0.0.1:9464"),
            upstream: address("127.0.0.1:1453"),
        };
        let file = furnish(&folder.0, &places, &"s".repeat(64)).expect("furnished");
        let config = load(&file).expect("a good configuration");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let [listener] = config.server.listeners.as_slice() else { panic!("one listener") };
        assert_eq!(listener.address, places.listen);
        assert!(listener.tls.is_some());
    }

    #[test]
    fn the_script_has_a_command_for_each_of_the_four_things() {
        let script = Script {
            url: "https://127.0.0.1:8443".to_owned(),
            folder: PathBuf::from("/tmp/demo"),
            password: "pw".to_owned(),
            key: "sk_openbin_x".to_owned(),
            key_id: "id-1".to_owned(),
            admin: address("127.0.0.1:9464"),
        };
        let text = script.to_string();
        let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(commands.len(), 4);
        assert!(commands.iter().all(|c| c.contains("--cacert /tmp/demo/certificate.pem")));
        assert!(commands[2].ends_with("-X DELETE https://127.0.0.1:8443/api/api-keys/id-1"));
    }
}
