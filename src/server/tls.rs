//! TLS settings: versions, protocols, resumption, and the certificate of the moment.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::Certificates;

/// ALPN's name of HTTP/2 (RFC 9113 §3.1).
pub(super) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// One for a listener, shared by its workers: a session may be resumed at any of them.
///
/// Tickets are stateless, under keys that rotate by themselves; the cache serves TLS 1.2 clients that
/// know only session ids. Early data stays off, since it could be replayed.
pub(super) fn server_config(certificates: &Certificates) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates.clone()));
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.ticketer = Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(CACHED_SESSIONS);
    Ok(Arc::new(config))
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

const CACHED_SESSIONS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_on_and_early_data_is_off() {
        let key = Certificates::self_signed(&["localhost".to_owned()]).expect("certificate");
        let config = server_config(&Certificates::new(key)).expect("configuration");
        assert!(config.ticketer.enabled());
        assert_eq!(config.max_early_data_size, 0);
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
