//! One run: a server, its clients, a schedule, and what was seen from all sides.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::Place;
use crate::child::Servant;
use crate::probe::{self, Cpu, CpuUse, Memory};
use crate::publish::{Posted, Publisher, plain};
use crate::receive::tally::Harvest;
use crate::receive::{Answer, Command, Connect};
use crate::schedule::{Following, Phase, Schedule, followers};
use crate::sys;
use crate::target::{SECRET, Server, Subject};

/// What is done in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Clients.
    pub sockets: usize,
    /// Teams they follow, one each.
    pub teams: u32,
    /// By which law.
    pub following: Following,
    /// Clients that never read.
    pub stalled: usize,
    /// Padding of each event's `data`, bytes.
    pub pad: usize,
    /// Pace. The first phase warms up and is not measured.
    pub phases: Vec<Phase>,
    /// How long after the last event deliveries are waited for, seconds.
    pub drain_s_max: f64,
}

impl Setup {
    /// `sockets` clients that all follow one team, `phases` after `warm_up`.
    pub fn hot(sockets: usize, phases: Vec<Phase>) -> Self {
        Self {
            sockets,
            teams: 1,
            following: Following::Even,
            stalled: 0,
            pad: 0,
            phases,
            drain_s_max: 30.0,
        }
    }

    /// Deliveries a perfect server makes to clients that read.
    pub fn expected(&self, schedule: &Schedule) -> u64 {
        let followers = followers(self.following, self.sockets, self.teams);
        let reading = |(team, count): (usize, usize)| {
            // Clients that never read only occur with one team.
            let stalled = if self.teams == 1 { self.stalled } else { 0 };
            (count - stalled) as u64 * u64::from(schedule.events_of(team as u32))
        };
        followers.into_iter().enumerate().map(reading).sum()
    }
}

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
        doubts
    }
}

/// The client process and a server with clients connected, before a schedule.
pub struct Stage {
    subject: Subject,
    setup: Setup,
    /// The server.
    pub server: Server,
    receivers: Servant,
    /// From the first connect to the last `subscribed`, seconds.
    pub connect_s: f64,
    memory: [Memory; 2],
    slab_bytes: u64,
}

impl Stage {
    /// Starts both and connects all clients.
    pub fn set(place: &Place, subject: &Subject, setup: &Setup) -> Result<Self> {
        let server = Server::start(place, subject, setup.sockets)?;
        std::thread::sleep(Duration::from_millis(200));
        let empty = Memory::of_tree(server.pid())?;
        let slab = probe::slab_bytes();
        let mut receivers = Servant::start(&["receive"], place.client_core)?;
        let connect = Connect {
            target: server.stream(),
            dialogue: server.dialogue(),
            sockets: setup.sockets,
            teams: setup.teams,
            following: setup.following,
            stalled: setup.stalled,
        };
        let connect_s = match receivers.ask(&Command::Connect(connect))? {
            Answer::Connected { seconds } => seconds,
            Answer::Failed(why) => bail!("{subject}: {why}"),
            other => bail!("asked to connect, the clients said {other:?}"),
        };
        std::thread::sleep(Duration::from_millis(500));
        let idle = Memory::of_tree(server.pid())?;
        let slab_bytes = probe::slab_bytes().saturating_sub(slab);
        let memory = [empty, idle];
        let setup = setup.clone();
        let subject = subject.clone();
        Ok(Self { subject, setup, server, receivers, connect_s, memory, slab_bytes })
    }

    /// The server's memory before the clients came and with all of them idle.
    pub fn memory(&self) -> [Memory; 2] {
        self.memory
    }

    /// Kernel memory that came with the clients, both ends, bytes.
    pub fn slab_bytes(&self) -> u64 {
        self.slab_bytes
    }

    /// Plays the schedule and collects what was seen.
    pub fn play(mut self, place: &Place) -> Result<Run> {
        if self.setup.phases.is_empty() {
            return Ok(self.rest());
        }
        let schedule = Schedule {
            start_ns: sys::now_ns() + 500_000_000,
            teams: self.setup.teams,
            pad: self.setup.pad,
            phases: self.setup.phases.clone(),
        };
        let windows = (1..schedule.phases.len()).map(|phase| schedule.window(phase)).collect();
        let record = Command::Record { schedule: schedule.clone(), windows };
        match self.receivers.ask(&record)? {
            Answer::Recording => {}
            other => bail!("asked to record, the clients said {other:?}"),
        }
        self.server.play(&schedule)?;
        let publisher = self.start_publisher(&schedule)?;
        sys::sleep_until(schedule.window(1.min(schedule.phases.len() - 1)).from_ns);
        let before = Sample::take(place, self.server.pid(), self.receivers.pid())?;
        let expected = self.setup.expected(&schedule);
        let (done_ns, rss_bytes_max) = self.watch(&schedule, expected)?;
        let after = Sample::take(place, self.server.pid(), self.receivers.pid())?;
        let posted = match publisher {
            Some(thread) => Some(thread.join().expect("the publisher doesn't panic")?),
            None => None,
        };
        let harvest = match self.receivers.ask(&Command::Finish)? {
            Answer::Harvest(harvest) => harvest,
            other => bail!("asked for the harvest, the clients said {other:?}"),
        };
        let measured: u64 = harvest.windows.iter().map(|window| window.latency.count).sum();
        let [cpu, generator] = after.used_since(&before);
        let last_due_ns = schedule.due_ns(schedule.events().saturating_sub(1));
        Ok(Run {
            subject: self.subject,
            sockets: self.setup.sockets,
            posted,
            expected,
            connect_s: self.connect_s,
            drained_s: done_ns.saturating_sub(last_due_ns) as f64 / 1e9,
            cpu,
            cpu_us: cpu.total_ns as f64 / 1e3 / measured.max(1) as f64,
            generator,
            foreign: after.foreign_since(&before, [&cpu, &generator]),
            memory: self.memory,
            rss_bytes_max,
            slab_bytes: self.slab_bytes,
            harvest,
        })
    }

