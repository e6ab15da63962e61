//! What a `gap` declares, and whether it may: it is believed if this world has given it a cause.

use serde_json::Value;
use touchline_core::event::{Stream, StreamSet, Team, Topic};
use touchline_core::frame::Published;
use touchline_core::log::{HoleReason, Lane, Mark, Position, token};

use super::super::causes::{self, Grounds};
use super::super::log::SimLog;
use super::Owed;

pub(super) enum Gap {
    Topic { topic: Topic, from: u64, to: u64 },
    Teams { teams: Vec<Team>, streams: StreamSet, from: Vec<u64>, next: Vec<u64> },
}

/// What a client keeps of a gap (R9).
pub(in crate::sim) enum GapPlace {
    Topic(Topic, Position),
    Mark(Mark),
}

impl Owed {
    /// Whatever follows `recovered:false` must say what is missing.
    pub(in crate::sim) fn expects(&mut self, json: &Value) -> Result<(), String> {
        if std::mem::take(&mut self.awaits_gap) && json["op"] != "gap" {
            return Err(format!("R9: not recovered, but no gap says what: {json}"));
        }
        self.awaits_gap = json["recovered"] == false;
        if json["op"] != "gap" {
            self.just_lost = [0; 4];
        }
        Ok(())
    }

    /// `gap`: believed if it has a cause.
    pub(in crate::sim) fn gap(
        &mut self,
        json: &Value,
        log: &SimLog,
        grounds: &Grounds,
    ) -> Result<GapPlace, String> {
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
            self.is_deserved(&topic, from, to, log, grounds)?;
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
        if text("reason") == "epoch" {
            if !std::mem::take(&mut self.comes_from_another_life) {
                return Err(format!("R8: there was no new life: {json}"));
            }
            let from = vec![0; to.next.len()];
            self.gaps.push(Gap::Teams { teams, streams, from, next: to.next.to_vec() });
            return Ok(GapPlace::Mark(to));
        }
        let reason = HoleReason::ALL.into_iter().find(|reason| reason.as_str() == text("reason"));
        let reason = reason.ok_or_else(|| format!("R9: a gap for no reason: {json}"))?;
        causes::of_the_log(reason, &from, &to, log)?;
        self.gaps.push(Gap::Teams {
            teams,
            streams,
            from: from.next.to_vec(),
            next: to.next.to_vec(),
        });
        Ok(GapPlace::Mark(to))
    }

    /// A gap of one topic, which only slowness can cause: something of it is lost, and a window or
    /// a queue must have been past its bound.
    fn is_deserved(
        &mut self,
        topic: &Topic,
        from: Position,
        to: Position,
        log: &SimLog,
        grounds: &Grounds,
    ) -> Result<(), String> {
        let events = &log.lanes[usize::from(to.lane.0)].events;
        let within = |event: &&Published| (from.seq..=to.seq).contains(&event.position.seq);
        let lost = events.iter().filter(within).filter(|event| event.topic == *topic);
        let lost: Vec<&Published> =
            lost.filter(|event| !self.have.contains(&event.position)).collect();
        let blame = |why: &str| Err(format!("R9: gap {}..={} of {topic}: {why}", from.seq, to.seq));
        let Some(last) = lost.last() else { return blame("nothing was lost") };
        let deserved = grounds.excuse_window(last, log)
            || grounds.excuse_queue(topic.stream, self.queue_at_most(topic.stream, log))
            || grounds.excuse_eviction(log);
        let declared = |event: &&&Published| !self.gaps.iter().any(|gap| gap.covers(event));
        let bytes: usize = lost.iter().filter(declared).map(|event| event.frame.len()).sum();
        self.just_lost[topic.stream as usize] += bytes;
        if deserved { Ok(()) } else { blame("the session was within its bounds") }
    }

    /// Bytes of `stream` that the client can have had unsent at most, replaced ones included.
    fn queue_at_most(&self, stream: Stream, log: &SimLog) -> usize {
        let unsent = self.above_checked(log).filter(|event| {
            event.topic.stream == stream
                && self.wants(&event.topic)
                && !self.have.contains(&event.position)
                && !self.gaps.iter().any(|gap| gap.covers(event))
        });
        unsent.map(|event| event.frame.len()).sum::<usize>() + self.just_lost[stream as usize]
    }
}

impl Gap {
    pub(super) fn covers(&self, event: &Published) -> bool {
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
