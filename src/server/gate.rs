//! How many connections may be open, in all and from one address, and the right to keep one open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

use super::Addresses;
use super::drain::Occupancy;

/// How many connections are open, over all workers.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicUsize,
    max: usize,
    by_source: Mutex<HashMap<Source, usize>>,
    max_per_address: usize,
    exempt: Addresses,
}

/// An IPv4 address, or an IPv6 network of 64 bits: whoever has one address of such a network has them all
/// (RFC 4291 §2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source(u128);

impl Source {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() & (!0 << 64),
        })
    }
}

impl Gate {
    pub(super) fn new(max: usize, max_per_address: usize, exempt: Addresses) -> Arc<Self> {
        let by_source = Mutex::default();
        Arc::new(Self { open: AtomicUsize::new(0), max, by_source, max_per_address, exempt })
    }

    /// Whether one more from there may be open; it is counted then.
    fn enter(&self, source: Source) -> bool {
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_source.entry(source).or_insert(0);
        let may = *open < self.max_per_address;
        if may {
            *open += 1;
        }
        may
    }

    fn leave(&self, source: Source) {
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = by_source.entry(source) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// The right to keep one connection open. Goes with the socket, so that an upgraded connection counts
/// for as long as it lives.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    worker: Arc<Occupancy>,
    gauge: IntGauge,
    source: Option<Source>,
}

/// As many connections are open from this address as may be.
#[derive(Debug)]
pub(super) struct TooMany;

impl Permit {
    /// `None` when as many connections are open as may be.
    pub(super) fn take(gate: &Arc<Gate>, worker: &Arc<Occupancy>, gauge: &IntGauge) -> Option<Self> {
        if gate.open.fetch_add(1, Ordering::AcqRel) >= gate.max {
            gate.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        worker.enter();
        gauge.inc();
        Some(Self { gate: Arc::clone(gate), worker: Arc::clone(worker), gauge: gauge.clone(), source: None })
    }

    /// The same right, counted for the address that the connection comes from.
    ///
    /// # Errors
    /// Where that has as many connections open as it may.
    pub(super) fn of(mut self, address: IpAddr) -> Result<Self, TooMany> {
        if self.gate.exempt.have(address) {
            return Ok(self);
        }
        let source = Source::of(address);
        if !self.gate.enter(source) {
            return Err(TooMany);
        }
        self.source = Some(source);
        Ok(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.dec();
        if let Some(source) = self.source {
            self.gate.leave(source);
        }
        self.gate.open.fetch_sub(1, Ordering::AcqRel);
        self.worker.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn gauge() -> IntGauge {
        IntGauge::new("connections", "test").expect("gauge")
    }

    #[test]
    fn one_connection_more_than_the_limit_is_refused_until_one_ends() {
        let gauge = gauge();
        let (gate, worker) = (Gate::new(2, 9, Addresses::none()), Arc::new(Occupancy::default()));
        let take = || Permit::take(&gate, &worker, &gauge);
        let first = take().expect("first");
        let _second = take().expect("second");
        assert!(take().is_none());
        assert_eq!((gauge.get(), worker.open()), (2, 2));
        drop(first);
        assert_eq!((gauge.get(), worker.open()), (1, 1));
        assert!(take().is_some());
    }

    #[test]
    fn one_address_or_network_of_64_bits_cannot_take_all_connections() {
        let gauge = gauge();
        let exempt = Addresses::from(|address: IpAddr| address == IpAddr::from([10, 0, 0, 1]));
        let (gate, worker) = (Gate::new(100, 2, exempt), Arc::new(Occupancy::default()));
        let take = |from: &str| Permit::take(&gate, &worker, &gauge).expect("room").of(address(from)).ok();
        let held = [take("192.0.2.1"), take("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some) && take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        let network = [take("2001:db8::1"), take("2001:db8::ffff:1")];
        assert!(network.iter().all(Option::is_some) && take("2001:db8::2").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
        let proxy: Vec<_> = (0..5).map(|_| take("10.0.0.1")).collect();
        assert!(proxy.iter().all(Option::is_some));
        drop(held);
        assert!(take("192.0.2.1").is_some());
        drop((network, proxy));
        assert_eq!((worker.open(), gate.by_source.lock().expect("lock").len()), (0, 0));
    }
}
