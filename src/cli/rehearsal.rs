//! A gateway in this process, in front of one instance of a configuration, on free ports of this machine.
//!
//! It keeps its keys in a folder that goes when it ends, and limits nobody: nothing is left behind, and a running
//! gateway is not touched.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use super::Failure;
use super::demo::Folder;
use crate::app::{self, Run};
use crate::config::Config;
use crate::gateway::InstanceSettings;
use crate::keys::{Rate, StoreSettings};
use crate::server::{Certificates, ListenerSettings};

/// What a rehearsal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// To see what it decides: nothing is written down, and signing out ends no session.
    Decide,
    /// To see what it costs: everything is on that the configuration has on.
    Cost,
}

/// A running gateway. It ends with the process, its folder when this is dropped.
pub(super) struct Rehearsal {
    /// Where it speaks TLS, with a certificate that nobody vouches for.
    pub(super) tls: SocketAddr,
    /// Where it speaks plain HTTP.
    pub(super) plain: SocketAddr,
    _folder: Folder,
}

impl Rehearsal {
    pub(super) fn start(config: &Config, instance: &InstanceSettings, aim: Aim) -> anyhow::Result<Self> {
        let folder = Folder::make().context("cannot make a temporary folder")?;
        let config = rehearsed(config, instance, &folder, aim)?;
        let (ready, told) = mpsc::channel();
        let ended = ready.clone();
        let run = Run {
            reload: Box::new(|| bail!("nothing is read again during a rehearsal")),
            ready: Box::new(move |addresses| {
                let two = <[SocketAddr; 2]>::try_from(addresses);
                let _ = ready.send(two.context("not every listener is open"));
            }),
        };
        std::thread::Builder::new().name("rehearsal".to_owned()).spawn(move || {
            let ending = app::run(config, run).err().unwrap_or_else(|| anyhow!("it was told to stop"));
            let _ = ended.send(Err(ending));
        })?;
        let addresses = told.recv_timeout(Duration::from_secs(30)).context("the gateway does not start")?;
        let [tls, plain] = addresses.context("cannot start a gateway")?;
        Ok(Self { tls, plain, _folder: folder })
    }
}

fn rehearsed(
    config: &Config,
    instance: &InstanceSettings,
    folder: &Folder,
    aim: Aim,
) -> anyhow::Result<Config> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let certificate = Certificates::self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let mut config = config.clone();
    let listener = |tls| ListenerSettings { address: any, tls, proxies: None };
    config.server.listeners = vec![listener(Some(Certificates::new(certificate))), listener(None)];
    config.admin.address = any;
    config.keys.store = StoreSettings::Embedded { path: folder.0.join("gateway.db") };
    config.observe.log_level = "error".to_owned();
    config.warnings.clear();
    let mut instance = instance.clone();
    instance.hosts.clear();
    let limits = &mut config.gateway.limits;
    limits.shared = false;
    match aim {
        Aim::Decide => {
            config.observe.access_log = None;
            instance.end_sessions = false;
            (limits.per_key, limits.per_address, limits.bad_credentials) = (None, None, None);
        }
        Aim::Cost => {
            if let Some(log) = &mut config.observe.access_log {
                log.path = Some(folder.0.join("access.log"));
            }
            // What counts goes on counting, and is never reached.
            let endless: Rate = ENDLESS.parse()?;
            for limit in [&mut limits.per_key, &mut limits.per_address, &mut limits.bad_credentials] {
                *limit = limit.map(|_| endless);
            }
        }
    }
    config.gateway.instances = vec![instance];
    Ok(config)
}

/// More than anybody can send.
const ENDLESS: &str = "1000000000/1s";

/// The instance of this name; without one, the only one that there is.
pub(super) fn chosen<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c InstanceSettings, Failure> {
    let instances = &config.gateway.instances;
    let found = match name {
        Some(name) => instances.iter().find(|instance| &*instance.name == name),
        None => instances.first().filter(|_| instances.len() == 1),
    };
    let names: Vec<&str> = instances.iter().map(|instance| &*instance.name).collect();
    found.ok_or_else(|| Failure::Usage(format!("choose one with --instance: {}", names.join(", "))))
}
