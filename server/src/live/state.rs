//! The matches of the day, derived from their events alone.
//!
//! [`MatchDay::apply`] takes one durable record after the other, in order of position, and keeps
//! what a page that opens now has to show: teams, matches with score and scorers, and the last
//! events as they came. It reads no clock and does no I/O: the state is a function of the records
//! it was given, which is what makes a snapshot and its mark agree (R27).
//!
//! # Invariants
//! - At most [`MATCHES_MAX`] matches, [`TEAMS_MAX`] teams, [`EVENTS_MAX`] events; each text is
//!   clipped.
//! - The score is what the last event said. Scorers are the goals seen and not taken back.
//! - A team plays one match at a time: a new fixture takes the place of the older ones of its
//!   teams.
//!
//! # What it leaves out
//! Where records come from and in which rhythm (`follow`), and how it looks to clients
//! (`snapshot`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use touchline_core::event::{Event, Stream};
use touchline_core::log::Record;
use touchline_core::time::Timestamp;

use super::fact::{Fact, Kind, Score, Status};
use crate::limits::live::{
    EVENTS_MAX, MATCH_AGE_MAX, MATCH_ITEMS_MAX, MATCHES_MAX, TEAMS_MAX, TEXT_CHARS_MAX,
};

/// A goal that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scorer {
    /// Id of the goal's event.
    pub id: String,
    /// Id of the team that got the goal.
    pub team: Option<String>,
    /// Who put it in.
    pub player: Option<String>,
    /// When.
    pub minute: Option<u16>,
    /// Minutes into stoppage time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stoppage: Option<u16>,
    /// `penalty`, `own_goal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether it was made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<bool>,
}

/// A booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Card {
    /// Id of its event.
    pub id: String,
    /// `yellow` or `red`.
    pub card: &'static str,
    /// Id of the player's team.
    pub team: Option<String>,
    /// Who was booked.
    pub player: Option<String>,
    /// When.
    pub minute: Option<u16>,
    /// Minutes into stoppage time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stoppage: Option<u16>,
    /// `second_yellow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A match as its events have left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Its id.
    pub id: String,
    /// Who tells of it.
    pub source: String,
    /// The day it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// League or cup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub competition: Option<String>,
    /// Round or group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
    /// Its own date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Where it is played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ground: Option<String>,
    /// Team id of the home side.
    pub home: String,
    /// Team id of the away side.
    pub away: String,
    /// The home side's name.
    pub home_name: String,
    /// The away side's name.
    pub away_name: String,
    /// How far it has got.
    pub status: Status,
    /// The minute of its last event.
    pub minute: u16,
    /// Minutes into stoppage time.
    pub stoppage: u16,
    /// As its last event said.
    pub score: Score,
    /// Goals that stand, in order.
    pub scorers: Vec<Scorer>,
    /// Bookings, in order.
    pub cards: Vec<Card>,
    /// Of the last event: `penalties 3-4`, where it was a final whistle with a note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether any of it was made up.
    pub generated: bool,
    /// `occurred_at` of its last event.
    pub updated_at: String,
    /// When its last event was received: what its age counts from.
    #[serde(skip)]
    pub received_at: Timestamp,
}

/// What a page that opens now has to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchDay {
    /// By when they were first heard of.
    pub matches: Vec<Match>,
    /// Names by id.
    pub teams: BTreeMap<String, String>,
    /// The last events of the streams that clients get unasked, oldest first.
    pub events: VecDeque<Record>,
    /// Events of those streams so far.
    pub events_total: u64,
}

impl MatchDay {
    /// Takes in one record. Records must come in order of position within each lane.
    pub fn apply(&mut self, record: Record) {
        if !matches!(record.event.stream, Stream::Broadcast | Stream::Update) {
            return;
        }
        if record.event.stream == Stream::Broadcast
            && let Some(kind) = Kind::parse(&record.event.kind)
            && let Some(fact) = Fact::parse(&record.event.data)
        {
            self.apply_fact(kind, fact, &record);
        }
        self.events_total += 1;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(record);
    }

    fn apply_fact(&mut self, kind: Kind, fact: Fact, record: &Record) {
        self.forget_old(record.received_at);
        let Some(index) = self.place(kind, &fact, record) else { return };
        self.name_team(&fact.home, fact.home_name.as_deref());
        self.name_team(&fact.away, fact.away_name.as_deref());
        self.matches[index].apply(kind, fact, &record.event, record.received_at);
    }

