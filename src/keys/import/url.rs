//! PostgreSQL URLs: as OpenBin's own driver understands them, and never shown with their password.
//!
//! Only what cannot be mistaken is taken: a password with a bare `@` or `?` would otherwise end up, in part,
//! as the name of a host or of a parameter.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;

use super::super::servers::write_without_secrets;
use super::ImportError;
use super::tls::{Roots, Verification};

/// Parameters that are passed on to the driver.
const PASSED: &[&str] = &[
    "user",
    "password",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "application_name",
    "options",
    "connect_timeout",
    "target_session_attrs",
    "channel_binding",
];

/// A PostgreSQL URL that was understood.
#[derive(Clone)]
pub(super) struct PostgresUrl {
    text: String,
    pub(super) config: Config,
    /// Whether and how TLS is used.
    pub(super) verification: Verification,
}

impl PostgresUrl {
    /// Understands a URL whose scheme is `postgres` or `postgresql`.
    pub(super) fn parse(text: &str) -> Result<Self, ImportError> {
        let read = || {
            let (scheme, rest) = text.split_once("://").ok_or("it must begin with postgres://")?;
            let (main, query) = rest.split_once('?').unwrap_or((rest, ""));
            if query.contains('@') {
                return Err("write a ? in the password as %3F, and a @ as %40".to_owned());
            }
            if main.matches('@').count() > 1 {
                return Err("write a @ in the user or password as %40".to_owned());
            }
            let (passed, verification) = parameters(query)?;
            let plain = format!("{}://{main}?{}", scheme.to_ascii_lowercase(), passed.join("&"));
            let mut config: Config = plain.parse().map_err(|error| refusal(&error))?;
            if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
                return Err("it names no host".to_owned());
            }
            if config.get_application_name().is_none() {
                config.application_name("openbin-gateway");
            }
            Ok(Self { text: text.to_owned(), config, verification })
        };
        read().map_err(|why| ImportError::NoSource(format!("this PostgreSQL URL cannot be used: {why}")))
    }
}

/// What the driver does not like. It names the part, never its content.
fn refusal(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn parameters(query: &str) -> Result<(Vec<&str>, Verification), String> {
    let (mut passed, mut mode, mut roots) = (Vec::new(), None, None);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or("a parameter has no =")?;
        match name {
            "sslmode" => mode = Some(value),
            "sslrootcert" => roots = Some(file(value)?),
            name if PASSED.contains(&name) => passed.push(parameter),
            _ => {
                let known = PASSED.join(", ");
                return Err(format!(
                    "it has a parameter that is not known here. Known are sslmode, sslrootcert, {known}"
                ));
            }
        }
    }
    Ok((passed, verification(mode, roots)?))
}

fn file(value: &str) -> Result<Roots, String> {
    let path = percent_decode_str(value).decode_utf8().map_err(|_| "sslrootcert is not UTF-8")?;
    Ok(match &*path {
        "" => return Err("sslrootcert names no file".to_owned()),
        "system" => Roots::System,
        path => Roots::File(PathBuf::from(path)),
    })
}

/// As OpenBin's driver has it: every mode that demands TLS checks the server's name and chain too, other than
/// in PostgreSQL's own clients. Only where nothing is demanded, encryption is taken as it comes: without
/// it, the same would travel in the clear.
fn verification(mode: Option<&str>, roots: Option<Roots>) -> Result<Verification, String> {
    Ok(match (mode, roots) {
        (Some("disable"), _) => Verification::NoTls,
        (Some("prefer"), _) | (None, None) => Verification::WhereOffered,
        (Some("no-verify"), _) => Verification::Unchecked,
        (Some("require" | "verify-ca" | "verify-full"), roots) => {
            Verification::Full(roots.unwrap_or(Roots::System))
        }
        (None, Some(roots)) => Verification::Full(roots),
        (Some(_), _) => {
            let known = "disable, prefer, require, verify-ca, verify-full and no-verify";
            return Err(format!("its sslmode is not known. Known are {known}"));
        }
    })
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_without_secrets(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_postgres::config::Host;

    use super::*;

    fn refused(text: &str) -> String {
        match PostgresUrl::parse(text) {
            Ok(url) => panic!("{url} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_url_is_understood_in_all_its_parts() {
        let text = "PostgreSQL://open%40bin:p%40s%2Fs@db.example:6432/bins?connect_timeout=3&sslmode=disable";
        let url = PostgresUrl::parse(text).expect("a URL");
        assert_eq!(url.config.get_user(), Some("open@bin"));
        assert_eq!(url.config.get_password(), Some(&b"p@s/s"[..]));
        assert_eq!(url.config.get_hosts(), [Host::Tcp("db.example".to_owned())]);
        assert_eq!((url.config.get_ports(), url.config.get_dbname()), (&[6432][..], Some("bins")));
        assert_eq!(url.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(url.verification, Verification::NoTls);
    }

    #[test]
    fn a_socket_can_be_named() {
        for text in ["postgres://ann@%2Frun%2Fpg/x", "postgres:///x?host=/run/pg"] {
            let url = PostgresUrl::parse(text).expect("a URL");
            assert_eq!(url.config.get_hosts(), [Host::Unix(PathBuf::from("/run/pg"))]);
        }
    }

    #[test]
    fn sslmode_is_obeyed() {
        let mode =
            |query: &str| PostgresUrl::parse(&format!("postgres://db/x{query}")).expect("a URL").verification;
        let file = || Roots::File(PathBuf::from("/etc/my ca.pem"));
        assert_eq!(mode(""), Verification::WhereOffered);
        assert_eq!(mode("?sslmode=prefer"), Verification::WhereOffered);
        assert_eq!(mode("?sslmode=no-verify"), Verification::Unchecked);
        assert_eq!(mode("?sslmode=require"), Verification::Full(Roots::System));
        assert_eq!(mode("?sslmode=verify-ca&sslrootcert=system"), Verification::Full(Roots::System));
        assert_eq!(mode("?sslrootcert=/etc/my%20ca.pem&sslmode=verify-full"), Verification::Full(file()));
        assert_eq!(mode("?sslrootcert=/etc/my%20ca.pem"), Verification::Full(file()));
    }

    #[test]
    fn a_url_that_could_be_misread_is_refused_without_repeating_it() {
        for (text, why) in [
            ("postgres:db/x", "begin with postgres://"),
            ("postgres://ann:s3cret@x@db/x", "%40"),
            ("postgres://ann:a?s3cret@db/x", "%3F"),
            ("postgres://ann:s3cret@/x", "names no host"),
            ("postgres://ann:s3cret", "port"),
            ("postgres://ann:s3cret@db:70000/x", "port"),
            ("postgres://db/x?sslmode=s3cret", "sslmode is not known"),
            ("postgres://db/x?sslcert=s3cret", "parameter that is not known"),
            ("postgres://db/x?s3cret", "has no ="),
            ("postgres://db/x?connect_timeout=s3cret", "connect_timeout"),
            ("postgres://db/x?sslrootcert=", "names no file"),
        ] {
            let told = refused(text);
            assert!(told.contains(why) && !told.contains("s3cret"), "{text}: {told}");
        }
    }
}
