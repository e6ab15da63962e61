//! One wheel for all the timers of a shard.
//!
//! Each session has at most one timer: the shard keeps several deadlines for a session (pong,
//! heartbeat, stall, close) and sets the earliest. A timer is twelve bytes in a table that runs
//! parallel to the sessions, linked into the slot of its tick, so setting, moving and cancelling
//! touch two neighbours and allocate nothing.
//!
//! # Invariants
//! - A timer never fires early. It fires at the first [`poll`](Wheel::poll) at or after its tick's
//!   end, less than one [`TICK`] late by the wheel's own doing.
//! - A timer that lies further ahead than the wheel reaches stays in its slot for another round:
//!   the slot is looked at, the timer is left.
//!
//! # What it leaves out
//! The clock (the caller passes `now`) and what a timer means.

use std::time::Duration;

use touchline_core::time::Monotonic;

use crate::limits::WHEEL_SLOTS;

/// The wheel's step: the precision of every timeout.
pub const TICK: Duration = Duration::from_millis(50);
const TICK_NS: u64 = TICK.as_nanos() as u64;
const NONE: u32 = u32::MAX;
const WORDS: usize = WHEEL_SLOTS / 64;

#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
    /// The tick at which it fires; zero when it isn't set.
    due: u32,
}

const UNSET: Link = Link { prev: NONE, next: NONE, due: 0 };

/// Timers by index.
pub struct Wheel {
    started: Monotonic,
    /// The last tick that has been polled.
    tick: u32,
    heads: Box<[u32; WHEEL_SLOTS]>,
    /// One bit for each slot that isn't empty.
    occupied: [u64; WORDS],
    links: Vec<Link>,
}

impl Wheel {
    /// An empty wheel that starts at `now`, for indices below `capacity` (more are allowed, but
    /// move the table).
    pub fn new(now: Monotonic, capacity: usize) -> Self {
        Self {
            started: now,
            tick: 0,
            heads: Box::new([NONE; WHEEL_SLOTS]),
            occupied: [0; WORDS],
            links: Vec::with_capacity(capacity),
        }
    }

