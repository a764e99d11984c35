//! Where requests come from, as far as limits tell one from another.

use std::net::IpAddr;

/// An IPv4 address, or an IPv6 network of 64 bits: whoever has one address of such a network has them all
/// (RFC 4291 §2.5.4, RFC 6177 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(u128);

impl Source {
    /// What tells it from others.
    pub(super) fn bits(self) -> u128 {
        self.0
    }

    /// The source of an address; an IPv4 address mapped into IPv6 counts as IPv4.
    pub(super) fn of(address: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self(match address.to_canonical() {
            // Mapped into IPv6, where no network of 64 bits can be equal to it.
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() & NETWORK,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let source = |text: &str| Source::of(text.parse().expect("an address"));
        source(one) == source(other)
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_source() {
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::1", "::2"));
    }

    #[test]
    fn each_ipv4_address_is_a_source_however_it_is_written() {
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
        assert!(!same("0.0.0.0", "::"));
    }
}