    /// A run in which nothing was published.
    fn rest(self) -> Run {
        Run {
            subject: self.subject,
            sockets: self.setup.sockets,
            harvest: Harvest::default(),
            posted: None,
            expected: 0,
            connect_s: self.connect_s,
            drained_s: 0.0,
            cpu: CpuUse::default(),
            cpu_us: 0.0,
            generator: CpuUse::default(),
            foreign: [0.0; 2],
            memory: self.memory,
            rss_bytes_max: self.memory[1].rss_bytes,
            slab_bytes: self.slab_bytes,
        }
    }

    fn start_publisher(&self, schedule: &Schedule) -> Result<Option<JoinHandle<Result<Posted>>>> {
        let schedule = schedule.clone();
        let thread = std::thread::Builder::new().name("publisher".into());
        let thread = match &self.server {
            Server::Floor { .. } => return Ok(None),
            Server::Touchline(appliance) => {
                let publisher = Publisher::new(&appliance.ports[1].to_string(), SECRET)?;
                thread.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    runtime.block_on(publisher.play(&schedule))
                })
            }
            Server::Peer(peer) => {
                let publish = peer.publish.clone();
                thread.spawn(move || plain::play(&publish, &schedule))
            }
        };
        Ok(Some(thread?))
    }

    /// Waits until everything has arrived, or until the drain's time is over. Looks at the server's
    /// memory meanwhile.
    fn watch(&mut self, schedule: &Schedule, expected: u64) -> Result<(u64, u64)> {
        let give_up_ns = schedule.end_ns() + (self.setup.drain_s_max * 1e9) as u64;
        let mut rss_bytes_max = self.memory[1].rss_bytes;
        loop {
            let now = sys::now_ns();
            let rss_bytes = probe::resident_bytes(self.server.pid());
            let words = || self.server.last_words();
            rss_bytes_max = rss_bytes_max.max(rss_bytes.with_context(words)?);
            match self.receivers.ask(&Command::Progress)? {
                Answer::Progress { delivered, .. } if delivered < expected && now < give_up_ns => {}
                Answer::Progress { .. } if now < schedule.end_ns() => {}
                Answer::Progress { .. } => return Ok((now, rss_bytes_max)),
                other => bail!("asked for progress, the clients said {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// CPU of everybody at a moment.
struct Sample {
    server: Cpu,
    receivers: Cpu,
    controller: Cpu,
    softirq: [Cpu; 2],
    busy_ns: [u64; 2],
    at_ns: u64,
}

impl Sample {
    fn take(place: &Place, server: u32, receivers: u32) -> Result<Self> {
        Ok(Self {
            server: Cpu::of_tree(server)?,
            receivers: Cpu::of(receivers)?,
            controller: Cpu::of(std::process::id())?,
            softirq: place
                .softirq_threads
                .map(|pid| pid.and_then(|pid| Cpu::of(pid).ok()).unwrap_or_default()),
            busy_ns: [place.server_core, place.client_core].map(probe::core_busy_ns),
            at_ns: sys::now_ns(),
        })
    }

    /// Server, and clients with publisher; each with what the kernel's thread did for it.
    fn used_since(&self, earlier: &Self) -> [CpuUse; 2] {
        let mut server = self.server.since(&earlier.server);
        let mut generator = self.receivers.since(&earlier.receivers);
        generator.add_kernel(&self.controller.since(&earlier.controller));
        for (index, used) in [&mut server, &mut generator].into_iter().enumerate() {
            used.add_kernel(&self.softirq[index].since(&earlier.softirq[index]));
        }
        [server, generator]
    }

    /// What else kept the cores busy.
    fn foreign_since(&self, earlier: &Self, ours: [&CpuUse; 2]) -> [f64; 2] {
        let passed = self.at_ns.saturating_sub(earlier.at_ns).max(1) as f64;
        [0, 1].map(|core| {
            let busy = self.busy_ns[core].saturating_sub(earlier.busy_ns[core]) as f64;
            ((busy - ours[core].total_ns as f64) / passed).max(0.0)
        })
    }
}
