//! The question at the centre: what does a delivery cost beyond what the kernel charges, and when
//! has the last one got it?

use anyhow::Result;

use super::{Case, Findings, interleave, paired, warm_up};
use crate::Place;
use crate::floor::Kind;
use crate::report::Sink;
use crate::run::Run;
use crate::schedule::Phase;
use crate::setup::Setup;
use crate::stats::Figure;
use crate::target::Subject;

/// Three cases: both floors and the server.
fn run(place: &Place, sink: &mut Sink) -> Result<Vec<Vec<Run>>> {
    let phases = vec![warm_up(), Phase::even("steady", 10.0, place.seconds(6.0), 1)];
    let setup = Setup::even(place.sockets(10_000), 1, phases);
    let subjects = [Subject::Floor(Kind::Send), Subject::Floor(Kind::Volley), Subject::Touchline];
    let cases = subjects.map(|subject| Case { subject, setup: setup.clone() });
    sink.shared("hot", |sink| interleave(place, sink, &cases))
}

/// Row `hot`.
pub fn cost(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let runs = run(place, sink)?;
    let mut findings = Findings::default();
    let [send, volley, ours] = &runs[..] else { unreachable!("three cases give three lists") };
    findings.add("us, bare send loop", send.iter().map(|run| run.cpu_us));
    findings.add("us, bare volley", volley.iter().map(|run| run.cpu_us));
    if !ours.is_empty() {
        findings.add("us, touchline", ours.iter().map(|run| run.cpu_us));
        findings
            .add("us of it in user space", ours.iter().map(|run| run.cpu_us * run.cpu.user_share));
        let ratio = findings.add("of the floor", ratios(&runs, |run| run.cpu_us));
        findings.met = Some(ratio.median <= 1.05 && ours.iter().all(Run::is_whole));
    }
    findings.doubt(&runs);
    Ok(findings)
}

/// Row `last`.
pub fn last(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let runs = run(place, sink)?;
    let mut findings = Findings::default();
    let last_ms = |run: &Run| run.harvest.windows[0].last_us[1] as f64 / 1e3;
    for runs in runs.iter().filter(|runs| !runs.is_empty()) {
        findings.add(format!("ms, {}", runs[0].subject), runs.iter().map(last_ms));
    }
    let [.., ours] = &runs[..] else { unreachable!("three cases give three lists") };
    if !ours.is_empty() {
        let ratio = findings.add("of the floor", ratios(&runs, last_ms));
        let spread_ms = |run: &Run| run.harvest.windows[0].spread_us[1] as f64 / 1e3;
        findings.add("of the floor, first to last", ratios(&runs, spread_ms));
        let p99 = ours.iter().map(|run| run.harvest.windows[0].latency.p99 as f64 / 1e3);
        findings.add("ms, touchline's p99", p99);
        findings.met = Some(ratio.median <= 1.10 && ours.iter().all(Run::is_whole));
    }
    findings.doubt(&runs);
    Ok(findings)
}

/// The server against the floor that is cheaper over all pairs, pair by pair.
fn ratios(runs: &[Vec<Run>], figure: impl Fn(&Run) -> f64) -> Vec<f64> {
    let [send, volley, ours] = runs else { return Vec::new() };
    let median = |runs: &[Run]| Figure::of(runs.iter().map(&figure)).median;
    let floor = if median(send) < median(volley) { send } else { volley };
    paired(ours, floor).map(|(ours, floor)| figure(ours) / figure(floor).max(1e-9)).collect()
}
