//! A listener's certificate and private key: read, checked against each other, exchanged while running.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

/// A listener's certificate chain and private key, which can be exchanged while connections come in.
#[derive(Debug, Clone)]
pub struct Certificates(Arc<ArcSwap<CertifiedKey>>);

impl Certificates {
    /// Serves with this chain and key.
    #[must_use]
    pub fn new(current: CertifiedKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(current)))
    }

    /// The chain and key for the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }

    /// Takes a new chain and key for all later handshakes.
    pub fn replace(&self, next: CertifiedKey) {
        self.0.store(Arc::new(next));
    }
}
