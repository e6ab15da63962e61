//! What Kafka costs: how fast three brokers make a partner's webhooks durable, and how long it
//! takes from there to the sockets.

use anyhow::{Context, Result};

use super::verdict::{Judge, counted};
use super::{Case, Findings, interleave, needs_server, warm_up};
use crate::place::Place;
use crate::report::Sink;
use crate::run::{BROKERS_DOUBT, Run};
use crate::schedule::{Phase, Track};
use crate::setup::{Flood, Log, Setup};
use crate::target::Subject;

/// Teams of the events.
const TEAMS: u32 = 100;
/// Events in one body, and posts under way at once.
const FLOOD: Flood = Flood { batch: 100, flights_max: 64 };
/// Clients.
const SOCKETS: usize = 1_000;

/// Row `kafka`.
pub fn acknowledge(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if needs_server(place, &mut findings) {
        return Ok(findings);
    }
    // Brokers that have just started compile what they run, for a good while of this load.
    let flood = |name, seconds| Phase::even(name, 10_000.0, place.seconds(seconds), TEAMS);
    let phases = vec![flood("warm-up", 20.0), flood("flood", 20.0)];
    let even = Setup::even(0, TEAMS, phases);
    let setup = Setup { pad: 100, flood: Some(FLOOD), log: Log::Kafka, ..even };
    let runs = interleave(place, sink, &[Case { subject: Subject::Touchline, setup }])?;
    let posted: Option<Vec<_>> = runs[0].iter().map(|run| run.posted.as_ref()).collect();
    let posted = posted.context("a run without a publisher")?;
    let rate = posted.iter().map(|posted| posted.events as f64 / posted.seconds);
    findings.add("events/s acknowledged by two brokers at least", rate);
    findings.add("ms p50", posted.iter().map(|p| p.latency.p50 as f64 / 1e3));
    findings.add("ms p99", posted.iter().map(|p| p.latency.p99 as f64 / 1e3));
    findings.add("us CPU an event", runs[0].iter().map(|run| run.cpu_us));
    findings.add("posts put off", posted.iter().map(|p| p.retries as f64));
    findings.verdict = Some(super::webhook::judge(&runs[0], 9_900.0, 100.0));
    findings.doubts.push(BROKERS_DOUBT.into());
    Ok(findings)
}

/// Row `kafka-sockets`: bodies of one moment each, as a partner sends them whose events come one by
/// one. An event is durable shortly before its partner is told so, by 202, and the target is about
/// the time from there to its sockets: it is no less than from the 202 to the last of them, and no
/// more than from the moment the event is due.
pub fn sockets(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if needs_server(place, &mut findings) {
        return Ok(findings);
    }
    let moments = Track { burst: 10, ..Track::even(100.0, 0, TEAMS) };
    let steady =
        Phase { name: "steady".into(), seconds: place.seconds(20.0), tracks: vec![moments] };
    let warm = Phase { tracks: vec![Track::even(100.0, 0, TEAMS)], ..warm_up() };
    let setup = Setup { log: Log::Kafka, ..Setup::even(SOCKETS, TEAMS, vec![warm, steady]) };
    let of_journal = Setup { log: Log::Journal, ..setup.clone() };
    let cases = [of_journal, setup].map(|setup| Case { subject: Subject::Touchline, setup });
    let runs = interleave(place, sink, &cases)?;
    let p99_ms = |run: &Run| run.harvest.windows[0].latency.p99 as f64 / 1e3;
    let p50_ms = |run: &Run| run.harvest.windows[0].latency.p50 as f64 / 1e3;
    let posted_ms = |run: &Run| run.posted.as_ref().map_or(0.0, |p| p.latency.p50 as f64 / 1e3);
    findings
        .add("ms p99 of the journal, from the moment an event is due", runs[0].iter().map(p99_ms));
    findings.add("ms p50", runs[1].iter().map(p50_ms));
    findings.add("ms p99", runs[1].iter().map(p99_ms));
    findings.add("of it ms p50 until two brokers have it", runs[1].iter().map(posted_ms));
    let after_ms = |run: &Run| run.harvest.after_told.p99 as f64 / 1e3;
    findings.add("ms p99 from the 202 to the last socket", runs[1].iter().map(after_ms));
    let of_counted = |of: fn(&Run) -> f64| counted(&runs[1]).into_iter().map(of);
    let judge = Judge::of(&runs[1])
        .fact(runs[1].iter().all(|run| run.harvest.after_told.count > 0))
        .median_between(of_counted(after_ms), of_counted(p99_ms), |ms| ms <= 50.0);
    findings.verdict = Some(judge.verdict());
    findings.doubts.push(BROKERS_DOUBT.into());
    Ok(findings)
}
