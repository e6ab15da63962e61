//! What befalls a world: lines that break, servers that die, logs that begin anew, and strangers.

use std::rc::Rc;

use rand::Rng;
use touchline_core::event::{StreamSet, Team};
use touchline_core::log::Mark;
use touchline_core::protocol::{ClientMessage, Resume, Subscribe};
use touchline_fanout::hub::Hub;

use super::people::{language, team};
use super::world::World;

impl World {
    pub(super) fn drop_client(&mut self, index: usize) {
        if let Some(id) = self.clients[index].session {
            self.hub.close(id);
            self.owners[id.index as usize] = None;
        }
        // What has arrived has arrived; what was under way is lost.
        self.clients[index].disconnect();
        self.clients[index].away = self.rng.random_range(1..30);
    }

    /// kill -9: a new hub that begins in the tail of the log.
    pub(super) fn crash(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].session.is_some() {
                self.clients[index].disconnect();
                self.clients[index].away = self.rng.random_range(1..10);
            }
        }
        let bounds = self.log.bounds();
        let tail = self.rng.random_range(0..50);
        let next = bounds.lanes.iter().map(|lane| lane.next.saturating_sub(tail)).collect();
        let start = Mark { epoch: self.log.epoch, next };
        self.hub = Hub::new(self.scenario.config.clone(), &bounds, &start);
        self.owners.clear();
        self.closing.clear();
        self.read = None;
        self.late_answer = None;
        self.missed = false;
    }

    /// The log begins a new life under everybody who is connected (R8). What is being read is of
    /// the old one, and its answer still comes.
    pub(super) fn new_life(&mut self) {
        if let Some((due, request)) = self.read.take() {
            self.late_answer = Some((due, self.log.read(request)));
        }
        self.missed = false;
        let next = self.log.next_life(&self.scenario, &mut self.troubles);
        let ended = Rc::new(std::mem::replace(&mut self.log, next));
        self.log.stale = ended.stale;
        self.report.published +=
            ended.lanes.iter().map(|lane| lane.events.len() as u64).sum::<u64>();
        self.report.new_lives += 1;
        let bounds = self.log.bounds();
        let next = bounds.lanes.iter().map(|lane| lane.next).collect();
        let begin = Mark { epoch: self.log.epoch, next };
        for client in self.clients.iter_mut().filter(|client| client.session.is_some()) {
            client.begin_life(&ended, &begin);
        }
        self.hub.handle_bounds(&bounds);
    }

    /// Strangers connect in a language of their own, ask for what the shard has forgotten, say
    /// another word, and are gone before anybody could answer.
    pub(super) fn strangers(&mut self) {
        let count = self.troubles.random_range(0.0..=2.0 * self.scenario.strangers) as usize;
        for _ in 0..count {
            let id = self.hub.open(self.now);
            let words = self.troubles.random_range(1..=3);
            for word in 0..words {
                let resumes = word == 0 && self.troubles.random_bool(0.5);
                let message = self.strange_word(resumes);
                let _ = self.hub.handle_message(id, message, &self.log.bounds(), self.now);
            }
            self.report.strangers += 1;
            self.hub.close(id);
        }
    }

    fn strange_word(&mut self, resumes: bool) -> ClientMessage {
        let rng = &mut self.troubles;
        let mut teams: Vec<Team> = (0..rng.random_range(1..=3))
            .map(|_| team(rng.random_range(0..2 * self.scenario.teams)))
            .collect();
        teams.sort();
        teams.dedup();
        if !resumes && rng.random_bool(0.2) {
            return ClientMessage::Unsubscribe { id: None, teams };
        }
        let lang = rng.random_bool(0.7).then(|| language(rng.random_range(0..100_000)));
        let next = self.log.lanes.iter().map(|lane| rng.random_range(0..=lane.next)).collect();
        let mark = Some(Mark { epoch: self.log.epoch, next });
        let resume = resumes.then(|| Resume { mark, after: Vec::new() });
        let streams = StreamSet::ALL;
        ClientMessage::Subscribe(Subscribe { id: None, teams, streams, lang, resume })
    }
}
