//! `touchline log verify` and `touchline log dump` where Kafka is the log.
//!
//! Both read every lane as it stands, while nodes run or not, without being one: they join no group
//! and change nothing.

use std::io::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use touchline_core::log::{Epoch, Lane};
use touchline_ingest::kafka::KafkaOptions;
use touchline_ingest::kafka::judge::Judge;
use touchline_ingest::kafka::outside::{Found, LaneReach, Outside, Seen};

use super::records::{self, Place};
use super::screen::counted;
use super::{Exit, Failure, in_peace};
use crate::limits::POISON_LINES_MAX;

/// What was found in one lane.
#[derive(Debug, Default)]
struct Report {
    records: u64,
    bytes: u64,
    duplicates: u64,
    poison: u64,
    /// Offsets at which nothing stands, though something stands behind them.
    missing: u64,
    lines: Vec<String>,
}

impl Report {
    fn say(&mut self, line: String) {
        if self.lines.len() < POISON_LINES_MAX {
            self.lines.push(line);
        }
    }

    fn leave_out(&mut self, from: u64, to: u64) {
        if from < to {
            self.missing += to - from;
            self.say(format!("offsets {from} to {} hold nothing", to - 1));
        }
    }

    fn take(&mut self, found: Found, judge: &mut Judge) {
        self.bytes += found.bytes as u64;
        match found.record {
            Ok(record) => {
                self.records += 1;
                let event = &record.event;
                let is_first = judge.is_first(found.at_ms, event.identity(), event.content());
                self.duplicates += u64::from(!is_first);
            }
            Err(why) => {
                self.poison += 1;
                self.say(format!("offset {} can't be shown: {why}", found.position.seq));
            }
        }
    }
}

/// Reads everything.
pub(super) fn verify(options: &KafkaOptions) -> Result<Exit, Failure> {
    let outside = Outside::open(options)?;
    let seen = outside.seen();
    let mut out = io::stdout().lock();
    let (mut records, mut duplicates, mut is_damaged) = (0, 0, false);
    for lane in outside.reach()? {
        let report = verify_lane(&outside, options, &lane)?;
        records += report.records;
        duplicates += report.duplicates;
        let short = shortness(&lane, &seen);
        is_damaged |= report.poison + report.missing > 0 || short.is_some();
        let LaneReach { topic, partition, .. } = &lane;
        let told = writeln!(out, "{}", sum(&lane, &report));
        let lines = report.lines.iter().chain(&short);
        let told = lines.fold(told, |told, line| {
            told.and_then(|()| writeln!(out, "{topic}/{partition}: {line}"))
        });
        if !in_peace(told)? {
            return Ok(Exit::Fine);
        }
    }
    let verdict = if is_damaged { "damaged" } else { "sound" };
    let (epoch, generation) = (outside.epoch().0, outside.generation());
    let (records, duplicates) = (counted(records, "record"), counted(duplicates, "repeat"));
    in_peace(writeln!(
        out,
        "{verdict}: life {generation}, epoch {epoch:016x}, {records}, {duplicates}"
    ))?;
    Ok(if is_damaged { Exit::Failed } else { Exit::Fine })
}

