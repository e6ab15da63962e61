//! What one run gave, and whether it can be believed.

use serde::{Deserialize, Serialize};

use crate::crew::Clock;
use crate::probe::{CpuUse, Memory};
use crate::publish::Posted;
use crate::receive::harvest::Harvest;
use crate::target::Subject;

/// What one run gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Of whom.
    pub subject: Subject,
    /// Clients.
    pub sockets: usize,
    /// What the clients saw; windows are the phases after the first.
    pub harvest: Harvest,
    /// What became of the webhooks.
    pub posted: Option<Posted>,
    /// Deliveries a perfect server makes.
    pub expected: u64,
    /// From the first connect to the last `subscribed`, seconds.
    pub connect_s: f64,
    /// From the last event's due time to the last delivery, seconds.
    pub drained_s: f64,
    /// The server's CPU from the end of the warm-up on.
    pub cpu: CpuUse,
    /// Its CPU for one delivery, microseconds.
    pub cpu_us: f64,
    /// CPU of clients and publisher over the same time.
    pub generator: CpuUse,
    /// What else kept the server's core and the clients' core busy, in cores.
    pub foreign: [f64; 2],
    /// The server before any client came, and with all of them idle.
    pub memory: [Memory; 2],
    /// The server's resident bytes at their largest.
    pub rss_bytes_max: u64,
    /// Kernel memory that came with the clients, both ends, bytes.
    pub slab_bytes: u64,
    /// The run as the controller saw it, a beat a second.
    pub beats: Vec<Beat>,
    /// What happened when.
    pub marks: Vec<Mark>,
    /// How the clocks of other hosts stood.
    pub clocks: Vec<Clock>,
}

/// A look at a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Seconds since the first phase began.
    pub at_s: f64,
    /// The server's resident bytes.
    pub rss_bytes: u64,
    /// What it used of a core since the beat before.
    pub cores: f64,
    /// Clients that followed their team.
    pub present: u64,
    /// Deliveries so far.
    pub delivered: u64,
}

/// Something that happened to everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Seconds since the first phase began.
    pub at_s: f64,
    /// What.
    pub what: String,
}

impl Run {
    /// Whether everything arrived once, and nobody was thrown out.
    pub fn is_whole(&self) -> bool {
        let counts = &self.harvest.counts;
        counts.delivered == self.expected
            && counts.lost + counts.repeated + counts.gaps + counts.errors == 0
            && counts.closed.is_empty()
    }

    /// Whether others used more than a tenth of one of the two cores.
    pub fn is_disturbed(&self) -> bool {
        self.foreign.iter().any(|share| *share > 0.1)
    }

    /// What its processes took for each client, bytes.
    pub fn user_bytes_per_socket(&self) -> f64 {
        let [empty, idle] = self.memory;
        idle.rss_bytes.saturating_sub(empty.rss_bytes) as f64 / self.sockets.max(1) as f64
    }

    /// What the kernel took for each client, both ends, bytes.
    pub fn kernel_bytes_per_socket(&self) -> f64 {
        self.slab_bytes as f64 / self.sockets.max(1) as f64
    }

    /// Clients that came in each second.
    pub fn connects_per_s(&self) -> f64 {
        self.sockets as f64 / self.connect_s.max(1e-9)
    }

    /// Whether clients and publisher used so much of their core that they may have been the limit.
    pub fn is_limited(&self) -> bool {
        self.generator.of_a_core > 0.9
    }

    /// What keeps this run from being believed, if anything.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.is_limited() {
            let share = self.generator.of_a_core * 100.0;
            doubts
                .push(format!("the generator used {share:.0} % of its core: it may be the limit"));
        }
        if self.is_disturbed() {
            let [a, b] = self.foreign.map(|share| share * 100.0);
            doubts.push(format!("others used {a:.0} % and {b:.0} % of the two cores"));
        }
        let p99_us = self.harvest.windows.first().map_or(0, |window| window.latency.p99);
        for clock in self.clocks.iter().filter(|clock| clock.error_us > p99_us as f64 / 10.0) {
            let (agent, error_us) = (&clock.agent, clock.error_us);
            doubts.push(format!("the clock of {agent} may be wrong by {error_us:.0} us"));
        }
        doubts
    }
}
