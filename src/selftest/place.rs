//! Where a server is, and whether it is believed to be itself.

use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs::default_provider};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that this machine believes.
    System,
    /// Those that somebody in this file has signed.
    File(std::path::PathBuf),
    /// Everybody's: who answers is not proven.
    Anyone,
}

/// A server.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Tls>,
}

/// How it is spoken to by TLS: for HTTP/1.1, and for HTTP/2.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) http1: Arc<ClientConfig>,
    pub(super) http2: Arc<ClientConfig>,
}

impl Place {
    /// Reads a URL of `http` or `https`.
    ///
    /// # Errors
    /// What is wrong with it, or with the file that is trusted.
    pub fn of(url: &str, trust: &Trust) -> Result<Self, String> {
        let wrong = || format!("{url} is no URL such as https://bins.example.com");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                (Some(Tls { http1: config(trust, b"http/1.1")?, http2: config(trust, b"h2")? }), 443)
            }
            Some(_) | None => return Err(wrong()),
        };
        Ok(Self { host, port: uri.port_u16().unwrap_or(port), tls })
    }

    /// Its name, or its address as it stands in a URL.
    #[must_use]
    pub fn name(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// What stands in `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.name();
        match (self.tls.is_some(), self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

fn config(trust: &Trust, protocol: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = match trust {
        Trust::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::File(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
        Trust::Anyone => {
            let verifier = Arc::new(Anyone(algorithms));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"holds no certificate")) } else { Ok(roots) }
}

/// Believes every certificate. What a self-test sends through such a connection is no secret but the session or
/// key that its operator gave it for that purpose.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place_and_anything_else_is_not() {
        let authority = |url: &str| Place::of(url, &Trust::Anyone).map(|place| place.authority());
        assert_eq!(authority("https://a.example/").as_deref(), Ok("a.example"));
        assert_eq!(authority("http://[::1]:8080").as_deref(), Ok("[::1]:8080"));
        for wrong in ["a.example", "ftp://a", "/x", "http://", ""] {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }
}
