//! What is made of the answers of a partner that is polled: the events it hasn't shown before.
//!
//! Such a partner answers with a list of what has happened lately, and shows each event for as long
//! as it likes. What it showed last time is passed over here; what it shows again later, or after a
//! restart, is a duplicate to the log. A list is read by what is agreed with the partner at the
//! time, so a reload of mapping or schema counts from the next answer on.

use std::collections::{HashMap, HashSet};

use touchline_core::event::{Content, Event};
use touchline_core::time::Timestamp;

use super::intake::Item;
use super::item::Context;
use super::receive::charge;
use super::state::{BroadcastState, unknown_partner};
use crate::problem::{Code, ItemError, Problem};
use crate::sensor::follow::{At, Harvest, Harvested, Note};
use crate::sensor::{Failure, Trouble};

/// The events of one partner.
pub struct Polled {
    name: Box<str>,
    webhooks: BroadcastState,
    /// What its last answer showed and the log has, or is about to have; no more than one answer
    /// holds.
    shown: HashMap<Box<str>, Content>,
}

impl Polled {
    /// Of the partner of that name, which has shown nothing.
    pub fn new(name: &str, webhooks: &BroadcastState) -> Self {
        Self { name: name.into(), webhooks: webhooks.clone(), shown: HashMap::new() }
    }

    fn sort(&mut self, items: Vec<Item>, note: &mut Note<'_>) -> Harvested {
        let mut harvested = Harvested::default();
        let mut ids = HashSet::new();
        for item in items {
            match item {
                Ok(event) => {
                    let is_known = self.shown.get(&event.id) == Some(&event.content());
                    ids.insert(event.id.clone());
                    match is_known {
                        true => harvested.unchanged += 1,
                        false => harvested.news.push(event),
                    }
                }
                Err(errors) => note(Trouble::BadReading, &say_errors(&errors)),
            }
        }
        self.shown.retain(|id, _| ids.contains(id));
        harvested
    }
}

impl Harvest for Polled {
    fn read(&mut self, raw: &[u8], at: &At<'_>, note: &mut Note<'_>) -> Result<Harvested, Failure> {
        let unfit = |problem| unfit_answer(problem, raw);
        let desk = self.webhooks.inner.desk(&self.name);
        let desk = desk.ok_or_else(|| unfit(unknown_partner()))?;
        let context =
            Context { source: &self.name, correlation: at.correlation, now: at.received_at };
        let items = desk.partner.each_of(raw, context).map_err(unfit)?;
        let mut harvested = self.sort(items, note);
        if harvested.news.is_empty() {
            return Ok(harvested);
        }
        if let Err(problem) = charge(&desk, &harvested.news, at.received_at) {
            for event in std::mem::take(&mut harvested.news) {
                note(Trouble::Limited, &format_args!("{}: {}", event.id, problem.detail));
            }
        }
        Ok(harvested)
    }

    fn keep(&mut self, event: &Event, _at: Timestamp) {
        self.shown.insert(event.id.clone(), event.content());
    }

    fn forget(&mut self, event: &Event) {
        self.shown.remove(&event.id);
    }

    fn start_over(&mut self) {
        self.shown.clear();
    }
}

/// An answer of which nothing can be used.
pub(crate) fn unfit_answer(problem: Problem, raw: &[u8]) -> Failure {
    let trouble = match problem.code {
        Code::BadJson => Trouble::BadJson,
        _ => Trouble::BadReading,
    };
    Failure { trouble, why: problem.detail.into(), raw: raw.to_vec() }
}

/// All that is wrong with one item.
pub(crate) fn say_errors(errors: &[ItemError]) -> String {
    let one = |error: &ItemError| format!("{} {} ({})", error.field, error.detail, error.reason);
    let index = errors.first().map_or(0, |error| error.index);
    let all: Vec<String> = errors.iter().map(one).collect();
    format!("item {index}: {}", all.join("; "))
}
