//! TLS towards a PostgreSQL server, by rustls: with the system's root certificates, or those of a file.
//!
//! The system's, and not a list built in: a database stands inside, and the authority that signed its
//! certificate is more often the operator's own, which only the system knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whether TLS is used, and what is asked of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verification {
    /// No TLS.
    NoTls,
    /// TLS where the server offers it, with any certificate.
    WhereOffered,
    /// TLS, with any certificate.
    Unchecked,
    /// TLS, with a certificate for the server's name that leads to one of these roots.
    Full(Roots),
}

/// The authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed).
    System,
    /// Those in a file, as PEM.
    File(PathBuf),
}

impl Verification {
    /// The same, for the driver.
    pub(super) fn ssl_mode(&self) -> SslMode {
        match self {
            Self::NoTls => SslMode::Disable,
            Self::WhereOffered => SslMode::Prefer,
            Self::Unchecked | Self::Full(_) => SslMode::Require,
        }
    }

    /// What makes the connection; the roots are read here. Errors say what to do.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let config = match self {
            Self::Full(roots) => builder.with_root_certificates(roots.load()?).with_no_client_auth(),
            Self::NoTls | Self::WhereOffered | Self::Unchecked => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth(),
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

impl Roots {
    fn load(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::File(path) => {
                for certificate in certificates(path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| format!("sslrootcert {}: {error}", path.display()))?;
                }
            }
            // A damaged certificate among the system's is no reason to trust none of the others.
            Self::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if !roots.is_empty() {
            return Ok(roots);
        }
        Err(match self {
            Self::File(path) => format!("sslrootcert {} holds no certificate", path.display()),
            Self::System => {
                "the system has no root certificates. Install them (ca-certificates), or name the \
                             server's authority by sslrootcert=FILE"
                    .to_owned()
            }
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| format!("sslrootcert {}: {error}", path.display()))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("sslrootcert {} is not PEM", path.display()))
}

/// Takes any certificate whose owner shows that he has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_no_reason_to_trust_everybody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roots.pem");
        let refused = |verification: &Verification| verification.connector().err().unwrap_or_default();
        let full = Verification::Full(Roots::File(path.clone()));
        assert!(refused(&full).contains("No such file"));
        std::fs::write(&path, "hello\n").expect("a file");
        assert!(refused(&full).contains("holds no certificate"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").expect("a file");
        assert!(refused(&full).contains("is not PEM"));
    }
}
