//! Host names and upstream URLs in the one form in which the gateway compares and dials them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::http::uri::Authority;

use super::scalar::shown;

/// What is wrong with a text, and the mend.
pub(super) type Wrong = (String, String);

/// A host as requests name it: lower-case, no port, no trailing dot, IPv6 in brackets and shortened (RFC 5952).
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    let quoted = format!("\"{}\"", shown(text));
    if text.contains('*') {
        let what = format!("{quoted} is a wildcard, which is not supported");
        return Err((what, "list each host by its name; no hosts at all takes every host".into()));
    }
    if text.contains('/') {
        return Err((
            format!("{quoted} is not a host"),
            "write only the host, such as bins.example.com".into(),
        ));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    if text.starts_with('[') || text.contains(':') {
        return Err((
            format!("{quoted} has a port"),
            "write only the host; every port of the gateway counts".into(),
        ));
    }
    if !text.is_ascii() {
        let what = format!("{quoted} has letters that no request can name");
        return Err((what, "write it as browsers send it, such as xn--bcher-kva.example".into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if is_host_name(&name) {
        Ok(name)
    } else {
        Err((format!("{quoted} is not a host"), "write it like bins.example.com".into()))
    }
}

/// Host and port of an instance from a URL such as `http://127.0.0.1:1453`.
pub(super) fn upstream(text: &str) -> Result<Authority, Wrong> {
    const LIKE: &str = "write it like http://127.0.0.1:1453";
    let quoted = format!("\"{}\"", shown(text));
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("https://") {
        let what = format!("{quoted}: the gateway speaks plain HTTP to an instance, as OpenBin does");
        return Err((what, "write http:// and keep the instance on this machine or network".into()));
    }
    if !lower.starts_with("http://") {
        return Err((format!("{quoted} is not an http:// URL"), LIKE.into()));
    }
    let rest = text.get("http://".len()..).unwrap_or_default();
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        let what = format!("{quoted} has a path; the gateway forwards every path as it comes");
        return Err((what, LIKE.into()));
    }
    if authority.contains('@') {
        return Err(("the URL holds a user name or password".into(), LIKE.into()));
    }
    let wrong = || (format!("{quoted} names no host and port"), LIKE.to_owned());
    let parsed: Authority = authority.parse().map_err(|_| wrong())?;
    let has_port = authority.strip_prefix(parsed.host()).is_some_and(|rest| !rest.is_empty());
    if parsed.host().is_empty() || (has_port && parsed.port_u16().is_none_or(|port| port == 0)) {
        return Err(wrong());
    }
    host(parsed.host()).map_err(|_| wrong())?;
    if has_port { Ok(parsed) } else { format!("{authority}:80").parse().map_err(|_| wrong()) }
}

/// Whether dialling `authority` would reach something that listens on `address` here.
pub(super) fn reaches(authority: &Authority, address: SocketAddr) -> bool {
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let dialled = match host.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) if host.eq_ignore_ascii_case("localhost") => IpAddr::from([127, 0, 0, 1]),
        Err(_) => return false,
    };
    let same = dialled == address.ip() || (dialled.is_loopback() && address.ip().is_unspecified());
    same && authority.port_u16() == Some(address.port())
}

/// Whether two listeners cannot both have their address.
pub(super) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (text, expected) in [
            ("Bins.Example.COM", "bins.example.com"),
            ("bins.example.com.", "bins.example.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0::1", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("my_host", "my_host"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "*.example.com",
            "https://a.b",
            "a.b:443",
            "[::1]:443",
            "bücher.example",
            "a..b",
            "-a",
            "a b",
        ] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        for (text, expected) in [
            ("http://127.0.0.1:1453", "127.0.0.1:1453"),
            ("http://openbin:1453/", "openbin:1453"),
            ("HTTP://[::1]:1453", "[::1]:1453"),
            ("http://openbin", "openbin:80"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(upstream(text).expect("upstream").as_str(), expected);
        }
        for wrong in [
            "bins",
            "http://",
            "https://a",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "http://a:0",
            "http://a:",
            "http://a:70000",
            "http://a b",
            "http://:80",
            "ftp://a",
            "http://[::1",
            "http://é",
        ] {
            assert!(upstream(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_upstream_that_is_the_gateway_itself_is_seen() {
        let authority = |text: &str| text.parse::<Authority>().expect("authority");
        let listener = |text: &str| text.parse::<SocketAddr>().expect("address");
        assert!(reaches(&authority("localhost:8080"), listener("0.0.0.0:8080")));
        assert!(reaches(&authority("[::1]:8080"), listener("[::1]:8080")));
        assert!(!reaches(&authority("127.0.0.1:8081"), listener("127.0.0.1:8080")));
        assert!(!reaches(&authority("openbin:8080"), listener("0.0.0.0:8080")));
    }

    #[test]
    fn an_unspecified_address_takes_the_port_of_every_other() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("address");
        assert!(clash(address("0.0.0.0:80"), address("127.0.0.1:80")));
        assert!(!clash(address("127.0.0.2:80"), address("127.0.0.1:80")));
        assert!(!clash(address("127.0.0.1:0"), address("127.0.0.1:0")));
    }
}
