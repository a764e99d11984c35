//! Where the Redis servers are, and what is needed to be let in.

use std::fmt;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The Redis servers that keep keys.
#[derive(Debug, Clone)]
pub struct Servers {
    /// Where they are.
    pub place: Place,
    /// TLS to all of them. With [`Place::One`] the URL decides, and this only says whom to trust.
    pub tls: Option<RedisTls>,
}

/// Where the server with the keys is found.
#[derive(Debug, Clone)]
pub enum Place {
    /// At one address. The URL holds user, password and database; a secret.
    One(RedisUrl),
    /// Wherever the sentinels say that the master with this name is.
    Sentinels {
        /// The sentinels, all of those that watch over the master.
        sentinels: Vec<Address>,
        /// What the sentinels call it.
        master: String,
        /// What the sentinels want to hear.
        sentinel_login: Login,
        /// What the servers want to hear.
        login: Login,
        /// The number of the database.
        database: u32,
    },
    /// At the node of a cluster that has the slot in which all of the gateway's names lie.
    Cluster {
        /// Nodes to begin with; the others are learned from them.
        nodes: Vec<Address>,
        /// What the nodes want to hear.
        login: Login,
    },
}

/// A host, or its address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

/// A user and a password, where any are needed.
#[derive(Clone, Default)]
pub struct Login {
    /// None: the default user.
    pub user: Option<String>,
    /// None: it is let in without.
    pub password: Option<Zeroizing<String>>,
}

/// Whom to trust, and how to show who one is.
#[derive(Clone)]
pub struct RedisTls(Arc<ClientConfig>);

/// What is wrong with the files of a [`RedisTls`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// With those of the authorities.
    #[error("{0}")]
    Authorities(String),
    /// With the certificate or its key.
    #[error("{0}")]
    Certificate(String),
}

/// A Redis URL; it may hold a password, so `Debug` and `Display` show it without.
#[derive(Clone)]
pub struct RedisUrl(String);

impl From<RedisUrl> for Servers {
    fn from(url: RedisUrl) -> Self {
        Self { place: Place::One(url), tls: None }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ");
        match &self.place {
            Place::One(url) => write!(f, "{url}"),
            Place::Sentinels { sentinels, master, .. } => {
                write!(f, "master {master} of the sentinels {}", list(sentinels))
            }
            Place::Cluster { nodes, .. } => write!(f, "cluster {}", list(nodes)),
        }
    }
}

impl Address {
    /// Reads `host:port`, or `host` alone; an IPv6 address with a port stands in brackets.
    #[must_use]
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port > 0))?;
        let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#' | ',' | '[' | ']');
        (!host.is_empty() && !host.contains(odd)).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl RedisTls {
    /// Trusts the authorities of this PEM text, or without one the system's, and shows a certificate where
    /// there is one, as PEM with its key.
    ///
    /// # Errors
    /// Where a text is not what it should be, or the system trusts nobody.
    pub fn new(authorities: Option<&[u8]>, certificate: Option<(&[u8], &[u8])>) -> Result<Self, TlsProblem> {
        let roots = roots(authorities).map_err(TlsProblem::Authorities)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsProblem::Authorities(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots);
        let Some((chain, key)) = certificate else {
            return Ok(Self(Arc::new(builder.with_no_client_auth())));
        };
        let wrong = |what: &str| TlsProblem::Certificate(what.to_owned());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("the certificate is not PEM"))?;
        if chain.is_empty() {
            return Err(wrong("there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong("there is no private key in PEM"))?;
        let config = builder
            .with_client_auth_cert(chain, key)
            .map_err(|_| wrong("the key is not one that can be used, or not that of the certificate"))?;
        Ok(Self(Arc::new(config)))
    }

    /// What a connection is made with.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls").finish_non_exhaustive()
    }
}

fn roots(authorities: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(text) => {
            for certificate in CertificateDer::pem_slice_iter(text) {
                let certificate = certificate.map_err(|_| "this is not PEM".to_owned())?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("a certificate in it is unusable: {error}"))?;
            }
        }
        // A damaged certificate among the system's is no reason to trust none of the others.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    match (roots.is_empty(), authorities) {
        (false, _) => Ok(roots),
        (true, Some(_)) => Err("there is no certificate in it".to_owned()),
        (true, None) => Err("the system has no root certificates; install them (ca-certificates), or name \
                             the servers' authority by store.ca_file"
            .to_owned()),
    }
}

impl RedisUrl {
    /// Takes any text; whether it is a usable URL is told when the store is opened.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL with its password. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_without_secrets(&self.0, f)
    }
}

/// Only what cannot be a secret: the scheme, and what stands between the last `@` and the query.
/// (A socket's URL has its password in the query.)
pub(super) fn write_without_secrets(url: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    if let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(is_scheme_byte)) {
        write!(f, "{scheme}://")?;
    }
    let shown = match rest.rsplit_once('@') {
        Some((_, shown)) => {
            f.write_str("***@")?;
            shown
        }
        None => rest,
    };
    match shown.split_once('?') {
        Some((shown, _)) => write!(f, "{shown}?***"),
        None => f.write_str(shown),
    }
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://ann:s3cret@db.example:6379/2", "redis://***@db.example:6379/2"),
            ("rediss://:s3@cret@db.example", "rediss://***@db.example"),
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis+unix:///run/redis.sock?db=1&pass=s3cret", "redis+unix:///run/redis.sock?***"),
            ("redis:/ann:s3cret@db.example", "***@db.example"),
            ("ann:s3cret@db://x", "x"),
        ] {
            let url = RedisUrl::new(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("cret"));
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let read = |text| Address::parse(text, 6379).map(|address| address.to_string());
        for (text, address) in [
            ("db", "db:6379"),
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("[::1]", "[::1]:6379"),
            ("[fe80::1]:7000", "[fe80::1]:7000"),
        ] {
            assert_eq!(read(text).as_deref(), Some(address));
        }
        for wrong in
            ["", ":1", "db:", "db:0", "db:65536", "a b", "redis://db:1", "u@db:1", "[::1]7000", "::1"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_no_reason_to_trust_everybody() {
        let wrong = |text: &[u8]| RedisTls::new(Some(text), None).expect_err("nobody to trust").to_string();
        assert_eq!(wrong(b"hello\n"), "there is no certificate in it");
        assert_eq!(wrong(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), "this is not PEM");
    }

    #[test]
    fn a_login_is_shown_without_its_password() {
        let password = Some(Zeroizing::new("s3cret".to_owned()));
        let login = Login { user: Some("ann".to_owned()), password };
        assert_eq!(format!("{login:?}"), r#"Login { user: Some("ann"), .. }"#);
    }
}
