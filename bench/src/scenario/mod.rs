//! A workload as a file describes it: who follows what, what is published when, what happens
//! meanwhile, and what must come of it.
//!
//! The first phase warms up and is not measured: Linux acknowledges the first 16 segments of a
//! connection at once and only then learns to wait, so one event costs a retransmission on every
//! socket. A scenario without phases publishes nothing; its question is what connections take.
//!
//! | module | what it is |
//! |---|---|
//! | [`day`] | matches and their goals become a schedule |
//! | [`expect`] | what must come of a run |
//! | [`ranges`] | what each number may be |

pub mod day;
pub mod expect;
mod ranges;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::limits::{ACTS_MAX, DAYS_S_MAX, PAD_BYTES_MAX, SENSORS_MAX, WINDOWS_MAX};
use crate::receive::crowd::Crowd;
use crate::schedule::{Following, Phase, Stream, Track};
use crate::setup::{Act, Deed, Flood, Log, Setup, Sources};
use crate::shipped::SCENARIOS;
use day::Day;
use expect::Expect;
use ranges::within;
pub use ranges::{sockets, time_factor};

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
    #[serde(default)]
    pub teams: u32,
    /// Instead of `teams`: so many clients for each.
    #[serde(default)]
    pub sockets_per_team: usize,
    /// How sockets are shared out over teams.
    #[serde(default = "even")]
    pub following: Following,
    /// Bytes of an event's `data` beside its stamp.
    #[serde(default)]
    pub payload_bytes: usize,
    /// Clients that never read, in percent.
    #[serde(default)]
    pub stalled_percent: f64,
    /// Clients that read slowly, in percent.
    #[serde(default)]
    pub slow_percent: f64,
    /// How slowly, in kilobits a second.
    #[serde(default)]
    pub slow_kbit_per_s: u32,
    /// Whether clients that lost their connection come back.
    #[serde(default)]
    pub returns: bool,
    /// Only what followers of teams from this number on get is timed.
    #[serde(default)]
    pub timed_team_first: u32,
    /// Settings of Touchline that aren't its defaults (`"key=value"`), where it is started here.
    #[serde(default)]
    pub settings: Vec<String>,
    /// What keeps Touchline's events, where it is started here.
    #[serde(default)]
    pub log: Log,
    /// What it asks and listens to beside webhooks, likewise.
    #[serde(default)]
    pub sources: Sources,
    /// How long deliveries are waited for after the last event, seconds.
    #[serde(default = "drain_s_max")]
    pub drain_s_max: f64,
    /// One after the other.
    #[serde(default, rename = "phase")]
    pub phases: Vec<Stretch>,
    /// What happens meanwhile.
    #[serde(default, rename = "act")]
    pub acts: Vec<Happening>,
    /// Webhooks as fast as they are due, whatever became of the others.
    #[serde(default)]
    pub flood: Option<Flood>,
    /// A match day that is played after the phases.
    #[serde(default)]
    pub day: Option<Day>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
}

/// A stretch of even pace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// What it is for.
    pub name: String,
    /// How long, seconds.
    pub seconds: f64,
    /// Events a second over all teams that have followers.
    #[serde(default)]
    pub rate: f64,
    /// Events a second for each of them, evenly spread.
    #[serde(default)]
    pub rate_per_team: f64,
    /// Beside these: events of some teams.
    #[serde(default, rename = "beside")]
    pub tracks: Vec<Beside>,
    /// So many of it, one after the other, each measured on its own.
    #[serde(default = "once")]
    pub repeat: u32,
}

/// Events of some teams.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Moments a second.
    rate: f64,
    /// Events of a moment.
    #[serde(default = "once")]
    burst: u32,
    /// The first team. Those from `teams` on have no followers.
    team_first: u32,
    /// How many teams.
    team_count: u32,
    /// By which way they come in.
    #[serde(default)]
    stream: Stream,
}

/// Something that happens.
#[derive(Clone, Debug, Deserialize)]
pub struct Happening {
    /// In the phase of this name.
    phase: String,
    /// So many seconds after it began.
    at_s: f64,
    /// What.
    #[serde(flatten)]
    deed: Deed,
}

fn even() -> Following {
    Following::Even
}

fn drain_s_max() -> f64 {
    30.0
}

fn once() -> u32 {
    1
}

/// How much of a scenario is run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Sockets, if not the scenario's.
    pub sockets: Option<usize>,
    /// Its seconds are multiplied by it.
    pub time: f64,
    /// So are those of its warm-up, which otherwise takes what it takes.
    pub warm_up: f64,
}

