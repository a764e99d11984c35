//! That servers which are started by number are the ones that their tests speak to.

use std::collections::HashSet;
use std::net::{Ipv4Addr, UdpSocket};

use crate::support::port::free_port;

#[test]
fn a_port_is_given_once_and_by_nobody_else() {
    let ports: HashSet<u16> = (0..200).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 200, "none was given twice");
    let range =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("the system's range");
    let mut ends = range.split_whitespace().map(|end| end.parse::<u16>().expect("a number"));
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else { panic!("no range in {range:?}") };
    for port in ports {
        assert!(!(first..=last).contains(&port), "the system may give {port} to somebody else");
        // As another test would claim it, in whatever process.
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err(), "{port} is not claimed");
    }
}
