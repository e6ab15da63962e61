//! What one client is owed, kept the naive way: by looking at the whole log.

mod gaps;

pub(super) use gaps::GapPlace;

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchline_core::event::{Lang, Stream, StreamSet, Team, Topic};
use touchline_core::frame::{Published, Subject, payload};
use touchline_core::log::{Mark, Position, token};

use gaps::Gap;

use super::log::{LogLane, SimLog};

/// A team in a stream, from these sequences on.
struct Follow {
    team: Team,
    stream: Stream,
    /// Everything from here on is owed.
    since: Vec<u64>,
    /// From here on what the client had not named when it came back: its mark may lie below the
    /// head at which it had begun to follow.
    resumed: Vec<u64>,
}

/// What is followed, what has come, what was declared missing.
#[derive(Default)]
pub(super) struct Owed {
    follows: Vec<Follow>,
    /// What the last connection followed.
    previous: Vec<Follow>,
    /// Last positions that the client named when it came back.
    named: HashMap<Topic, u64>,
    /// All that was ever followed: a half-sent frame may still come after an unsubscribe.
    ever: Vec<(Team, Stream)>,
    pub(super) lang: Option<Lang>,
    have: HashSet<Position>,
    /// Teams that were left: who follows again is given the latest sensor values again.
    left: HashSet<Team>,
    last: HashMap<Topic, u64>,
    gaps: Vec<Gap>,
    mark: Option<Mark>,
    /// It came back from another life of the log: it must be told of, once.
    pub(super) comes_from_another_life: bool,
    /// It was told `recovered:false`: a `gap` must follow.
    awaits_gap: bool,
    /// By stream, bytes that the gaps just heard, with nothing in between, have declared lost: they
    /// were decided together, when all of it was still unsent.
    just_lost: [usize; 4],
    /// By lane: everything below has been found complete.
    checked: Vec<u64>,
    pub(super) events: u64,
    pub(super) declared: u64,
}

impl Owed {
    /// The hub has accepted a subscribe: from `from` on everything of `teams` in `streams` is owed.
    pub(super) fn follow(
        &mut self,
        teams: &[Team],
        streams: StreamSet,
        from: &Mark,
        resumes: bool,
    ) {
        if resumes {
            self.named = self.last.clone();
        }
        for team in teams {
            for stream in streams.iter() {
                self.ever.push((team.clone(), stream));
                let same = |of: &&Follow| of.team == *team && of.stream == stream;
                if self.follows.iter().any(|of| same(&of)) {
                    continue;
                }
                let before = self.previous.iter().find(same).filter(|_| resumes);
                let since = before.map_or(from.next.to_vec(), |before| before.since.clone());
                let (team, resumed) = (team.clone(), from.next.to_vec());
                self.follows.push(Follow { team, stream, since, resumed });
            }
        }
        self.checked.resize(from.next.len(), 0);
        lower(&mut self.checked, &from.next);
    }

    /// The hub has accepted an unsubscribe.
    pub(super) fn unfollow(&mut self, teams: &[Team]) {
        self.follows.retain(|follow| !teams.contains(&follow.team));
        self.left.extend(teams.iter().cloned());
    }

    /// A new connection follows nothing yet; what came before stays known. A `gap` that was under
    /// way is lost with the connection: that something is missing was said by `recovered:false`.
    pub(super) fn disconnected(&mut self) {
        self.awaits_gap = false;
        self.previous = std::mem::take(&mut self.follows);
        self.mark = None;
    }

    /// An `event` frame: followed, new, in order, whole, and with nothing silently left out before
    /// it.
    pub(super) fn event(
        &mut self,
        json: &Value,
        frame: &[u8],
        log: &SimLog,
    ) -> Result<(Topic, Position), String> {
        let event = named(json, log)?;
        if event.frame != frame {
            return Err(format!("R-: {} differs from what was encoded", label(event)));
        }
        self.take(event)?;
        self.no_silent_hole_before(event, log)?;
        Ok((event.topic.clone(), event.position))
    }

