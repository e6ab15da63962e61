//! Who may connect: the process's bound, and each address's.
//!
//! Shared by all shards, because the kernel spreads one address's connections over them: a bound
//! counted by each shard would be right only on average. It costs one lock on a connection's way in
//! and one on its way out, in one of 64 tables by address, so two shards rarely meet; nothing that
//! delivers comes here.
//!
//! # Invariants
//! - A [`Ticket`] is one counted connection, and counts until it is given back
//!   ([`Admission::release`]).
//! - The table holds at most [`ADDRESSES_MAX`] addresses. When it is full, addresses without a
//!   connection give way; if there is none, a new address is let in uncounted: an attack from a
//!   million addresses is `connections_max`'s to stop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use touchline_core::time::Monotonic;
use touchline_core::ws::Refusal;

use crate::limits::ADDRESSES_MAX;
use crate::options::AddressRules;
use crate::pace::Pace;

const TABLES: usize = 64;

/// Counts connections of the process and of addresses.
pub(crate) struct Admission {
    connections_max: usize,
    connections: AtomicUsize,
    tables: Box<[Mutex<HashMap<u64, Address>>]>,
}

#[derive(Default)]
struct Address {
    connections: u32,
    connects: Pace,
}

/// A connection that was let in. Four to eight bytes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The ticket of whoever isn't counted by address.
const UNCOUNTED: u64 = 0;

impl Admission {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            connections: AtomicUsize::new(0),
            tables: (0..TABLES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Lets a connection in, or says why not. Allocates only for an address that isn't known.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        rules: &AddressRules,
        now: Monotonic,
    ) -> Result<Ticket, Refusal> {
        let mut ticket = self.enter()?;
        match self.attribute(&mut ticket, address, rules, now) {
            Ok(()) => Ok(ticket),
            Err(refusal) => {
                self.release(ticket);
                Err(refusal)
            }
        }
    }

    /// Lets a connection in that isn't judged by an address yet.
    pub(crate) fn enter(&self) -> Result<Ticket, Refusal> {
        if self.connections.fetch_add(1, Relaxed) >= self.connections_max {
            self.connections.fetch_sub(1, Relaxed);
            return Err(Refusal::Full);
        }
        Ok(Ticket(UNCOUNTED))
    }

    /// Counts a connection that has entered as one of `address`, or says why it can't be. It counts
    /// for the process either way.
    pub(crate) fn attribute(
        &self,
        ticket: &mut Ticket,
        address: IpAddr,
        rules: &AddressRules,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        debug_assert_eq!(ticket.0, UNCOUNTED, "a connection has one address");
        if rules.loopback_is_exempt && address.to_canonical().is_loopback() {
            return Ok(());
        }
        *ticket = self.count(key_of(address), rules, now)?;
        Ok(())
    }

    fn count(&self, key: u64, rules: &AddressRules, now: Monotonic) -> Result<Ticket, Refusal> {
        let mut table = self.table(key);
        if table.len() >= ADDRESSES_MAX / TABLES && !table.contains_key(&key) {
            table.retain(|_, address| address.connections > 0);
            if table.len() >= ADDRESSES_MAX / TABLES {
                return Ok(Ticket(UNCOUNTED));
            }
        }
        let address = table.entry(key).or_default();
        let period = Duration::from_secs(1) / rules.connects_per_s.max(1);
        let is_paced = address.connects.take(now, period, rules.connects_burst).is_ok();
        if address.connections >= rules.connections_max || !is_paced {
            return Err(Refusal::AddressFull);
        }
        address.connections += 1;
        Ok(Ticket(key))
    }

    /// A connection is gone.
    pub(crate) fn release(&self, ticket: Ticket) {
        self.connections.fetch_sub(1, Relaxed);
        if ticket.0 == UNCOUNTED {
            return;
        }
        let mut table = self.table(ticket.0);
        if let Some(address) = table.get_mut(&ticket.0) {
            address.connections = address.connections.saturating_sub(1);
        }
    }