impl Scenario {
    /// By the name of a file of `bench/scenarios`, or by a path.
    ///
    /// # Errors
    /// When there is none, or it says what can't be run.
    pub fn load(name: &str) -> Result<Self> {
        let scenario: Self = SCENARIOS.read(name)?;
        scenario.check().with_context(|| format!("scenario {name} can't be run"))?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        self.check_ranges()?;
        let is_flood = self.flood.is_some();
        ensure!(self.sockets > 0 || is_flood, "it needs a socket at least");
        let has_teams = self.teams > 0 || self.sockets_per_team > 0 || self.day.is_some();
        ensure!(has_teams, "it needs a team at least");
        let bad = self.stalled_percent + self.slow_percent;
        let is_percentage = self.stalled_percent >= 0.0 && self.slow_percent >= 0.0;
        ensure!(is_percentage && bad < 100.0, "bad readers are given in percent, below 100 in all");
        ensure!(
            self.slow_percent == 0.0 || self.slow_kbit_per_s > 0,
            "slow readers read something"
        );
        ensure!(self.payload_bytes <= PAD_BYTES_MAX, "events are {PAD_BYTES_MAX} bytes at most");
        let windows: u64 = self.phases.iter().map(|phase| u64::from(phase.repeat)).sum();
        ensure!(
            windows != 1 || self.day.is_some() || is_flood,
            "the first phase warms up: there must be another"
        );
        ensure!(windows <= WINDOWS_MAX as u64, "more than {WINDOWS_MAX} phases");
        ensure!(self.acts.len() <= ACTS_MAX, "more than {ACTS_MAX} acts");
        let paces = self.phases.iter().all(|phase| {
            let rate = phase.rate + phase.rate_per_team;
            (rate > 0.0 || !phase.tracks.is_empty()) && phase.seconds > 0.0 && phase.repeat > 0
        });
        ensure!(paces, "a phase has a rate and a length above 0");
        self.check_sources()?;
        self.check_acts()
    }

    /// Whether each act comes within the run.
    fn check_acts(&self) -> Result<()> {
        for act in &self.acts {
            let begun = self.phases.iter().position(|phase| phase.name == act.phase);
            let begun =
                begun.with_context(|| format!("there is no phase {} for an act", act.phase));
            let rest = &self.phases[begun?..];
            let rest_s: f64 = rest.iter().map(|p| p.seconds * f64::from(p.repeat)).sum();
            within("act.at_s", act.at_s, 0.0..=rest_s)?;
            match act.deed {
                Deed::Stop { seconds } => within("act.seconds", seconds, 0.0..=DAYS_S_MAX)?,
                Deed::Leave { within_s } => within("act.within_s", within_s, 0.0..=DAYS_S_MAX)?,
                Deed::Kill | Deed::Drain => {}
            }
        }
        Ok(())
    }

    /// Whether there is somebody to say what is due by other ways than webhooks.
    fn check_sources(&self) -> Result<()> {
        let setup = self.setup(Scale { sockets: None, time: 1.0, warm_up: 1.0 });
        let streams = setup.streams();
        let Sources { sensors, crowd_posts_per_s, crowd_kept_per_s, .. } = self.sources;
        ensure!(
            sensors > 0 || !streams.contains(&Stream::Sensor),
            "values come from sensors: say how many (`[sources] sensors`)"
        );
        ensure!(sensors <= SENSORS_MAX, "more than {SENSORS_MAX} sensors");
        ensure!(
            crowd_posts_per_s <= 0.0 || crowd_kept_per_s > 0,
            "of a crowd's posts some are kept (`[sources] crowd_kept_per_s`)"
        );
        ensure!(
            !self.returns || streams == [Stream::Broadcast],
            "clients that come back follow broadcast alone"
        );
        Ok(())
    }

    /// What is done in a run.
    pub fn setup(&self, scale: Scale) -> Setup {
        let sockets = scale.sockets.unwrap_or(self.sockets);
        let percent = |percent: f64| (sockets as f64 * percent / 100.0).round() as usize;
        let teams = match (self.sockets_per_team, &self.day) {
            (0, Some(day)) => day.matches(),
            (0, None) => self.teams,
            (each, _) => (sockets / each).max(1) as u32,
        };
        let mut phases = self.stretched(teams, scale);
        phases.extend(self.day.as_ref().map(|day| day.phase(scale.time)));
        Setup {
            crowd: Crowd {
                sockets,
                teams,
                following: self.following,
                stalled: percent(self.stalled_percent),
                slow: percent(self.slow_percent),
                slow_bytes_per_s: self.slow_kbit_per_s * 1_000 / 8,
                returns: self.returns,
            },
            pad: self.payload_bytes,
            acts: self.acts(&phases, scale.time),
            phases,
            timed_team_first: self.timed_team_first,
            flood: self.flood,
            drain_s_max: self.drain_s_max,
            settings: self.settings.clone(),
            log: self.log,
            sources: self.sources.clone(),
            shards: None,
        }
    }

