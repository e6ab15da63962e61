//! A match day as a script: fixtures, each with the moments that will be told of it.
//!
//! A [`Day`] is made once, from a seed ([`league`](super::league)) or from a file
//! ([`replay`](super::replay)), and never changes: time, score, names and ids are all settled
//! before the first webhook. That is what lets a demo that was killed go on: it makes the same day
//! again and goes on where it was.
//!
//! # Invariants
//! - The moments of a fixture ascend in time; the first is `match.scheduled`, the last
//!   `match.full_time`.
//! - What an event says depends on the script and the day's start alone, never on when or how often
//!   it is sent, so that a second delivery is the same event (R15).

use std::hash::Hasher;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use touchline_core::event::Team;
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::Xxh3;

use crate::live::fact::{Fact, Kind, Score, Status};

/// A team that plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Club {
    /// Its id.
    pub id: Team,
    /// Its name.
    pub name: String,
}

/// One of the two sides of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Named first.
    Home,
    /// Named second.
    Away,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Home, Self::Away];

    /// The one they play against.
    pub fn other(self) -> Self {
        match self {
            Self::Home => Self::Away,
            Self::Away => Self::Home,
        }
    }
}

/// One thing that happens in a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the day's start, in the day's own time.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// How far the match has got after it.
    pub status: Status,
    /// The minute being played.
    pub minute: u16,
    /// Minutes into stoppage time, zero before it.
    pub stoppage: u16,
    /// After it.
    pub score: Score,
    /// Whom it is about; of a goal, who gets it.
    pub side: Option<Side>,
    /// Who scored, was booked or went off.
    pub player: Option<String>,
    /// Who came on.
    pub player_in: Option<String>,
    /// `penalty`, `own_goal`, `second_yellow`, ...
    pub note: Option<String>,
    /// Of an overturned goal: its place among the fixture's moments.
    pub overturns: Option<usize>,
    /// Whether it was made up.
    pub generated: bool,
}

/// A match and all that will be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixture {
    /// The home side.
    pub home: Club,
    /// The away side.
    pub away: Club,
    /// Round or group.
    pub round: String,
    /// Where it is played.
    pub ground: String,
    /// In order of time.
    pub moments: Vec<Moment>,
}

/// A day of matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// League or cup.
    pub competition: String,
    /// The matches' own date, `2026-06-24`.
    pub date: String,
    /// At least one.
    pub fixtures: Vec<Fixture>,
}

impl Day {
    /// When its last moment comes.
    pub fn end(&self) -> Duration {
        let last = |fixture: &Fixture| fixture.moments.last().map(|moment| moment.at);
        self.fixtures.iter().filter_map(last).max().unwrap_or_default()
    }

    /// Its teams, in the order of its fixtures.
    pub fn teams(&self) -> Vec<Team> {
        let both = |fixture: &Fixture| [fixture.home.id.clone(), fixture.away.id.clone()];
        self.fixtures.iter().flat_map(both).collect()
    }

    /// Tells this script from any other: a day whose script has changed can't be gone on with.
    pub fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        for fixture in &self.fixtures {
            for n in 0..fixture.moments.len() {
                let item = self.item("", fixture, n, Timestamp(0));
                hash.update(&serde_json::to_vec(&item).unwrap_or_default());
                hash.write_u128(fixture.moments[n].at.as_micros());
            }
        }
        format!("{:016x}", hash.digest())
    }

    /// Moment `n` of `fixture` as the item of a webhook, on the day called `day`.
    pub fn item(&self, day: &str, fixture: &Fixture, n: usize, occurred_at: Timestamp) -> Item {
        let moment = &fixture.moments[n];
        let data = serde_json::value::to_raw_value(&self.fact(day, fixture, moment));
        Item {
            id: event_id(day, fixture, n),
            teams: [fixture.home.id.to_string(), fixture.away.id.to_string()],
            kind: moment.kind.as_str(),
            occurred_at: occurred_at.to_rfc3339(),
            data: data.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }

    fn fact(&self, day: &str, fixture: &Fixture, moment: &Moment) -> Fact {
        let team = moment.side.map(|side| fixture.club(side).id.to_string());
        Fact {
            r#match: match_id(day, fixture),
            day: Some(day.to_owned()),
            competition: Some(self.competition.clone()),
            round: Some(fixture.round.clone()),
            date: Some(self.date.clone()),
            ground: Some(fixture.ground.clone()),
            home: fixture.home.id.to_string(),
            away: fixture.away.id.to_string(),
            home_name: Some(fixture.home.name.clone()),
            away_name: Some(fixture.away.name.clone()),
            status: Some(moment.status),
            minute: Some(moment.minute),
            stoppage: (moment.stoppage > 0).then_some(moment.stoppage),
            score: Some(moment.score),
            team,
            player: moment.player.clone(),
            player_in: moment.player_in.clone(),
            note: moment.note.clone(),
            overturns: moment.overturns.map(|goal| event_id(day, fixture, goal)),
            generated: Some(moment.generated),
        }
    }
}

impl Fixture {
    /// The club on `side`.
    pub fn club(&self, side: Side) -> &Club {
        match side {
            Side::Home => &self.home,
            Side::Away => &self.away,
        }
    }

    /// Moves the whole match `later`.
    #[must_use]
    pub fn later(mut self, later: Duration) -> Self {
        for moment in &mut self.moments {
            moment.at += later;
        }
        self
    }
}

/// One event as a webhook says it.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// Unique for the partner.
    pub id: String,
    /// Both sides.
    pub teams: [String; 2],
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Wall clock, RFC 3339.
    pub occurred_at: String,
    /// The [`Fact`].
    pub data: Box<RawValue>,
}

/// The id of `fixture` on the day called `day`.
pub fn match_id(day: &str, fixture: &Fixture) -> String {
    format!("{day}.{}-{}", fixture.home.id, fixture.away.id)
}

/// The id of moment `n`: the match's, and a number that counts from 1, so that a follower can tell
/// a hole.
pub fn event_id(day: &str, fixture: &Fixture, n: usize) -> String {
    format!("{}.{}", match_id(day, fixture), n + 1)
}

/// The match and the number in an id that [`event_id`] wrote.
pub fn split_event_id(id: &str) -> Option<(&str, u64)> {
    let (game, number) = id.rsplit_once('.')?;
    Some((game, number.parse().ok()?))
}
