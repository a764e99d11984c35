//! The tree → one `Settings` per part, with everything that is wrong noted on the way.
//!
//! One file per part. Each reads its own keys and checks them; what concerns several parts is checked here.

mod admin;
mod instances;
mod limits;
mod listen;
mod observe;
mod secret;
mod servers;
mod store;

use super::Config;
use super::read::{Context, Field, Section};
use super::tree::Node;
use crate::keys::Network;
use crate::{gateway, server};

/// Reads the whole tree. The result may be used only if the context has no problem noted afterwards.
pub(super) fn resolve(context: &Context<'_>, root: &Node) -> Option<Config> {
    let section = Section::root(context, root);
    let (timeouts, patience) = limits::timeouts(&section.field("timeouts"));
    let workers = workers(&section.field("workers"));
    let instances = instances::instances(&section.field("instances"));
    let trusted_proxies = networks(&section.field("trusted_proxies"));
    let listeners = listen::listeners(&section.field("listen"), &instances, &trusted_proxies);
    let admin = admin::admin(&section.field("admin"), &listeners);
    let keys = store::keys(&section);
    let limits = limits::limits(&section.field("limits"), keys.as_ref(), patience);
    let retention = store::retention(&section);
    let observe = observe::observe(&section);
    let upgrades = upgrades(&section.field("upgrades"));
    section.finish();
    instances::refuse_circles(&instances, &listeners, admin.as_ref().map(|admin| admin.address));
    let server = server::Settings {
        workers,
        listeners: listeners.into_iter().map(|listener| listener.settings).collect(),
        timeouts,
        max_connections: limits.max_connections,
        max_connections_per_address: limits.max_connections_per_address,
        exempt: exempt(&trusted_proxies),
        max_header_bytes: limits.max_header_bytes,
        max_headers: limits.max_headers,
        max_concurrent_streams: limits.max_concurrent_streams,
        extended_connect: !upgrades.is_empty(),
    };
    let gateway = gateway::Settings {
        instances: instances.into_iter().filter_map(|instance| instance.settings).collect(),
        trusted_proxies,
        max_body_bytes: limits.max_body_bytes,
        body_floor: limits.body_floor,
        max_target_bytes: limits.max_target_bytes,
        cut_live_exchanges: limits.cut_live_exchanges,
        upgrades,
        limits: limits.rates,
    };
    Some(Config { server, admin: admin?, keys: keys?, retention, gateway, observe, warnings: Vec::new() })
}

const MAX_WORKERS: u64 = 1024;

/// One a core unless it says otherwise.
fn workers(field: &Field<'_>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    small(field.count(1..=MAX_WORKERS, cores as u64))
}

fn networks(field: &Field<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for (field, text) in field.texts() {
        let Some(network) = network(&field, text) else { continue };
        if text.ends_with("/0") {
            field.warn("every client's own X-Forwarded-For will be believed", "name your proxies only");
        }
        networks.push(network);
    }
    networks
}

fn network(field: &Field<'_>, text: &str) -> Option<Network> {
    let wrong = |why| field.wrong(format!("\"{}\" is {why}", super::scalar::shown(text)), "");
    text.parse().map_err(wrong).ok()
}

fn addresses(networks: &[Network]) -> server::Addresses {
    let networks = networks.to_vec();
    server::Addresses::from(move |address| networks.iter().any(|network| network.contains(address)))
}

/// Proxies open connections for many clients; on this machine nobody is a stranger, and may be a proxy, too.
fn exempt(trusted_proxies: &[Network]) -> server::Addresses {
    let proxies = addresses(trusted_proxies);
    server::Addresses::from(move |address: std::net::IpAddr| address.is_loopback() || proxies.have(address))
}

/// The protocols that clients may ask for in place of HTTP.
fn upgrades(field: &Field<'_>) -> Vec<String> {
    if !field.given() {
        return vec!["websocket".to_owned()];
    }
    let mut upgrades = Vec::new();
    for (field, text) in field.texts() {
        let is_token =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        match text {
            "h2c" | "http" | "tls" => field.wrong(
                format!("\"{text}\" would carry requests past every check"),
                "leave it out; HTTP/2 is had by TLS",
            ),
            "" => field.wrong("a protocol has a name", "such as websocket"),
            _ if is_token => upgrades.push(text.to_owned()),
            _ => field.wrong(
                format!("\"{}\" is not a protocol's name", super::scalar::shown(text)),
                "such as websocket, in lower case",
            ),
        }
    }
    upgrades
}

/// A number whose range was checked when it was read.
fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
