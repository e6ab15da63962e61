//! The loop: publish, lose, read, visit, receive, break; and at the end, heal and ask for
//! everything.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use touchline_core::event::{Stream, Team};
use touchline_core::frame::Batch;
use touchline_core::log::{Epoch, Mark, ReadError, ReadRequest};
use touchline_core::protocol::{ClientMessage, Resume, Subscribe};
use touchline_core::time::Monotonic;
use touchline_fanout::hub::{CloseCause, Hub, SessionId, Volley};

use super::client::Client;
use super::log::SimLog;
use super::people::{client, team};
use super::{Failure, Scenario};

const TICK: Duration = Duration::from_millis(10);
/// Ticks of the healed world, in which all must come to rest.
const HEAL_TICKS: u64 = 400;
const PING: Bytes = Bytes::from_static(b"\x89\x00");

/// What a run has seen, so that a world in which nothing happens is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Events in the log.
    pub published: u64,
    /// Events received, counted for each client.
    pub received: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Sessions that a policy ended.
    pub slow_closed: u64,
    /// Resumes that went through the log.
    pub from_log: u64,
    /// Batches that the mailbox lost.
    pub lost_batches: u64,
    /// People who were gone at once.
    pub strangers: u64,
    /// Times that the log began anew under those who were connected.
    pub new_lives: u64,
    /// Most batches that were held past a gap at one time.
    pub held_most: usize,
}

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) rng: SmallRng,
    /// For what came into these worlds later: what older seeds mean must not change.
    pub(super) troubles: SmallRng,
    pub(super) now: Monotonic,
    pub(super) log: SimLog,
    pub(super) hub: Hub,
    volley: Volley,
    pub(super) clients: Vec<Client>,
    /// By slot of the hub: whose session it is.
    pub(super) owners: Vec<Option<usize>>,
    pub(super) closing: Vec<(SessionId, u64)>,
    pub(super) read: Option<(u64, ReadRequest)>,
    /// What a read gives that was under way when a life of the log ended.
    pub(super) late_answer: Option<(u64, Arc<Batch>)>,
    pub(super) missed: bool,
    pub(super) tick: u64,
    pub(super) healed: bool,
    pub(super) report: Report,
}

