//! What one connection occupies. Every count is given back when the socket is dropped, wherever it went.

use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;

/// Connections of one core.
#[derive(Debug, Default)]
pub(super) struct Load {
    count: AtomicUsize,
    /// Told when the last one has gone.
    pub emptied: Notify,
}

impl Load {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

/// Held by the socket.
pub(super) struct Lease {
    load: Arc<Load>,
    gauge: Gauge,
    seat: Option<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub fn new(load: Arc<Load>, gauge: Gauge, permit: OwnedSemaphorePermit) -> Self {
        load.count.fetch_add(1, Ordering::AcqRel);
        gauge.inc();
        Self {
            load,
            gauge,
            seat: None,
            _permit: permit,
        }
    }

    pub fn take_seat(&mut self, seat: Option<Seat>) {
        self.seat = seat;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.gauge.dec();
        if self.load.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.load.emptied.notify_one();
        }
    }
}

/// How many connections each address has. An IPv6 client owns at least a /64 and counts as one.
#[derive(Debug)]
pub(super) struct Seats {
    each: AtomicUsize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Seats {
    pub fn new(each: usize) -> Arc<Self> {
        Arc::new(Self {
            each: AtomicUsize::new(each),
            taken: Mutex::default(),
        })
    }

    /// From here on each address has so many; who sits, stays.
    pub fn resize(&self, each: usize) {
        self.each.store(each, Ordering::Relaxed);
    }

    /// A seat for `address`; `None` when it has as many as it may.
    pub fn find(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = household(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.each.load(Ordering::Relaxed) {
            return None;
        }
        *count += 1;
        Some(Seat {
            seats: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::Seats;

    #[test]
    fn seats_are_given_back_and_a_household_shares_them() {
        let seats = Seats::new(2);
        let first = seats.find("2001:db8::1".parse().unwrap()).unwrap();
        let _second = seats.find("2001:db8::ffff:2".parse().unwrap()).unwrap();
        assert!(seats.find("2001:db8::3".parse().unwrap()).is_none());
        assert!(seats.find("2001:db8:0:1::3".parse().unwrap()).is_some());
        drop(first);
        assert!(seats.find("2001:db8::3".parse().unwrap()).is_some());
        let mapped = Seats::new(1);
        let _one = mapped.find("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(mapped.find("192.0.2.1".parse().unwrap()).is_none());
        assert!(mapped.find("192.0.2.2".parse().unwrap()).is_some());
    }
}
