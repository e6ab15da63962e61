//! What the simulation holds the journal against: the oracle's side.

use std::collections::HashMap;

use rand::Rng;
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Outcome, Position};
use touchline_core::time::Timestamp;
use touchline_store::journal::OpenReport;
use touchline_store::journal::engine::Append;
use touchline_store::journal::view::Mode;

use super::{Sent, WINDOW_S, World};

impl World {
    pub(super) fn check_verdict(
        &mut self,
        append: &Append,
        verdict: Result<Vec<Outcome>, AppendError>,
        before: u64,
        mode: Mode,
    ) {
        match verdict {
            Ok(outcomes) => {
                assert_eq!(mode, Mode::Writable, "only a writable log takes anything");
                for (event, outcome) in append.events.iter().zip(outcomes) {
                    self.check_outcome(event, outcome, before);
                }
            }
            Err(AppendError::IdReused(at)) => {
                assert!(!at.is_empty());
                for index in at {
                    let event = &append.events[index];
                    let first = &self.sent[self.by_id[&*event.id]];
                    let odd = event.data != first.event.data;
                    assert!(
                        odd || append.events.len() > 1 || first.acked.is_none() || self.damaged
                    );
                }
            }
            Err(AppendError::DiskFull) => assert_ne!(mode, Mode::ReadOnly),
            Err(AppendError::Unknown(_)) => {
                assert_eq!(self.engine().shared().mode(), Mode::ReadOnly, "R13");
            }
            Err(AppendError::ReadOnly) => assert_eq!(mode, Mode::ReadOnly),
            Err(other) => panic!("{other}"),
        }
    }

    pub(super) fn check_outcome(&mut self, event: &Event, outcome: Outcome, before: u64) {
        let n = self.by_id[&*event.id];
        match outcome {
            Outcome::Accepted(Position { seq, .. }) => {
                assert!(seq >= before, "positions only grow");
                let lost = self.damaged;
                assert!(self.sent[n].acked.is_none() || lost, "{} taken twice", event.id);
                // An id that nobody was told about may come to mean something else.
                self.sent[n] = Sent { event: event.clone(), acked: Some(seq) };
                self.taken_at.insert(seq, self.now);
            }
            Outcome::Duplicate => {
                let same = self.sent[n].event.data == event.data;
                assert!(same || self.sent[n].acked.is_none(), "a duplicate says the same");
                let (engine, now) = (self.engine.as_ref().unwrap(), self.now);
                let there = self.shown.values().any(|shown| *shown == n);
                let kept = engine.shared().first() > 0 || there || self.sent[n].acked.is_some();
                assert!(kept, "{} is called a duplicate at {now:?} and isn't there", event.id);
            }
            Outcome::Spooled => unreachable!("a journal gives positions"),
            Outcome::TooOld => {
                let age = self.now.0 - event.occurred_at.0;
                assert!(age > (WINDOW_S - 300) * 1_000_000, "{} is too old at {age}", event.id);
            }
        }
    }

    /// Retention never cuts into the window (R16).
    pub(super) fn check_retention(&mut self) {
        let first = self.engine().shared().first();
        let window = Timestamp(self.now.0 - WINDOW_S * 1_000_000);
        let young = self.taken_at.iter().find(|(_, at)| **at > window);
        if let Some((seq, _)) = young {
            assert!(first <= *seq, "retention removed {seq}, which is in the window");
        }
    }

    pub(super) fn check_life(&mut self, report: &OpenReport) {
        let nothing_yet = self.shown.is_empty();
        if let (Some(known), false, false) = (self.epoch, nothing_yet, self.damaged) {
            assert_eq!(report.epoch, Some(known), "{report:?}");
        }
        self.epoch = report.epoch;
        assert!(self.damaged || report.quarantined.is_empty(), "{report:?}");
    }

    /// Everything that was acknowledged or shown is there, once.
    pub(super) fn check_all(&mut self) {
        let shared = self.engine().shared().clone();
        let mut at = shared.first();
        let before = self.shown.clone();
        self.shown.clear();
        while at < shared.next() {
            at = self.read_from(at, 30_000);
        }
        let now = std::mem::take(&mut self.shown);
        let first = shared.first();
        for (seq, n) in before.range(first..) {
            let there = now.get(seq) == Some(n);
            assert!(there || self.damaged && !now.contains_key(seq), "{seq} was shown and is gone");
        }
        let mut seen = HashMap::new();
        for (seq, n) in &now {
            let earlier = seen.insert(*n, *seq);
            assert!(earlier.is_none() || self.damaged, "{n} is there twice: {earlier:?} and {seq}");
        }
        for (n, sent) in self.sent.iter().enumerate() {
            if let Some(seq) = sent.acked.filter(|seq| *seq >= first && !self.damaged) {
                assert_eq!(now.get(&seq), Some(&n), "{} was acknowledged", sent.event.id);
            }
        }
        self.shown = before;
        self.shown.extend(now);
    }

    /// The window knows everything young that is in the log.
    pub(super) fn check_dedupe(&mut self) {
        let window = Timestamp(self.now.0 - (WINDOW_S - 10) * 1_000_000);
        let first = self.engine().shared().first();
        let young: Vec<usize> = self
            .shown
            .range(first..)
            .filter(|(seq, _)| self.taken_at[seq] > window)
            .map(|(_, n)| *n)
            .collect();
        let writable = self.engine().shared().mode() == Mode::Writable;
        if self.damaged || young.is_empty() || !writable || self.rng.random_bool(0.5) {
            return;
        }
        let (now, from) = (self.now, young.len().saturating_sub(200));
        for n in &young[from..] {
            let events = vec![self.sent[*n].event.clone()];
            let commit =
                self.engine().commit(vec![Append { events, received_at: now, is_again: false }]);
            let verdict = commit.verdicts.into_iter().next().unwrap();
            assert_eq!(verdict, Ok(vec![Outcome::Duplicate]), "{} after a restart", n);
        }
    }

    /// A read-only log shows what is durable and nothing of the group that failed (R13).
    pub(super) fn check_nothing_more_is_shown(&mut self) {
        let next = self.engine().shared().next();
        assert_eq!(self.read_from(next, 1_000), next);
    }
}
