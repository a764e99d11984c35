//! The admin listener of a running gateway: where it is, what proves that one may ask, and why it does not answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Failure, out};
use crate::api::{ROOT, token_beside};
use crate::config::Config;
use crate::keys::StoreSettings;
use crate::upstream::{self, AskError, ask};

/// The admin listener of a running gateway.
pub(super) struct Listener {
    settings: upstream::Settings,
    authorization: HeaderValue,
    instances: Vec<String>,
}

/// Why the listener is not asked.
pub(super) enum Absent {
    /// Nothing could be asked there.
    Silent(SocketAddr, AskError),
    /// Something answered that knows neither the token nor the API.
    Foreign(SocketAddr, StatusCode),
    /// There is no token to ask with.
    NoToken(PathBuf, std::io::Error),
    /// No token is configured, and none is made by itself.
    NoneConfigured,
}

#[derive(Deserialize)]
struct Instances {
    instances: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

const X_OPERATOR: HeaderName = HeaderName::from_static("x-operator");
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A thousand keys may be written before an import's portion is answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

impl Listener {
    /// The listener that this configuration's gateway has, if it runs.
    pub(super) async fn find(config: &Config) -> Result<Self, Absent> {
        let address = reachable(config.admin.address);
        let token = token(config)?;
        let mut listener = Self::at(address, &token).ok_or(Absent::NoneConfigured)?;
        let question = Request::builder().uri(format!("{ROOT}/instances")).body(Bytes::new());
        let question = question.map_err(|_| Absent::NoneConfigured)?;
        let response = listener.ask(question, None).await.map_err(|error| Absent::Silent(address, error))?;
        let instances = serde_json::from_slice::<Instances>(response.body());
        match (response.status(), instances) {
            (StatusCode::OK, Ok(answered)) => {
                listener.instances = answered.instances.into_iter().map(|instance| instance.name).collect();
                Ok(listener)
            }
            (status, _) => Err(Absent::Foreign(address, status)),
        }
    }

    fn at(address: SocketAddr, token: &str) -> Option<Self> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        authorization.set_sensitive(true);
        let settings = upstream::Settings {
            authority: address.to_string().parse::<Authority>().ok()?,
            connect_timeout: CONNECT_WITHIN,
            response_timeout: ANSWER_WITHIN,
            idle_body_timeout: ANSWER_WITHIN,
            keep_alive: Duration::ZERO,
            max_idle: 0,
        };
        Some(Self { settings, authorization, instances: Vec::new() })
    }

    /// The instances that its gateway has.
    pub(super) fn instances(&self) -> &[String] {
        &self.instances
    }

    /// Asks, and says who does.
    pub(super) async fn ask(
        &self,
        mut request: Request<Bytes>,
        operator: Option<&str>,
    ) -> Result<Response<Bytes>, AskError> {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if let Some(name) = operator.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert(X_OPERATOR, name);
        }
        ask(&self.settings, request.map(Full::new)).await
    }
}

impl Absent {
    /// Why an embedded store that a gateway has open cannot be reached through that gateway.
    pub(super) fn told(&self, store: &Path) -> anyhow::Error {
        let why = match self {
            Self::Silent(address, error) => format!(
                "its admin listener does not answer at {address} ({error}). Give this command the configuration \
                 that the gateway runs with; where that is flags, --admin names this address"
            ),
            Self::Foreign(address, status) => format!(
                "what listens at {address} does not take its admin token ({status}). Give this command the \
                 configuration that the gateway runs with; where that is flags, --admin names this address"
            ),
            Self::NoToken(path, error) => format!(
                "its admin token cannot be read from {}: {error}. Run this command as the user that the gateway \
                 runs as, or set admin.token_file for both",
                path.display()
            ),
            Self::NoneConfigured => "no admin token is configured. Set admin.token_file for both".to_owned(),
        };
        anyhow!("{} is in use by a running gateway, and {why}", store.display())
    }

    /// What should be known where the store is used although something answered.
    pub(super) fn remark(&self) {
        match self {
            Self::Foreign(address, status) => out::say(&format!(
                "openbin-gateway: what listens at {address} does not take the admin token ({status}); working on \
                 the store itself"
            )),
            Self::Silent(..) | Self::NoToken(..) | Self::NoneConfigured => {}
        }
    }
}

/// The admin token: as configured, else the one that a gateway makes beside its embedded store.
fn token(config: &Config) -> Result<Zeroizing<String>, Absent> {
    if let Some(token) = &config.admin.token {
        return Ok(token.clone());
    }
    match &config.keys.store {
        StoreSettings::Embedded { path } => {
            let file = token_beside(path);
            match std::fs::read_to_string(&file) {
                Ok(text) => Ok(Zeroizing::new(Zeroizing::new(text).trim().to_owned())),
                Err(error) => Err(Absent::NoToken(file, error)),
            }
        }
        StoreSettings::Redis { .. } => Err(Absent::NoneConfigured),
    }
}

/// Where one connects to what listens on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    };
    SocketAddr::new(ip, address.port())
}

/// Why a call has no answer, and what that leaves open.
pub(super) fn unanswered(error: &AskError, listener: &Listener, may_change: bool) -> Failure {
    let address = &listener.settings.authority;
    let mut text = format!("the gateway at {address} did not answer: {error}");
    let asked = match error {
        AskError::Connect(_) | AskError::ConnectTimeout(_) => false,
        AskError::AnswerTimeout(_) | AskError::Http(_) | AskError::Content => true,
    };
    if asked && may_change {
        text.push_str(". It may have been done all the same: look before you repeat it");
    }
    Failure::Failed(anyhow!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listens, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            let listens: SocketAddr = listens.parse().expect("an address");
            assert_eq!(reachable(listens).to_string(), asked);
        }
    }
}