impl World {
    pub(super) fn new(scenario: Scenario, traced: Option<usize>) -> Self {
        let mut rng = SmallRng::seed_from_u64(scenario.seed ^ 0x5eed);
        let log = SimLog::new(&scenario);
        let bounds = log.bounds();
        let start = Mark { epoch: log.epoch, next: vec![0; bounds.lanes.len()].into() };
        let mut clients: Vec<Client> =
            (0..scenario.clients).map(|of| client(of, &scenario, &mut rng)).collect();
        if let Some(client) = traced.and_then(|index| clients.get_mut(index)) {
            client.traced = true;
        }
        Self {
            hub: Hub::new(scenario.config.clone(), &bounds, &start),
            now: Monotonic(1_000_000_000_000),
            volley: Volley::default(),
            owners: Vec::new(),
            closing: Vec::new(),
            read: None,
            late_answer: None,
            missed: false,
            tick: 0,
            healed: false,
            report: Report::default(),
            troubles: SmallRng::seed_from_u64(scenario.seed ^ 0x7072),
            scenario,
            rng,
            log,
            clients,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, Failure> {
        let (seed, ticks) = (self.scenario.seed, self.scenario.ticks);
        let fail = |tick: u64, promise| Failure { seed, at_ms: tick * 10, promise };
        for _ in 0..ticks {
            self.step().map_err(|promise| fail(self.tick, promise))?;
        }
        self.healed = true;
        for _ in 0..HEAL_TICKS {
            self.step().map_err(|promise| fail(self.tick, promise))?;
        }
        self.nothing_is_owed().map_err(|promise| fail(self.tick, promise))?;
        self.report.published +=
            self.log.lanes.iter().map(|lane| lane.events.len() as u64).sum::<u64>();
        self.report.received = self.clients.iter().map(|client| client.owed.events).sum();
        self.report.gaps = self.clients.iter().map(|client| client.owed.declared).sum();
        Ok(self.report)
    }

    fn step(&mut self) -> Result<(), String> {
        self.tick += 1;
        self.now = self.now + TICK;
        self.log.stale = self.now - self.scenario.config.stream(Stream::Sensor).age_max;
        if self.chance(self.scenario.crash) {
            self.crash();
        }
        if !self.healed && self.troubles.random_bool(self.scenario.new_life) {
            self.new_life();
        }
        if !self.healed {
            self.strangers();
            self.publish();
        }
        self.reads();
        for index in 0..self.clients.len() {
            self.act(index);
        }
        self.volleys();
        for _ in 0..if self.healed { 16 } else { 0 } {
            self.reads();
            self.volleys();
        }
        self.closes()?;
        for index in 0..self.clients.len() {
            if self.healed || self.rng.random_bool(0.7) {
                self.receive(index)?;
            }
        }
        self.limits_hold()
    }

    fn chance(&mut self, probability: f64) -> bool {
        !self.healed && self.rng.random_bool(probability)
    }

    fn publish(&mut self) {
        let mean = self.scenario.events_per_tick;
        let burst = if self.rng.random_bool(0.02) { 20.0 } else { 1.0 };
        let count = (self.rng.random_range(0.0..2.0) * mean * burst) as usize;
        if count > 0 {
            let batch = self.log.publish(count, &self.scenario, self.now, &mut self.rng);
            if self.chance(self.scenario.overflow) {
                self.missed = true;
                self.report.lost_batches += 1;
            } else {
                self.hub.handle_batch(&batch, self.now);
            }
        }
        if self.scenario.retention != u64::MAX {
            self.log.retain(self.scenario.retention);
        }
    }

    fn reads(&mut self) {
        if self.missed && (self.healed || self.rng.random_bool(0.5)) {
            self.missed = false;
            self.hub.handle_bounds(&self.log.bounds());
        }
        if let Some((due, _)) = &self.late_answer
            && *due <= self.tick
            && let Some((_, answer)) = self.late_answer.take()
        {
            self.hub.handle_read(Ok(answer), self.now);
        }
        if let Some((due, request)) = self.read
            && due <= self.tick
        {
            self.read = None;
            let answer: Result<Arc<Batch>, ReadError> =
                match self.chance(self.scenario.read_failure) {
                    true => Err(ReadError::Busy),
                    false => Ok(self.log.read(request)),
                };
            self.hub.handle_read(answer, self.now);
        }
        if let Some(request) = self.hub.poll_read(self.now) {
            let slow = self.rng.random_range(0..=self.scenario.read_ticks_max);
            let ticks = if self.healed { 0 } else { slow };
            self.read = Some((self.tick + ticks, request));
        }
    }

    /// One client's tick: it connects, changes its mind, breaks, or its socket drains.
    fn act(&mut self, index: usize) {
        let Some(id) = self.clients[index].session else {
            let client = &mut self.clients[index];
            client.away = client.away.saturating_sub(1);
            if client.away == 0 || self.healed {
                self.connect(index);
            }
            return;
        };
        if self.chance(self.scenario.reset) {
            return self.drop_client(index);
        }
        if self.chance(self.scenario.change) {
            self.change(index, id);
        }
        if self.rng.random_bool(0.05) {
            self.hub.handle_heartbeat(id, &PING);
        }
        if self.chance(self.scenario.stall) {
            self.clients[index].socket.stalled = self.rng.random_range(1..80);
        }
        let capacity = self.rng.random_range(1..=self.scenario.capacity_bytes);
        let socket = &mut self.clients[index].socket;
        socket.stalled = socket.stalled.saturating_sub(1);
        if self.healed {
            socket.stalled = 0;
            socket.room = 1 << 20;
        } else if socket.stalled == 0 {
            socket.room = (socket.room + capacity).min(4 * self.scenario.capacity_bytes);
        }
        if self.hub.is_blocked(id) {
            match socket.room {
                0 => self.hub.handle_stall(id, self.now),
                _ => self.hub.handle_writable(id),
            }
        }
    }

    fn connect(&mut self, index: usize) {
        let id = self.hub.open(self.now);
        let slot = id.index as usize;
        self.owners.resize(self.owners.len().max(slot + 1), None);
        self.owners[slot] = Some(index);
        let client = &mut self.clients[index];
        client.session = Some(id);
        client.evicted_before = self.hub.stats().topics_evicted;
        client.socket.room = self.scenario.capacity_bytes;
        client.owed.lang = client.lang;
        let mut resume = client.resume();
        let confused = !self.healed && self.rng.random_bool(0.02);
        if confused && let Some(mark) = resume.as_mut().and_then(|resume| resume.mark.as_mut()) {
            mark.epoch = Epoch(mark.epoch.0 ^ 2);
            self.clients[index].after.clear();
        }
        let life = resume.as_ref().and_then(|resume| resume.mark.as_ref()).map(|mark| mark.epoch);
        // Who lost the line before being told of another life, and comes back with a mark of this
        // one, has nothing to be told.
        self.clients[index].owed.comes_from_another_life = false;
        if life.is_some_and(|life| life != self.log.epoch) {
            // A client of another life: what it got in this one it doesn't know.
            let client = &mut self.clients[index];
            client.after.clear();
            client.owed = Default::default();
            client.owed.lang = client.lang;
            client.owed.comes_from_another_life = true;
        }
        let teams = self.clients[index].teams.clone();
        self.subscribe(index, id, teams, resume);
    }

    fn subscribe(&mut self, index: usize, id: SessionId, teams: Vec<Team>, resume: Option<Resume>) {
        let client = &mut self.clients[index];
        // The head, for a client that came from a node that had read further, is where that node
        // stood.
        let mut progress = self.hub.progress();
        let of_this_life = client.mark.iter().filter(|mark| mark.epoch == self.log.epoch);
        let own = of_this_life.flat_map(|mark| &mark.next);
        for (next, own) in progress.next.iter_mut().zip(own) {
            *next = (*next).max(*own);
        }
        // Nor is anything owed that retention had removed by then, nor to a newcomer what a shard
        // that is behind has yet to read.
        let newcomer = !self.hub.is_ready() && !self.hub.follows_anything(id);
        if newcomer {
            client.stands_at = self.log.lanes.iter().map(|lane| lane.next).collect();
        }
        for (next, own) in progress.next.iter_mut().zip(&client.stands_at) {
            *next = (*next).max(*own);
        }
        for (next, lane) in progress.next.iter_mut().zip(&self.log.lanes) {
            *next = (*next).max(lane.first);
        }
        let resumed = resume.as_ref().and_then(|resume| resume.mark.clone());
        let since = resumed.filter(|mark| mark.epoch == self.log.epoch).unwrap_or(progress);
        let (streams, lang) = (client.streams, client.lang);
        let resumes = resume.is_some();
        let subscribe = Subscribe { id: Some(1), teams: teams.clone(), streams, lang, resume };
        client.trace(|| {
            format!("at {} subscribes {subscribe:?}", progress_text(&self.hub.progress()))
        });
        let message = ClientMessage::Subscribe(subscribe);
        let answer = self.hub.handle_message(id, message, &self.log.bounds(), self.now);
        if answer.is_ok() {
            client.owed.follow(&teams, streams, &since, resumes);
        }
    }

    /// Follows another team, or leaves one.
    fn change(&mut self, index: usize, id: SessionId) {
        let team = team(self.rng.random_range(0..self.scenario.teams));
        let client = &mut self.clients[index];
        let followed = client.teams.iter().position(|of| *of == team);
        match followed {
            Some(at) if client.teams.len() > 1 => {
                client.teams.swap_remove(at);
                let teams = vec![team];
                client.owed.unfollow(&teams);
                client.trace(|| format!("leaves {teams:?}"));
                let message = ClientMessage::Unsubscribe { id: None, teams };
                let _ = self.hub.handle_message(id, message, &self.log.bounds(), self.now);
            }
            None if client.teams.len() < self.scenario.config.teams_max => {
                client.teams.push(team.clone());
                self.subscribe(index, id, vec![team], None);
            }
            _ => {}
        }
    }

    fn volleys(&mut self) {
        let rounds = if self.healed { usize::MAX } else { self.rng.random_range(1..6) };
        let sends_max = self.rng.random_range(1..=256);
        for _ in 0..rounds {
            if !self.hub.has_work() {
                return;
            }
            self.hub.poll_volley(&mut self.volley, sends_max, self.now);
            let mut last = Vec::new();
            for parcel in self.volley.parcels() {
                let Some(owner) = self.owners[parcel.session.index as usize] else { continue };
                let bytes = self.volley.bytes(parcel);
                let sent = self.clients[owner].socket.send(bytes);
                if sent < bytes.len() {
                    self.hub.settle(&self.volley, parcel, sent);
                } else if parcel.last {
                    last.push(owner);
                }
            }
            last.into_iter().for_each(|owner| self.drop_client(owner));
        }
    }

    /// Sessions that a policy ends: only who really fell behind, and not by a frame lost on the
    /// way.
    fn closes(&mut self) -> Result<(), String> {
        while let Some((id, cause)) = self.hub.poll_close() {
            let Some(owner) = self.owners[id.index as usize] else { continue };
            self.report.slow_closed += 1;
            if cause == CloseCause::Slow {
                self.receive(owner)?;
                self.was_slow(owner)?;
            }
            self.hub.begin_close(id, Bytes::from_static(b"\x88\x02\x0f\xa8"));
            self.closing.push((id, self.tick + 20));
        }
        let due: Vec<SessionId> =
            self.closing.iter().filter(|(_, due)| *due <= self.tick).map(|(id, _)| *id).collect();
        self.closing.retain(|(_, due)| *due > self.tick);
        for id in due {
            let owner = self.owners[id.index as usize];
            if let Some(owner) = owner.filter(|owner| self.clients[*owner].session == Some(id)) {
                self.drop_client(owner);
            }
        }
        Ok(())
    }
}

fn progress_text(mark: &Mark) -> String {
    format!("{:?}", mark.next)
}

pub(super) fn told(client: usize, promise: String) -> String {
    format!("client {client}: {promise}")
}
