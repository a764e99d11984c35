//! `instances`: which OpenBin is where, which hosts it answers to, and with what its sessions are checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::uri::Authority;

use super::listen::Listener;
use super::secret::secrets;
use super::small;
use crate::auth::{self, Secret};
use crate::config::authority::{host, reaches, upstream as authority_of};
use crate::config::read::{Field, Section};
use crate::config::scalar::shown;
use crate::gateway::InstanceSettings;
use crate::http::Cors;
use crate::keys::Issuer;
use crate::upstream;

/// An instance and where it was written. Without settings something is wrong with it.
pub(super) struct Instance<'a> {
    pub(super) field: Field<'a>,
    upstream: Field<'a>,
    pub(super) hosts: Vec<String>,
    pub(super) settings: Option<InstanceSettings>,
}

pub(super) fn instances<'a>(field: &Field<'a>) -> Vec<Instance<'a>> {
    let fields = field.list();
    if fields.is_empty() {
        let mend = "say where OpenBin is: `instances:` in the file, or --upstream and --jwt-secret-file";
        field.wrong("no instance is configured", mend);
    }
    let only = fields.len() == 1;
    let instances: Vec<Instance<'a>> = fields.into_iter().map(|field| instance(field, only)).collect();
    refuse_same_names(&instances);
    refuse_same_hosts(&instances);
    warn_of_shared_secrets(&instances);
    instances
}

fn instance<'a>(field: Field<'a>, only: bool) -> Instance<'a> {
    let section = field.section();
    let name = name(&section.field("name"), only);
    let hosts = hosts(&section.field("hosts"));
    let at = section.field("upstream");
    let authority = authority(&at);
    let upstream = connection(&section.field("connection"), authority);
    let jwt_secrets = jwt_secrets(&section);
    let key_issuer = key_issuer(&section.field("key_issuer"));
    let yes_or_no = [("true", true), ("false", false)];
    let end_sessions = section.field("logout_ends_session").choice(&yes_or_no, true);
    let cors = section.field("cors_origin").parsed("an origin such as https://bins.example.com", origin);
    section.finish();
    let settings = match (name, upstream, jwt_secrets) {
        (Some(name), Some(upstream), Some(jwt_secrets)) => {
            let auth = auth::Settings { jwt_secrets };
            let hosts = hosts.clone();
            Some(InstanceSettings { name, hosts, upstream, auth, key_issuer, end_sessions, cors })
        }
        _ => None,
    };
    Instance { field, upstream: at, hosts, settings }
}

/// What one instance is called when nobody says so.
const DEFAULT_NAME: &str = "openbin";

fn name(field: &Field<'_>, only: bool) -> Option<Arc<str>> {
    let expected = "a name of 1 to 63 letters, digits, - or _";
    let fits = |text: &str| {
        let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (letters && (1..=63).contains(&text.len())).then(|| Arc::from(text))
    };
    match (field.given(), only) {
        (true, _) => field.parsed(expected, fits),
        (false, true) => Some(Arc::from(DEFAULT_NAME)),
        (false, false) => {
            field.wrong("where there are several instances, each needs a name", "its keys are kept under it");
            None
        }
    }
}

fn hosts(field: &Field<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (field, text) in field.texts() {
        match host(text) {
            Ok(host) if !hosts.contains(&host) => hosts.push(host),
            Ok(_) => {}
            Err((what, mend)) => field.wrong(what, mend),
        }
    }
    hosts
}

fn authority(field: &Field<'_>) -> Option<Authority> {
    if !field.given() {
        field.wrong("an instance needs an upstream", "say where OpenBin is: http://127.0.0.1:1453");
    }
    match authority_of(field.text()?) {
        Ok(authority) => Some(authority),
        Err((what, mend)) => {
            field.wrong(what, mend);
            None
        }
    }
}

/// Node closes its end of an unused connection after this.
const NODE_KEEP_ALIVE: Duration = Duration::from_secs(5);

fn connection(field: &Field<'_>, authority: Option<Authority>) -> Option<upstream::Settings> {
    let section = field.section();
    let ms = Duration::from_millis;
    let seconds = Duration::from_secs;
    let hour = seconds(3600);
    let connect_timeout = section.field("connect_timeout").duration(ms(10)..=seconds(60), seconds(2));
    // An AI provider may think for 300 s before the first byte, and between two.
    let response_timeout = section.field("response_timeout").duration(ms(100)..=hour, seconds(310));
    let idle_body_timeout = section.field("idle_body_timeout").duration(ms(100)..=hour, seconds(310));
    let at = section.field("keep_alive");
    let keep_alive = at.duration(Duration::ZERO..=hour, seconds(4));
    if keep_alive >= NODE_KEEP_ALIVE {
        let what =
            "OpenBin closes an unused connection after 5s: requests will now and then meet a closed one";
        at.warn(what, "leave it below 5s");
    }
    let max_idle = small(section.field("max_idle").count(0..=10_000, 256));
    section.finish();
    let authority = authority?;
    Some(upstream::Settings {
        authority,
        connect_timeout,
        response_timeout,
        idle_body_timeout,
        keep_alive,
        max_idle,
    })
}

