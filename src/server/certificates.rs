//! A listener's certificate and private key: read, checked against each other, exchanged while running.
//!
//! Does not watch files, and does not refuse a certificate for its dates: that is a warning, since an
//! expired certificate still encrypts and a clock may be wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// A listener's certificate chain and private key, which can be exchanged while connections come in.
#[derive(Debug, Clone)]
pub struct Certificates(Arc<ArcSwap<CertifiedKey>>);

impl Certificates {
    /// Serves with this chain and key.
    #[must_use]
    pub fn new(current: CertifiedKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(current)))
    }

    /// Reads a certificate chain, the server's own certificate first, and its private key; both PEM.
    ///
    /// # Errors
    /// Where a file cannot be read or used, or the key does not belong to the certificate.
    pub fn load(chain: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
        let certificates = read_chain(chain)?;
        let private_key = read_key(key)?;
        CertifiedKey::from_der(certificates, private_key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::Mismatch { chain: chain.to_owned(), key: key.to_owned() }
            }
            rustls::Error::InvalidCertificate(_) => {
                CertificateError::BadCertificate { path: chain.to_owned(), reason: error.to_string() }
            }
            other => CertificateError::BadKey { path: key.to_owned(), reason: other.to_string() },
        })
    }

    /// Makes a certificate and key (P-256, 397 days) for trying things out: no client trusts it by
    /// itself.
    ///
    /// # Errors
    /// Where a name can be no DNS name and no IP address.
    pub fn self_signed(names: &[String]) -> Result<CertifiedKey, CertificateError> {
        let made = |error: rcgen::Error| CertificateError::SelfSigned(error.to_string());
        let mut parameters = rcgen::CertificateParams::new(names).map_err(made)?;
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "openbin-gateway (self-signed)");
        // A client whose clock is a little behind shall take it as well.
        let start = SystemTime::now() - Duration::from_secs(3600);
        parameters.not_before = start.into();
        parameters.not_after = (start + SELF_SIGNED_FOR).into();
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(made)?;
        let certificate = parameters.self_signed(&key).map_err(made)?;
        let private_key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        CertifiedKey::from_der(vec![certificate.into()], private_key, &default_provider())
            .map_err(|error| CertificateError::SelfSigned(error.to_string()))
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

    /// From when until when the present certificate is valid; `None` where it cannot be read.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        Validity::of(&self.current())
    }
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    not_before: i64,
    not_after: i64,
}

/// What a certificate's dates mean at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is valid.
    Valid,
    /// It is not valid yet.
    NotYetValid,
    /// It is valid no longer.
    Expired,
}

impl Validity {
    /// The dates of the server's own certificate; `None` where they cannot be read.
    #[must_use]
    pub fn of(key: &CertifiedKey) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(key.end_entity_cert().ok()?).ok()?;
        let dates = certificate.validity();
        Some(Self { not_before: dates.not_before.timestamp(), not_after: dates.not_after.timestamp() })
    }

    /// What the dates mean at this moment: a warning, not an error.
    #[must_use]
    pub fn at(&self, now: SystemTime) -> Standing {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if now < self.not_before {
            Standing::NotYetValid
        } else if now > self.not_after {
            Standing::Expired
        } else {
            Standing::Valid
        }
    }

    /// The last second at which it is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.not_after).unwrap_or(0))
    }

    /// The last second at which it is valid, as Unix time.
    #[must_use]
    pub fn not_after_unix(&self) -> i64 {
        self.not_after
    }
}

/// A certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check the path and that the gateway's user may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no certificate in the file.
    #[error(
        "{0} holds no certificate: it must have a `-----BEGIN CERTIFICATE-----` block, the server's own \
         certificate first (certbot: fullchain.pem)"
    )]
    NoCertificate(PathBuf),
    /// The certificate cannot be understood.
    #[error("the certificate in {path} cannot be used: {reason}; export it again as PEM")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no private key in the file.
    #[error(
        "{0} holds no private key: it must have a `-----BEGIN PRIVATE KEY-----` block (certbot: privkey.pem)"
    )]
    NoKey(PathBuf),
    /// The private key has a passphrase.
    #[error(
        "the private key in {path} is encrypted: write one without a passphrase with \
         `openssl pkey -in {path} -out plain.pem`, readable by the gateway's user only"
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key cannot be understood.
    #[error("the private key in {path} cannot be used: {reason}; use an ECDSA P-256 or RSA key in PEM")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key in {key} does not match the certificate in {chain}: use the pair that was issued \
         together, with the server's own certificate first in the chain"
    )]
    Mismatch {
        /// The certificate chain's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The self-signed certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}; check the host names")]
    SelfSigned(String),
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates =
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>().map_err(|error| {
            CertificateError::BadCertificate { path: path.to_owned(), reason: what_is_wrong(&error) }
        })?;
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let pem = read(path)?;
    if ENCRYPTED.iter().any(|mark| pem.windows(mark.len()).any(|window| window == *mark)) {
        return Err(CertificateError::EncryptedKey { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => CertificateError::NoKey(path.to_owned()),
        other => CertificateError::BadKey { path: path.to_owned(), reason: what_is_wrong(&other) },
    })
}

/// Never quotes the file, part of which may be the key.
fn what_is_wrong(error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "its END line is missing",
        Error::IllegalSectionStart { .. } => "its BEGIN line is malformed",
        Error::Base64Decode(_) => "it is not base64",
        _ => "it is not PEM",
    }
    .to_owned()
}