    /// Its phases, longer or shorter.
    fn stretched(&self, teams: u32, scale: Scale) -> Vec<Phase> {
        let mut phases = Vec::new();
        for stretch in &self.phases {
            let is_warm_up = phases.is_empty() && self.flood.is_none();
            let time = if is_warm_up { scale.warm_up } else { scale.time };
            let rate = stretch.rate + stretch.rate_per_team * f64::from(teams);
            let mut phase = Phase::even(&stretch.name, rate, stretch.seconds * time, teams);
            if rate <= 0.0 {
                phase.tracks.clear();
            }
            phase.tracks.extend(stretch.tracks.iter().map(Beside::track));
            phases.extend(std::iter::repeat_n(phase, stretch.repeat as usize));
        }
        phases
    }

    fn acts(&self, phases: &[Phase], time: f64) -> Vec<Act> {
        let act = |happening: &Happening| {
            let before = phases.iter().take_while(|phase| phase.name != happening.phase);
            let begun_s: f64 = before.map(|phase| phase.seconds).sum();
            Act { at_s: begun_s + happening.at_s * time, deed: happening.deed.stretched(time) }
        };
        self.acts.iter().map(act).collect()
    }
}

impl Beside {
    fn track(&self) -> Track {
        let even = Track::even(self.rate, self.team_first, self.team_count);
        Track { burst: self.burst, stream: self.stream, ..even }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_tree_can_be_run_and_asks_a_question() {
        for name in SCENARIOS.names() {
            let scenario = Scenario::load(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(scenario.question.contains('?'), "{name}");
            let setup = scenario.setup(Scale { sockets: Some(100), time: 0.1, warm_up: 0.1 });
            assert_eq!(setup.crowd.sockets, 100);
            let plan = setup.schedule(0).plan();
            assert_eq!(plan.events() == 0, setup.phases.is_empty(), "{name}");
        }
    }

    fn scenario(text: &str) -> Scenario {
        let head = "name = \"x\"\nquestion = \"?\"\nsockets = 200\nteams = 2\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    const TWO: &str = "[[phase]]\nname = \"a\"\nrate = 1.0\nseconds = 1.0\n\
                       [[phase]]\nname = \"b\"\nrate_per_team = 2.0\nseconds = 4.0\nrepeat = 3\n";

    #[test]
    fn what_can_not_be_run_is_refused_with_a_reason() {
        let refused = |text: &str| scenario(text).check().unwrap_err().to_string();
        let one = "[[phase]]\nname = \"a\"\nrate = 1.0\nseconds = 1.0\n";
        assert!(refused(one).contains("warms up"));
        assert!(refused("stalled_percent = 60.0\nslow_percent = 60.0\n").contains("percent"));
        assert!(refused("slow_percent = 60.0\n").contains("read something"));
        let values =
            "[[phase.beside]]\nrate = 1.0\nteam_first = 0\nteam_count = 2\nstream = \"sensor\"\n";
        assert!(refused(&format!("{TWO}{values}")).contains("say how many"));
        let act = format!("{TWO}[[act]]\nphase = \"c\"\nat_s = 1.0\ndo = \"kill\"\n");
        assert!(refused(&act).contains("no phase c"));
        let act =
            |at_s: &str| format!("{TWO}[[act]]\nphase = \"b\"\nat_s = {at_s}\ndo = \"kill\"\n");
        scenario(&act("12.0")).check().unwrap();
        for at_s in ["12.1", "100.0", "-1.0", "nan"] {
            assert!(refused(&act(at_s)).contains("act.at_s"), "{at_s}");
        }
        assert!(toml::from_str::<Scenario>("colour = 1\n").is_err());
    }

    #[test]
    fn time_stretches_everything_but_the_warm_up() {
        let act = "[[act]]\nphase = \"b\"\nat_s = 1.0\ndo = \"stop\"\nseconds = 3\n";
        let scenario = scenario(&format!("stalled_percent = 1.0\n{TWO}{act}"));
        let setup = scenario.setup(Scale { sockets: None, time: 0.5, warm_up: 1.0 });
        let seconds: Vec<f64> = setup.phases.iter().map(|phase| phase.seconds).collect();
        assert_eq!(seconds, [1.0, 2.0, 2.0, 2.0]);
        assert_eq!(setup.acts, [Act { at_s: 1.5, deed: Deed::Stop { seconds: 1.5 } }]);
        assert_eq!((setup.crowd.stalled, setup.crowd.slow), (2, 0));
        assert!((setup.phases[1].rate(2) - 4.0).abs() < 1e-9, "for each of two teams");
    }
}
