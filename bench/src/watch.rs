//! What the controller does while a run goes: it looks, writes down what it saw, and does to the
//! server what the setup asks for.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::crew::Crew;
use crate::limits::BEATS_MAX;
use crate::meter::{Meter, Used};
use crate::place::Place;
use crate::probe::{self, Cpu};
use crate::receive::Standing;
use crate::run::{Beat, Mark};
use crate::schedule::Plan;
use crate::setup::{Act, Deed, Log, Setup};
use crate::sys;
use crate::target::Server;
use crate::target::counters::{self, Counters};

/// How often it looks.
const LOOK_NS: u64 = 50_000_000;
/// How often it writes down what it saw, at first.
const BEAT_NS: u64 = 1_000_000_000;

/// How long clients go on reading once everything has come: what comes twice comes last.
const EXTRA_NS: u64 = 1_000_000_000;
/// The same where the server was ended or stopped, or everybody left: it has more to catch up with.
const EXTRA_AFTER_ACTS_NS: u64 = 2_000_000_000;

/// How long a drain is waited for: what DESIGN section 6 allows, and half of it.
const DRAIN_NS_MAX: u64 = 180_000_000_000;

/// Who is told how a run goes: seconds since it began, of how many, and how far the clients are.
pub type Watcher<'w> = &'w mut dyn FnMut(f64, f64, &Standing);

/// What was used by a moment.
struct Glance {
    at_ns: u64,
    /// Its processes, and the kernel's thread that works for them.
    server: Vec<Cpu>,
    generator: Vec<Cpu>,
    /// How long the clients' core had been busy; 0 where others on it aren't held against a run.
    busy_ns: u64,
}

/// A run that is being watched.
pub struct Watch<'a> {
    place: &'a Place,
    plan: &'a Plan,
    acts: Vec<Act>,
    drain_ns: u64,
    extra_ns: u64,
    is_flood: bool,
    last_beat: Option<Glance>,
    /// The server and all that it has started.
    family: Vec<u32>,
    beat_ns: u64,
    resume_at_ns: u64,
    drain_since_ns: Option<u64>,
    /// What was used until the server was asked to end.
    used: Option<Used>,
    /// Deliveries a perfect server makes.
    pub expected: u64,
    /// When everything had arrived, or was no longer waited for.
    pub done_ns: u64,
    /// The server's resident bytes at their largest.
    pub rss_bytes_max: u64,
    /// Deliveries from the end of the warm-up on.
    pub measured: u64,
    /// What was seen.
    pub beats: Vec<Beat>,
    /// What was done.
    pub marks: Vec<Mark>,
    /// What the server counted of its sources, where it has any.
    pub counters: Counters,
    has_sources: bool,
    has_brokers: bool,
}

impl<'a> Watch<'a> {
    /// Of a run of `plan` that hasn't begun.
    pub fn new(place: &'a Place, setup: &Setup, plan: &'a Plan, rss_bytes: u64) -> Self {
        let mut acts = setup.acts.clone();
        acts.sort_by(|a, b| b.at_s.total_cmp(&a.at_s));
        Self {
            place,
            plan,
            acts,
            drain_ns: (setup.drain_s_max * 1e9) as u64,
            extra_ns: extra_ns(setup),
            is_flood: setup.flood.is_some(),
            last_beat: None,
            beat_ns: BEAT_NS,
            resume_at_ns: u64::MAX,
            drain_since_ns: None,
            used: None,
            expected: setup.crowd.expected(plan),
            done_ns: 0,
            rss_bytes_max: rss_bytes,
            measured: 0,
            family: Vec::new(),
            beats: Vec::new(),
            marks: Vec::new(),
            counters: Counters::new(),
            has_sources: setup.sources.is_any(),
            has_brokers: setup.log == Log::Kafka,
        }
    }

