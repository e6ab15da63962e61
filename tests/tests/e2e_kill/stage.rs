//! What all threads share: where the server listens now, and how far the show is.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::Rng;
use touchline_tests::e2e::server::Addresses;

/// Clients.
pub const FOLLOWERS: usize = 100;
/// Every so many of them one reads slowly: four in all.
pub const SLOW_EACH: usize = 25;
/// Senders; the last shares the first one's partner.
pub const SENDERS: usize = 4;
/// Teams there are.
pub const TEAMS: usize = 20;

/// What all threads share.
pub struct Stage {
    addresses: RwLock<Option<Addresses>>,
    following: AtomicUsize,
    seen: Vec<AtomicUsize>,
    has_stopped_sending: AtomicBool,
    has_ended: AtomicBool,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            addresses: RwLock::new(None),
            following: AtomicUsize::new(0),
            seen: (0..FOLLOWERS).map(|_| AtomicUsize::new(0)).collect(),
            has_stopped_sending: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        }
    }
}

impl Stage {
    pub fn moved_to(&self, addresses: Addresses) {
        *self.addresses.write().expect("no panic") = Some(addresses);
    }

    /// Where the server listens, or did last.
    pub fn addresses(&self) -> Addresses {
        self.addresses.read().expect("no panic").expect("it serves before anybody asks")
    }

    /// A follower has its first `subscribed`: from here on it is owed everything.
    pub fn joined(&self) {
        self.following.fetch_add(1, Ordering::SeqCst);
    }

    pub fn following(&self) -> usize {
        self.following.load(Ordering::SeqCst)
    }

    pub fn saw(&self, follower: usize) {
        self.seen[follower].fetch_add(1, Ordering::SeqCst);
    }

    pub fn seen(&self, follower: usize) -> usize {
        self.seen[follower].load(Ordering::SeqCst)
    }

    pub fn stop_sending(&self) {
        self.has_stopped_sending.store(true, Ordering::SeqCst);
    }

    /// No new deliveries; slow clients hurry.
    pub fn has_stopped_sending(&self) -> bool {
        self.has_stopped_sending.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }
}

/// A number below `count`, 0 most often: the weight of `n` is 1 / (n + 1).
pub fn zipf(rng: &mut impl Rng, count: usize) -> usize {
    let total: f64 = (1..=count).map(|n| 1.0 / n as f64).sum();
    let mut left = rng.random_range(0.0..total);
    for n in 0..count {
        left -= 1.0 / (n + 1) as f64;
        if left < 0.0 {
            return n;
        }
    }
    count - 1
}

/// One to `most` teams by Zipf's law, sorted, each once.
pub fn some_teams(rng: &mut impl Rng, most: usize) -> Vec<String> {
    let wanted = rng.random_range(1..=most);
    let mut teams: Vec<_> = (0..wanted).map(|_| format!("t{:02}", zipf(rng, TEAMS))).collect();
    teams.sort();
    teams.dedup();
    teams
}
