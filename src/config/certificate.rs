//! What is worth a warning about a certificate: how long it lasts, whom it names. Loading it is the server's matter.

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;

use super::read::Field;
use crate::server::{Standing, Validity};

const SOON_DAYS: u64 = 14;
const DAY_SECONDS: u64 = 24 * 3600;

/// Warns of a certificate that is not valid now, or soon will not be.
pub(super) fn warn_of_dates(field: &Field<'_>, certified: &CertifiedKey) {
    let now = field.context.now;
    let Some(validity) = Validity::of(certified) else { return };
    match validity.at(now) {
        Standing::Expired => field.warn("the certificate has expired", "renew it"),
        Standing::NotYetValid => {
            field.warn("the certificate is not valid yet", "check this machine's clock, or wait");
        }
        Standing::Valid => {
            let left = validity.not_after().duration_since(now).unwrap_or_default();
            let what = match left.as_secs() / DAY_SECONDS {
                0 => "the certificate expires today".to_owned(),
                1 => "the certificate expires tomorrow".to_owned(),
                days @ 2..SOON_DAYS => format!("the certificate expires in {days} days"),
                SOON_DAYS.. => return,
            };
            field.warn(what, "renew it");
        }
    }
}

/// Whether clients that ask for this host will accept the certificate's names.
pub(super) fn names(certified: &CertifiedKey, host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let (Ok(certificate), Ok(name)) = (certified.end_entity_cert(), ServerName::try_from(bare)) else {
        return false;
    };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}
