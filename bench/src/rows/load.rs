//! Rows of load: a full core, too much for a core, many teams, and clients that don't read.

use anyhow::Result;

use super::verdict::{Judge, Verdict, counted, counted_pairs};
use super::{Case, Findings, interleave, paired, warm_up};
use crate::floor::Kind;
use crate::place::Place;
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

/// Whether the first window's p99 keeps within so many milliseconds; `None` without runs.
fn p99_within(runs: &[Run], ms_max: f64) -> Option<Verdict> {
    let p99_ms = |run: &Run| run.harvest.windows[0].latency.p99 as f64 / 1e3;
    let judge = Judge::of(runs).median(counted(runs).into_iter().map(p99_ms), |ms| ms <= ms_max);
    (!runs.is_empty()).then(|| judge.verdict())
}

/// Row `full`.
pub fn full(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let phases = vec![warm_up(), Phase::even("full", 400.0, place.seconds(10.0), 1)];
    let setup = Setup::even(place.sockets(10_000), 1, phases);
    let runs = with_floor(place, sink, &setup)?;
    let mut findings = Findings::default();
    describe(&mut findings, &runs, 0);
    findings.verdict = p99_within(&runs[1], 500.0);
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
    let back_s = |run: &Run| recovered_s(&setup, run).unwrap_or(f64::INFINITY);
    for runs in runs.iter().filter(|runs| !runs.is_empty()) {
        let who = &runs[0].subject;
        findings.add(format!("s until p99 is idle again, {who}"), runs.iter().map(back_s));
    }
    if !runs[1].is_empty() {
        let grown = |run: &Run| run.rss_bytes_max.saturating_sub(run.memory[1].rss_bytes) as f64;
        findings.add("MiB more than idle", runs[1].iter().map(|run| grown(run) / 1_048_576.0));
        let judge = Judge::of(&runs[1])
            .median(counted(&runs[1]).into_iter().map(back_s), |seconds| seconds <= 30.0);
        findings.verdict = Some(judge.verdict());
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
    findings.verdict = p99_within(&runs[1], 150.0);
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
    let moved = |(all, some): (&Run, &Run)| (p99(some) / p99(all) - 1.0) * 100.0;
    findings.add("% moved", paired(&runs[0], &runs[1]).map(moved));
    let moved = counted_pairs(&runs[0], &runs[1]).map(moved);
    findings.verdict =
        (subject == Subject::Touchline).then(|| judge_stalled(&runs[0], &runs[1], moved));
    findings.doubt(&runs);
    Ok(findings)
}

/// Of runs in which all read and runs in which some stall, whose p99 `moved` by so many percent.
fn judge_stalled(all: &[Run], some: &[Run], moved: impl Iterator<Item = f64>) -> Verdict {
    // Those that stall may be closed.
    let is_whole = |run: &Run| {
        let counts = &run.harvest.counts;
        counts.delivered == run.expected && counts.lost + counts.repeated == 0
    };
    Judge::of(all).fact(some.iter().all(is_whole)).median(moved, |percent| percent < 10.0).verdict()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;

    #[test]
    fn both_halves_of_a_pair_deliver_everything() {
        let runs = || vec![fixture::run(Subject::Touchline, 5); 3];
        let judged = |all: &[Run], some: &[Run]| judge_stalled(all, some, [1.0; 3].into_iter());
        assert_eq!(judged(&runs(), &runs()), Verdict::Met);
        let mut lacking = runs();
        lacking[1].harvest.counts.delivered -= 1;
        assert_eq!(judged(&runs(), &lacking), Verdict::Missed);
        assert_eq!(judged(&lacking, &runs()), Verdict::Missed, "where all read");
    }
}
