//! The admin token: what proves that a caller may see and change everything.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The hash of the admin token: comparing hashes tells nothing of the token's length.
#[derive(Clone)]
pub(super) struct AdminToken([u8; 32]);

impl AdminToken {
    pub(super) fn new(text: &str) -> Self {
        Self(Sha256::digest(text.trim().as_bytes()).into())
    }

    /// Whether the only `Authorization` field has this token as Bearer (RFC 6750 §2.1).
    pub(super) fn is_sent_in(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return false;
        };
        let Some((scheme, sent)) = field.as_bytes().split_at_checked(b"Bearer ".len()) else {
            return false;
        };
        let is_right = Sha256::digest(sent.trim_ascii()).as_slice().ct_eq(&self.0);
        // An empty token file must close the door, not open it.
        scheme.eq_ignore_ascii_case(b"Bearer ") && !sent.trim_ascii().is_empty() && bool::from(is_right)
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(***)")
    }
}

/// Where the token lies that a gateway with an embedded store makes for itself: beside the store, since who
/// may read the one may read the other.
#[must_use]
pub fn token_beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".admin-token");
    PathBuf::from(name)
}

/// Reads that token; makes it where there is none.
///
/// # Errors
/// Where the file cannot be read or made, or others than its owner may read it.
pub fn own_token(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut new = OpenOptions::new();
    match new.write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let mut token = Zeroizing::new(String::with_capacity(64));
            for byte in Zeroizing::new(rand::random::<[u8; 32]>()).iter() {
                token.push_str(&format!("{byte:02x}"));
            }
            file.write_all(token.as_bytes())?;
            file.sync_all()?;
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        return Err(wrong("others than its owner may read it; run chmod 600 on it, or delete it"));
    }
    let token = Zeroizing::new(fs::read_to_string(path)?.trim().to_owned());
    if token.len() < 32 {
        return Err(wrong("it holds no whole token; delete it, and a new one is made"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = token_beside(&folder.path().join("gateway.db"));
        let made = own_token(&path).expect("a token");
        assert_eq!(made.len(), 64);
        assert_eq!(*own_token(&path).expect("the same token"), *made);
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        assert!(own_token(&path).expect_err("open to others").to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(&path, "short").expect("written");
        assert!(own_token(&path).expect_err("cut short").to_string().contains("delete it"));
    }
}
