//! How fast a partner's webhooks become durable.

use anyhow::{Context, Result};

use super::verdict::{Judge, Verdict, counted};
use super::{Case, Findings, interleave, needs_server};
use crate::place::Place;
use crate::report::Sink;
use crate::run::Run;
use crate::schedule::Phase;
use crate::setup::{Flood, Setup};
use crate::target::Subject;

/// Teams of the events; nobody follows them.
const TEAMS: u32 = 100;
/// Events in one body, and posts under way at once.
const FLOOD: Flood = Flood { batch: 100, flights_max: 64 };

/// Row `webhook`: no floor, for no kernel call accepts a webhook.
pub fn measure(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if needs_server(place, &mut findings) {
        return Ok(findings);
    }
    let phases = vec![Phase::even("flood", 20_000.0, place.seconds(10.0), TEAMS)];
    let setup = Setup { pad: 100, flood: Some(FLOOD), ..Setup::even(0, TEAMS, phases) };
    let runs = interleave(place, sink, &[Case { subject: Subject::Touchline, setup }])?;
    let posted: Option<Vec<_>> = runs[0].iter().map(|run| run.posted.as_ref()).collect();
    let posted = posted.context("a run without a publisher")?;
    let rate = posted.iter().map(|posted| posted.events as f64 / posted.seconds);
    findings.add("events/s durable", rate);
    findings.add("ms p99", posted.iter().map(|p| p.latency.p99 as f64 / 1e3));
    findings.add("us CPU an event", runs[0].iter().map(|run| run.cpu_us));
    findings.add("posts put off", posted.iter().map(|p| p.retries as f64));
    findings.verdict = Some(judge(&runs[0], 19_800.0, 50.0));
    Ok(findings)
}

/// Whether webhooks were taken at this rate, none put off, with a p99 of so many milliseconds.
pub fn judge(runs: &[Run], rate_min: f64, p99_ms_max: f64) -> Verdict {
    let counted = counted(runs);
    let posted = || counted.iter().filter_map(|run| run.posted.as_ref());
    Judge::new(runs.len())
        .fact(posted().all(|posted| posted.retries == 0))
        .median(posted().map(|p| p.events as f64 / p.seconds), |rate| rate >= rate_min)
        .median(posted().map(|p| p.latency.p99 as f64 / 1e3), |p99_ms| p99_ms <= p99_ms_max)
        .verdict()
}