    /// Where the match of `fact` stands, made if it is new. `None` for a match of a day that has
    /// gone.
    fn place(&mut self, kind: Kind, fact: &Fact, record: &Record) -> Option<usize> {
        let id = clip(&fact.r#match);
        let source = &*record.event.source;
        let known = |m: &Match| m.id == id && m.source == source;
        if let Some(index) = self.matches.iter().position(known) {
            return Some(index);
        }
        let day = fact.day.as_deref().map(clip);
        if self.matches.iter().any(|m| m.source == source && m.day > day && day.is_some()) {
            return None;
        }
        if kind == Kind::Scheduled {
            self.displace(fact, source, day.as_deref());
        }
        if self.matches.len() == MATCHES_MAX {
            self.forget_idlest();
        }
        self.matches.push(Match { id, source: source.to_owned(), day, ..Match::default() });
        Some(self.matches.len() - 1)
    }

    /// A new fixture ends what its teams played before, and the source's earlier days.
    fn displace(&mut self, fact: &Fact, source: &str, day: Option<&str>) {
        let teams = [fact.home.as_str(), fact.away.as_str()];
        self.matches.retain(|m| {
            let plays = teams.contains(&m.home.as_str()) || teams.contains(&m.away.as_str());
            let earlier = m.source == source && day.is_some() && m.day.as_deref() < day;
            !plays && !earlier
        });
        self.forget_teams();
    }

    fn forget_old(&mut self, now: Timestamp) {
        let oldest = now.minus(MATCH_AGE_MAX);
        if self.matches.iter().any(|m| m.received_at < oldest) {
            self.matches.retain(|m| m.received_at >= oldest);
            self.forget_teams();
        }
    }

    fn forget_idlest(&mut self) {
        let idlest = self.matches.iter().enumerate().min_by_key(|(_, m)| m.received_at);
        if let Some(index) = idlest.map(|(index, _)| index) {
            self.matches.remove(index);
            self.forget_teams();
        }
    }

    /// Teams without a match go with it.
    fn forget_teams(&mut self) {
        let matches = &self.matches;
        self.teams.retain(|id, _| matches.iter().any(|m| &m.home == id || &m.away == id));
    }

    fn name_team(&mut self, id: &str, name: Option<&str>) {
        if id.is_empty() || (self.teams.len() >= TEAMS_MAX && !self.teams.contains_key(id)) {
            return;
        }
        let id = clip(id);
        match name {
            Some(name) => drop(self.teams.insert(id, clip(name))),
            None => drop(self.teams.entry(id.clone()).or_insert(id)),
        }
    }

    /// The time since the newest event was received, or `None` before the first.
    pub fn last_event_age(&self, now: Timestamp) -> Option<Duration> {
        let newest = self.events.iter().map(|record| record.received_at).max()?;
        Some(Duration::from_micros(u64::try_from(now.0 - newest.0).unwrap_or(0)))
    }
}

impl Match {
    fn apply(&mut self, kind: Kind, fact: Fact, event: &Event, received_at: Timestamp) {
        self.received_at = self.received_at.max(received_at);
        self.updated_at = event.occurred_at.to_rfc3339();
        self.generated |= fact.generated == Some(true);
        self.status = fact.status.unwrap_or_else(|| status_after(kind, self.status));
        self.minute = fact.minute.unwrap_or(self.minute);
        self.stoppage = fact.stoppage.unwrap_or(0);
        self.score = fact.score.unwrap_or(self.score);
        match kind {
            Kind::Goal => self.add_scorer(&fact, event),
            Kind::Yellow => self.add_card("yellow", &fact, event),
            Kind::Red => self.add_card("red", &fact, event),
            Kind::Overturned => self.take_back(fact.overturns.as_deref()),
            Kind::FullTime => self.note = fact.note.as_deref().map(clip),
            _ => {}
        }
        self.describe(fact);
    }

    fn describe(&mut self, fact: Fact) {
        let keep = |slot: &mut Option<String>, value: Option<String>| {
            if let Some(value) = value {
                *slot = Some(clip(&value));
            }
        };
        keep(&mut self.competition, fact.competition);
        keep(&mut self.round, fact.round);
        keep(&mut self.date, fact.date);
        keep(&mut self.ground, fact.ground);
        for (slot, value) in [(&mut self.home, fact.home), (&mut self.away, fact.away)] {
            if !value.is_empty() {
                *slot = clip(&value);
            }
        }
        name(&mut self.home_name, fact.home_name, &self.home);
        name(&mut self.away_name, fact.away_name, &self.away);
    }

    fn add_scorer(&mut self, fact: &Fact, event: &Event) {
        let new = !self.scorers.iter().any(|scorer| scorer.id == *event.id);
        if !new || self.scorers.len() == MATCH_ITEMS_MAX {
            return;
        }
        self.scorers.push(Scorer {
            id: event.id.to_string(),
            team: fact.team.as_deref().map(clip),
            player: fact.player.as_deref().map(clip),
            minute: fact.minute,
            stoppage: fact.stoppage,
            note: fact.note.as_deref().map(clip),
            generated: fact.generated,
        });
    }

    fn add_card(&mut self, card: &'static str, fact: &Fact, event: &Event) {
        let new = !self.cards.iter().any(|card| card.id == *event.id);
        if !new || self.cards.len() == MATCH_ITEMS_MAX {
            return;
        }
        self.cards.push(Card {
            id: event.id.to_string(),
            card,
            team: fact.team.as_deref().map(clip),
            player: fact.player.as_deref().map(clip),
            minute: fact.minute,
            stoppage: fact.stoppage,
            note: fact.note.as_deref().map(clip),
        });
    }

    fn take_back(&mut self, goal: Option<&str>) {
        if let Some(goal) = goal {
            self.scorers.retain(|scorer| scorer.id != goal);
        }
    }
}

fn name(slot: &mut String, given: Option<String>, id: &str) {
    match given {
        Some(given) => *slot = clip(&given),
        None if slot.is_empty() => id.clone_into(slot),
        None => {}
    }
}

/// What a match has got to when its event doesn't say.
fn status_after(kind: Kind, before: Status) -> Status {
    match kind {
        Kind::Scheduled => Status::Scheduled,
        Kind::HalfTime => Status::HalfTime,
        Kind::FullTime => Status::FullTime,
        Kind::Kickoff | Kind::SecondHalf => Status::Live,
        _ => before,
    }
}

fn clip(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
