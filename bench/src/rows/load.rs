//! Rows of load: a full core, too much for a core, many teams, and clients that don't read.

use anyhow::Result;

use super::{Case, Findings, interleave, paired, warm_up};
use crate::Place;
use crate::floor::Kind;
use crate::report::Sink;
use crate::run::Run;
use crate::scenario::expect::recovered_s;
use crate::schedule::{Following, Phase};
use crate::setup::Setup;
use crate::target::Subject;

const FLOOR: Subject = Subject::Floor(Kind::Volley);
/// Windows after the overload, of 5 s each.
const AFTER: usize = 6;
/// Teams of row `teams`.
const TEAMS: u32 = 100;

fn with_floor(place: &Place, sink: &mut Sink, setup: &Setup) -> Result<[Vec<Run>; 2]> {
    let cases = [FLOOR, Subject::Touchline].map(|subject| Case { subject, setup: setup.clone() });
    let mut runs = interleave(place, sink, &cases)?.into_iter();
    Ok([runs.next().unwrap_or_default(), runs.next().unwrap_or_default()])
}

/// Figures every loaded row has, for floor and server.
fn describe(findings: &mut Findings, runs: &[Vec<Run>; 2], window: usize) {
    for runs in runs.iter().filter(|runs| !runs.is_empty()) {
        let who = &runs[0].subject;
        let p99_ms = |run: &Run| run.harvest.windows[window].latency.p99 as f64 / 1e3;
        let rate = |run: &Run| {
            let seen = &run.harvest.windows[window];
            seen.latency.count as f64 / seen.took_s.max(1e-9) / 1e6
        };
        findings.add(format!("M deliveries/s, {who}"), runs.iter().map(rate));
        findings.add(format!("ms p99, {who}"), runs.iter().map(p99_ms));
        findings.add(format!("us CPU a delivery, {who}"), runs.iter().map(|run| run.cpu_us));
        let missing = |run: &Run| run.expected.saturating_sub(run.harvest.counts.delivered);
        findings.add(format!("missing, {who}"), runs.iter().map(|run| missing(run) as f64));
    }
}

/// Row `full`.
pub fn full(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let phases = vec![warm_up(), Phase::even("full", 400.0, place.seconds(10.0), 1)];
    let setup = Setup::even(place.sockets(10_000), 1, phases);
    let runs = with_floor(place, sink, &setup)?;
    let mut findings = Findings::default();
    describe(&mut findings, &runs, 0);
    let meets = |run: &Run| run.is_whole() && run.harvest.windows[0].latency.p99 <= 500_000;
    findings.met = (!runs[1].is_empty()).then(|| runs[1].iter().all(meets));
    findings.doubt(&runs);
    Ok(findings)
}

/// Row `overload`: 5 s at 10 events/s to know what idle looks like, 20 s of far too much, then 10
/// events/s again.
pub fn overload(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let calm = Phase::even("calm", 10.0, place.seconds(5.0), 1);
    let flood = Phase::even("flood", 1_000.0, place.seconds(20.0), 1);
    let mut phases = vec![warm_up(), calm.clone(), flood];
    phases.extend(std::iter::repeat_n(calm, AFTER));
    let setup = Setup::even(place.sockets(10_000), 1, phases);
    let runs = with_floor(place, sink, &setup)?;
    let mut findings = Findings::default();
    describe(&mut findings, &runs, 1);
    for runs in runs.iter().filter(|runs| !runs.is_empty()) {
        let who = &runs[0].subject;
        let back = runs.iter().map(|run| recovered_s(&setup, run).unwrap_or(f64::INFINITY));
        findings.add(format!("s until p99 is idle again, {who}"), back);
    }
    if !runs[1].is_empty() {
        let grown = |run: &Run| run.rss_bytes_max.saturating_sub(run.memory[1].rss_bytes) as f64;
        findings.add("MiB more than idle", runs[1].iter().map(|run| grown(run) / 1_048_576.0));
        let is_back = |run: &Run| recovered_s(&setup, run).is_some_and(|s| s <= 30.0);
        let meets = |run: &Run| run.is_whole() && is_back(run);
        findings.met = Some(runs[1].iter().all(meets));
    }
    findings.doubt(&runs);
    Ok(findings)
}

/// Row `teams`.
pub fn teams(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let phases = vec![
        Phase::even("warm-up", 100.0, 18.0, TEAMS),
        Phase::even("steady", 100.0, place.seconds(60.0), TEAMS),
    ];
    let mut setup = Setup::even(place.sockets(50_000), TEAMS, phases);
    setup.crowd.following = Following::Zipf;
    let runs = with_floor(place, sink, &setup)?;
    let mut findings = Findings::default();
    describe(&mut findings, &runs, 0);
    let meets = |run: &Run| run.is_whole() && run.harvest.windows[0].latency.p99 <= 150_000;
    findings.met = (!runs[1].is_empty()).then(|| runs[1].iter().all(meets));
    findings.doubt(&runs);
    Ok(findings)
}

/// Row `stalled`: the server with and without a hundred clients that never read. The warm-up is a
/// burst that fills what the kernel holds for them, so that they are blocked before the window
/// begins.
pub fn stalled(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let sockets = place.sockets(10_000);
    let phases = vec![
        Phase::even("filling", 50.0, place.seconds(4.0), 1),
        Phase::even("steady", 10.0, place.seconds(10.0), 1),
    ];
    let all_read = Setup { pad: 256, ..Setup::even(sockets, 1, phases) };
    let mut some_stall = all_read.clone();
    some_stall.crowd.stalled = sockets / 100;
    let subject = if place.has_server() { Subject::Touchline } else { FLOOR };
    let cases = [all_read, some_stall].map(|setup| Case { subject: subject.clone(), setup });
    let runs = interleave(place, sink, &cases)?;
    let mut findings = Findings::default();
    let p99 = |run: &Run| run.harvest.windows[0].latency.p99 as f64 / 1e3;
    findings.add(format!("ms p99, all read, {subject}"), runs[0].iter().map(p99));
    findings.add(format!("ms p99, 1 % stalled, {subject}"), runs[1].iter().map(p99));
    let moved = paired(&runs[0], &runs[1]).map(|(all, some)| (p99(some) / p99(all) - 1.0) * 100.0);
    let moved = findings.add("% moved", moved);
    let whole = |run: &Run| {
        let counts = &run.harvest.counts;
        counts.delivered == run.expected && counts.lost + counts.repeated == 0
    };
    let is_ours = subject == Subject::Touchline;
    findings.met = is_ours.then(|| moved.median < 10.0 && runs[1].iter().all(whole));
    findings.doubt(&runs);
    Ok(findings)
}
