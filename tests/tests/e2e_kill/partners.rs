//! Who sends, and what each was answered.
//!
//! A sender behaves as a partner does: it delivers a body again until it is answered, and now and
//! then again although it was. Sometimes it gives up on a body that was not answered; then nobody
//! knows whether its events are in the log, and each may be, once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use touchline_tests::e2e::http::{Answer, event_with, post_signed};
use touchline_tests::e2e::server::PARTNERS;

use crate::stage::{Stage, some_teams};

/// What one sender did.
#[derive(Debug, Default)]
pub struct Ledger {
    /// `data` of every event that was ever sent, by `source/id`.
    pub sent: HashMap<String, Value>,
    /// Those that were answered 202.
    pub acknowledged: HashSet<String>,
    /// Deliveries without an answer.
    pub unanswered: u64,
    /// Deliveries of a body that had been answered.
    pub repeats: u64,
}

/// An event as it is sent, however often.
#[derive(Clone)]
struct Item {
    name: String,
    json: String,
}

struct Sender<'s> {
    stage: &'s Stage,
    rng: StdRng,
    partner: &'static str,
    prefix: char,
    count: u64,
    /// Acknowledged ones, to be repeated.
    old: Vec<Item>,
    ledger: Ledger,
}

/// Sends until the stage says stop, and until the last body is answered.
pub fn send(number: usize, seed: u64, stage: &Stage) -> Ledger {
    let partner = PARTNERS[number % PARTNERS.len()];
    // Partners use the same ids for different events; two senders of one partner don't.
    let prefix = if number < PARTNERS.len() { 'e' } else { 'f' };
    let rng = StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 32);
    let (old, ledger) = (Vec::new(), Ledger::default());
    let mut sender = Sender { stage, rng, partner, prefix, count: 0, old, ledger };
    while !stage.has_stopped_sending() {
        let items = sender.batch();
        sender.deliver(&items);
        std::thread::sleep(Duration::from_millis(sender.rng.random_range(5..60)));
    }
    sender.ledger
}

impl Sender<'_> {
    fn batch(&mut self) -> Vec<Item> {
        let most = if self.rng.random_bool(0.03) { 60 } else { 8 };
        let count = self.rng.random_range(1..=most);
        let mut items: Vec<_> = (0..count).map(|_| self.new_item()).collect();
        if self.rng.random_bool(0.15)
            && let Some(old) = self.old.choose(&mut self.rng)
        {
            items.push(old.clone());
        }
        if self.rng.random_bool(0.1) {
            items.push(items[0].clone());
        }
        items
    }

    fn new_item(&mut self) -> Item {
        let id = format!("{}-{}", self.prefix, self.count);
        self.count += 1;
        let most = if self.rng.random_bool(0.02) { 20_000 } else { 1_200 };
        let pad = "x".repeat(self.rng.random_range(0..most));
        let data = format!(r#"{{"n":{},"pad":"{pad}"}}"#, self.count);
        let teams = some_teams(&mut self.rng, 2);
        let teams: Vec<_> = teams.iter().map(String::as_str).collect();
        let name = format!("{}/{id}", self.partner);
        let data_read = serde_json::from_str(&data).expect("JSON");
        self.ledger.sent.insert(name.clone(), data_read);
        Item { name, json: event_with(&id, &teams, &data) }
    }

    /// Delivers until it is answered, or until the sender gives up.
    fn deliver(&mut self, items: &[Item]) {
        let jsons: Vec<_> = items.iter().map(|item| item.json.as_str()).collect();
        let body = format!("[{}]", jsons.join(","));
        let mut more = if self.rng.random_bool(0.2) { 1 } else { 0 };
        let at_once = self.rng.random_bool(0.1);
        loop {
            if self.post(&body, at_once) {
                self.acknowledge(items);
                if more == 0 {
                    return;
                }
                more -= 1;
                self.ledger.repeats += 1;
            } else if self.rng.random_bool(0.05) {
                return;
            }
            std::thread::sleep(Duration::from_millis(self.rng.random_range(5..60)));
        }
    }

    /// One delivery, or the same one twice at once; whether one of them was answered 202.
    fn post(&mut self, body: &str, at_once: bool) -> bool {
        let (to, partner) = (self.stage.addresses().api, self.partner);
        let twin = || at_once.then(|| post_signed(to, partner, body));
        let (first, second) = std::thread::scope(|scope| {
            let twin = scope.spawn(twin);
            (post_signed(to, partner, body), twin.join().expect("sends"))
        });
        let second = second.is_some_and(|answer| self.is_taken(answer));
        self.is_taken(first) || second
    }

    fn is_taken(&mut self, answer: io::Result<Answer>) -> bool {
        match answer {
            Ok(answer) if answer.status == 202 => true,
            Ok(answer) => {
                assert!([429, 503].contains(&answer.status), "{answer:?}");
                false
            }
            Err(_) => {
                self.ledger.unanswered += 1;
                false
            }
        }
    }

    fn acknowledge(&mut self, items: &[Item]) {
        self.ledger.acknowledged.extend(items.iter().map(|item| item.name.clone()));
        self.old.extend(items.iter().take(1).cloned());
    }
}
