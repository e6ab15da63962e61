//! Who follows, and what each saw.
//!
//! A follower keeps what `docs/protocol.md` tells a client to keep: the last mark, and the last
//! position of each topic. It resumes with both, over and over, now by the URL, now by a message,
//! and writes down everything that comes, also what shouldn't.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use touchline_core::log::Epoch;
use touchline_tests::e2e::socket::{Heard, Socket};

use crate::epoch_of;
use crate::stage::{SLOW_EACH, Stage, some_teams};

/// What a URL has room for beside the path, of 4 KiB.
const QUERY_BYTES: usize = 4_000;

/// The teams of a follower, which the judge must know too: the same for every seed.
pub fn teams_of(number: usize) -> Vec<String> {
    // The slow ones follow what most happens in.
    if number.is_multiple_of(SLOW_EACH) {
        return ["t00", "t01", "t02"].map(str::to_owned).into();
    }
    some_teams(&mut StdRng::seed_from_u64(number as u64), 3)
}

/// What one follower saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its number.
    pub number: usize,
    /// By topic: the position and the `source/id` of each event, as they came.
    pub topics: BTreeMap<String, Vec<(String, String)>>,
    /// `gap`s and `recovered:false`, as text.
    pub holes: Vec<String>,
    /// Epochs of all marks.
    pub epochs: Vec<Epoch>,
    /// Connections after the first.
    pub resumes: u64,
    /// How often it was closed with 4008.
    pub closed_slow: u64,
}

impl Seen {
    /// Events, repeats included.
    pub fn count(&self) -> usize {
        self.topics.values().map(Vec::len).sum()
    }
}

struct Follower<'s> {
    stage: &'s Stage,
    rng: StdRng,
    is_slow: bool,
    mark: Option<String>,
    seen: Seen,
}

/// Follows until the stage has ended.
pub fn follow(number: usize, seed: u64, stage: &Stage) -> Seen {
    let rng = StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 40);
    let is_slow = number.is_multiple_of(SLOW_EACH);
    let seen = Seen { number, ..Seen::default() };
    let mut follower = Follower { stage, rng, is_slow, mark: None, seen };
    while !stage.has_ended() {
        follower.connect_once();
        let pause = follower.rng.random_range(5..80);
        std::thread::sleep(Duration::from_millis(pause));
    }
    follower.seen
}

impl Follower<'_> {
    /// One connection, from its handshake to its end.
    fn connect_once(&mut self) {
        let receive_bytes = self.is_slow.then_some(4 * 1024);
        let to = self.stage.addresses().stream;
        let by_url = self.rng.random_bool(0.5).then(|| self.query());
        // The topics a client has seen may be too many for a URL: then it subscribes.
        let query = by_url.filter(|query| query.len() < QUERY_BYTES).unwrap_or_default();
        let Ok(mut socket) = Socket::connect(to, &query, receive_bytes) else { return };
        socket.set_patience(Duration::from_millis(200));
        self.seen.resumes += u64::from(self.mark.is_some());
        if query.is_empty() {
            socket.send_text(&self.subscribe());
        }
        while !self.stage.has_ended() {
            match socket.hear() {
                Heard::Json(message) => {
                    if !self.take(&message) {
                        return;
                    }
                }
                Heard::Close(code) => {
                    self.seen.closed_slow += u64::from(code == 4008);
                    let fine = [1001, 1012, 1013, 4008, 4012].contains(&code);
                    assert!(fine, "closed with {code}");
                    return;
                }
                Heard::End => return,
                Heard::Ping | Heard::Pong | Heard::Silence => {}
            }
        }
    }

    /// What it follows and where it was, as a URL says it.
    fn query(&self) -> String {
        let teams = teams_of(self.seen.number).join(",");
        let mut query = format!("teams={teams}&streams=broadcast");
        if let Some(mark) = &self.mark {
            let after: Vec<_> = self.last().map(|(topic, pos)| format!("{topic}~{pos}")).collect();
            query.push_str(&format!("&mark={mark}"));
            if !after.is_empty() {
                query.push_str(&format!("&after={}", after.join(",")));
            }
        }
        query
    }

    /// The same as a message.
    fn subscribe(&self) -> String {
        let mut message = serde_json::json!({
            "op": "subscribe", "teams": teams_of(self.seen.number), "streams": ["broadcast"],
        });
        if let Some(mark) = &self.mark {
            let after = self.last().map(|(topic, pos)| (topic.to_owned(), pos.into()));
            message["mark"] = mark.clone().into();
            message["after"] = Value::Object(after.collect());
        }
        message.to_string()
    }

    /// Each topic, with the position of its last event.
    fn last(&self) -> impl Iterator<Item = (&str, &str)> {
        let topics = self.seen.topics.iter();
        topics.map(|(topic, events)| (topic.as_str(), events[events.len() - 1].0.as_str()))
    }

    /// Whether it stays on the line.
    fn take(&mut self, message: &Value) -> bool {
        match message["op"].as_str().expect("an op") {
            "event" => return self.take_event(message),
            "subscribed" => {
                if self.mark.is_none() {
                    self.stage.joined();
                } else if message["recovered"] != true {
                    self.seen.holes.push(message.to_string());
                }
                self.take_mark(message);
            }
            "mark" => self.take_mark(message),
            "hello" | "reconnect" | "status" => {}
            // A gap is told; an error, or what isn't known, is as bad as a hole.
            _ => self.seen.holes.push(message.to_string()),
        }
        true
    }

    fn take_mark(&mut self, message: &Value) {
        let mark = message["mark"].as_str().expect("a mark");
        let epoch = epoch_of(mark);
        if self.seen.epochs.last() != Some(&epoch) {
            self.seen.epochs.push(epoch);
        }
        self.mark = Some(mark.to_owned());
    }

    fn take_event(&mut self, event: &Value) -> bool {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let name = format!("{}/{}", text("source"), text("id"));
        self.seen.topics.entry(text("topic")).or_default().push((text("pos"), name));
        self.stage.saw(self.seen.number);
        if self.stage.has_stopped_sending() {
            return true;
        }
        if self.is_slow {
            std::thread::sleep(Duration::from_millis(120));
        }
        !self.rng.random_bool(0.004)
    }
}
