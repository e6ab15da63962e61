//! What one client is owed, kept the naive way: by looking at the whole log.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchline_core::event::{Lang, Stream, StreamSet, Team, Topic};
use touchline_core::frame::{Published, Subject, payload};
use touchline_core::log::{Lane, Mark, Position, token};

use super::log::SimLog;

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

enum Gap {
    Topic { topic: Topic, from: u64, to: u64 },
    Teams { teams: Vec<Team>, streams: StreamSet, from: Vec<u64>, next: Vec<u64> },
}

/// What a client keeps of a gap (R9).
pub(super) enum GapPlace {
    Topic(Topic, Position),
    Mark(Mark),
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

    /// A new connection follows nothing yet; what came before stays known.
    pub(super) fn disconnected(&mut self) {
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
        let wanted = self.ever.iter().any(|(team, stream)| {
            *stream == topic.stream && topic.route.contains(team) && self.speaks(topic)
        });
        if !wanted {
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

    /// `gap`: believed, unless it is one that must not be.
    pub(super) fn gap(&mut self, json: &Value) -> Result<GapPlace, String> {
        self.declared += 1;
        let text = |name: &str| json[name].as_str().unwrap_or_default();
        if let Some(topic) = json["topic"].as_str() {
            let topic = Topic::parse(topic).map_err(|error| format!("R9: topic {error}"))?;
            if topic.stream == Stream::Broadcast && text("reason") == "slow" {
                return Err("broadcast is never skipped for slowness, it is closed".into());
            }
            let [from, to] = [text("from"), text("to")].map(token::decode_position);
            let (Ok((_, from)), Ok((_, to))) = (from, to) else {
                return Err(format!("R9: a gap without positions: {json}"));
            };
            if self
                .have
                .iter()
                .any(|of| of.lane == to.lane && (from.seq..=to.seq).contains(&of.seq))
            {
                let seqs = from.seq..=to.seq;
                if self.last.get(&topic).is_some_and(|last| seqs.contains(last)) {
                    return Err(format!("R9: gap {seqs:?} of {topic} was received already"));
                }
            }
            let known = self.last.entry(topic.clone()).or_insert(to.seq);
            *known = (*known).max(to.seq);
            self.gaps.push(Gap::Topic { topic: topic.clone(), from: from.seq, to: to.seq });
            return Ok(GapPlace::Topic(topic, to));
        }
        let names = |name: &str| {
            let values = json[name].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let teams = names("teams").iter().filter_map(|name| Team::new(name).ok()).collect();
        let streams = names("streams").iter().filter_map(|name| Stream::parse(name)).collect();
        let [from, to] = [text("from"), text("to")].map(token::decode_mark);
        let (Ok(from), Ok(to)) = (from, to) else {
            return Err(format!("R9: a gap without marks: {json}"));
        };
        let from =
            if text("reason") == "epoch" { vec![0; to.next.len()] } else { from.next.to_vec() };
        self.gaps.push(Gap::Teams { teams, streams, from, next: to.next.to_vec() });
        Ok(GapPlace::Mark(to))
    }

    /// Bytes of `stream` that are owed and have not come, by topic: what the naive queue would
    /// hold.
    pub(super) fn unsent(&self, stream: Stream, log: &SimLog) -> HashMap<Topic, (usize, usize)> {
        let mut unsent: HashMap<Topic, (usize, usize)> = HashMap::new();
        for (lane, state) in log.lanes.iter().enumerate() {
            let begin = self.checked.get(lane).copied().unwrap_or(0);
            let first = state.events.partition_point(|event| event.position.seq < begin);
            for event in &state.events[first..] {
                let due = event.topic.stream == stream && self.is_due(event);
                if due && !self.have.contains(&event.position) {
                    let of = unsent.entry(event.topic.clone()).or_default();
                    of.0 += event.frame.len();
                    of.1 += 1;
                }
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

impl Gap {
    fn covers(&self, event: &Published) -> bool {
        let Position { lane: Lane(lane), seq } = event.position;
        match self {
            Self::Topic { topic, from, to } => {
                *topic == event.topic && (*from..=*to).contains(&seq)
            }
            Self::Teams { teams, streams, from, next } => {
                let lane = usize::from(lane);
                let within =
                    from.get(lane).zip(next.get(lane)).is_some_and(|(f, n)| *f <= seq && seq < *n);
                within
                    && streams.contains(event.topic.stream)
                    && teams.iter().any(|team| event.topic.route.contains(team))
            }
        }
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
    let (subject, order) = match event.subject {
        Subject::None => return,
        Subject::Update { original, rev } => (original, u64::from(rev)),
        Subject::Sensor { key, order } => (key, order),
    };
    let key = (event.topic.clone(), subject);
    match log.latest.get(&key).copied() {
        Some((latest, _)) if latest >= order => {
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
