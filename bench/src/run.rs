//! What one run gave, and whether it can be believed.

use serde::{Deserialize, Serialize};

use crate::crew::Clock;
use crate::limits::{FULL_CORE_SHARE, GENERATOR_SHARE_MAX};
use crate::meter::Used;
use crate::probe::{CpuUse, Memory};
use crate::publish::Posted;
use crate::receive::harvest::Harvest;
use crate::setup::{Deed, Setup};
use crate::stats::{Figure, Slope};
use crate::target::Subject;
use crate::target::counters::Counters;

/// Less time than this says nothing about hours.
const SLOPE_S_MIN: f64 = 60.0;
/// What is said of a run with brokers instead of leaving it out.
pub const BROKERS_DOUBT: &str =
    "three brokers run on the same two cores: that the generator's is full isn't held against it";
/// Others that use more than this of a core change what is measured.
const DISTURBED_SHARE: f64 = 0.1;

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
    /// Attempts to connect that failed on the way and were made again.
    #[serde(default)]
    pub connect_retries: u64,
    /// The cores while clients connected; nothing in older results.
    #[serde(default)]
    pub connecting: Shares,
    /// Touchline's connections by shard, with all clients idle.
    #[serde(default)]
    pub by_shard: Vec<u64>,
    /// From the last event's due time to the last delivery, seconds.
    pub drained_s: f64,
    /// The server's CPU from the end of the warm-up on.
    pub cpu: CpuUse,
    /// Its CPU for one delivery, microseconds.
    pub cpu_us: f64,
    /// CPU of clients and publisher over the same time.
    pub generator: CpuUse,
    /// What was in use of their core, by them or by others, in the measured phase in which it was
    /// most: of the middle second of those in which the server had time left; 0 of a ramp, which
    /// goes beyond what anybody can carry.
    #[serde(default)]
    pub generator_most: f64,
    /// What else kept the server's core and the clients' core busy, in cores.
    pub foreign: [f64; 2],
    /// Whether Kafka's brokers were meant to run on these two cores, too.
    #[serde(default)]
    pub beside_brokers: bool,
    /// The server before any client came, and with all of them idle.
    pub memory: [Memory; 2],
    /// The server's resident bytes at their largest.
    pub rss_bytes_max: u64,
    /// Kernel memory that came with the clients, both ends, bytes.
    pub slab_bytes: u64,
    /// The run as the controller saw it: a beat a second, less often in runs of hours.
    pub beats: Vec<Beat>,
    /// What happened when.
    pub marks: Vec<Mark>,
    /// What Touchline counted of its sources from the end of the warm-up on.
    #[serde(default)]
    pub counters: Counters,
    /// How the clocks of other hosts stood.
    pub clocks: Vec<Clock>,
}

/// The middle of what was in use of the generator's core in each stretch of `beats` while the
/// server had time left, of the stretch in which that was most. Stretches of less than two whole
/// seconds say nothing.
pub fn generator_most(beats: &[Beat], stretches: impl Iterator<Item = (f64, f64)>) -> f64 {
    let of = |(from_s, to_s): (f64, f64)| {
        // A beat tells of the second before it.
        let within = |beat: &&Beat| beat.at_s > from_s + 1.0 && beat.at_s <= to_s;
        let has_time = |beat: &&Beat| beat.cores < FULL_CORE_SHARE;
        let used = beats.iter().filter(within).filter(has_time).map(Beat::clients_core);
        let used: Vec<f64> = used.collect();
        if used.len() < 2 { 0.0 } else { Figure::of(used).median }
    };
    stretches.map(of).fold(0.0, f64::max)
}

/// What was used of the cores over some time, in cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// By the server, of its own.
    pub server: f64,
    /// By clients and controller, of theirs.
    pub generator: f64,
    /// By others, of the server's and of the clients'.
    pub foreign: [f64; 2],
}

impl Shares {
    /// Of what a meter has read. Where agents carry the clients, what the busiest used of its
    /// threads' cores counts, and what happens on this host's second core is of no interest.
    pub fn of(used: &Used, busiest_agent: Option<f64>) -> Self {
        let [beside_server, beside_clients] = used.foreign;
        let (generator, beside_clients) =
            busiest_agent.map_or((used.generator.of_a_core, beside_clients), |busy| (busy, 0.0));
        let foreign = [beside_server, beside_clients];
        Self { server: used.server.of_a_core, generator, foreign }
    }
}

