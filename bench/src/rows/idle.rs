//! 50,000 sockets that do nothing: what each takes, how fast they come in, how soon a server is
//! back that was killed with a log full of events.

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

/// How long webhooks are posted before it is killed, 20,000 events/s: what it reads again then.
const FILL_S: f64 = 10.0;

/// What the rounds gave, by figure.
#[derive(Default)]
struct Seen {
    floor: Vec<f64>,
    ours: Vec<f64>,
    /// Those of `ours` that the clients weren't the limit of.
    ours_counted: Vec<f64>,
    user_bytes: Vec<f64>,
    kernel_bytes: Vec<f64>,
    logged: Vec<f64>,
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
                seen.logged.push(stage.fill(place.seconds(FILL_S))? as f64);
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
        self.ours.push(run.connects_per_s());
        // Sooner than that such clients couldn't: it is a lower bound, wherever it lies.
        if !run.is_connect_limited() {
            self.ours_counted.push(run.connects_per_s());
        }
        self.user_bytes.push(run.user_bytes_per_socket());
        self.kernel_bytes.push(run.kernel_bytes_per_socket() / 2.0);
    }

    fn findings(self) -> Findings {
        let mut findings = Findings::default();
        findings.add("accepts/s, floor", self.floor);
        if !self.ours.is_empty() {
            let judge = Judge::new(self.ours.len())
                .median(self.user_bytes.iter().copied(), |bytes| bytes <= 600.0)
                .median(self.ours_counted.iter().copied(), |per_s| per_s >= ACCEPTS_PER_S_MIN)
                .fact(self.restart_s.iter().all(|seconds| *seconds < 5.0));
            findings.verdict = Some(judge.verdict());
            findings.add("accepts/s, touchline", self.ours);
            findings.add("B of user memory each", self.user_bytes);
            findings.add("B of kernel memory each", self.kernel_bytes);
            findings.add("events in its log", self.logged);
            findings.add("s until ready after kill -9", self.restart_s);
        }
        findings.doubts = self.doubts;
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;
    use crate::run::Shares;

    /// What is found of runs that connect at these rates, each limited by its clients or not.
    fn found(runs: &[(f64, bool)]) -> Findings {
        let mut seen = Seen::default();
        for (per_s, is_limited) in runs {
            let mut run = fixture::run(Subject::Touchline, 5);
            run.connect_s = run.sockets as f64 / per_s;
            let generator = if *is_limited { 0.99 } else { 0.5 };
            run.connecting = Shares { generator, ..Shares::default() };
            seen.look(&run);
            seen.restart_s.push(0.4);
            seen.logged.push(200_000.0);
        }
        seen.findings()
    }

    #[test]
    fn runs_that_the_clients_limited_are_shown_and_judge_nothing_whatever_they_reached() {
        let accepts = |findings: &Findings| {
            let of = findings.figures.iter().find(|named| named.name == "accepts/s, touchline");
            of.map(|named| [named.figure.low, named.figure.high].map(f64::round))
        };
        let (fast, slow) = ((30_000.0, false), (10_000.0, true));
        let findings = found(&[fast, fast, fast, slow, (25_000.0, true)]);
        assert_eq!(findings.said(), "met");
        assert_eq!(accepts(&findings), Some([10_000.0, 30_000.0]), "all are shown");
        let limited = (25_000.0, true);
        let findings = found(&[fast, fast, limited, slow, slow]);
        assert_eq!(findings.said(), "not told apart: 2 of 5 runs count, 3 must");
        let findings = found(&[slow; 5]);
        assert_eq!(findings.said(), "not told apart: 0 of 5 runs count, 3 must");
        assert_eq!(accepts(&findings), Some([10_000.0; 2]), "no zeroes");
        assert_eq!(found(&[(10_000.0, false); 5]).said(), "missed");
    }
}