/// One line of a lane: what it holds, and what is odd about it.
fn sum(lane: &LaneReach, report: &Report) -> String {
    let LaneReach { lane, topic, partition, low, high, .. } = lane;
    let mut line = format!("lane {}, {topic}/{partition}: ", lane.0);
    line += &match high.checked_sub(1).filter(|last| last >= low) {
        Some(last) => format!("offsets {low} to {last}, {}", counted(report.records, "record")),
        None => "no records".to_owned(),
    };
    line += &format!(", {}", counted(report.bytes, "byte"));
    for (count, what) in [
        (report.duplicates, "repeated"),
        (report.poison, "that can't be shown"),
        (report.missing, "missing"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

fn verify_lane(
    outside: &Outside,
    options: &KafkaOptions,
    lane: &LaneReach,
) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut judge = Judge::new(window(options, lane));
    let mut next = lane.low;
    outside.read(lane.lane, lane.low, lane.high, |found| {
        report.leave_out(next, found.position.seq);
        next = found.position.seq + 1;
        report.take(found, &mut judge);
        true
    })?;
    report.leave_out(next, lane.high);
    Ok(report)
}

fn window(options: &KafkaOptions, lane: &LaneReach) -> Duration {
    options.windows[lane.stream as usize]
}

/// Whether a node has read further than the lane reaches.
fn shortness(lane: &LaneReach, seen: &[Seen]) -> Option<String> {
    let further = |it: &&Seen| it.lane == lane.lane && it.next > lane.high;
    let it = seen.iter().filter(further).max_by_key(|it| it.next)?;
    Some(format!(
        "it ends at {} and node {} had read it up to {}: what it acknowledged in between is lost",
        lane.high, it.node, it.next
    ))
}

/// Prints what stands there, lane by lane.
pub(super) fn dump(
    options: &KafkaOptions,
    from: Place,
    to: Option<Place>,
    lane: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let outside = Outside::open(options)?;
    let epoch = outside.epoch();
    let lanes = outside.reach()?;
    let lane = lane.map(|text| find(&lanes, text)).transpose()?;
    let range = range(epoch, lane, from, to)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut is_damaged, mut written) = (false, Ok(true));
    for reach in lanes.iter().filter(|it| range.0.is_none_or(|lane| it.lane == lane)) {
        let (from, to) = (range.1.start.max(reach.low), range.1.end.min(reach.high));
        outside.read(reach.lane, from, to, |found| {
            let line = match &found.record {
                Ok(record) if json => records::to_json(epoch, record),
                Ok(record) => records::to_text_of_lanes(record),
                Err(why) => {
                    is_damaged = true;
                    let (topic, partition) = (&reach.topic, reach.partition);
                    eprintln!("touchline: {topic}/{partition} at {}: {why}", found.position.seq);
                    return true;
                }
            };
            written = in_peace(writeln!(out, "{line}"));
            matches!(written, Ok(true))
        })?;
        if !matches!(written, Ok(true)) {
            break;
        }
    }
    if written? {
        in_peace(out.flush())?;
    }
    Ok(if is_damaged { Exit::Failed } else { Exit::Fine })
}

/// The lane that is meant by its number or by `TOPIC/PARTITION`.
fn find(lanes: &[LaneReach], text: &str) -> Result<Lane, Failure> {
    let is_it = |it: &&LaneReach| {
        it.lane.0.to_string() == text || format!("{}/{}", it.topic, it.partition) == text
    };
    let found = lanes.iter().find(is_it).map(|it| it.lane);
    found.ok_or_else(|| {
        let (first, last) = (lanes.first(), lanes.last());
        let name = |it: Option<&LaneReach>| it.map(|it| format!("{}/{}", it.topic, it.partition));
        let most = lanes.len().saturating_sub(1);
        anyhow::anyhow!(
            "there is no lane {text}: name one by its number, 0 to {most}, or as {} to {}",
            name(first).unwrap_or_default(),
            name(last).unwrap_or_default()
        )
        .into()
    })
}

/// Which lane, if only one, and what of it.
fn range(
    epoch: Epoch,
    lane: Option<Lane>,
    from: Place,
    to: Option<Place>,
) -> Result<(Option<Lane>, Range<u64>), Failure> {
    let mut lane = lane;
    for (of, at) in [Some(from), to].into_iter().flatten().filter_map(|it| Some((it.of?, it.seq))) {
        if of.0 != epoch {
            return Err(anyhow::anyhow!("sequence {at}: its position is of another life").into());
        }
        if *lane.get_or_insert(of.1) != of.1 {
            return Err(anyhow::anyhow!("positions of two lanes make no range").into());
        }
    }
    if lane.is_none() && (from.seq > 0 || to.is_some()) {
        let text = "a sequence means one lane: add --lane, or give a position as `pos` tells it";
        return Err(anyhow::anyhow!(text).into());
    }
    Ok((lane, from.seq..to.map_or(u64::MAX, |to| to.seq)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(of: Option<(u64, u16)>, seq: u64) -> Place {
        Place { of: of.map(|(epoch, lane)| (Epoch(epoch), Lane(lane))), seq }
    }

    #[test]
    fn a_range_lies_in_one_lane_of_this_life() {
        let range = |lane: Option<u16>, from, to| range(Epoch(7), lane.map(Lane), from, to);
        assert_eq!(range(None, place(None, 0), None).unwrap(), (None, 0..u64::MAX));
        let one = range(None, place(Some((7, 3)), 5), Some(place(None, 9))).unwrap();
        assert_eq!(one, (Some(Lane(3)), 5..9));
        assert!(range(None, place(None, 5), None).is_err(), "of which lane?");
        assert!(range(Some(2), place(Some((7, 3)), 5), None).is_err(), "two lanes");
        assert!(range(None, place(Some((8, 3)), 5), None).is_err(), "another life");
    }

    #[test]
    fn a_lane_that_nodes_have_read_further_is_short() {
        let lane = LaneReach {
            lane: Lane(1),
            stream: touchline_core::event::Stream::Broadcast,
            topic: "broadcast-events".into(),
            partition: 1,
            low: 0,
            high: 40,
        };
        let seen = |next| Seen { node: "a".into(), lane: Lane(1), next };
        assert_eq!(shortness(&lane, &[seen(40)]), None);
        assert!(shortness(&lane, &[seen(40), seen(44)]).unwrap().contains("up to 44"));
    }
}