/// A look at a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Seconds since the first phase began.
    pub at_s: f64,
    /// The server's resident bytes.
    pub rss_bytes: u64,
    /// What it used of a core in the last second (of runs of hours: in the last so many seconds).
    pub cores: f64,
    /// What clients, publisher and controller used of theirs.
    #[serde(default)]
    pub generator: f64,
    /// What others used of it; 0 where that is not held against the run.
    #[serde(default)]
    pub others: f64,
    /// Clients that followed their team.
    pub present: u64,
    /// Deliveries so far.
    pub delivered: u64,
}

impl Beat {
    /// What was in use of the clients' core.
    pub fn clients_core(&self) -> f64 {
        self.generator + self.others
    }
}

/// Something that happened to everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Seconds since the first phase began.
    pub at_s: f64,
    /// What.
    pub what: String,
    /// Where it ends a drain: clients that were left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}

impl Run {
    /// Whether everything arrived once, and nobody was thrown out.
    pub fn is_whole(&self) -> bool {
        let counts = &self.harvest.counts;
        counts.delivered == self.expected
            && counts.lost + counts.repeated + counts.gaps + counts.errors == 0
            && counts.closed.is_empty()
    }

    /// Whether the server's CPU could be seen: one that runs elsewhere has used nothing here.
    pub fn knows_cpu(&self) -> bool {
        self.cpu.total_ns > 0
    }

    /// Whether others used more than a tenth of one of the two cores.
    pub fn is_disturbed(&self) -> bool {
        self.foreign.iter().any(|share| *share > DISTURBED_SHARE)
    }

    /// What was in use of the clients' core: who gets no time is the limit, whoever has it. Brokers
    /// are there by design, and are a doubt of their own. Of agents this host doesn't know which
    /// cores their clients share with others.
    fn clients_core(&self, generator: f64, foreign: [f64; 2]) -> f64 {
        let is_held_against = !self.beside_brokers && self.clocks.is_empty();
        generator + if is_held_against { foreign[1] } else { 0.0 }
    }

    /// The same while the run was measured, or in the phase in which it was most.
    pub fn generator_share(&self) -> f64 {
        self.clients_core(self.generator.of_a_core, self.foreign).max(self.generator_most)
    }

    /// Whether the clients may have been the limit while they connected: their core was full and
    /// the server's wasn't.
    pub fn is_connect_limited(&self) -> bool {
        let Shares { server, generator, foreign } = self.connecting;
        self.clients_core(generator, foreign) > GENERATOR_SHARE_MAX && server < FULL_CORE_SHARE
    }

    /// What keeps the speed of its connecting from being believed, if anything.
    pub fn connect_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let Shares { generator, foreign, .. } = self.connecting;
        if self.is_connect_limited() {
            let share = self.clients_core(generator, foreign) * 100.0;
            doubts.push(format!("the core of clients that connect was {share:.0} % full"));
        }
        if foreign.iter().any(|share| *share > DISTURBED_SHARE) {
            let [a, b] = foreign.map(|share| share * 100.0);
            let said = format!("others used {a:.0} % and {b:.0} % of the two cores");
            doubts.push(format!("{said} while clients connected"));
        }
        if self.connect_retries > 0 {
            doubts.push(format!("{} connections failed and were made again", self.connect_retries));
        }
        doubts
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

    /// How fast the server's resident memory grew while `setup` was measured, bytes a second;
    /// `None` where it took less than a minute or the server is another one by then.
    pub fn memory_slope(&self, setup: &Setup) -> Option<Slope> {
        let (warm_up, rest) = setup.phases.split_first()?;
        let seconds: f64 = rest.iter().map(|phase| phase.seconds).sum();
        if seconds < SLOPE_S_MIN || setup.acts.iter().any(|act| act.deed == Deed::Kill) {
            return None;
        }
        let measured = warm_up.seconds..warm_up.seconds + seconds;
        // Of a server that runs elsewhere nothing is seen.
        let is_seen = |beat: &&Beat| beat.rss_bytes > 0 && measured.contains(&beat.at_s);
        let beats = self.beats.iter().filter(is_seen);
        Slope::of(&beats.map(|beat| (beat.at_s, beat.rss_bytes as f64)).collect::<Vec<_>>())
    }

