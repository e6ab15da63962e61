//! Duplicates as of places far back, kept for whoever goes on there.
//!
//! A [`Scout`] knows what its lane held within W before `next`, and so judges what follows (R17).
//! Making one costs a window's records; the next read mostly goes on where the last one ended.
//!
//! # What they may hold
//! [`SCOUTS_MAX`] at most, and together no more entries than the windows of all lanes may
//! (`log.dedupe_entries_max`), but for the one that was used last. Who isn't asked for
//! [`SCOUT_IDLE_MAX`] is let go.

use std::time::{Duration, Instant};

use touchline_core::log::Lane;

use super::judge::Judge;
use crate::limits::{SCOUT_IDLE_MAX, SCOUTS_MAX};

/// A lane's duplicates as of some position.
pub(super) struct Scout {
    pub lane: Lane,
    /// All within W before it has been judged.
    pub next: u64,
    pub judge: Judge,
}

impl Scout {
    /// One that has yet to read from `next` on.
    pub fn new(lane: Lane, next: u64, window: Duration) -> Self {
        Self { lane, next, judge: Judge::new(window) }
    }
}

/// Those that are kept, with the times at which they were used; the last used comes last.
pub(super) struct Scouts {
    kept: Vec<(Scout, Instant)>,
    entries_max: usize,
}

impl Scouts {
    pub fn new(entries_max: usize) -> Self {
        Self { kept: Vec::new(), entries_max }
    }

    /// The one of `lane` that stands nearest to `seq`, from `from` up to it. One that stands
    /// further back would have to read more than a new one.
    pub fn take(&mut self, lane: Lane, from: u64, seq: u64) -> Option<Scout> {
        let fits = |scout: &Scout| scout.lane == lane && (from..=seq).contains(&scout.next);
        let fitting = self.kept.iter().enumerate().filter(|(_, (scout, _))| fits(scout));
        let (nearest, _) = fitting.max_by_key(|(_, (scout, _))| scout.next)?;
        Some(self.kept.remove(nearest).0)
    }

    /// Keeps one that was used just now.
    pub fn keep(&mut self, scout: Scout, now: Instant) {
        self.kept.push((scout, now));
        while self.kept.len() > 1
            && (self.kept.len() > SCOUTS_MAX || self.entries() > self.entries_max)
        {
            self.kept.remove(0);
        }
    }

    /// Lets go of those that nobody goes on with.
    pub fn forget_idle(&mut self, now: Instant) {
        self.kept.retain(|(_, used_at)| now.duration_since(*used_at) < SCOUT_IDLE_MAX);
    }

    fn entries(&self) -> usize {
        self.kept.iter().map(|(scout, _)| scout.judge.entries()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::event::{Content, Identity};

    const LANE: Lane = Lane(3);

    /// One that has read as many records as it stands at.
    fn scout(next: u64) -> Scout {
        let mut scout = Scout::new(LANE, next, Duration::from_secs(3_600));
        for n in 0..next {
            scout.judge.is_first(0, Identity(u128::from(n) << 64 | 1), Content(0));
        }
        scout
    }

    fn kept(scouts: &Scouts) -> Vec<u64> {
        scouts.kept.iter().map(|(scout, _)| scout.next).collect()
    }

    #[test]
    fn one_that_stands_further_back_than_the_window_is_left_where_it_is() {
        let (mut scouts, now) = (Scouts::new(1_000), Instant::now());
        [10, 40, 60, 90].into_iter().for_each(|next| scouts.keep(scout(next), now));
        let mut take = |lane, from, seq| scouts.take(lane, from, seq).map(|it| it.next);
        assert_eq!(take(LANE, 20, 30), None, "10 would read 20 records where 10 are enough");
        assert_eq!(take(Lane(4), 0, 100), None, "another lane's");
        assert_eq!(take(LANE, 20, 80), Some(60), "the nearest");
        assert_eq!(take(LANE, 40, 80), Some(40), "at the window's beginning");
        assert_eq!(take(LANE, 90, 90), Some(90), "who goes on where it ended");
        assert_eq!(kept(&scouts), [10]);
    }

    #[test]
    fn what_they_hold_is_bounded_and_let_go_when_nobody_asks() {
        let (mut scouts, begin) = (Scouts::new(100), Instant::now());
        let later = |s| begin + Duration::from_secs(s);
        [10, 30, 60].into_iter().for_each(|next| scouts.keep(scout(next), later(next)));
        assert_eq!(kept(&scouts), [10, 30, 60]);
        scouts.keep(scout(40), later(60));
        assert_eq!(kept(&scouts), [60, 40], "the least lately used make room");
        scouts.keep(scout(101), later(61));
        assert_eq!(kept(&scouts), [101], "the last one stays, however much it holds");
        (0..20).for_each(|_| scouts.keep(scout(1), later(62)));
        assert_eq!(scouts.kept.len(), SCOUTS_MAX);
        scouts.keep(scout(2), later(100));
        scouts.forget_idle(later(121));
        assert_eq!(scouts.kept.len(), SCOUTS_MAX);
        scouts.forget_idle(later(122));
        assert_eq!(kept(&scouts), [2]);
        scouts.forget_idle(later(160));
        assert!(kept(&scouts).is_empty());
    }
}
