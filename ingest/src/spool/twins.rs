//! What an old spool may repeat.
//!
//! The log swallows a repeat within its dedupe window (R17). An event that waited in the spool for
//! longer than that may have a twin beyond it: another node took the same delivery, or our own
//! append was answered "unknown" just before the brokers went away. So before old events are handed
//! on, the log itself is asked what it holds since a window before they were received: for each
//! lane, and only then; and not before this node has read as far as the lane reaches. With what is
//! found its content is kept: what says something else under a known id is no repeat (R15).
//!
//! What comes after a lane was asked is for the log's window, so an answer holds for less than a
//! window; then the lane is asked anew. It matters where brokers take long to take anything: they
//! may have kept what they answered "unknown" of.
//!
//! # Memory
//! A log may hold any number of events, so none of it is kept but what the spool has to ask about:
//! what waits there is read first, and a lane of the log is then held against it, once. Of a spool
//! with more than [`SPOOL_TWINS_MAX`] events that many are looked for at a time, from the next one
//! on; the log is read again for each such part, and always to its end. What enters the spool after
//! it was read comes with the next part, if it has become old by its turn; mostly it hasn't.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchline_core::event::{Content, Event, Identity};
use touchline_core::log::{Lane, LaneBounds, Record};
use touchline_core::time::Timestamp;

use super::Shared;
use super::asking::{read, until};
use crate::limits::{SPOOL_TWINS_MAX, TOO_OLD_MARGIN};

/// How long the log may take to learn how far a lane reaches, and to read up to there.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// After so long it is asked to look once more: a round of all lanes may not have come to this one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is handed on next.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub shared: &'a Shared,
    /// Where it stands in the spool, or below that.
    pub from: u64,
    pub events: &'a [Event],
    pub received_at: Timestamp,
}

/// What the log knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    No,
    /// It has it.
    Same,
    /// It has other content under its id.
    Other,
}

/// A part of the spool, and what the log has of it.
#[derive(Debug)]
pub(super) struct Twins {
    lanes: HashMap<Lane, Wanted>,
    /// How many events of the spool are looked for at a time.
    events_max: usize,
}

/// What is looked for in one lane.
#[derive(Debug)]
struct Wanted {
    /// What came before is of no interest.
    since: Timestamp,
    /// When the lane was asked, if it was.
    asked_at: Option<Timestamp>,
    /// Of each identity the first copy that was found.
    found: HashMap<Identity, Option<Content>>,
}

/// With a byte of the table's own it is what the limit reckons with.
const _: () = assert!(size_of::<(Identity, Option<Content>)>() == 32);

impl Default for Twins {
    fn default() -> Self {
        Self::new(SPOOL_TWINS_MAX)
    }
}

impl Twins {
    pub fn new(events_max: usize) -> Self {
        Self { lanes: HashMap::new(), events_max }
    }

    /// The next question is asked anew.
    pub fn forget(&mut self) {
        self.lanes.clear();
    }

    /// What the log holds of `event`, which is one of the group; or did when it was last asked.
    pub fn look(&mut self, group: Group<'_>, event: &Event) -> Result<Known, String> {
        let (lane, identity) = (group.shared.lane(event), event.identity());
        let is_looked_for = |it: &Wanted| it.found.contains_key(&identity);
        if !self.lanes.get(&lane).is_some_and(is_looked_for) {
            self.lanes.clear();
            self.lanes = self.gather(group)?;
        }
        let wanted = self.lanes.get_mut(&lane).ok_or("it is no event of its group")?;
        let now = (group.shared.options.clock)();
        let holds_for = group.shared.window(event).saturating_sub(TOO_OLD_MARGIN);
        if !wanted.is_answered(now, holds_for) {
            wanted.ask(group.shared, lane, now)?;
        }
        Ok(match wanted.found.get(&identity) {
            Some(Some(content)) if *content == event.content() => Known::Same,
            Some(Some(_)) => Known::Other,
            _ => Known::No,
        })
    }

    /// The group, and what follows it in the spool: as much as may be looked for at a time, and
    /// what one read brings beyond that.
    fn gather(&self, group: Group<'_>) -> Result<HashMap<Lane, Wanted>, String> {
        let (shared, mut lanes) = (group.shared, HashMap::new());
        group.events.iter().for_each(|it| want(shared, &mut lanes, it, group.received_at));
        let (mut from, mut events) = (group.from, 0);
        while events < self.events_max {
            let chunk = read(&*shared.spool, Lane(0), from, &shared.is_closing)?;
            for Record { event, received_at, .. } in &chunk.records {
                want(shared, &mut lanes, event, *received_at);
            }
            if chunk.next == from {
                break;
            }
            (from, events) = (chunk.next, events + chunk.records.len());
        }
        Ok(lanes)
    }
}

/// From now on `event` is looked for.
fn want(shared: &Shared, lanes: &mut HashMap<Lane, Wanted>, event: &Event, received_at: Timestamp) {
    // What happened up to a window before it was received may have been taken since then.
    let since = received_at.minus(shared.window(event) * 2);
    let fresh = || Wanted { since, asked_at: None, found: HashMap::new() };
    let wanted = lanes.entry(shared.lane(event)).or_insert_with(fresh);
    wanted.since = wanted.since.min(since);
    wanted.found.entry(event.identity()).or_default();
}

impl Wanted {
    /// A clock that was set back makes an answer as worthless as one that went on.
    fn is_answered(&self, now: Timestamp, holds_for: Duration) -> bool {
        self.asked_at.is_some_and(|at| at <= now && at.plus(holds_for) > now)
    }