    /// Sets the timer of `index` to `at`, whatever it was before. A time that has passed fires at
    /// the next tick.
    pub fn set(&mut self, index: u32, at: Monotonic) {
        if self.links.len() <= index as usize {
            self.links.resize(index as usize + 1, UNSET);
        }
        let due = self.tick_at_or_after(at).max(self.tick + 1);
        if self.links[index as usize].due == due {
            return;
        }
        self.cancel(index);
        let slot = due as usize % WHEEL_SLOTS;
        let head = std::mem::replace(&mut self.heads[slot], index);
        if head != NONE {
            self.links[head as usize].prev = index;
        }
        self.links[index as usize] = Link { prev: NONE, next: head, due };
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Sets the timer of `index` to `at` unless it fires earlier anyway.
    pub fn set_no_later(&mut self, index: u32, at: Monotonic) {
        let due = self.links.get(index as usize).map_or(0, |link| link.due);
        if due == 0 || self.tick_at_or_after(at) < due {
            self.set(index, at);
        }
    }

    /// Takes the timer of `index` away.
    pub fn cancel(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(index as usize) else { return };
        let Link { prev, next, due } = std::mem::replace(link, UNSET);
        if due == 0 {
            return;
        }
        let slot = due as usize % WHEEL_SLOTS;
        match prev {
            NONE => self.heads[slot] = next,
            prev => self.links[prev as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        if self.heads[slot] == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// Moves to `now` and adds the indices whose timers have fired to `fired`.
    pub fn poll(&mut self, now: Monotonic, fired: &mut Vec<u32>) {
        let target = u32::try_from(now.since(self.started).as_nanos() as u64 / TICK_NS)
            .unwrap_or(u32::MAX - 1);
        // After a long sleep one round is enough: it passes every slot.
        let steps = (target.saturating_sub(self.tick) as usize).min(WHEEL_SLOTS);
        for step in 1..=steps {
            let slot = (self.tick as usize + step) % WHEEL_SLOTS;
            let mut at = self.heads[slot];
            while at != NONE {
                let Link { next, due, .. } = self.links[at as usize];
                if due <= target {
                    self.cancel(at);
                    fired.push(at);
                }
                at = next;
            }
        }
        self.tick = self.tick.max(target);
    }

    /// When to poll next: no timer fires before. `None` when none is set.
    pub fn next_poll(&self) -> Option<Monotonic> {
        let start = (self.tick as usize + 1) % WHEEL_SLOTS;
        let ahead = (0..=WORDS).find_map(|n| {
            let word = (start / 64 + n) % WORDS;
            let bits = match n {
                0 => self.occupied[word] >> (start % 64) << (start % 64),
                _ => self.occupied[word],
            };
            let slot = word * 64 + bits.trailing_zeros() as usize;
            (bits != 0).then_some((slot + WHEEL_SLOTS - start) % WHEEL_SLOTS)
        })?;
        let tick = u64::from(self.tick) + 1 + ahead as u64;
        Some(Monotonic(self.started.0 + tick * TICK_NS))
    }

    fn tick_at_or_after(&self, at: Monotonic) -> u32 {
        let ns = at.since(self.started).as_nanos() as u64;
        u32::try_from(ns.div_ceil(TICK_NS)).unwrap_or(u32::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const START: Monotonic = Monotonic(1_000_000_007);

    fn at(ms: u64) -> Monotonic {
        START + Duration::from_millis(ms)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        SetNoLater(u32, u64),
        Cancel(u32),
        Sleep(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let index = 0..12u32;
        let ahead = prop_oneof![4 => 0..2_000u64, 1 => 0..90_000u64];
        let step = prop_oneof![
            4 => (index.clone(), ahead.clone()).prop_map(|(i, ms)| Step::Set(i, ms)),
            2 => (index.clone(), ahead.clone()).prop_map(|(i, ms)| Step::SetNoLater(i, ms)),
            1 => index.prop_map(Step::Cancel),
            4 => ahead.prop_map(Step::Sleep),
        ];
        prop::collection::vec(step, 0..120)
    }

    fn tick_of(ms: u64) -> u64 {
        ms.div_ceil(50)
    }

    proptest! {
        #[test]
        fn timers_fire_as_a_sorted_list_says(steps in steps()) {
            let mut wheel = Wheel::new(START, 4);
            let mut oracle: BTreeMap<u32, u64> = BTreeMap::new();
            let (mut now, mut polled) = (0, 0);
            for step in steps {
                match step {
                    Step::Set(index, ahead) => {
                        wheel.set(index, at(now + ahead));
                        oracle.insert(index, tick_of(now + ahead).max(polled + 1));
                    }
                    Step::SetNoLater(index, ahead) => {
                        wheel.set_no_later(index, at(now + ahead));
                        let due = tick_of(now + ahead).max(polled + 1);
                        oracle.entry(index).and_modify(|old| *old = due.min(*old)).or_insert(due);
                    }
                    Step::Cancel(index) => {
                        wheel.cancel(index);
                        oracle.remove(&index);
                    }
                    Step::Sleep(ms) => {
                        now += ms;
                        polled = now / 50;
                        let mut fired = Vec::new();
                        wheel.poll(at(now), &mut fired);
                        fired.sort_unstable();
                        let due = |(index, due): (&u32, &u64)| (*due <= polled).then_some(*index);
                        let want: Vec<_> = oracle.iter().filter_map(due).collect();
                        prop_assert_eq!(fired, want);
                        oracle.retain(|_, due| *due > polled);
                    }
                }
                let next = wheel.next_poll().map(|next| next.since(START).as_millis() as u64);
                let want = oracle.values().min().map(|due| due * 50);
                prop_assert_eq!(next.is_some(), want.is_some());
                if let (Some(next), Some(want)) = (next, want) {
                    prop_assert!(next <= want, "would oversleep: {next} for {want}");
                    let far = oracle.values().any(|due| due - polled > WHEEL_SLOTS as u64);
                    prop_assert!(next == want || far, "wakes for nothing: {next} for {want}");
                }
            }
        }
    }

    #[test]
    fn a_timer_of_an_idle_session_is_twelve_bytes() {
        assert_eq!(size_of::<Link>(), 12);
    }
}
