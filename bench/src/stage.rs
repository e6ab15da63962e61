//! One run on the stage: a server, its clients, a schedule, and what is seen from all sides.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::crew::Crew;
use crate::meter::Meter;
use crate::place::Place;
use crate::probe::{self, CpuUse, Memory};
use crate::publish::{Posted, Publisher, Stop, plain};
use crate::receive::harvest::Harvest;
use crate::run::{self, Beat, Run, Shares};
use crate::schedule::{Phase, Plan, Schedule, Stream, Track};
use crate::setup::{Act, Deed, Flood, Log, Setup};
use crate::sys;
use crate::target::counters::Counters;
use crate::target::file::Publish;
use crate::target::{SECRET, Server, Subject};
use crate::upstream::Upstream;
use crate::watch::{Watch, Watcher};

/// How a log is filled before its server is killed.
const FILL: Flood = Flood { batch: 100, flights_max: 64 };
const FILL_EVENTS_PER_S: f64 = 20_000.0;
const FILL_TEAMS: u32 = 100;
/// As in row `webhook`.
const FILL_PAD: usize = 100;
/// How long that may take: what hasn't been taken by then is left out.
const FILL_NS_MAX: u64 = 60_000_000_000;

/// A server with clients connected, before a schedule.
pub struct Stage {
    subject: Subject,
    setup: Setup,
    /// The server.
    pub server: Server,
    crew: Crew,
    /// What the server asks and listens to. Ends after it.
    upstream: Option<Upstream>,
    /// From the first connect to the last `subscribed`, seconds.
    connect_s: f64,
    connect_retries: u64,
    connecting: Shares,
    by_shard: Vec<u64>,
    memory: [Memory; 2],
    slab_bytes: u64,
}

impl Stage {
    /// Starts both and connects all clients.
    pub fn set(place: &Place, subject: &Subject, setup: &Setup) -> Result<Self> {
        let is_fed = *subject == Subject::Touchline;
        let upstream = if is_fed { Upstream::start(setup, place.client_core)? } else { None };
        let server = Server::start(place, subject, setup, upstream.as_ref())?;
        std::thread::sleep(Duration::from_millis(200));
        let memory = |server: &Server| server.pid().map_or(Ok(Memory::default()), Memory::of_tree);
        let empty = memory(&server)?;
        let slab = probe::slab_bytes();
        let mut crew = match &place.agents[..] {
            [] => Crew::here(place.client_core)?,
            agents => Crew::at(agents)?,
        };
        crew.ask_busiest_agent()?;
        let meter = Meter::new(place, server.pid(), &crew.pids())?;
        let (connect_s, connect_retries) = crew
            .connect(server.stream(), &server.dialogue(&setup.streams()), &setup.crowd)
            .with_context(|| subject.to_string())?;
        let used = meter.read(server.pid(), &crew.pids())?;
        let connecting = Shares::of(&used, crew.ask_busiest_agent()?);
        std::thread::sleep(Duration::from_millis(500));
        let idle = memory(&server)?;
        let slab_bytes = probe::slab_bytes().saturating_sub(slab);
        let by_shard = server.by_shard();
        let memory = [empty, idle];
        let setup = setup.clone();
        let subject = subject.clone();
        Ok(Self {
            subject,
            setup,
            server,
            crew,
            upstream,
            connect_s,
            connect_retries,
            connecting,
            by_shard,
            memory,
            slab_bytes,
        })
    }

    /// Lets a partner post events of teams that nobody follows for so long: what a server that is
    /// killed has to read again. Says how many were taken.
    pub fn fill(&self, seconds: f64) -> Result<u64> {
        let Server::Touchline(appliance) = &self.server else {
            bail!("only Touchline keeps what it is given")
        };
        let teams = self.setup.crowd.teams;
        let tracks = vec![Track::even(FILL_EVENTS_PER_S, teams, FILL_TEAMS)];
        let phases = vec![Phase { name: "filling".into(), seconds, tracks }];
        let plan = Schedule { start_ns: sys::now_ns(), teams, pad: FILL_PAD, phases }.plan();
        let stop = Stop::default();
        let publisher = Publisher::new(&appliance.ports[1].to_string(), SECRET)?.until(&stop);
        let work = move || publisher.run(&plan, Some(FILL));
        let publishing = Publishing::start(stop, Box::new(work))?;
        let end_ns = sys::now_ns() + FILL_NS_MAX;
        while !publishing.is_over() && sys::now_ns() < end_ns {
            std::thread::sleep(Duration::from_millis(50));
        }
        let posted = publishing.finish(true).context("fill the server's log")?;
        Ok(posted.map_or(0, |posted| posted.events))
    }