    /// Reads all of `lane` that may hold a twin.
    fn ask(&mut self, shared: &Shared, lane: Lane, now: Timestamp) -> Result<(), String> {
        self.asked_at = None;
        catch_up(shared, lane)?;
        let bounds = bounds(shared, lane);
        let mut from = first_since(shared, lane, self.since, bounds)?;
        while from < bounds.next {
            let chunk = read(&*shared.log, lane, from, &shared.is_closing)?;
            for Record { event, .. } in &chunk.records {
                if let Some(found) = self.found.get_mut(&event.identity()) {
                    found.get_or_insert_with(|| event.content());
                }
            }
            if chunk.next == from {
                // Whatever stands behind that may be a twin.
                return Err("the log can't be read as far as it says that it reaches".into());
            }
            from = chunk.next;
        }
        self.asked_at = Some(now);
        Ok(())
    }
}

fn bounds(shared: &Shared, lane: Lane) -> LaneBounds {
    shared.log.bounds().lanes.get(usize::from(lane.0)).copied().unwrap_or_default()
}

/// Waits until this node has read as far as `lane` reaches by now, others' events included.
fn catch_up(shared: &Shared, lane: Lane) -> Result<(), String> {
    let (log, is_closing) = (&*shared.log, &shared.is_closing);
    let begun = log.looks(lane).begun;
    let is_known = || log.looks(lane).answered > begun || log.health().is_err();
    let late_at = Instant::now() + CATCH_UP_MAX;
    loop {
        if !log.look_ahead() {
            return Ok(());
        }
        if until(is_known, LOOK_AGAIN, is_closing)? {
            break;
        }
        if Instant::now() >= late_at {
            return Err("brokers don't say how far a partition reaches".into());
        }
    }
    let end = bounds(shared, lane).end;
    let has_read = || bounds(shared, lane).next >= end || log.health().is_err();
    if !until(has_read, CATCH_UP_MAX, is_closing)? {
        return Err("this node has yet to read what others wrote meanwhile".into());
    }
    log.health().map_err(|error| error.to_string())
}

/// The first sequence received at `since` or later, by halving. Times aren't quite in order (clocks
/// of nodes differ, and what was spooled comes late), so the youngest of a whole chunk is what
/// counts.
fn first_since(
    shared: &Shared,
    lane: Lane,
    since: Timestamp,
    bounds: LaneBounds,
) -> Result<u64, String> {
    let (mut low, mut high) = (bounds.first, bounds.next);
    while low < high {
        let middle = low + (high - low) / 2;
        let chunk = read(&*shared.log, lane, middle, &shared.is_closing)?;
        match chunk.records.iter().map(|record| record.received_at).max() {
            Some(youngest) if youngest < since => low = chunk.next,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use touchline_core::log::EventLog as _;

    use super::*;
    use crate::spool::lock;
    use crate::spool::testing::{Mood, SECOND_US, START, Stage, event};

    fn numbered(from: usize, count: usize) -> Vec<Event> {
        (from..from + count).map(|n| event(&n.to_string(), "ars")).collect()
    }

    /// Looks for events that stand in the spool from `from` on.
    fn look(twins: &mut Twins, shared: &Shared, from: usize, events: &[Event]) -> Vec<Known> {
        let group = Group { shared, from: from as u64, events, received_at: START };
        events.iter().map(|event| twins.look(group, event).unwrap()).collect()
    }

    #[test]
    fn whatever_the_log_holds_its_newest_record_is_found_and_none_of_it_is_kept() {
        let stage = Stage::new();
        let spooled = stage.open();
        stage.log.set(Mood::Away);
        stage.append(&spooled, &numbered(0, 2)).unwrap();
        spooled.close();
        stage.log.set(Mood::Takes);
        // As another node took it meanwhile, long after a hundred others.
        stage.log.forgets(&numbered(100, 100), START);
        stage.log.forgets(&[event("1", "ars")], Timestamp(START.0 + SECOND_US));
        let (mut twins, shared) = (Twins::new(2), &spooled.shared);
        shared.is_closing.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(look(&mut twins, shared, 0, &numbered(0, 2)), [Known::No, Known::Same]);
        let kept: usize = twins.lanes.values().map(|it| it.found.len()).sum();
        assert_eq!(kept, 2, "as much as the spool holds");
        let other = Event { kind: "other".into(), ..event("1", "ars") };
        assert_eq!(look(&mut twins, shared, 0, &[other]), [Known::Other]);
    }

    #[test]
    fn a_spool_larger_than_is_looked_for_at_a_time_is_looked_for_in_parts() {
        let stage = Stage::new();
        let spooled = stage.open();
        stage.log.set(Mood::Away);
        let events = numbered(0, 12);
        stage.append(&spooled, &events).unwrap();
        spooled.close();
        stage.log.set(Mood::Takes);
        stage.log.forgets(&events, START);
        let (mut twins, shared) = (Twins::new(5), &spooled.shared);
        shared.is_closing.store(false, std::sync::atomic::Ordering::Relaxed);
        let mut reads = Vec::new();
        for (n, event) in events.iter().enumerate() {
            let before = lock(&stage.log.inner).reads;
            let known = look(&mut twins, shared, n, std::slice::from_ref(event));
            assert_eq!(known, [Known::Same], "{n}");
            if lock(&stage.log.inner).reads > before {
                reads.push(n);
            }
            assert!(twins.lanes.values().all(|it| it.found.len() <= 6), "two reads of three");
        }
        assert_eq!(reads, [0, 6], "the log is read once for each part");
        assert_eq!(stage.log.bounds().lanes[0].end, 12, "and nothing else");
    }
}
