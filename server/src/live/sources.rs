//! The sources as `GET /v1/live` tells of them: worst first, and no more than a page can show.
//!
//! | state | what it means |
//! |---|---|
//! | `failing` | asked again and again in vain (its breaker isn't closed), or cut off |
//! | `stale` | it should say something all the time, and hasn't for a while |
//! | `silent` | it has said nothing, or nothing for long, which may be all right |
//! | `resting` | it isn't this node that asks it: of several nodes one does, while the log is there |
//! | `fresh` | all is well |

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::limits::live::SOURCES_MAX;

/// How a source comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A partner's webhooks.
    Broadcast,
    /// A stream of posts.
    Social,
    /// Polled values.
    Sensor,
}

/// A source's circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// It is asked.
    Closed,
    /// It is asked once, to see.
    HalfOpen,
    /// It is left alone.
    Open,
}

impl Breaker {
    /// As its metric numbers it.
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Closed,
            1 => Self::HalfOpen,
            _ => Self::Open,
        }
    }
}

/// How a source does. From worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its breaker isn't closed, or its line is cut.
    Failing,
    /// Nothing good for longer than it should take.
    Stale,
    /// Nothing was heard.
    Silent,
    /// This node doesn't ask it, and knows nothing of it.
    Resting,
    /// All is well.
    Fresh,
}

/// What is known of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFigures {
    /// Its name.
    pub name: Box<str>,
    /// How it comes in.
    pub kind: Kind,
    /// Whether it isn't this node that asks it.
    pub is_resting: bool,
    /// Whether it can't be reached now.
    pub is_failing: bool,
    /// Whether it has said anything since the start.
    pub heard: bool,
    /// Since it said something that could be used.
    pub staleness: Duration,
    /// How long that may last before it means something.
    pub quiet_max: Duration,
    /// Events of it that the log has taken.
    pub events_total: u64,
    /// Where it has one.
    pub breaker: Option<Breaker>,
}

impl SourceFigures {
    fn state(&self) -> State {
        let is_late = self.staleness > self.quiet_max;
        if self.is_resting {
            return State::Resting;
        }
        match (self.is_failing, self.heard, is_late) {
            (true, ..) => State::Failing,
            (false, false, _) => State::Silent,
            (false, true, false) => State::Fresh,
            (false, true, true) if self.kind == Kind::Sensor => State::Stale,
            (false, true, true) => State::Silent,
        }
    }
}

/// A source as the page is told of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Source {
    name: Box<str>,
    kind: Kind,
    state: State,
    /// Absent as long as nothing was heard, and where another node may hear it.
    #[serde(skip_serializing_if = "Option::is_none")]
    staleness_ms: Option<u64>,
    events_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<Breaker>,
}

/// All sources, as far as they are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sources {
    /// Worst first, [`SOURCES_MAX`] at most.
    pub(super) sources: Vec<Source>,
    /// How many there are.
    pub(super) sources_total: usize,
}

/// Remembers what was before, to tell rates.
#[derive(Default)]
pub(super) struct Rates {
    before: HashMap<(Kind, Box<str>), u64>,
}

impl Rates {
    /// What to tell of `figures`, `elapsed_s` after those before.
    pub(super) fn judge(&mut self, figures: &[SourceFigures], elapsed_s: f64) -> Sources {
        let key = |it: &SourceFigures| (it.kind, it.name.clone());
        let rate = |it: &SourceFigures| {
            let before = self.before.get(&key(it)).filter(|_| elapsed_s > 0.0);
            let fresh = before.map_or(0, |before| it.events_total.saturating_sub(*before));
            (fresh as f64 / elapsed_s.max(0.001) * 10.0).round() / 10.0
        };
        let mut sources: Vec<Source> = figures
            .iter()
            .map(|it| Source {
                name: it.name.clone(),
                kind: it.kind,
                state: it.state(),
                staleness_ms: (it.heard && !it.is_resting)
                    .then_some(it.staleness.as_millis() as u64),
                events_per_s: rate(it),
                breaker: it.breaker,
            })
            .collect();
        self.before = figures.iter().map(|it| (key(it), it.events_total)).collect();
        // Stable: sources of one state stay in the order of the configuration.
        sources.sort_by_key(|source| source.state);
        sources.truncate(SOURCES_MAX);
        Sources { sources, sources_total: figures.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensor(name: &str, staleness_s: u64, breaker: u8, events_total: u64) -> SourceFigures {
        SourceFigures {
            name: name.into(),
            kind: Kind::Sensor,
            is_resting: false,
            is_failing: breaker > 0,
            heard: events_total > 0,
            staleness: Duration::from_secs(staleness_s),
            quiet_max: Duration::from_secs(2),
            events_total,
            breaker: Some(Breaker::of(breaker)),
        }
    }

    #[test]
    fn the_worst_stand_first_and_each_says_what_ails_it() {
        let partner = SourceFigures {
            kind: Kind::Broadcast,
            quiet_max: Duration::from_secs(300),
            breaker: None,
            ..sensor("skyline", 20, 0, 10)
        };
        let quiet = SourceFigures { staleness: Duration::from_secs(301), ..partner.clone() };
        let figures = [
            partner,
            sensor("a", 0, 0, 10),
            sensor("b", 9, 0, 3),
            sensor("c", 9, 2, 3),
            quiet,
            sensor("d", 1, 0, 0),
            SourceFigures { is_resting: true, ..sensor("e", 0, 2, 10) },
        ];
        let told = Rates::default().judge(&figures, 1.0);
        let states: Vec<_> = told.sources.iter().map(|it| (&*it.name, it.state)).collect();
        assert_eq!(
            states,
            [
                ("c", State::Failing),
                ("b", State::Stale),
                ("skyline", State::Silent),
                ("d", State::Silent),
                ("e", State::Resting),
                ("skyline", State::Fresh),
                ("a", State::Fresh),
            ]
        );
        let d = told.sources.iter().find(|it| &*it.name == "d").unwrap();
        assert_eq!(d.staleness_ms, None, "nothing was heard of it");
        let e = told.sources.iter().find(|it| &*it.name == "e").unwrap();
        assert_eq!(e.staleness_ms, None, "whoever asks it knows");
    }

    #[test]
    fn rates_are_of_the_last_while_and_the_list_is_bounded() {
        let mut rates = Rates::default();
        assert_eq!(rates.judge(&[sensor("a", 0, 0, 100)], 1.0).sources[0].events_per_s, 0.0);
        assert_eq!(rates.judge(&[sensor("a", 0, 0, 105)], 2.0).sources[0].events_per_s, 2.5);
        let many: Vec<_> =
            (0..200).map(|n| sensor(&n.to_string(), if n == 199 { 9 } else { 0 }, 0, 1)).collect();
        let told = rates.judge(&many, 1.0);
        assert_eq!((told.sources.len(), told.sources_total), (SOURCES_MAX, 200));
        assert_eq!(&*told.sources[0].name, "199");
    }
}
