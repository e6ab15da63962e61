//! The rows of the table: each asks one question of the server, and of the floor in the same
//! breath.
//!
//! A row is a few [`Case`]s that are run in turn, five times over, each time in another order, so
//! that a host that warms up or is busy for a while troubles all of them alike. What they gave
//! becomes a [`Row`]: figures with their median and range, a verdict against the target, and
//! whatever keeps the figures from being believed.

mod hot;
mod idle;
mod kafka;
mod load;
mod sources;
mod verdict;
mod webhook;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::report::Sink;
use crate::run::Run;
use crate::schedule::Phase;
use crate::setup::Setup;
use crate::stage::Stage;
use crate::stats::Figure;
use crate::target::Subject;
use crate::turns;
use verdict::Verdict;

/// A row's name on the command line and how it is measured.
pub struct Plan {
    /// As in `--row NAME`.
    pub name: &'static str,
    /// The question.
    pub question: &'static str,
    /// What the server should reach on the reference host.
    pub target: &'static str,
    measure: fn(&Place, &mut Sink) -> Result<Findings>,
}

/// All rows, in the order of the table.
pub const PLANS: [Plan; 13] = [
    Plan {
        name: "hot",
        question: "10,000 sockets, one team, 10 events/s: CPU per delivery",
        target: "<= 1.05 of the floor",
        measure: hot::cost,
    },
    Plan {
        name: "last",
        question: "the same: an event's last socket, from the intended send",
        target: "<= 1.10 of the floor",
        measure: hot::last,
    },
    Plan {
        name: "full",
        question: "10,000 sockets, 400 events/s offered (4 M deliveries/s) for 10 s",
        target: "all delivered, p99 <= 0.5 s",
        measure: load::full,
    },
    Plan {
        name: "overload",
        question: "1,000 events/s (10 M deliveries/s) for 20 s, then 10 events/s",
        target: "nothing lost, repeated or closed; p99 idle again within 30 s",
        measure: load::overload,
    },
    Plan {
        name: "idle",
        question: "50,000 idle sockets; kill -9 with 200,000 events in the log",
        target: "<= 600 B of user memory each; restart < 5 s; >= 20,000 accepts/s",
        measure: idle::measure,
    },
    Plan {
        name: "teams",
        question: "50,000 sockets over 100 teams (Zipf), 100 events/s for 60 s",
        target: "0 lost, 0 repeated, p99 <= 150 ms",
        measure: load::teams,
    },
    Plan {
        name: "stalled",
        question: "100 of 10,000 sockets never read: p99 of the others",
        target: "moves < 10 %",
        measure: load::stalled,
    },
    Plan {
        name: "webhook",
        question: "webhooks of 100 events, 20,000 events/s",
        target: "all durable, p99 <= 50 ms",
        measure: webhook::measure,
    },
    Plan {
        name: "sensors",
        question: "200 sensors asked every 100 ms, 1,000 sockets: from a change to the socket",
        target: "nothing lost, p99 <= 150 ms",
        measure: sources::sensors,
    },
    Plan {
        name: "ticks",
        question: "500 sensors asked every 100 ms by one core, which carries 1,000 sockets, too",
        target: "no tick missed, nothing lost",
        measure: sources::ticks,
    },
    Plan {
        name: "posts",
        question: "10,000 posts/s beside 50 events/s for 1,000 sockets: p99 of broadcast",
        target: "moves < 10 %",
        measure: sources::posts,
    },
    Plan {
        name: "kafka",
        question: "webhooks of 100 events, 10,000 events/s, three brokers: until acknowledged",
        target: "all durable, p99 <= 100 ms",
        measure: kafka::acknowledge,
    },
    Plan {
        name: "kafka-sockets",
        question: "1,000 events/s by Kafka to 1,000 sockets over 100 teams",
        target: "nothing lost, p99 <= 50 ms",
        measure: kafka::sockets,
    },
];

/// What a row's runs came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The figures, in the order in which they are printed.
    pub figures: Vec<Named>,
    /// What became of the target; `None` where only a floor was measured.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// What older results say instead: whether the median met it.
    #[serde(default, skip_serializing)]
    met: Option<bool>,
    /// What a reader must know to judge the figures.
    pub doubts: Vec<String>,
}

/// A figure and what it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// What it says, with its unit.
    pub name: String,
    /// Over all runs.
    pub figure: Figure,
}

