//! A certificate authority of the tests' own, the certificates it signs, and clients that trust only it.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls_pki_types::CertificateDer;

/// A certificate chain and its private key, as PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub chain: String,
    pub key: String,
}

struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("key of the test authority");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
    let certificate = params.self_signed(&key).expect("certificate of the test authority");
    Authority {
        certificate: certificate.der().clone(),
        pem: certificate.pem(),
        issuer: Issuer::new(params, key),
    }
});

/// The authority's certificate, as PEM.
pub fn authority_pem() -> &'static str {
    &AUTHORITY.pem
}

/// A certificate for these names, signed by the tests' authority.
pub fn issue(names: &[&str]) -> Pair {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(names).expect("parameters");
    let certificate = params.signed_by(&key, &AUTHORITY.issuer).expect("certificate");
    Pair { chain: certificate.pem(), key: key.serialize_pem() }
}

/// A TLS client that trusts only the tests' authority and offers these protocols.
pub fn client(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(AUTHORITY.certificate.clone()).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}
