//! What a configuration says about certificates: that they can be loaded, how long they last, whom they name.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::read::Field;

/// Reads a chain and its key, and checks that they belong together.
pub(super) fn load(chain: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_| format!("{}: this is not a PEM certificate", chain.display()))?;
    if certificates.is_empty() {
        return Err(format!("{}: there is no certificate in this file", chain.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| format!("{}: there is no private key in this file", key.display()))?;
    CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider())
        .map_err(|error| format!("certificate and key do not fit: {error}"))
}

/// Makes a certificate for these names that nobody has signed.
pub(super) fn self_signed(names: &[String]) -> Result<CertifiedKey, String> {
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(str::to_owned)?;
    CertifiedKey::from_der(vec![made.cert.der().clone()], key, &aws_lc_rs::default_provider())
        .map_err(|error| error.to_string())
}

/// How many whole days the server's own certificate lasts, negative once it has ended; `None` where its
/// dates cannot be read.
#[must_use]
pub fn certificate_days_left(certified: &CertifiedKey, now: SystemTime) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certified.end_entity_cert().ok()?).ok()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let seconds = parsed.validity().not_after.timestamp().checked_sub(i64::try_from(now).ok()?)?;
    Some(seconds.div_euclid(24 * 3600))
}

const SOON_DAYS: i64 = 14;

/// Warns of a certificate that has ended or soon will.
pub(super) fn warn_of_expiry(field: &Field<'_>, certified: &CertifiedKey) {
    let Some(days) = certificate_days_left(certified, field.context.now) else { return };
    let what = match days {
        ..0 => "the certificate has expired".to_owned(),
        0 => "the certificate expires today".to_owned(),
        1 => "the certificate expires tomorrow".to_owned(),
        2..SOON_DAYS => format!("the certificate expires in {days} days"),
        SOON_DAYS.. => return,
    };
    field.warn(what, "renew it");
}

/// Whether clients that ask for this host will accept the certificate's names.
pub(super) fn names(certified: &CertifiedKey, host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let (Ok(certificate), Ok(name)) = (certified.end_entity_cert(), ServerName::try_from(bare)) else {
        return false;
    };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}
