//! `touchline tail` where Kafka is the log.
//!
//! Events of all lanes are shown as brokers give them. A repeat of what was shown is left out, as
//! nodes leave it out (R17), as far back as this command has read.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use touchline_core::log::{Epoch, Lane, Position, Record};
use touchline_ingest::kafka::KafkaOptions;
use touchline_ingest::kafka::judge::Judge;
use touchline_ingest::kafka::outside::{Found, LaneReach, Outside};

use super::records::Place;
use super::tail::TailArgs;
use super::{Exit, Failure, in_peace, records, screen};

/// What has been read so far: where each lane goes on, and what was said in it.
struct Lanes {
    next: Vec<u64>,
    ends: Vec<u64>,
    judges: Vec<Judge>,
}

impl Lanes {
    fn new(options: &KafkaOptions, reaches: &[LaneReach]) -> Self {
        let judge = |it: &LaneReach| Judge::new(options.windows[it.stream as usize]);
        Self {
            next: reaches.iter().map(|it| it.high).collect(),
            ends: reaches.iter().map(|it| it.high).collect(),
            judges: reaches.iter().map(judge).collect(),
        }
    }

    /// The next of its lane; `None` where it isn't shown.
    fn take(&mut self, found: Found) -> Option<Record> {
        let Position { lane, seq } = found.position;
        let lane = usize::from(lane.0);
        self.next[lane] = seq + 1;
        match found.record {
            Ok(record) => {
                let event = &record.event;
                let judge = &mut self.judges[lane];
                judge.is_first(found.at_ms, event.identity(), event.content()).then_some(record)
            }
            Err(why) => {
                eprintln!("touchline: lane {lane} at {seq}: {why}");
                None
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.next.iter().zip(&self.ends).all(|(next, end)| next >= end)
    }
}

/// Prints until interrupted, or with `--no-follow` to the end.
pub(super) fn tail(options: &KafkaOptions, args: &TailArgs) -> Result<Exit, Failure> {
    let outside = Outside::open(options)?;
    let reaches = outside.reach()?;
    let mut lanes = Lanes::new(options, &reaches);
    let mut written = match args.from {
        Some(from) => {
            begin_at(&mut lanes, &reaches, &outside, from)?;
            Ok(true)
        }
        None => in_peace(show_last(&mut lanes, &reaches, &outside, args)?),
    };
    let from = lanes.next.clone();
    if !matches!(written, Ok(true)) || (args.no_follow && lanes.is_at_end()) {
        return written.map(|_| Exit::Fine).map_err(Into::into);
    }
    let epoch = outside.epoch();
    let mut out = io::stdout().lock();
    outside.follow(&from, |found| {
        let record = found.and_then(|found| lanes.take(found)).filter(|it| args.wants(it));
        if let Some(record) = record {
            let line = line(args, epoch, &record);
            written = in_peace(writeln!(out, "{line}").and_then(|()| out.flush()));
        }
        matches!(written, Ok(true)) && !(args.no_follow && lanes.is_at_end())
    })?;
    Ok(written.map(|_| Exit::Fine)?)
}

fn line(args: &TailArgs, epoch: Epoch, record: &Record) -> String {
    match (args.json, screen::width()) {
        (true, _) => records::to_json(epoch, record),
        (false, Some(width)) => records::to_screen(record, true, width),
        (false, None) => records::to_text_of_lanes(record),
    }
}

/// One lane begins there, the others at their end.
fn begin_at(
    lanes: &mut Lanes,
    reaches: &[LaneReach],
    outside: &Outside,
    from: Place,
) -> Result<(), Failure> {
    match from.of {
        Some((epoch, Lane(lane))) if epoch == outside.epoch() => {
            let lane = usize::from(lane);
            lanes.next[lane] = from.seq.clamp(reaches[lane].low, reaches[lane].high);
            Ok(())
        }
        Some(_) => Err(anyhow::anyhow!("that position is of another life of the log").into()),
        None if from.seq == 0 => {
            lanes.next = reaches.iter().map(|it| it.low).collect();
            Ok(())
        }
        None => {
            let text = "a sequence means one lane: give a position as `pos` tells it, or 0";
            Err(anyhow::anyhow!(text).into())
        }
    }
}

/// Prints the newest events of all lanes, in the order in which brokers have taken them.
fn show_last(
    lanes: &mut Lanes,
    reaches: &[LaneReach],
    outside: &Outside,
    args: &TailArgs,
) -> Result<io::Result<()>, Failure> {
    let most = usize::try_from(args.last).unwrap_or(usize::MAX);
    let mut newest: BTreeMap<(i64, Position), Record> = BTreeMap::new();
    for reach in reaches {
        let from = reach.high.saturating_sub(args.last).max(reach.low);
        outside.read(reach.lane, from, reach.high, |found| {
            let key = (found.at_ms, found.position);
            if let Some(record) = lanes.take(found) {
                newest.insert(key, record);
            }
            if newest.len() > most {
                newest.pop_first();
            }
            true
        })?;
        lanes.next[usize::from(reach.lane.0)] = reach.high;
    }
    let mut out = io::stdout().lock();
    let epoch = outside.epoch();
    let lines = newest.values().filter(|record| args.wants(record));
    let lines = lines.map(|record| line(args, epoch, record));
    Ok(lines.into_iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush()))
}
