//! What is made of the answers of a partner that is polled: the events it hasn't shown before.
//!
//! Such a partner answers with a list of what has happened lately, and shows each event for as long
//! as it likes. What it showed last time is passed over here; what it shows again later, or after a
//! restart, is a duplicate to the log. A list is read by what is agreed with the partner at the
//! time, so a reload of mapping or schema counts from the next answer on.
//!
//! An item that can't be used is parked as a body that holds it alone, once for as long as it is
//! shown, and no more of them within a minute than of refused webhooks ([`super::letters`]). What
//! lies too far ahead is not: it is taken once its time has come.

use std::collections::{HashMap, HashSet};

use touchline_core::dead::{self, DeadLetter};
use touchline_core::event::{Content, Event, Stream};
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::intake::{BadItem, Item};
use super::item::{Context, refuse};
use super::letters::letter;
use super::receive::charge;
use super::sources::Partner;
use super::state::{BroadcastState, Desk, unknown_partner};
use crate::clock::Clock;
use crate::outbound::SourceError;
use crate::poll::{
    self, Ask, At, Failure, Harvest, Harvested, Note, ParkedAs, Poller, Trial, TrialError, Trouble,
};
use crate::problem::{Code, ItemError, Problem};

/// Has `poller` follow partners that are polled, each as it is agreed with it in `webhooks` at the
/// time.
///
/// # Errors
/// The first that can't be followed.
pub fn follow(
    poller: &mut Poller,
    partners: Vec<Ask>,
    webhooks: &BroadcastState,
) -> Result<(), SourceError> {
    let with_events = |ask: Ask| {
        let (name, webhooks) = (ask.name.clone(), webhooks.clone());
        (ask, move || Polled::new(&name, &webhooks))
    };
    poller.follow(partners.into_iter().map(with_events).collect())
}

/// Asks a partner that is polled once, and publishes nothing.
///
/// # Errors
/// See [`TrialError`].
pub async fn try_partner(ask: &Ask, partner: &Partner, clock: &Clock) -> Result<Trial, TrialError> {
    let raw = poll::ask_once(ask, clock).await?;
    let (source, correlation, now) = (partner.name(), poll::CORRELATION, clock());
    let context = Context { source, correlation, trace: None, now };
    let items = partner.each_of(&raw, context);
    let items = items.map_err(|problem| TrialError::Failure(unfit_answer(problem, &raw)))?;
    let mut trial = Trial::default();
    for item in items {
        match item {
            Ok(event) => trial.events.push(event),
            Err(item) => {
                trial.troubles.push((Trouble::BadReading.as_str(), say_errors(&item.errors)));
            }
        }
    }
    Ok(trial)
}

/// The events of one partner.
struct Polled {
    name: Box<str>,
    webhooks: BroadcastState,
    /// What its last answer showed and the log has, or is about to have; no more than one answer
    /// holds.
    shown: HashMap<Box<str>, Content>,
    /// Hashes of what its last answer showed that can't be used, and that was parked.
    parked: HashSet<u64>,
}

impl Polled {
    /// Of the partner of that name, which has shown nothing.
    fn new(name: &str, webhooks: &BroadcastState) -> Self {
        let (shown, parked) = (HashMap::new(), HashSet::new());
        Self { name: name.into(), webhooks: webhooks.clone(), shown, parked }
    }

    fn sort(
        &mut self,
        desk: &Desk,
        items: Vec<Item>,
        at: &At<'_>,
        note: &mut Note<'_>,
    ) -> Harvested {
        let mut harvested = Harvested::default();
        let (mut ids, mut bad) = (HashSet::new(), HashSet::new());
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
                Err(item) => {
                    note(Trouble::BadReading, &say_errors(&item.errors));
                    let hash = xxh3_64(&item.body);
                    if self.parked.contains(&hash) || self.park(desk, item, at) {
                        bad.insert(hash);
                    }
                }
            }
        }
        self.shown.retain(|id, _| ids.contains(id));
        self.parked = bad;
        harvested
    }

    /// Keeps an item that can't be used; `false`: not now.
    fn park(&self, desk: &Desk, item: BadItem, at: &At<'_>) -> bool {
        let detail = "what else the answer holds was taken".into();
        let problem = Problem { detail, ..refuse(item.errors) };
        if problem.code == Code::InFuture {
            return false;
        }
        let is_kept = desk.letters.admit(&item.body, at.received_at);
        desk.stats.count_letter(is_kept);
        if is_kept {
            let raw = item.body.into();
            let letter = letter(&self.name, raw, &problem, at.correlation, at.received_at);
            self.webhooks.inner.dead.park(letter);
        }
        is_kept
    }
}

impl Polled {
    /// Keeps an event that the log will never take. Nobody is told of it, so it is kept like an
    /// item that can't be used; once, for what is shown again is known. What this minute has no
    /// room for is forgotten: shown again, it is kept by a later one.
    fn give_up(&mut self, event: &Event, letter: DeadLetter) {
        let Some(desk) = self.webhooks.inner.desk(&self.name) else { return };
        let is_kept = desk.letters.admit(&letter.raw, letter.received_at);
        desk.stats.count_letter(is_kept);
        if is_kept {
            self.webhooks.inner.dead.park(letter);
        } else {
            self.shown.remove(&event.id);
        }
    }
}

impl Harvest for Polled {
    /// An answer comes again as a webhook's body does.
    const PARKED: ParkedAs =
        ParkedAs { desk: dead::Desk::Webhook, stream: Stream::Broadcast, is_whole: false };

    fn read(&mut self, raw: &[u8], at: &At<'_>, note: &mut Note<'_>) -> Result<Harvested, Failure> {
        let unfit = |problem| unfit_answer(problem, raw);
        let desk = self.webhooks.inner.desk(&self.name);
        let desk = desk.ok_or_else(|| unfit(unknown_partner()))?;
        let context = Context {
            source: &self.name,
            correlation: at.correlation,
            trace: None,
            now: at.received_at,
        };
        let items = desk.partner.each_of(raw, context).map_err(unfit)?;
        let mut harvested = self.sort(&desk, items, at, note);
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

    fn keep(&mut self, event: &Event) {
        self.shown.insert(event.id.clone(), event.content());
    }

    fn forget(&mut self, event: &Event) {
        self.shown.remove(&event.id);
    }

    /// A correction under an old id.
    fn reused(&mut self, event: &Event, received_at: Timestamp) {
        const WHY: &str = "its id was used before for other content; a correction needs an id of \
                           its own";
        let letter = DeadLetter::of_event(event, received_at, Code::IdReused.as_str(), WHY);
        self.give_up(event, letter);
    }

    fn unfit(&mut self, event: &Event, letter: DeadLetter) -> Option<DeadLetter> {
        self.give_up(event, letter);
        None
    }

    fn start_over(&mut self) {
        self.shown.clear();
        self.parked.clear();
    }
}

/// An answer of which nothing can be used.
fn unfit_answer(problem: Problem, raw: &[u8]) -> Failure {
    let trouble = match problem.code {
        Code::BadJson => Trouble::BadJson,
        _ => Trouble::BadReading,
    };
    Failure { raw: raw.to_vec(), ..Failure::new(trouble, problem.detail) }
}

/// All that is wrong with one item.
fn say_errors(errors: &[ItemError]) -> String {
    errors.iter().map(ItemError::to_string).collect::<Vec<_>>().join("; ")
}
