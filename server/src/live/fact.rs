//! What an event of a match says: the fields of `data` that partners agree on.
//!
//! A [`Fact`] is one event's `data` about one match; [`Kind`] is the event's `type`. The simulator
//! writes facts, the live state reads them. Reading is forgiving, because `data` belongs to the
//! partner: unknown fields are ignored, and a `data` that isn't a fact at all is simply no fact
//! about a match.
//!
//! # Conventions
//! - `score` is the score after the event and is authoritative; nobody adds goals up.
//! - `team` of a goal is the team that gets it, also when a player of the other side put it in
//!   (`note` is `own_goal`).
//! - `minute` is the minute being played, from 1; `stoppage` counts the minutes added to 45, 90,
//!   105 or 120.
//! - `day` groups the matches of one day of one source; as text, a later day is greater than an
//!   earlier one.

use serde::{Deserialize, Serialize};

/// What kind of thing happened in a match: the event's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It will be played.
    Scheduled,
    /// The first half began.
    Kickoff,
    /// A goal.
    Goal,
    /// A yellow card.
    Yellow,
    /// A red card, also after a second yellow one.
    Red,
    /// One player for another.
    Substitution,
    /// A goal was taken back.
    Overturned,
    /// The first half ended.
    HalfTime,
    /// The second half began.
    SecondHalf,
    /// It is over.
    FullTime,
}

impl Kind {
    /// All of them, with the `type` that stands in events.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Scheduled, "match.scheduled"),
        (Self::Kickoff, "match.kickoff"),
        (Self::Goal, "goal"),
        (Self::Yellow, "card.yellow"),
        (Self::Red, "card.red"),
        (Self::Substitution, "substitution"),
        (Self::Overturned, "var.overturned"),
        (Self::HalfTime, "match.half_time"),
        (Self::SecondHalf, "match.second_half"),
        (Self::FullTime, "match.full_time"),
    ];

    /// The event's `type`.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The kind of that `type`, if it is about a match.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// How far a match has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    #[default]
    Scheduled,
    /// Being played.
    Live,
    /// Between the halves.
    HalfTime,
    /// Over.
    FullTime,
}

/// Goals of both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Of the home side.
    pub home: u16,
    /// Of the away side.
    pub away: u16,
}

/// One event's `data`. Fields that don't apply are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fact {
    /// Id of the match. An empty one is no match.
    pub r#match: String,
    /// Id of the day the match belongs to, where the source groups its matches so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// League or cup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub competition: Option<String>,
    /// Round or group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
    /// The match's own date, `2026-06-24`, where it is played.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_name: Option<String>,
    /// The away side's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away_name: Option<String>,
    /// How far the match has got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The minute being played, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minute: Option<u16>,
    /// Minutes added to the end of a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stoppage: Option<u16>,
    /// After the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// Id of the team the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Who scored, was booked or went off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player: Option<String>,
    /// Who came on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player_in: Option<String>,
    /// `penalty`, `own_goal`, `second_yellow`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Id of the goal that was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overturns: Option<String>,
    /// Whether the fact was made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<bool>,
}

impl Fact {
    /// The fact that `data` states, if it states one.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let fact: Self = serde_json::from_slice(data).ok()?;
        (!fact.r#match.is_empty()).then_some(fact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_ignored_and_absent_ones_stay_absent() {
        let text = br#"{"match":"m1","home":"ars","away":"che","weather":{"wind":3},"minute":45}"#;
        let fact = Fact::parse(text).unwrap();
        assert_eq!((fact.minute, fact.stoppage, fact.status), (Some(45), None, None));
        let again = serde_json::to_string(&fact).unwrap();
        assert_eq!(again, r#"{"match":"m1","home":"ars","away":"che","minute":45}"#);
    }

    #[test]
    fn what_is_no_fact_is_none() {
        for data in [r#"{}"#, r#"{"match":""}"#, r#"{"match":7}"#, r#"[1]"#, r#"{"match":"#] {
            assert_eq!(Fact::parse(data.as_bytes()), None, "{data}");
        }
    }

    #[test]
    fn a_kind_survives_its_name() {
        for (kind, name) in Kind::ALL {
            assert_eq!(Kind::parse(name), Some(kind));
            assert_eq!(kind.as_str(), name);
        }
        assert_eq!(Kind::parse("weather"), None);
    }
}
