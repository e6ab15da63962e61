//! How fast a partner's webhooks become durable.

use anyhow::{Context, Result};

use super::{Case, Findings, interleave, needs_server};
use crate::Place;
use crate::report::Sink;
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
    let rate = findings.add("events/s durable", rate);
    let p99 = findings.add("ms p99", posted.iter().map(|p| p.latency.p99 as f64 / 1e3));
    findings.add("us CPU an event", runs[0].iter().map(|run| run.cpu_us));
    let retries = findings.add("posts put off", posted.iter().map(|p| p.retries as f64));
    findings.met = Some(rate.median >= 19_800.0 && p99.median <= 50.0 && retries.high == 0.0);
    Ok(findings)
}
