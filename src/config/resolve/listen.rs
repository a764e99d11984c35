//! `listen`: addresses, and the certificate of each.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::instances::Instance;
use super::secret::io_text;
use super::{addresses, network};
use crate::config::authority::clash;
use crate::config::certificate;
use crate::config::flags::DEFAULT_LISTEN;
use crate::config::read::{Field, Section};
use crate::config::scalar::shown;
use crate::keys::Network;
use crate::server::{Addresses, Certificates, ListenerSettings};

/// A listener and where it was written.
pub(super) struct Listener<'a> {
    pub(super) field: Field<'a>,
    pub(super) settings: ListenerSettings,
}

pub(super) fn listeners<'a>(
    field: &Field<'a>,
    instances: &[Instance<'_>],
    trusted_proxies: &[Network],
) -> Vec<Listener<'a>> {
    let names = names(instances);
    let mut listeners: Vec<Listener<'a>> = Vec::new();
    for field in field.list() {
        let Some(listener) = listener(field, &names, trusted_proxies) else { continue };
        let address = listener.settings.address;
        if let Some(first) = listeners.iter().find(|first| clash(first.settings.address, address)) {
            let what = format!("{address} is already taken by the listener on {}", first.settings.address);
            listener.field.wrong(what, "give each listener a port or address of its own");
        }
        listeners.push(listener);
    }
    if !field.given() {
        listeners.extend(default_listener(field, &names));
    }
    warn_of_uncovered_hosts(instances, &listeners);
    listeners
}

/// A host that no certificate names cannot be opened in a browser.
fn warn_of_uncovered_hosts(instances: &[Instance<'_>], listeners: &[Listener<'_>]) {
    let served = || listeners.iter().filter_map(|listener| listener.settings.tls.as_ref());
    if served().next().is_none() {
        return;
    }
    for instance in instances {
        for host in &instance.hosts {
            if !served().any(|certificates| certificate::names(&certificates.current(), host)) {
                let what = format!("no listener's certificate names {host}");
                instance.field.warn(what, "get a certificate that does, or browsers will refuse it");
            }
        }
    }
}

fn listener<'a>(field: Field<'a>, names: &[String], trusted_proxies: &[Network]) -> Option<Listener<'a>> {
    let section = field.section();
    let proxies = proxies(&section.field("proxy_protocol"), trusted_proxies);
    let (at, tls) = (section.field("address"), section.field("tls"));
    let address = if at.given() {
        address(&at)
    } else {
        at.wrong("a listener needs an address", "write it like 0.0.0.0:8443");
        None
    };
    let certificates = tls.given().then(|| protection(&tls, names));
    section.finish();
    let address = address?;
    if certificates.is_none() && !address.ip().is_loopback() {
        let what = format!("{address} is plain HTTP: passwords and keys cross the network readable");
        at.warn(what, "add tls, or listen on 127.0.0.1 behind a proxy that has it");
    }
    // A certificate that cannot be used was noted; what stands in for it is never served.
    let tls = certificates.flatten();
    Some(Listener { field: at, settings: ListenerSettings { address, tls, proxies } })
}

/// `true`: the trusted proxies speak the PROXY protocol here; or a list of those that do.
fn proxies(field: &Field<'_>, trusted_proxies: &[Network]) -> Option<Addresses> {
    let texts = field.texts();
    match texts.as_slice() {
        [] if field.given() => {
            field.wrong("nobody could connect here", "name the proxies, or remove it");
            None
        }
        [] | [(_, "false")] => None,
        [(field, "true")] => {
            if trusted_proxies.is_empty() {
                field.wrong(
                    "there are no trusted_proxies that could speak it",
                    "name the proxies here or there",
                );
            }
            Some(addresses(trusted_proxies))
        }
        texts => {
            let named: Vec<Network> = texts.iter().filter_map(|(field, text)| network(field, text)).collect();
            if texts.iter().any(|(_, text)| text.ends_with("/0")) {
                field.warn("anybody can connect here in anybody's name", "name your proxies only");
            }
            Some(addresses(&named))
        }
    }
}

/// `self_signed`, or a chain and a key.
fn protection(field: &Field<'_>, names: &[String]) -> Option<Certificates> {
    if field.is_section() {
        return from_files(field.section());
    }
    match field.text()? {
        "self_signed" => self_signed(field, names),
        other => {
            let what = format!("\"{}\" is not known here", shown(other));
            field.wrong(what, "write { certificate: FILE, key: FILE } or self_signed");
            None
        }
    }
}

fn from_files(section: Section<'_>) -> Option<Certificates> {
    let (chain, key) = (section.field("certificate"), section.field("key"));
    let files = (readable(&chain, "certificate"), readable(&key, "key"));
    section.finish();
    let (Some(chain_path), Some(key_path)) = files else { return None };
    match Certificates::load(&chain_path, &key_path) {
        Ok(certified) => {
            certificate::warn_of_dates(&chain, &certified);
            Some(Certificates::new(certified))
        }
        Err(error) => {
            chain.wrong(error.to_string(), MEND_SAID);
            None
        }
    }
}

/// A certificate's error says itself what to do.
const MEND_SAID: &str = "";

/// The path of a file that this process can open.
fn readable(field: &Field<'_>, name: &str) -> Option<PathBuf> {
    let Some(path) = field.path() else {
        field.wrong(format!("tls needs a {name}"), "write { certificate: FILE, key: FILE } or self_signed");
        return None;
    };
    match std::fs::File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            field.wrong(
                format!("{}: {}", path.display(), io_text(&error)),
                "check the path and its permissions",
            );
            None
        }
    }
}

fn self_signed(field: &Field<'_>, names: &[String]) -> Option<Certificates> {
    field.warn(
        "this certificate is made at each start and signed by nobody: browsers will warn, and nobody can tell \
         this gateway from another",
        "set tls: { certificate: FILE, key: FILE } before others use it",
    );
    match Certificates::self_signed(names) {
        Ok(certified) => Some(Certificates::new(certified)),
        Err(error) => {
            field.wrong(error.to_string(), MEND_SAID);
            None
        }
    }
}

fn default_listener<'a>(field: &Field<'a>, names: &[String]) -> Option<Listener<'a>> {
    let address = DEFAULT_LISTEN.parse().ok()?;
    let tls = Some(self_signed(field, names)?);
    Some(Listener { field: field.clone(), settings: ListenerSettings { address, tls, proxies: None } })
}

/// An IP address and a port.
pub(super) fn address(field: &Field<'_>) -> Option<SocketAddr> {
    let text = field.text()?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let mend = match text.trim_start_matches(':').parse::<u16>() {
            Ok(port) => format!("write 0.0.0.0:{port}, or 127.0.0.1:{port} for this machine only"),
            Err(_) => "write it like 0.0.0.0:8443 or [::]:8443".to_owned(),
        };
        field.wrong(format!("\"{}\" is not an IP address with a port", shown(text)), mend);
    }
    parsed
}

/// What a self-signed certificate is made out to.
fn names(instances: &[Instance<'_>]) -> Vec<String> {
    let configured = instances.iter().flat_map(|instance| &instance.hosts);
    let mut names: Vec<String> = configured.map(|host| host.trim_matches(['[', ']']).to_owned()).collect();
    names.extend(["localhost".to_owned(), IpAddr::from([127, 0, 0, 1]).to_string(), "::1".to_owned()]);
    names.sort();
    names.dedup();
    names
}