const SHORTEST_SECRET: usize = 32;

fn jwt_secrets(section: &Section<'_>) -> Option<Vec<Secret>> {
    let (file, variable) = (section.field("jwt_secret_file"), section.field("jwt_secret_env"));
    if !file.given() && !variable.given() {
        let mend = "set jwt_secret_file to OpenBin's .jwt_secret (beside its database), or jwt_secret_env";
        section.whole().wrong("an instance needs OpenBin's JWT secret", mend);
        return None;
    }
    let given = if file.given() { &file } else { &variable };
    let texts = secrets(&file, &variable)?;
    if texts.iter().any(|text| text.len() < SHORTEST_SECRET) {
        let what = format!("a secret shorter than {SHORTEST_SECRET} characters can be found by trying");
        given.warn(what, "give OpenBin a longer one: `openssl rand -hex 32`");
    }
    let secrets: Vec<Secret> = texts.iter().filter_map(|text| Secret::new(text)).collect();
    (secrets.len() == texts.len()).then_some(secrets)
}

fn key_issuer(field: &Field<'_>) -> Issuer {
    field.choice(&[("openbin", Issuer::Openbin), ("gateway", Issuer::Gateway)], Issuer::Openbin)
}

/// RFC 6454 §6.2: scheme, host and perhaps a port, nothing behind.
fn origin(text: &str) -> Option<Cors> {
    let (scheme, authority) = text.split_once("://")?;
    let authority: Authority = authority.parse().ok()?;
    let fits = matches!(scheme, "http" | "https") && !authority.as_str().contains('@');
    (fits && host(authority.host()).is_ok()).then(|| Cors::new(text)).flatten()
}

fn refuse_same_names(instances: &[Instance<'_>]) {
    let named: Vec<_> = instances.iter().filter_map(|i| Some((i, &i.settings.as_ref()?.name))).collect();
    for (index, (instance, name)) in named.iter().enumerate() {
        if named.iter().take(index).any(|(_, first)| first == name) {
            let what = format!("there is already an instance named {}", shown(name));
            instance.field.wrong(what, "give each instance a name of its own");
        }
    }
}

fn refuse_same_hosts(instances: &[Instance<'_>]) {
    for (index, instance) in instances.iter().enumerate() {
        for (number, first) in instances.iter().take(index).enumerate() {
            if instance.hosts.is_empty() && first.hosts.is_empty() {
                let what = format!("this instance and instances[{number}] both take every host");
                instance.field.wrong(what, "give at least one of them `hosts`");
                break;
            }
            for host in instance.hosts.iter().filter(|host| first.hosts.contains(host)) {
                let what = format!("{host} already belongs to instances[{number}]");
                instance.field.wrong(what, "a host leads to one instance only");
            }
        }
    }
}

fn warn_of_shared_secrets(instances: &[Instance<'_>]) {
    let all: Vec<_> =
        instances.iter().filter_map(|i| Some((i, &i.settings.as_ref()?.auth.jwt_secrets))).collect();
    for (index, (instance, secrets)) in all.iter().enumerate() {
        if all.iter().take(index).any(|(_, first)| first.iter().any(|secret| secrets.contains(secret))) {
            let what = "another instance has the same JWT secret: a session of one is a session of the other";
            instance.field.warn(what, "give each OpenBin a secret of its own");
        }
    }
}

/// Refuses an upstream that is the gateway itself: its requests would go round for ever.
pub(super) fn refuse_circles(
    instances: &[Instance<'_>],
    listeners: &[Listener<'_>],
    admin: Option<SocketAddr>,
) {
    let own = || listeners.iter().map(|listener| listener.settings.address).chain(admin);
    for instance in instances {
        let Some(settings) = &instance.settings else { continue };
        if let Some(address) = own().find(|address| reaches(&settings.upstream.authority, *address)) {
            let what = format!("this is the gateway itself, which listens on {address}");
            instance.upstream.wrong(what, "name the address of OpenBin");
        }
    }
}
