//! 50,000 sockets that do nothing: what each takes, how fast they come in, how soon a killed server
//! is back.

use anyhow::Result;

use super::Findings;
use super::verdict::Judge;
use crate::Place;
use crate::floor::Kind;
use crate::report::Sink;
use crate::setup::Setup;
use crate::stage::Stage;
use crate::target::Subject;

/// What the rounds gave, by figure.
#[derive(Default)]
struct Seen {
    floor: Vec<f64>,
    ours: Vec<f64>,
    user_bytes: Vec<f64>,
    kernel_bytes: Vec<f64>,
    restart_s: Vec<f64>,
    retries: u64,
}

/// Row `idle`.
pub fn measure(place: &Place, sink: &mut Sink) -> Result<Findings> {
    let setup = Setup::even(place.sockets(50_000), 1, Vec::new());
    let mut seen = Seen::default();
    let subjects = [Subject::Floor(Kind::Volley), Subject::Touchline];
    let subjects = &subjects[..1 + usize::from(place.has_server())];
    for pair in 0..place.pairs {
        for turn in 0..subjects.len() {
            let subject = &subjects[(turn + pair) % subjects.len()];
            sink.begin_run(pair, place.pairs, subject, &setup);
            seen.look(Stage::set(place, subject, &setup)?, subject, setup.crowd.sockets)?;
        }
    }
    Ok(seen.findings())
}

impl Seen {
    fn look(&mut self, mut stage: Stage, subject: &Subject, sockets: usize) -> Result<()> {
        let sockets = sockets as f64;
        let per_s = sockets / stage.connect_s;
        self.retries += stage.connect_retries;
        if *subject != Subject::Touchline {
            self.floor.push(per_s);
            return Ok(());
        }
        self.ours.push(per_s);
        let [empty, idle] = stage.memory();
        let grown = idle.rss_bytes.saturating_sub(empty.rss_bytes) as f64;
        self.user_bytes.push(grown / sockets);
        self.kernel_bytes.push(stage.slab_bytes() as f64 / 2.0 / sockets);
        self.restart_s.push(stage.server.restart()?.as_secs_f64());
        Ok(())
    }

    fn findings(self) -> Findings {
        let mut findings = Findings::default();
        findings.add("accepts/s, floor", self.floor);
        if !self.ours.is_empty() {
            let judge = Judge::new(self.ours.len())
                .median(self.user_bytes.iter().copied(), |bytes| bytes <= 600.0)
                .median(self.ours.iter().copied(), |per_s| per_s >= 20_000.0)
                .fact(self.restart_s.iter().all(|seconds| *seconds < 5.0));
            findings.verdict = Some(judge.verdict());
            findings.add("accepts/s, touchline", self.ours);
            findings.add("B of user memory each", self.user_bytes);
            findings.add("B of kernel memory each", self.kernel_bytes);
            findings.add("s until ready after kill -9", self.restart_s);
        }
        if self.retries > 0 {
            let said = format!("{} connections failed and were made again", self.retries);
            findings.doubts.push(said);
        }
        findings
    }
}