    /// Watches until everything has arrived, or until the drain's time is over, and as long as a
    /// flood goes on that `is_posting`; what was used from the end of the warm-up on.
    pub fn until_over(
        &mut self,
        server: &mut Server,
        crew: &mut Crew,
        is_posting: impl Fn() -> bool,
        watcher: Watcher<'_>,
    ) -> Result<Used> {
        let schedule = &self.plan.schedule;
        let warm_ns = schedule.warm_ns();
        let (end_ns, length_s) = (schedule.end_ns(), self.since_start(schedule.end_ns()));
        let mut meter = Meter::new(self.place, server.pid(), &crew.pids())?;
        let (mut is_warm, mut before) = (false, 0);
        loop {
            let now = sys::now_ns();
            if !is_warm && now >= warm_ns {
                before = crew.standing()?.delivered;
                self.count(server);
                meter = Meter::new(self.place, server.pid(), &crew.pids())?;
                is_warm = true;
            }
            self.act(now, server, crew, &mut meter)?;
            let standing = crew.standing()?;
            self.measured = standing.delivered.saturating_sub(before);
            self.look(now, server, crew, &standing)?;
            watcher(self.since_start(now), length_s, &standing);
            if let Some(since_ns) = self.drain_since_ns {
                if standing.present == 0 || now > since_ns + DRAIN_NS_MAX {
                    let left = standing.present;
                    let at_s = self.since_start(sys::now_ns());
                    let what = format!("{left} clients are left");
                    self.marks.push(Mark { at_s, what, left: Some(left) });
                    self.done_ns = now;
                    return self.used.take().context("read when the drain began");
                }
                sys::sleep_until(now + LOOK_NS);
                continue;
            }
            let is_complete = standing.delivered >= self.expected;
            let is_over = now >= end_ns && self.acts.is_empty() && self.resume_at_ns == u64::MAX;
            let is_over = is_over && !(self.is_flood && is_posting());
            if is_over && (is_complete || now >= end_ns + self.drain_ns) {
                self.done_ns = now;
                let used = meter.read(server.pid(), &crew.pids());
                self.count(server);
                // All figures are read by now, and none of them changes.
                sys::sleep_until(now + if is_complete { self.extra_ns } else { 0 });
                return used;
            }
            sys::sleep_until(now + LOOK_NS);
        }
    }

    /// Looks at the server's counters: the first time, then for what was added since.
    fn count(&mut self, server: &Server) {
        if self.has_sources {
            self.counters = counters::since(&server.counters(), &self.counters);
        }
    }

    fn since_start(&self, now_ns: u64) -> f64 {
        now_ns.saturating_sub(self.plan.schedule.start_ns) as f64 / 1e9
    }

    fn mark(&mut self, what: String) {
        let at_s = self.since_start(sys::now_ns());
        self.marks.push(Mark { at_s, what, left: None });
    }

    /// Looks at the server; what it saw is kept once a second, and less often in runs of hours.
    fn look(
        &mut self,
        now: u64,
        server: &Server,
        crew: &mut Crew,
        standing: &Standing,
    ) -> Result<()> {
        if self.drain_since_ns.is_some() {
            return Ok(());
        }
        let rss_bytes = self.resident_bytes(server)?;
        self.rss_bytes_max = self.rss_bytes_max.max(rss_bytes);
        if self.last_beat.as_ref().is_some_and(|glance| now < glance.at_ns + self.beat_ns) {
            return Ok(());
        }
        self.family = server.pid().into_iter().collect();
        self.family.extend(server.pid().into_iter().flat_map(probe::descendants));
        let glance = self.glance(now, server, crew)?;
        let [cores, generator, others] = match &self.last_beat {
            Some(before) => glance.since(before),
            None => [0.0; 3],
        };
        let generator = generator.max(crew.busiest_agent());
        self.last_beat = Some(glance);
        let at_s = self.since_start(now);
        let Standing { present, delivered, .. } = *standing;
        self.keep(Beat { at_s, rss_bytes, cores, generator, others, present, delivered });
        Ok(())
    }

    /// Of the server and all that it had started at the last beat; 0 of one that runs elsewhere.
    fn resident_bytes(&mut self, server: &Server) -> Result<u64> {
        let Some(pid) = server.pid() else { return Ok(0) };
        if self.family.first() != Some(&pid) {
            self.family = vec![pid];
        }
        probe::resident_bytes_of(&self.family).with_context(|| server.last_words())
    }