    /// A value of a snapshot.
    pub(super) fn snapshot(
        &mut self,
        json: &Value,
        log: &SimLog,
    ) -> Result<(Topic, Position), String> {
        let event = named(json, log)?;
        let text = serde_json::from_slice::<Value>(payload(&event.frame));
        if text.ok().as_ref() != Some(json) || event.topic.stream != Stream::Sensor {
            return Err(format!("R20: {} is no sensor value of the log", label(event)));
        }
        let again = self.left.iter().any(|team| event.topic.route.contains(team));
        if again {
            self.have.insert(event.position);
            self.last.insert(event.topic.clone(), event.position.seq);
        } else {
            self.take(event)?;
        }
        Ok((event.topic.clone(), event.position))
    }

    fn take(&mut self, event: &Published) -> Result<(), String> {
        let topic = &event.topic;
        if !self.wants(topic) {
            return Err(format!("R23: {} was never followed", label(event)));
        }
        if !self.have.insert(event.position) {
            return Err(format!("R4: {} came twice", label(event)));
        }
        let last = self.last.insert(topic.clone(), event.position.seq);
        if last.is_some_and(|last| last >= event.position.seq) {
            return Err(format!(
                "R25: {} came after {} of its topic",
                label(event),
                last.unwrap_or(0)
            ));
        }
        self.events += 1;
        Ok(())
    }

    fn no_silent_hole_before(&self, event: &Published, log: &SimLog) -> Result<(), String> {
        let state = &log.lanes[usize::from(event.position.lane.0)];
        let end = state.events.partition_point(|of| of.position.seq < event.position.seq);
        let before = state.events[..end].iter().rev().filter(|of| of.topic == event.topic);
        // What was complete at the last event of the topic still is: only what lies between is new.
        for missing in before.take(64) {
            if self.have.contains(&missing.position) {
                return Ok(());
            }
            if self.is_due(missing) && !self.is_accounted_for(missing, log) {
                return Err(format!("R9: {} came, but not {}", label(event), label(missing)));
            }
        }
        Ok(())
    }

    /// `subscribed`: returns the mark it carries.
    pub(super) fn subscribed(&mut self, json: &Value, log: &SimLog) -> Result<Mark, String> {
        self.mark(json, log)
    }

    /// `mark`: grows, and everything below it is here, declared or replaced.
    pub(super) fn mark(&mut self, json: &Value, log: &SimLog) -> Result<Mark, String> {
        let text = json["mark"].as_str().unwrap_or_default();
        let mark = token::decode_mark(text).map_err(|error| format!("R2: a mark {error}"))?;
        let grows =
            |before: &Mark| before.next.iter().zip(&mark.next).all(|(before, now)| before <= now);
        if !self.mark.as_ref().is_none_or(grows) {
            return Err(format!("R3: mark {:?} after {:?}", mark.next, self.mark));
        }
        self.mark = Some(mark.clone());
        self.complete_below(&mark, log)?;
        Ok(mark)
    }

    /// Asks of each event below `mark` whether it is owed still.
    pub(super) fn complete_below(&mut self, mark: &Mark, log: &SimLog) -> Result<(), String> {
        for (lane, next) in mark.next.iter().enumerate() {
            let state = &log.lanes[lane];
            let begin = self.checked.get(lane).copied().unwrap_or(0);
            let first = state.events.partition_point(|event| event.position.seq < begin);
            for event in state.events[first..].iter().take_while(|event| event.position.seq < *next)
            {
                if self.is_due(event) && !self.is_accounted_for(event, log) {
                    return Err(format!("R3: a mark is above {}, which never came", label(event)));
                }
            }
            if let Some(checked) = self.checked.get_mut(lane) {
                *checked = (*checked).max(*next);
            }
        }
        Ok(())
    }

