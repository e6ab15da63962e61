//! What server, clients and everybody else used of the cores between two moments.

use anyhow::Result;

use crate::place::Place;
use crate::probe::{self, Cpu, CpuUse};
use crate::sys;

/// CPU of everybody at a moment.
struct Sample {
    server: Cpu,
    generator: Vec<Cpu>,
    softirq: [Cpu; 2],
    busy_ns: [u64; 2],
    at_ns: u64,
}

/// What was used since the meter was made.
pub struct Used {
    /// By the server, with what the kernel's thread did for it.
    pub server: CpuUse,
    /// By clients, publisher and controller, likewise.
    pub generator: CpuUse,
    /// By others on the server's and on the clients' core, in cores.
    pub foreign: [f64; 2],
}

/// Measures from its making on.
pub struct Meter {
    cores: [usize; 2],
    softirq_threads: [Option<u32>; 2],
    before: Sample,
    /// Of servers that have been killed meanwhile.
    carried: Vec<CpuUse>,
    /// Whether the server runs on this host, where it can be seen.
    is_here: bool,
}

impl Meter {
    /// Of the server `server`, if it runs on this host, and of clients `receivers`.
    pub fn new(place: &Place, server: Option<u32>, receivers: &[u32]) -> Result<Self> {
        let cores = [place.server_core, place.client_core];
        let softirq_threads = place.softirq_threads;
        let before = Sample::take(cores, softirq_threads, server, receivers)?;
        Ok(Self { cores, softirq_threads, before, carried: Vec::new(), is_here: server.is_some() })
    }

    /// The server is about to be killed.
    pub fn carry(&mut self, server: Option<u32>) -> Result<()> {
        let now = cpu_of(server)?;
        self.carried.push(now.since(&self.before.server));
        Ok(())
    }

    /// There is another server.
    pub fn renew(&mut self, server: Option<u32>) -> Result<()> {
        self.before.server = cpu_of(server)?.at_birth();
        Ok(())
    }

    /// What was used so far.
    pub fn read(&self, server: Option<u32>, receivers: &[u32]) -> Result<Used> {
        let after = Sample::take(self.cores, self.softirq_threads, server, receivers)?;
        let before = &self.before;
        let passed_ns = after.at_ns.saturating_sub(before.at_ns).max(1);
        let mut server = after.server.since(&before.server);
        self.carried.iter().for_each(|earlier| server.add(earlier));
        let mut generator = CpuUse::default();
        for (after, before) in after.generator.iter().zip(&before.generator) {
            generator.add(&after.since(before));
        }
        for (index, used) in [&mut server, &mut generator].into_iter().enumerate() {
            used.add_kernel(&after.softirq[index].since(&before.softirq[index]));
            used.of_a_core = used.total_ns as f64 / passed_ns as f64;
        }
        if !self.is_here {
            // What was read of its core is somebody else's.
            server = CpuUse::default();
        }
        let ours = [&server, &generator];
        let foreign = [0, 1].map(|core| {
            if core == 0 && !self.is_here {
                return 0.0;
            }
            let busy_ns = after.busy_ns[core].saturating_sub(before.busy_ns[core]) as f64;
            ((busy_ns - ours[core].total_ns as f64) / passed_ns as f64).max(0.0)
        });
        Ok(Used { server, generator, foreign })
    }
}

impl Sample {
    fn take(
        cores: [usize; 2],
        softirq_threads: [Option<u32>; 2],
        server: Option<u32>,
        receivers: &[u32],
    ) -> Result<Self> {
        let controller = std::process::id();
        let generator = receivers.iter().chain([&controller]).map(|pid| Cpu::of(*pid));
        let softirq = |pid: Option<u32>| pid.and_then(|pid| Cpu::of(pid).ok()).unwrap_or_default();
        Ok(Self {
            server: cpu_of(server)?,
            generator: generator.collect::<Result<_>>()?,
            softirq: softirq_threads.map(softirq),
            busy_ns: cores.map(probe::core_busy_ns),
            at_ns: sys::now_ns(),
        })
    }
}

/// Of a server that may run on another host.
fn cpu_of(server: Option<u32>) -> Result<Cpu> {
    server.map_or(Ok(Cpu::default()), Cpu::of_tree)
}
