//! The question at the centre: what does a delivery cost beyond what the kernel charges, and when
//! has the last one got it?

use anyhow::Result;

use super::verdict::{Judge, counted, counted_pairs};
use super::{Case, Findings, interleave, paired, warm_up};
use crate::floor::Kind;
use crate::place::Place;
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
        let error = |run: &Run| run.cpu_us * run.cpu.user_share_error();
        findings.add("us more or less of that: a tick of 10 ms", ours.iter().map(error));
        let ratios = ratios(&runs, |run| run.cpu_us);
        findings.add("of the floor", ratios.all);
        let judge = judge(&runs).median(ratios.counted, |ratio| ratio <= 1.05);
        findings.verdict = Some(judge.verdict());
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
        let ratio = ratios(&runs, last_ms);
        findings.add("of the floor", ratio.all);
        let spread_ms = |run: &Run| run.harvest.windows[0].spread_us[1] as f64 / 1e3;
        findings.add("of the floor, first to last", ratios(&runs, spread_ms).all);
        let p99 = ours.iter().map(|run| run.harvest.windows[0].latency.p99 as f64 / 1e3);
        findings.add("ms, touchline's p99", p99);
        let judge = judge(&runs).median(ratio.counted, |ratio| ratio <= 1.10);
        findings.verdict = Some(judge.verdict());
    }
    findings.doubt(&runs);
    Ok(findings)
}

/// Of the server's runs: beside floors that did all of the work, or nothing is told by ratios.
fn judge(runs: &[Vec<Run>]) -> Judge {
    let [floors @ .., ours] = runs else { return Judge::new(0) };
    let is_whole = |runs: &Vec<Run>| counted(runs).iter().all(|run| run.is_whole());
    Judge::of(ours).needs(floors.iter().all(is_whole), "a floor didn't deliver everything")
}

/// Of all pairs, and of those that count.
#[derive(Default)]
struct Ratios {
    all: Vec<f64>,
    counted: Vec<f64>,
}

/// The server against the floor that is cheaper over all pairs, pair by pair.
fn ratios(runs: &[Vec<Run>], figure: impl Fn(&Run) -> f64) -> Ratios {
    let [send, volley, ours] = runs else { return Ratios::default() };
    let median = |runs: &[Run]| Figure::of(runs.iter().map(&figure)).median;
    let floor = if median(send) < median(volley) { send } else { volley };
    let ratio = |(ours, floor): (&Run, &Run)| figure(ours) / figure(floor).max(1e-9);
    Ratios {
        all: paired(ours, floor).map(ratio).collect(),
        counted: counted_pairs(ours, floor).map(ratio).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;

    #[test]
    fn a_floor_that_did_less_than_all_of_it_is_no_measure() {
        let subjects =
            [Subject::Floor(Kind::Send), Subject::Floor(Kind::Volley), Subject::Touchline];
        let mut runs: Vec<Vec<Run>> =
            subjects.into_iter().map(|subject| vec![fixture::run(subject, 5); 3]).collect();
        let said = |runs: &[Vec<Run>]| {
            judge(runs).median([1.0; 3], |ratio| ratio <= 1.05).verdict().to_string()
        };
        assert_eq!(said(&runs), "met");
        runs[1][2].harvest.counts.delivered -= 1;
        assert_eq!(said(&runs), "not told apart: a floor didn't deliver everything");
        runs[2][0].harvest.counts.lost = 1;
        assert_eq!(said(&runs), "missed");
    }
}
