//! How fast a partner's webhooks become durable.

use anyhow::{Result, bail};

use super::Findings;
use crate::Place;
use crate::probe::Cpu;
use crate::publish::Publisher;
use crate::report::Sink;
use crate::run::Setup;
use crate::schedule::{Phase, Schedule};
use crate::sys;
use crate::target::{SECRET, Server, Subject};

/// Events in one body.
const BATCH: u32 = 100;
/// Posts under way at once.
const FLIGHTS_MAX: usize = 64;

/// Row `webhook`: no floor, for no kernel call accepts a webhook.
pub fn measure(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let mut findings = Findings::default();
    if !place.has_server() {
        findings.doubts.push("needs the server".into());
        return Ok(findings);
    }
    let phases = vec![Phase::new(20_000.0, place.seconds(10.0))];
    let setup = Setup { teams: 100, ..Setup::hot(0, phases) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut rates, mut p99s, mut cpu, mut retries) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..place.pairs {
        sink.begin_run(pair, place.pairs, &Subject::Touchline, &setup);
        let server = Server::start(place, &Subject::Touchline, 100)?;
        let Server::Touchline(appliance) = &server else {
            bail!("started the appliance and got a floor");
        };
        let publisher = Publisher::new(&appliance.ports[1].to_string(), SECRET)?;
        let schedule = Schedule {
            start_ns: sys::now_ns() + 200_000_000,
            teams: setup.teams,
            pad: 100,
            phases: setup.phases.clone(),
        };
        let before = Cpu::of(server.pid())?;
        let posted = runtime.block_on(publisher.flood(&schedule, BATCH, FLIGHTS_MAX))?;
        let used = Cpu::of(server.pid())?.since(&before);
        rates.push(posted.events as f64 / posted.seconds);
        p99s.push(posted.latency.p99 as f64 / 1e3);
        cpu.push(used.total_ns as f64 / 1e3 / posted.events.max(1) as f64);
        retries.push(posted.retries as f64);
    }
    let rate = findings.add("events/s durable", rates);
    let p99 = findings.add("ms p99", p99s);
    findings.add("us CPU an event", cpu);
    let retries = findings.add("posts put off", retries);
    findings.met = Some(rate.median >= 19_800.0 && p99.median <= 50.0 && retries.high == 0.0);
    Ok(findings)
}
