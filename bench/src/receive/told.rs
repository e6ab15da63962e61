//! What a server has said is missing: a `gap` excuses the hole that it names, and no other.
//!
//! Touchline's gaps name the first and the last position that may be missing. Clients take
//! positions for opaque; the bench is built with the server and may read them. A hole is excused by
//! a gap of its own stream, of no more events than lie between its two ends, and before the event
//! that follows it.

use serde::Deserialize;
use touchline_core::log::token::{decode_mark, decode_position};
use touchline_core::log::{Epoch, Mark, Position};

use crate::dialogue::quoted;
use crate::schedule::Stream;

/// What was told of one stream since its last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Events that may be missing, at most.
    events_max: u64,
    /// The last of them; unknown where a server doesn't say.
    to: Option<End>,
}

/// Where a gap ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    At(Epoch, Position),
    Below(Mark),
}

/// What was told of each stream.
pub type ByStream = [Option<Told>; Stream::COUNT];

/// A `gap` as it stands in a message.
#[derive(Deserialize)]
struct Gap<'m> {
    #[serde(borrow)]
    topic: Option<&'m str>,
    #[serde(borrow, default)]
    streams: Vec<&'m str>,
    from: &'m str,
    to: &'m str,
}

impl Told {
    /// A server that says no more than that not everything could be had again.
    fn anything() -> Self {
        Self { events_max: u64::MAX, to: None }
    }

    /// How many of `missing` events are excused.
    pub fn excused(&self, missing: u64) -> u64 {
        missing.min(self.events_max)
    }

    /// Whether what is missing comes after the event at `position`, so that nothing before that is
    /// excused.
    pub fn is_later_than(&self, position: Option<&[u8]>) -> bool {
        let text = position.and_then(|position| std::str::from_utf8(position).ok());
        let Some((epoch, at)) = text.and_then(|text| decode_position(text).ok()) else {
            return false;
        };
        match &self.to {
            Some(End::At(of, to)) => *of == epoch && to.lane == at.lane && to.seq >= at.seq,
            Some(End::Below(mark)) => mark.epoch == epoch && mark.next(at.lane) > at.seq,
            None => false,
        }
    }

    fn add(told: &mut Option<Self>, more: Self) {
        let before = told.take().map_or(0, |told| told.events_max);
        *told = Some(Self { events_max: before.saturating_add(more.events_max), ..more });
    }
}

/// The position of an event, for whom it has one.
pub fn position(event: &[u8]) -> Option<&[u8]> {
    quoted(event, r#""pos":""#)
}

/// Everything may be missing.
pub fn note_anything(told: &mut ByStream) {
    told.iter_mut().for_each(|told| *told = Some(Told::anything()));
}

/// Takes down what a `gap` says; one that can't be read excuses nothing.
pub fn note_gap(told: &mut ByStream, message: &[u8]) {
    let Some((streams, gap)) = read(message) else { return };
    for (stream, told) in Stream::ALL.iter().zip(told) {
        if streams.contains(&stream.as_str()) {
            Told::add(told, gap.clone());
        }
    }
}

fn read(message: &[u8]) -> Option<(Vec<&str>, Told)> {
    let gap: Gap<'_> = serde_json::from_slice(message).ok()?;
    match gap.topic {
        Some(topic) => {
            let (_, from) = decode_position(gap.from).ok()?;
            let (epoch, to) = decode_position(gap.to).ok()?;
            let events_max = (to.seq + 1).saturating_sub(from.seq);
            let to = Some(End::At(epoch, to));
            Some((vec![topic.split(':').next()?], Told { events_max, to }))
        }
        None => {
            let (from, to) = (decode_mark(gap.from).ok()?, decode_mark(gap.to).ok()?);
            // Marks of two lives of a log don't compare: nobody can say how much is missing.
            let told = if from.epoch == to.epoch {
                let passed =
                    to.next.iter().zip(&from.next).map(|(to, from)| to.saturating_sub(*from));
                Told { events_max: passed.sum(), to: Some(End::Below(to)) }
            } else {
                Told::anything()
            };
            Some((gap.streams, told))
        }
    }
}

#[cfg(test)]
mod tests {
    use touchline_core::log::Lane;
    use touchline_core::log::token::{encode_mark, encode_position};

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn pos(seq: u64) -> String {
        encode_position(EPOCH, Position { lane: Lane(0), seq })
    }

    fn gap(topic: &str, from: u64, to: u64) -> String {
        let (from, to) = (pos(from), pos(to));
        format!(r#"{{"op":"gap","topic":"{topic}","from":"{from}","to":"{to}","reason":"slow"}}"#)
    }

    #[test]
    fn a_gap_excuses_what_it_names_in_its_own_stream() {
        let mut told = ByStream::default();
        note_gap(&mut told, gap("social:t000", 5, 8).as_bytes());
        assert_eq!(told.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        let social = told[1].clone().unwrap();
        assert_eq!([2, 4, 6].map(|missing| social.excused(missing)), [2, 4, 4], "four at most");
        let is_later = |seq| social.is_later_than(Some(pos(seq).as_bytes()));
        assert!(is_later(8) && !is_later(9), "what it names lies before an event");
        assert!(!social.is_later_than(None), "at the end nothing follows");
        note_gap(&mut told, gap("social:t000", 9, 10).as_bytes());
        assert_eq!(told[1].clone().unwrap().excused(9), 6, "both");
    }

    #[test]
    fn marks_bound_a_gap_and_another_life_of_the_log_does_not() {
        let mark = |epoch, next: u64| encode_mark(&Mark { epoch, next: [next, 0].into() });
        let gap = |from: String, to: String| {
            let mut told = ByStream::default();
            let text =
                format!(r#"{{"op":"gap","streams":["broadcast"],"from":"{from}","to":"{to}"}}"#);
            note_gap(&mut told, text.as_bytes());
            assert!(told[1].is_none() && told[2].is_none());
            told[0].clone().unwrap()
        };
        let told = gap(mark(EPOCH, 10), mark(EPOCH, 13));
        let is_later = |seq| told.is_later_than(Some(pos(seq).as_bytes()));
        assert_eq!((told.excused(9), is_later(13), is_later(12)), (3, false, true));
        let told = gap(mark(Epoch(3), 900), mark(EPOCH, 1));
        assert_eq!(told.excused(9), 9);
    }

    #[test]
    fn a_gap_that_can_not_be_read_excuses_nothing() {
        let mut told = ByStream::default();
        for text in [
            r#"{"op":"gap","topic":"broadcast:t000","reason":"slow"}"#,
            r#"{"op":"gap","topic":"broadcast:t000","from":"x","to":"y"}"#,
            r#"{"op":"gap""#,
        ] {
            note_gap(&mut told, text.as_bytes());
        }
        assert_eq!(told, ByStream::default());
    }
}
