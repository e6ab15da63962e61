//! 50,000 sockets that do nothing: what each takes, how fast they come in, how soon a killed server
//! is back.

use anyhow::Result;

use super::Findings;
use crate::Place;
use crate::floor::Kind;
use crate::report::Sink;
use crate::setup::Setup;
use crate::stage::Stage;
use crate::target::Subject;

/// Row `idle`.
pub fn measure(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let setup = Setup::even(place.sockets(50_000), 1, Vec::new());
    let sockets = setup.crowd.sockets as f64;
    let mut findings = Findings::default();
    let (mut floor, mut ours, mut each, mut restart, mut kernel) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..place.pairs {
        let subject = Subject::Floor(Kind::Volley);
        sink.begin_run(pair, place.pairs, &subject, &setup);
        floor.push(sockets / Stage::set(place, &subject, &setup)?.connect_s);
        if !place.has_server() {
            continue;
        }
        sink.begin_run(pair, place.pairs, &Subject::Touchline, &setup);
        let mut stage = Stage::set(place, &Subject::Touchline, &setup)?;
        let [empty, idle] = stage.memory();
        let grown = idle.rss_bytes.saturating_sub(empty.rss_bytes) as f64;
        each.push(grown / sockets);
        kernel.push(stage.slab_bytes() as f64 / 2.0 / sockets);
        ours.push(sockets / stage.connect_s);
        restart.push(stage.server.restart()?.as_secs_f64());
    }
    findings.add("accepts/s, floor", floor);
    if !ours.is_empty() {
        let ours = findings.add("accepts/s, touchline", ours);
        let each = findings.add("B of user memory each", each);
        findings.add("B of kernel memory each", kernel);
        let restart = findings.add("s until ready after kill -9", restart);
        let met = each.median <= 600.0 && restart.high < 5.0 && ours.median >= 20_000.0;
        findings.met = Some(met);
    }
    Ok(findings)
}
