//! IP networks, as operators write them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IP network in CIDR notation (RFC 4632, RFC 4291 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl std::str::FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not an IP address or network in CIDR notation, such as 10.0.0.0/8";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), |p| p.parse().map_err(|_| WRONG))?;
        if prefix > most {
            return Err("not a network: its prefix is longer than the address");
        }
        Ok(Self { address, prefix })
    }
}

/// A single address is shown without a prefix.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == most {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|why| serde::de::Error::custom(format_args!("{text:?} is {why}")))
    }
}

impl Network {
    /// Whether this network has that address; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                let same = own.to_bits() ^ other.to_bits();
                same.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                let same = own.to_bits() ^ other.to_bits();
                same.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_under_its_prefix() {
        let network: Network = "10.1.0.0/16".parse().expect("network");
        assert!(network.contains("10.1.255.1".parse().expect("address")));
        assert!(network.contains("::ffff:10.1.2.3".parse().expect("address")));
        assert!(!network.contains("10.2.0.1".parse().expect("address")));
        let all: Network = "0.0.0.0/0".parse().expect("network");
        assert!(all.contains("8.8.8.8".parse().expect("address")));
        assert!(!all.contains("::1".parse().expect("address")));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("bins".parse::<Network>().is_err());
    }

    #[test]
    fn a_network_is_read_back_from_its_text() {
        for text in ["10.1.0.0/16", "192.168.1.7", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            let network: Network = serde_json::from_value(text.into()).expect("a network");
            assert_eq!(network.to_string(), text);
        }
        let error = serde_json::from_str::<Network>(r#""10.0.0.0/99""#).expect_err("too long");
        assert!(error.to_string().contains("10.0.0.0/99"), "{error}");
    }
}
