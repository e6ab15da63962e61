//! A workload as a file describes it: who follows what, and what is published when.
//!
//! The first phase warms up and is not measured: Linux acknowledges the first 16 segments of a
//! connection at once and only then learns to wait, so one event costs a retransmission on every
//! socket. A scenario without phases publishes nothing; its question is what connections take.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::run::Setup;
use crate::schedule::{Following, Phase};
use crate::target::file::read_toml;

/// A file of `bench/scenarios`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// As on the command line.
    pub name: String,
    /// The question that it answers, in a sentence.
    pub question: String,
    /// Clients.
    pub sockets: usize,
    /// Teams they follow, one each.
    pub teams: u32,
    /// How sockets are shared out over teams.
    pub following: Following,
    /// Bytes of an event's `data` beside its stamp.
    #[serde(default)]
    pub payload_bytes: usize,
    /// Clients that never read, in percent.
    #[serde(default)]
    pub stalled_percent: f64,
    /// How long deliveries are waited for after the last event, seconds.
    #[serde(default = "drain_s_max")]
    pub drain_s_max: f64,
    /// One after the other.
    #[serde(default, rename = "phase")]
    pub phases: Vec<Stretch>,
}

/// A stretch of even pace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// What it is for, for whoever reads the file.
    #[serde(rename = "name")]
    _name: String,
    /// Events a second.
    pub rate: f64,
    /// How long.
    pub seconds: f64,
}

fn drain_s_max() -> f64 {
    30.0
}

/// How much of a scenario is run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Sockets, if not the scenario's.
    pub sockets: Option<usize>,
    /// Its seconds are multiplied by it.
    pub time: f64,
}

impl Scenario {
    /// By the name of a file of `folder`, or by a path.
    ///
    /// # Errors
    /// When there is none, or it says what can't be run.
    pub fn load(folder: &Path, name: &str) -> Result<Self> {
        let scenario: Self = read_toml("scenario", folder, name)?;
        scenario.check().with_context(|| format!("scenario {name} can't be run"))?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.sockets > 0 && self.teams > 0, "it needs a socket and a team at least");
        ensure!((0.0..100.0).contains(&self.stalled_percent), "stalled_percent is a percentage");
        ensure!(self.stalled_percent == 0.0 || self.teams == 1, "readers stall in one team only");
        ensure!(self.phases.len() != 1, "the first phase warms up: there must be another");
        let paces = self.phases.iter().all(|phase| phase.rate > 0.0 && phase.seconds > 0.0);
        ensure!(paces, "a phase has a rate and a length above 0");
        Ok(())
    }

    /// What is done in a run.
    pub fn setup(&self, scale: Scale) -> Setup {
        let sockets = scale.sockets.unwrap_or(self.sockets);
        let stretch = |(index, phase): (usize, &Stretch)| {
            // Warming up takes what it takes.
            let time = if index == 0 { 1.0 } else { scale.time };
            Phase::new(phase.rate, phase.seconds * time)
        };
        Setup {
            sockets,
            teams: self.teams,
            following: self.following,
            stalled: (sockets as f64 * self.stalled_percent / 100.0).round() as usize,
            pad: self.payload_bytes,
            phases: self.phases.iter().enumerate().map(stretch).collect(),
            drain_s_max: self.drain_s_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_scenario_of_the_tree_can_be_run_and_asks_a_question() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        for file in fs::read_dir(&folder).unwrap() {
            let stem = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            let scenario = Scenario::load(&folder, &stem).unwrap();
            assert_eq!(scenario.name, stem);
            assert!(scenario.question.contains('?') || stem == "kafkorama", "{stem}");
            let setup = scenario.setup(Scale { sockets: Some(100), time: 0.1 });
            assert_eq!((setup.sockets, setup.phases.len()), (100, scenario.phases.len()));
        }
    }

    #[test]
    fn what_can_not_be_run_is_refused_with_a_reason() {
        let text = "name = \"x\"\nquestion = \"?\"\nsockets = 1\nteams = 1\nfollowing = \"even\"\n";
        let one = "[[phase]]\nname = \"a\"\nrate = 1.0\nseconds = 1.0\n";
        let refused = |text: String| {
            let scenario: Scenario = toml::from_str(&text).unwrap();
            scenario.check().unwrap_err().to_string()
        };
        assert!(refused(text.to_owned() + one).contains("warms up"));
        assert!(refused(text.replace("sockets = 1", "sockets = 0")).contains("a socket"));
        assert!(toml::from_str::<Scenario>(&format!("{text}colour = 1\n")).is_err());
    }
}