    /// Events that no mark has found complete yet.
    fn above_checked<'a>(&self, log: &'a SimLog) -> impl Iterator<Item = &'a Published> {
        let above = |(lane, state): (usize, &'a LogLane)| {
            let begin = self.checked.get(lane).copied().unwrap_or(0);
            let first = state.events.partition_point(|event| event.position.seq < begin);
            &state.events[first..]
        };
        log.lanes.iter().enumerate().flat_map(above)
    }

    /// Whether it ever followed the topic.
    fn wants(&self, topic: &Topic) -> bool {
        let mut ever = self.ever.iter();
        self.speaks(topic)
            && ever.any(|(team, stream)| *stream == topic.stream && topic.route.contains(team))
    }

    /// What the same client is owed of the life of the log that begins at `begin`.
    pub(super) fn of_next_life(&self, begin: &Mark) -> Self {
        let begin = begin.next.to_vec();
        let follow = |of: &Follow| Follow {
            team: of.team.clone(),
            stream: of.stream,
            since: begin.clone(),
            resumed: begin.clone(),
        };
        Self {
            follows: self.follows.iter().map(follow).collect(),
            ever: self.ever.clone(),
            left: self.left.clone(),
            lang: self.lang,
            events: self.events,
            declared: self.declared,
            checked: begin,
            ..Self::default()
        }
    }

    /// The client takes `mark` for its own.
    pub(super) fn stand_at(&mut self, mark: &Mark) {
        self.mark = Some(mark.clone());
    }

    /// Bytes of `stream` that are owed and have not come, by topic: what the naive queue would
    /// hold.
    pub(super) fn unsent(&self, stream: Stream, log: &SimLog) -> HashMap<Topic, (usize, usize)> {
        let mut unsent: HashMap<Topic, (usize, usize)> = HashMap::new();
        for event in self.above_checked(log) {
            let due = event.topic.stream == stream && self.is_due(event);
            if due && !self.have.contains(&event.position) {
                let of = unsent.entry(event.topic.clone()).or_default();
                of.0 += event.frame.len();
                of.1 += 1;
            }
        }
        unsent
    }

    fn speaks(&self, topic: &Topic) -> bool {
        topic.lang.is_none() || topic.lang == self.lang
    }

    fn is_due(&self, event: &Published) -> bool {
        let Position { lane, seq } = event.position;
        let topic = &event.topic;
        self.speaks(topic)
            && self.follows.iter().any(|follow| {
                let [since, resumed] =
                    [&follow.since, &follow.resumed].map(|of| of[usize::from(lane.0)]);
                let unnamed = || self.named.get(topic).is_none_or(|named| *named < seq);
                follow.stream == topic.stream
                    && topic.route.contains(&follow.team)
                    && (since <= seq || (resumed <= seq && unnamed()))
            })
    }

    fn is_accounted_for(&self, event: &Published, log: &SimLog) -> bool {
        self.have.contains(&event.position)
            || self.gaps.iter().any(|gap| gap.covers(event))
            || log.replaced.contains(&event.position)
            || (event.topic.stream == Stream::Sensor && event.durable_at < log.stale)
    }
}

fn lower(seqs: &mut [u64], to: &[u64]) {
    seqs.iter_mut().zip(to).for_each(|(seq, to)| *seq = (*seq).min(*to));
}

fn named<'a>(json: &Value, log: &'a SimLog) -> Result<&'a Published, String> {
    let text = json["pos"].as_str().unwrap_or_default();
    let (epoch, position) =
        token::decode_position(text).map_err(|error| format!("R2: pos {error}"))?;
    let event = log.find(position).filter(|_| epoch == log.epoch);
    event.ok_or_else(|| format!("R11: no such event in the log: {json}"))
}

fn label(event: &Published) -> String {
    format!("{} at {}/{}", event.topic, event.position.lane.0, event.position.seq)
}

/// Notes in `log` which events `event`, just appended, replaces or is outdated by (R20, R21).
pub(super) fn note_replaced(log: &mut SimLog, event: &Published) {
    // Of two values with one sequence the later in the log counts, of two revisions the first.
    let (subject, order, may_repeat) = match event.subject {
        Subject::None => return,
        Subject::Update { original, rev } => (original, u64::from(rev), false),
        Subject::Sensor { key, order } => (key, order, true),
    };
    let key = (event.topic.clone(), subject);
    match log.latest.get(&key).copied() {
        Some((latest, _)) if latest > order || (latest == order && !may_repeat) => {
            log.replaced.insert(event.position);
        }
        before => {
            if let Some((_, position)) = before {
                log.replaced.insert(position);
            }
            log.latest.insert(key, (order, event.position));
        }
    }
}