/// A row of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// As in `--row NAME`.
    pub name: String,
    /// The question.
    pub question: String,
    /// What the server should reach.
    pub target: String,
    /// What was found.
    pub findings: Findings,
    /// Runs of each case.
    pub pairs: usize,
}

impl Findings {
    /// What became of the target, in words.
    pub fn said(&self) -> String {
        match (&self.verdict, self.met) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(true)) => "met by the median (an older rule)".into(),
            (None, Some(false)) => "missed by the median (an older rule)".into(),
            (None, None) => "floor only".into(),
        }
    }

    fn add(&mut self, name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Figure {
        let figure = Figure::of(values);
        self.figures.push(Named { name: name.into(), figure });
        figure
    }

    /// Says so where the floor's own runs differ, or a run can't be believed.
    fn doubt(&mut self, cases: &[Vec<Run>]) {
        for runs in cases.iter().filter(|runs| !runs.is_empty()) {
            let (subject, spread) = (&runs[0].subject, Figure::of(runs.iter().map(|r| r.cpu_us)));
            if *subject != Subject::Touchline && spread.range_share() > 0.05 {
                let percent = spread.range_share() * 100.0;
                self.doubts.push(format!("runs of the {subject} differ by {percent:.0} %"));
            }
            let doubtful = runs.iter().filter(|run| !run.doubts().is_empty());
            if let Some(run) = doubtful.clone().next() {
                let (count, all) = (doubtful.count(), runs.len());
                let first = run.doubts().join(", ");
                self.doubts.push(format!("{subject}, {count} of {all} runs: {first}"));
            }
        }
    }
}

/// Something to run several times.
pub struct Case {
    /// On whom.
    pub subject: Subject,
    /// What.
    pub setup: Setup,
}

/// Whether there is no server, which is then said: no floor asks a sensor or accepts a webhook.
fn needs_server(place: &Place, findings: &mut Findings) -> bool {
    if !place.has_server() {
        findings.doubts.push("needs the server".into());
    }
    !place.has_server()
}

/// Measures `plan` on this host.
pub fn measure(plan: &Plan, place: &Place, sink: &mut Sink) -> Result<Row> {
    let findings = (plan.measure)(place, sink);
    place.end_brokers();
    let findings = findings?;
    Ok(Row {
        name: plan.name.into(),
        question: plan.question.into(),
        target: plan.target.into(),
        findings,
        pairs: place.pairs,
    })
}

/// What goes before every measured window. Linux acknowledges the first 16 segments of a connection
/// at once and only then learns to wait, which makes one event cost a retransmission on every
/// socket: it belongs to the opening of connections, not to what is asked here.
fn warm_up() -> Phase {
    Phase::even("warm-up", 10.0, 3.0, 1)
}

/// Runs every case `place.pairs` times, in another order each time. Cases of a server
/// that isn't there are left empty.
fn interleave(place: &Place, sink: &mut Sink, cases: &[Case]) -> Result<Vec<Vec<Run>>> {
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for pair in 0..place.pairs {
        for index in turns::order(pair, cases.len()) {
            let Case { subject, setup } = &cases[index];
            if *subject == Subject::Touchline && !place.has_server() {
                continue;
            }
            sink.begin_run(pair, place.pairs, subject, setup);
            let run = Stage::set(place, subject, setup)?.play(place, &mut sink.watcher())?;
            sink.keep_run(pair, setup, &run)?;
            runs[index].push(run);
        }
    }
    Ok(runs)
}

/// Pairs of runs of two cases.
fn paired<'a>(a: &'a [Run], b: &'a [Run]) -> impl Iterator<Item = (&'a Run, &'a Run)> {
    a.iter().zip(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_older_results_keep_their_verdict_and_say_by_which_rule() {
        let old = "{\"figures\":[],\"met\":true,\"doubts\":[]}";
        let old: Findings = serde_json::from_str(old).unwrap();
        assert_eq!(old.said(), "met by the median (an older rule)");
        let why = "median within, 3 of 5 runs within".to_owned();
        let new = Findings { verdict: Some(Verdict::NotTold(why)), ..Findings::default() };
        let kept = serde_json::to_string(&new).unwrap();
        let read: Findings = serde_json::from_str(&kept).unwrap();
        assert_eq!(read.said(), "not told apart: median within, 3 of 5 runs within");
        assert_eq!(Findings::default().said(), "floor only");
    }
}
