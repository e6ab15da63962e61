//! A client that keeps what RULES ask of it (mark, and positions since), moves between nodes with
//! it, and notices whatever is missing or comes twice.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use touchline_tests::e2e::socket::{Heard, Socket};

use crate::Nodes;

/// Longer than brokers take to elect, to come back, and to be noticed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One follower.
pub struct Follower {
    socket: Socket,
    teams: &'static str,
    mark: String,
    after: BTreeMap<String, String>,
    /// Events, in the order in which they came.
    pub ids: Vec<String>,
    known: HashSet<String>,
    /// By topic: position and id of each event, in the order in which they came.
    pub seen: BTreeMap<String, Vec<(String, String)>>,
    /// What `status` has said; each time of all streams, since brokers keep all.
    pub states: Vec<String>,
}

impl Follower {
    /// Follows `teams` at a node, from now on.
    pub fn start(nodes: &Nodes, node: usize, teams: &'static str) -> Self {
        let mut socket = nodes.open(node, &format!("teams={teams}"));
        let mark = socket.hear_op("subscribed")["mark"].as_str().expect("a mark").to_owned();
        let after = BTreeMap::new();
        let (ids, known, seen, states) = (Vec::new(), HashSet::new(), BTreeMap::new(), Vec::new());
        Self { socket, teams, mark, after, ids, known, seen, states }
    }

    /// Goes on at another node, or at the same one after it has come back.
    pub fn move_to(&mut self, nodes: &Nodes, node: usize) {
        let after: Vec<_> =
            self.after.iter().map(|(topic, position)| format!("{topic}~{position}")).collect();
        let (teams, mark) = (self.teams, &self.mark);
        let after =
            if after.is_empty() { String::new() } else { format!("&after={}", after.join(",")) };
        self.socket = nodes.open(node, &format!("teams={teams}&mark={mark}{after}"));
        let subscribed = self.socket.hear_op("subscribed");
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
    }

    /// Hears until `is_done` holds.
    pub fn hear_until(&mut self, what: &str, mut is_done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            assert!(Instant::now() < deadline, "never: {what}; {} events came", self.ids.len());
            match self.socket.hear_soon() {
                Heard::Json(json) => self.take(&json),
                Heard::Ping | Heard::Pong | Heard::Silence => {}
                other => panic!("{other:?} while waiting: {what}"),
            }
        }
    }

    /// Hears for so long.
    pub fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.hear_until("the time is over", |_| Instant::now() >= until);
    }

    fn take(&mut self, json: &serde_json::Value) {
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        match json["op"].as_str() {
            Some("event") => {
                self.after.insert(text("topic"), text("pos"));
                self.ids.push(text("id"));
                self.known.insert(text("id"));
                self.seen.entry(text("topic")).or_default().push((text("pos"), text("id")));
            }
            Some("mark") => self.mark = text("mark"),
            Some("status") => {
                let all = ["broadcast", "update", "social", "sensor"];
                assert_eq!(json["streams"], serde_json::json!(all), "{json}");
                self.states.push(text("state"));
            }
            Some("gap" | "error") => panic!("{json}"),
            _ => {}
        }
    }

    /// Whether it has had `last`.
    pub fn has(&self, last: &str) -> bool {
        self.known.contains(last)
    }

    /// Checks that it has had `all`, each once.
    pub fn check(&self, all: impl IntoIterator<Item = String>) {
        assert_eq!(self.known.len(), self.ids.len(), "something came twice");
        let missing: Vec<_> = all.into_iter().filter(|id| !self.known.contains(id)).collect();
        assert!(
            missing.is_empty(),
            "{} acknowledged events are missing: {missing:?}",
            missing.len()
        );
    }
}
