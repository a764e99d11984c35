//! A gateway in this process, in front of one instance of a configuration, on a free port of this machine.
//!
//! It keeps its keys in a folder that goes when it ends, limits nobody, and does not end sessions that are signed
//! out: what is compared is what it decides, and nothing is left behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use crate::app::{self, Run};
use crate::cli::demo::Folder;
use crate::config::Config;
use crate::gateway::InstanceSettings;
use crate::keys::StoreSettings;
use crate::server::{Certificates, ListenerSettings};

/// A running gateway. It ends with the process, its folder when this is dropped.
pub(super) struct Rehearsal {
    pub(super) address: SocketAddr,
    _folder: Folder,
}

impl Rehearsal {
    pub(super) fn start(config: &Config, instance: &InstanceSettings) -> anyhow::Result<Self> {
        let folder = Folder::make().context("cannot make a temporary folder")?;
        let config = rehearsed(config, instance, &folder)?;
        let (ready, told) = mpsc::channel();
        let ended = ready.clone();
        let run = Run {
            reload: Box::new(|| bail!("nothing is read again during a self-test")),
            ready: Box::new(move |addresses| {
                let _ = ready.send(addresses.first().copied().ok_or_else(|| anyhow!("no listener")));
            }),
        };
        std::thread::Builder::new().name("rehearsal".to_owned()).spawn(move || {
            let ending = app::run(config, run).err().unwrap_or_else(|| anyhow!("it was told to stop"));
            let _ = ended.send(Err(ending));
        })?;
        let address = told.recv_timeout(Duration::from_secs(30)).context("the gateway does not start")?;
        Ok(Self { address: address.context("cannot start a gateway")?, _folder: folder })
    }
}

fn rehearsed(config: &Config, instance: &InstanceSettings, folder: &Folder) -> anyhow::Result<Config> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let certificate = Certificates::self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let mut config = config.clone();
    config.server.listeners =
        vec![ListenerSettings { address: any, tls: Some(Certificates::new(certificate)), proxies: None }];
    config.admin.address = any;
    config.keys.store = StoreSettings::Embedded { path: folder.0.join("gateway.db") };
    config.observe.access_log = None;
    config.observe.log_level = "error".to_owned();
    config.warnings.clear();
    let limits = &mut config.gateway.limits;
    (limits.per_key, limits.per_address, limits.bad_credentials, limits.shared) = (None, None, None, false);
    let mut instance = instance.clone();
    instance.hosts.clear();
    instance.end_sessions = false;
    config.gateway.instances = vec![instance];
    Ok(config)
}