    fn table(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Address>> {
        let table = &self.tables[(key as usize).wrapping_mul(0x9e37) / 7 % TABLES];
        table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never [`UNCOUNTED`]: bit 63 tells both kinds apart from it and from each other.
fn key_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => 1 << 32 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => 1 << 63 | (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic(1 << 40);

    fn rules(connections_max: u32, connects_burst: u32) -> AddressRules {
        AddressRules {
            connections_max,
            connects_per_s: 10,
            connects_burst,
            loopback_is_exempt: true,
        }
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let admission = Admission::new(100);
        let rules = rules(2, 50);
        let here = "192.0.2.1".parse().unwrap();
        let first = admission.admit(here, &rules, NOW).unwrap();
        admission.admit(here, &rules, NOW).unwrap();
        assert_eq!(admission.admit(here, &rules, NOW), Err(Refusal::AddressFull));
        assert!(admission.admit("192.0.2.2".parse().unwrap(), &rules, NOW).is_ok());
        admission.release(first);
        assert!(admission.admit(here, &rules, NOW).is_ok());
        let loopback = "127.0.0.9".parse().unwrap();
        assert!((0..9).all(|_| admission.admit(loopback, &rules, NOW).is_ok()));
    }

    #[test]
    fn who_has_entered_counts_for_an_address_once_that_is_known() {
        let admission = Admission::new(3);
        let rules = rules(1, 50);
        let here = "192.0.2.1".parse().unwrap();
        let mut tickets = [(); 3].map(|()| admission.enter().unwrap());
        assert_eq!(admission.enter(), Err(Refusal::Full), "each counts for the process");
        assert_eq!(admission.attribute(&mut tickets[0], here, &rules, NOW), Ok(()));
        let refused = admission.attribute(&mut tickets[1], here, &rules, NOW);
        assert_eq!(refused, Err(Refusal::AddressFull));
        let loopback = "127.0.0.9".parse().unwrap();
        assert_eq!(admission.attribute(&mut tickets[2], loopback, &rules, NOW), Ok(()));
        tickets.into_iter().for_each(|ticket| admission.release(ticket));
        assert!(admission.admit(here, &rules, NOW).is_ok(), "both counts are given back");
    }

    #[test]
    fn neighbours_in_one_v6_network_are_one_address() {
        let admission = Admission::new(100);
        let rules = rules(1, 50);
        let admit = |text: &str| admission.admit(text.parse().unwrap(), &rules, NOW);
        assert!(admit("2001:db8::1").is_ok());
        assert_eq!(admit("2001:db8::2"), Err(Refusal::AddressFull));
        assert!(admit("2001:db8:0:1::1").is_ok());
        assert!(admit("::ffff:192.0.2.1").is_ok());
        assert_eq!(admit("192.0.2.1"), Err(Refusal::AddressFull), "the same, mapped");
    }

    #[test]
    fn connects_are_paced() {
        let admission = Admission::new(100);
        let rules = rules(50, 3);
        let here = "192.0.2.1".parse().unwrap();
        let admit = |now| admission.admit(here, &rules, now).is_ok();
        assert_eq!([NOW; 4].map(admit), [true, true, true, false]);
        let later = NOW + Duration::from_millis(100);
        assert_eq!([later; 2].map(admit), [true, false], "ten a second");
    }

    #[test]
    fn the_process_has_a_bound_and_the_table_too() {
        let admission = Admission::new(ADDRESSES_MAX + 10_000);
        let rules = rules(1, 5);
        for n in 0..ADDRESSES_MAX as u32 + 10_000 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
            assert!(admission.admit(address, &rules, NOW).is_ok(), "{n}");
        }
        let known: usize = admission.tables.iter().map(|table| table.lock().unwrap().len()).sum();
        assert!(known <= ADDRESSES_MAX && known > ADDRESSES_MAX / 2, "{known}");
        let last = "192.0.2.1".parse().unwrap();
        assert_eq!(admission.admit(last, &rules, NOW), Err(Refusal::Full));
    }
}