    /// Plays the schedule and collects what was seen.
    pub fn play(mut self, place: &Place, watcher: Watcher<'_>) -> Result<Run> {
        if self.setup.phases.is_empty() {
            return Ok(self.result(Harvest::default()));
        }
        self.check_acts()?;
        self.check_streams()?;
        let plan = self.setup.schedule(sys::now_ns() + 500_000_000).plan();
        let windows = self.setup.windows(&plan.schedule);
        self.crew.record(&plan.schedule, &windows)?;
        self.server.play(&plan.schedule)?;
        if let (Some(upstream), Server::Touchline(appliance)) = (&mut self.upstream, &self.server) {
            upstream.play(&plan, Some(appliance.ports[1].into()))?;
        }
        let publishing = self.start_publisher(&plan)?;
        let mut watch = Watch::new(place, &self.setup, &plan, self.memory[1].rss_bytes);
        let is_posting = || !publishing.is_over();
        let used = watch.until_over(&mut self.server, &mut self.crew, is_posting, watcher)?;
        // Whoever is still behind is so for good; a flood ends by itself.
        let posted = publishing.finish(self.setup.flood.is_none())?;
        let told_ns = posted.as_ref().map_or(&[][..], |posted| &posted.told_ns);
        let [beside_server, beside_clients] = used.foreign;
        let foreign = [beside_server, beside_clients.max(self.crew.others_at_agents())];
        let (harvest, clocks) = self.crew.finish(told_ns)?;
        let events = posted.as_ref().map_or(0, |posted| posted.events);
        let units = if self.setup.flood.is_some() { events } else { watch.measured };
        Ok(Run {
            posted,
            expected: watch.expected,
            drained_s: watch.done_ns.saturating_sub(plan.last_due_ns()) as f64 / 1e9,
            cpu: used.server,
            cpu_us: used.server.total_ns as f64 / 1e3 / units.max(1) as f64,
            generator: used.generator,
            generator_most: self.generator_most(&watch.beats),
            foreign,
            rss_bytes_max: watch.rss_bytes_max,
            beats: watch.beats,
            marks: watch.marks,
            counters: watch.counters,
            clocks,
            ..self.result(harvest)
        })
    }

    fn generator_most(&self, beats: &[Beat]) -> f64 {
        if self.setup.is_ramp() {
            return 0.0;
        }
        let mut to_s = 0.0;
        let stretches = self.setup.phases.iter().map(|phase| {
            let from_s = to_s;
            to_s += phase.seconds;
            (from_s, to_s)
        });
        run::generator_most(beats, stretches.skip(1))
    }

    /// A run of which nothing is known but its clients.
    fn result(&self, harvest: Harvest) -> Run {
        Run {
            subject: self.subject.clone(),
            sockets: self.setup.crowd.sockets,
            harvest,
            posted: None,
            expected: 0,
            connect_s: self.connect_s,
            connect_retries: self.connect_retries,
            connecting: self.connecting,
            by_shard: self.by_shard.clone(),
            drained_s: 0.0,
            cpu: CpuUse::default(),
            cpu_us: 0.0,
            generator: CpuUse::default(),
            generator_most: 0.0,
            foreign: [0.0; 2],
            beside_brokers: self.setup.log == Log::Kafka,
            memory: self.memory,
            rss_bytes_max: self.memory[1].rss_bytes,
            slab_bytes: self.slab_bytes,
            beats: Vec::new(),
            marks: Vec::new(),
            counters: Counters::new(),
            clocks: Vec::new(),
        }
    }

    /// Whether the setup asks for something that can't be done to this server.
    fn check_acts(&self) -> Result<()> {
        let needs_pid = |act: &Act| !matches!(act.deed, Deed::Leave { .. });
        let can = self.server.pid().is_some() || !self.setup.acts.iter().any(needs_pid);
        ensure!(can, "the server runs elsewhere: it can't be stopped or ended from here");
        Ok(())
    }

    /// Whether somebody can bring what isn't posted: sensors and streams are followed by a
    /// Touchline that we have configured. Others get all of it by the one way they have.
    fn check_streams(&self) -> Result<()> {
        let Server::Peer(peer) = &self.server else { return Ok(()) };
        let is_posted = matches!(peer.publish, Publish::Webhook { .. });
        let setup = &self.setup;
        let is_plain =
            setup.schedule(0).streams() == [Stream::Broadcast] && !setup.sources.is_any();
        ensure!(
            !is_posted || is_plain,
            "a server that runs already can't be told of our sensors and streams: play it on one \
             that is started here (`--target touchline`)"
        );
        ensure!(
            !is_posted || setup.settings.is_empty(),
            "the scenario wants {}, which a server that runs already can't be given: play it on one \
             that is started here (`--target touchline`)",
            setup.settings.join(" and ")
        );
        Ok(())
    }

    fn start_publisher(&self, plan: &Plan) -> Result<Publishing> {
        let stop = Stop::default();
        let (plan, flood) = (plan.clone(), self.setup.flood);
        let work: Work = match &self.server {
            Server::Floor { .. } => return Ok(Publishing { stop, thread: None }),
            Server::Touchline(appliance) => {
                let publisher =
                    Publisher::new(&appliance.ports[1].to_string(), SECRET)?.until(&stop);
                Box::new(move || publisher.run(&plan, flood))
            }
            Server::Peer(peer) => match &peer.publish {
                Publish::Webhook { api, secrets_file } => {
                    let publisher = Publisher::with_secrets_of(api, secrets_file)?.until(&stop);
                    Box::new(move || publisher.run(&plan, flood))
                }
                publish => {
                    let (publish, stop) = (publish.clone(), stop.clone());
                    Box::new(move || plain::play(&publish, &plan, &stop))
                }
            },
        };
        Publishing::start(stop, work)
    }
}

/// What a publisher does until it has posted all, or is stopped.
type Work = Box<dyn FnOnce() -> Result<Posted> + Send>;

/// A publisher at work. It ends with the run, however that ends: one that went on would post into
/// the next.
struct Publishing {
    stop: Stop,
    thread: Option<JoinHandle<Result<Posted>>>,
}

impl Publishing {
    /// Begins `work`, which obeys `stop`.
    fn start(stop: Stop, work: Work) -> Result<Self> {
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(work)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Whether all is posted, or nothing more will be.
    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What it has posted, `at_once` or once it is through.
    fn finish(mut self, at_once: bool) -> Result<Option<Posted>> {
        if at_once {
            self.stop.store(true, Relaxed);
        }
        let Some(thread) = self.thread.take() else { return Ok(None) };
        thread.join().expect("the publisher doesn't panic").map(Some)
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