/// PKCS #8 (RFC 5958) and the older form of OpenSSL (RFC 1421).
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
/// The longest that browsers take (CA/Browser Forum's former limit).
const SELF_SIGNED_FOR: Duration = Duration::from_secs(397 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files in a directory of this test's own.
    struct Files(PathBuf);

    impl Files {
        fn new(test: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("certificates-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).expect("directory");
            Self(directory)
        }

        fn write(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, content).expect("written");
            path
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_that_belongs_together_is_loaded_whatever_else_the_key_file_holds() {
        let files = Files::new("good");
        let (chain, key) = pair();
        let both = files.write("both.pem", &format!("{chain}{key}"));
        assert_eq!(Certificates::load(&both, &both).expect("loaded").cert.len(), 1);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_and_both_files_are_named() {
        let files = Files::new("mismatch");
        let chain = files.write("chain.pem", &pair().0);
        let key = files.write("key.pem", &pair().1);
        let error = Certificates::load(&chain, &key).expect_err("mismatch");
        assert!(matches!(error, CertificateError::Mismatch { .. }));
        let text = error.to_string();
        assert!(text.contains("chain.pem") && text.contains("key.pem"), "{text}");
    }

    #[test]
    fn every_unusable_file_is_told_apart() {
        let files = Files::new("unusable");
        let (chain, key) = pair();
        let (chain_path, key_path) = (files.write("chain.pem", &chain), files.write("key.pem", &key));
        let load = |chain: &Path, key: &Path| Certificates::load(chain, key).expect_err("unusable");

        let absent = files.0.join("absent.pem");
        assert!(matches!(load(&absent, &key_path), CertificateError::Unreadable { .. }));
        assert!(matches!(load(&key_path, &key_path), CertificateError::NoCertificate(_)));
        assert!(matches!(load(&chain_path, &chain_path), CertificateError::NoKey(_)));

        let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let pkcs8 = files.write("pkcs8.pem", pkcs8);
        assert!(matches!(load(&chain_path, &pkcs8), CertificateError::EncryptedKey { .. }));
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n";
        let old = files.write("old.pem", old);
        assert!(matches!(load(&chain_path, &old), CertificateError::EncryptedKey { .. }));

        let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let broken = files.write("broken.pem", broken);
        assert!(matches!(load(&chain_path, &broken), CertificateError::BadKey { .. }));
        let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let not_der = files.write("not-der.pem", not_der);
        assert!(matches!(load(&not_der, &key_path), CertificateError::BadCertificate { .. }));
    }

    #[test]
    fn an_error_never_quotes_the_key() {
        let files = Files::new("quote");
        let (chain, key) = pair();
        let secret = key.lines().nth(1).expect("a line of the key").to_owned();
        let cut = files.write("cut.pem", key.trim_end().trim_end_matches(|c| c != '\n'));
        let error = Certificates::load(&files.write("chain.pem", &chain), &cut).expect_err("cut");
        assert!(!format!("{error} {error:?}").contains(&secret[..16]));
    }

    #[test]
    fn dates_are_read_and_only_warn() {
        let key = Certificates::self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let validity = Validity::of(&key.expect("certificate")).expect("dates");
        let now = SystemTime::now();
        assert_eq!(validity.at(now), Standing::Valid);
        assert_eq!(validity.at(now - Duration::from_secs(2 * 3600)), Standing::NotYetValid);
        assert_eq!(validity.at(validity.not_after() + Duration::from_secs(1)), Standing::Expired);
        let left = validity.not_after().duration_since(now).expect("in the future");
        assert!(left < SELF_SIGNED_FOR && left > SELF_SIGNED_FOR - Duration::from_secs(2 * 3600));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        assert!(matches!(
            Certificates::self_signed(&["bins\u{e9}.example".to_owned()]),
            Err(CertificateError::SelfSigned(_))
        ));
    }

    #[test]
    fn a_damaged_file_is_described_without_its_bytes() {
        let files = Files::new("damaged");
        let secret = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n";
        for content in [
            secret,
            "-----BEGIN CERTIFICATE-----\nY2FuYXJ5*\n-----END CERTIFICATE-----\n",
            "-----BEGIN canary\n",
        ] {
            let chain = files.write("chain.pem", content);
            let key = files.write("key.pem", content);
            let said = Certificates::load(&chain, &key).expect_err("a damaged chain").to_string();
            assert!(said.contains("chain.pem"), "{said}");
            let also = read_key(&key).expect_err("a damaged key").to_string();
            for text in [said, also] {
                assert!(!text.contains("canary") && !text.contains("Y2Fu") && !text.contains('['), "{text}");
            }
        }
    }
}