    fn glance(&self, now: u64, server: &Server, crew: &Crew) -> Result<Glance> {
        let generator = crew.pids().into_iter().chain([std::process::id()]);
        let generator = generator.chain(self.place.softirq_threads[1]);
        let of_server = match server.pid() {
            Some(pid) => {
                let kernel = self.place.softirq_threads[0].map(Cpu::of);
                [Cpu::of_tree(pid)].into_iter().chain(kernel).collect::<Result<_>>()?
            }
            // What its core does here is somebody else's.
            None => Vec::new(),
        };
        let generator = generator.map(Cpu::of).collect::<Result<_>>()?;
        let is_excused = self.has_brokers || !self.place.agents.is_empty();
        let busy_ns = if is_excused { 0 } else { probe::core_busy_ns(self.place.client_core) };
        Ok(Glance { at_ns: now, server: of_server, generator, busy_ns })
    }

    /// Of hours not every second is kept.
    fn keep(&mut self, beat: Beat) {
        self.beats.push(beat);
        if self.beats.len() >= BEATS_MAX {
            let mut is_kept = false;
            self.beats.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.beat_ns *= 2;
        }
    }

    /// Does what is due.
    fn act(
        &mut self,
        now: u64,
        server: &mut Server,
        crew: &mut Crew,
        meter: &mut Meter,
    ) -> Result<()> {
        if now >= self.resume_at_ns {
            self.resume_at_ns = u64::MAX;
            signal_all(server, Signal::CONT)?;
            self.mark("the server goes on".into());
        }
        let start_ns = self.plan.schedule.start_ns;
        let is_due = |act: &Act| now >= start_ns + (act.at_s * 1e9) as u64;
        let Some(act) = self.acts.pop_if(|act| is_due(act)) else { return Ok(()) };
        match act.deed {
            Deed::Kill => {
                self.mark("kill -9".into());
                meter.carry(server.pid())?;
                let took = server.restart()?;
                meter.renew(server.pid())?;
                self.last_beat = None;
                self.mark(format!("ready again after {:.2} s", took.as_secs_f64()));
            }
            Deed::Drain => {
                self.used = Some(meter.read(server.pid(), &crew.pids())?);
                self.mark("asked to end".into());
                signal(server.pid(), Signal::TERM)?;
                self.drain_since_ns = Some(now);
            }
            Deed::Stop { seconds } => {
                self.mark(format!("stopped for {seconds:.0} s"));
                signal_all(server, Signal::STOP)?;
                self.resume_at_ns = now + (seconds * 1e9) as u64;
            }
            Deed::Leave { within_s } => {
                self.mark("everybody leaves".into());
                crew.leave(within_s)?;
            }
        }
        Ok(())
    }
}

/// How long clients of `setup` go on reading.
fn extra_ns(setup: &Setup) -> u64 {
    match (setup.crowd.sockets, setup.acts.is_empty()) {
        (0, _) => 0,
        (_, true) => EXTRA_NS,
        (_, false) => EXTRA_AFTER_ACTS_NS,
    }
}

impl Glance {
    /// What server and generator used since `before`, and others of the generator's core, in cores.
    fn since(&self, before: &Self) -> [f64; 3] {
        let passed_ns = self.at_ns.saturating_sub(before.at_ns).max(1);
        let busy = self.busy_ns.saturating_sub(before.busy_ns) as f64 / passed_ns as f64;
        let of = |after: &[Cpu], before: &[Cpu]| {
            let pairs = after.iter().zip(before);
            pairs.map(|(after, before)| after.since(before).of_a_core).sum()
        };
        let generator: f64 = of(&self.generator, &before.generator);
        [of(&self.server, &before.server), generator, (busy - generator).max(0.0)]
    }
}

/// To each of the server's processes: one that goes on would carry the others' clients.
fn signal_all(server: &Server, to_all: Signal) -> Result<()> {
    let first = server.pid();
    let others = first.into_iter().flat_map(probe::descendants);
    signal(first, to_all)?;
    // One that has ended meanwhile needs no signal.
    others.for_each(|pid| drop(signal(Some(pid), to_all)));
    Ok(())
}

fn signal(pid: Option<u32>, signal: Signal) -> Result<()> {
    let pid = pid.and_then(|pid| Pid::from_raw(pid as i32));
    let pid = pid.context("the server runs elsewhere: nothing can be done to it from here")?;
    kill_process(pid, signal).context("signal the server")
}
