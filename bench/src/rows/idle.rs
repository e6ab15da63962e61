//! 50,000 sockets that do nothing: what each takes, how fast they come in, how soon a killed server
//! is back.

use anyhow::Result;

use super::Findings;
use super::verdict::Judge;
use crate::floor::Kind;
use crate::place::Place;
use crate::report::Sink;
use crate::run::Run;
use crate::setup::Setup;
use crate::stage::Stage;
use crate::target::Subject;

/// Connections a second that are asked for.
const ACCEPTS_PER_S_MIN: f64 = 20_000.0;

/// What the rounds gave, by figure.
#[derive(Default)]
struct Seen {
    floor: Vec<f64>,
    ours: Vec<f64>,
    user_bytes: Vec<f64>,
    kernel_bytes: Vec<f64>,
    restart_s: Vec<f64>,
    doubts: Vec<String>,
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
            let mut stage = Stage::set(place, subject, &setup)?;
            if *subject == Subject::Touchline {
                seen.restart_s.push(stage.server.restart()?.as_secs_f64());
            }
            let run = stage.play(place, &mut sink.watcher())?;
            sink.keep_run(pair, &setup, &run)?;
            seen.look(&run);
        }
    }
    Ok(seen.findings())
}

impl Seen {
    fn look(&mut self, run: &Run) {
        let doubts = run.connect_doubts();
        if !doubts.is_empty() {
            self.doubts.push(format!("{}: {}", run.subject, doubts.join(", ")));
        }
        if run.subject != Subject::Touchline {
            self.floor.push(run.connects_per_s());
            return;
        }
        // Sooner than that the clients couldn't: what they did is no more than a lower bound.
        if !run.is_connect_limited() || run.connects_per_s() >= ACCEPTS_PER_S_MIN {
            self.ours.push(run.connects_per_s());
        }
        self.user_bytes.push(run.user_bytes_per_socket());
        self.kernel_bytes.push(run.kernel_bytes_per_socket() / 2.0);
    }

    fn findings(self) -> Findings {
        let mut findings = Findings::default();
        findings.add("accepts/s, floor", self.floor);
        if !self.restart_s.is_empty() {
            let judge = Judge::new(self.ours.len())
                .median(self.user_bytes.iter().copied(), |bytes| bytes <= 600.0)
                .median(self.ours.iter().copied(), |per_s| per_s >= ACCEPTS_PER_S_MIN)
                .fact(self.restart_s.iter().all(|seconds| *seconds < 5.0));
            findings.verdict = Some(judge.verdict());
            findings.add("accepts/s, touchline", self.ours);
            findings.add("B of user memory each", self.user_bytes);
            findings.add("B of kernel memory each", self.kernel_bytes);
            findings.add("s until ready after kill -9", self.restart_s);
        }
        findings.doubts = self.doubts;
        findings
    }
}
