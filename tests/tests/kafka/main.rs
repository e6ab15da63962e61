//! Claim: over real Kafka, several nodes show the same events, each once, and nothing that was
//! acknowledged is lost, whatever happens to a node or a broker.
//!
//! Three brokers are started once for all tests that do them no harm; a test that kills brokers
//! has its own, and so has the one that signs in. Each test has topics of its own, by their prefix.
//! What runs beside what is a matter of [`Turn`].

mod admin;
mod back;
mod broken;
mod demo;
mod follower;
mod lag;
mod letters;
mod lives;
mod migrate;
mod moved;
mod nodes;
mod parted;
mod records;
mod secured;
mod shared_out;
mod spool;
mod starts;
mod tools;
mod wire;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use touchline_tests::e2e::brokers::Brokers;
use touchline_tests::e2e::server::{Backend, Home, Server};
use touchline_tests::e2e::socket::Socket;

/// What a test has under it. One of each kind runs at a time, beside one of each other kind: most
/// of the time a test waits, but brokers that start and nodes of many are too much for two cores.
#[derive(Clone, Copy)]
pub enum Turn {
    /// The brokers that all share, or ones of its own for less than a minute.
    Calm,
    /// Three brokers of its own that are harmed, while sources send all the time.
    Harmed,
    /// One broker or none, and little to do.
    Small,
}

impl Turn {
    /// Waits until no other test of this kind runs, and keeps the rest out.
    pub fn take(self) -> MutexGuard<'static, ()> {
        static TURNS: [Mutex<()>; 3] = [const { Mutex::new(()) }; 3];
        TURNS[self as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Three brokers that nobody harms. They end with this process: the script sees to it.
pub fn calm_brokers() -> &'static Brokers {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    BROKERS.get_or_init(|| Brokers::start(3))
}

/// Nodes that share a log.
pub struct Nodes {
    homes: Vec<Home>,
    /// By number.
    pub servers: Vec<Server>,
}

impl Nodes {
    /// `count` nodes on topics that begin with `prefix`; `more` goes into `[log.kafka]`.
    pub fn start(brokers: &Brokers, prefix: &str, count: usize, more: &str) -> Self {
        Self::start_by(brokers, prefix, count, more, |_, home| home.serve(Backend::Auto))
    }

    /// The same, where `serve` starts a node, by its number, in its home.
    pub fn start_by(
        brokers: &Brokers,
        prefix: &str,
        count: usize,
        more: &str,
        serve: impl Fn(usize, &Home) -> Server,
    ) -> Self {
        let addresses = brokers.addresses();
        // Clients are listened to by turns, and answer pings only then.
        let config = |n: usize| {
            format!(
                "[sessions]\npong_s = 300\n[log]\nkind = \"kafka\"\n[log.kafka]\nbrokers = \"{addresses}\"\n\
                 topic_prefix = \"{prefix}.\"\npartitions = 4\n{more}\n# node {n}\n"
            )
        };
        let homes: Vec<Home> = (0..count).map(|n| Home::new(&config(n))).collect();
        let servers = homes.iter().enumerate().map(|(n, home)| serve(n, home)).collect();
        Self { homes, servers }
    }

    /// The folder of a node.
    pub fn home(&self, node: usize) -> &Home {
        &self.homes[node]
    }

    /// Starts one again that has ended.
    pub fn restart(&mut self, node: usize) {
        self.servers[node] = self.homes[node].serve(Backend::Auto);
    }

    /// Takes a node out: the others move up.
    pub fn take(&mut self, node: usize) -> Server {
        self.homes.remove(node);
        self.servers.remove(node)
    }

    /// A client of one node.
    pub fn open(&self, node: usize, query: &str) -> Socket {
        Socket::open(self.servers[node].addresses().stream, query)
    }
}