    /// Whether so much of the core of clients and publisher was in use that they may have been the
    /// limit, while the server had time left. A server without any is its own limit: one that
    /// shares sends as soon as it is behind keeps its receivers as busy as itself.
    pub fn is_limited(&self) -> bool {
        let used = self.clients_core(self.generator.of_a_core, self.foreign);
        let is_full = used > GENERATOR_SHARE_MAX;
        is_full && self.cpu.of_a_core < FULL_CORE_SHARE || self.generator_most > GENERATOR_SHARE_MAX
    }

    /// What keeps this run from being believed, if anything.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.is_limited() {
            let share = self.generator_share() * 100.0;
            doubts.push(format!("the generator's core was {share:.0} % full: it may be the limit"));
        }
        let [_, beside] = self.foreign;
        if self.beside_brokers && self.generator.of_a_core + beside > GENERATOR_SHARE_MAX {
            doubts.push(BROKERS_DOUBT.into());
        }
        if self.connect_retries > 0 {
            doubts.push(format!("{} connections failed and were made again", self.connect_retries));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;

    fn run(generator: f64, others: f64) -> Run {
        let mut run = fixture::run(Subject::Touchline, 5);
        (run.generator.of_a_core, run.foreign[1]) = (generator, others);
        run.connecting = Shares { generator, foreign: [0.0, others], ..Shares::default() };
        run
    }

    #[test]
    fn a_generator_that_gets_no_time_is_the_limit_whoever_has_it() {
        let limited = |run: &Run| (run.is_limited(), run.is_connect_limited());
        assert_eq!(limited(&run(0.95, 0.0)), (true, true));
        assert_eq!(limited(&run(0.6, 0.4)), (true, true), "starved");
        assert_eq!(limited(&run(0.6, 0.2)), (false, false));
        let said = run(0.6, 0.4).doubts().join("; ");
        assert!(said.contains("the generator's core was 100 % full"), "{said}");
        let mut busy = run(0.6, 0.4);
        (busy.cpu.of_a_core, busy.connecting.server) = (0.95, 0.95);
        assert_eq!(limited(&busy), (false, false), "the server's core was full, too");
    }

    #[test]
    fn brokers_are_a_doubt_and_no_reason_to_leave_a_run_out() {
        let mut run = run(0.4, 0.6);
        run.beside_brokers = true;
        assert!(!run.is_limited() && run.doubts().iter().any(|said| said == BROKERS_DOUBT));
        run.generator.of_a_core = 0.95;
        assert!(run.is_limited(), "that is its own");
    }

    #[test]
    fn what_others_use_on_hosts_of_agents_is_of_no_single_core() {
        let mut run = run(0.1, 3.0);
        run.clocks = vec![Clock::default()];
        assert!(!run.is_limited());
    }

    #[test]
    fn how_agents_connect_is_theirs_to_tell() {
        let cpu = |of_a_core| CpuUse { of_a_core, ..CpuUse::default() };
        let used = Used { server: cpu(0.5), generator: cpu(0.1), foreign: [0.2, 0.9] };
        let here = Shares { server: 0.5, generator: 0.1, foreign: [0.2, 0.9] };
        assert_eq!(Shares::of(&used, None), here);
        let there = Shares { server: 0.5, generator: 0.95, foreign: [0.2, 0.0] };
        assert_eq!(Shares::of(&used, Some(0.95)), there);
    }

    #[test]
    fn a_phase_in_which_others_filled_the_core_is_seen() {
        let beat = |at: u32| Beat {
            at_s: at.into(),
            rss_bytes: 0,
            cores: 0.3,
            generator: 0.5,
            others: if at > 5 { 0.45 } else { 0.0 },
            present: 0,
            delivered: 0,
        };
        let beats: Vec<Beat> = (0..11).map(beat).collect();
        let most = |stretch| generator_most(&beats, std::iter::once(stretch));
        assert_eq!((most((0.0, 5.0)), most((5.0, 10.0))), (0.5, 0.95));
    }
}
