//! What is done in a run: who the clients are, what is published when, and what happens to the
//! server meanwhile.

use serde::{Deserialize, Serialize};

use crate::receive::crowd::Crowd;
use crate::schedule::{Phase, Schedule, Stream, Window};

/// With as many different loads as this, a run is a ramp.
pub const RAMP_LOADS_MIN: usize = 4;

/// What keeps Touchline's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// The embedded one.
    #[default]
    Journal,
    /// Three brokers on this host.
    Kafka,
}

/// What Touchline asks and listens to in a run, beside the partner that posts. Events of the
/// streams `sensor` and `social` come from here; the rest is there to be in the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// Sensors, each asked every 100 ms. Teams are dealt out to them; those that get none always
    /// say the same.
    pub sensors: u32,
    /// How long each takes to answer, milliseconds.
    pub answer_ms: u64,
    /// Posts a second of a crowd that talks about all teams alike, none of which is timed.
    pub crowd_posts_per_s: f64,
    /// How many of a second are kept for each team.
    pub crowd_kept_per_s: u32,
    /// Whether clients follow what is kept.
    pub crowd_is_followed: bool,
    /// Whether everything goes wrong that can: slow and failing sensors, streams that end and
    /// stall, partners that send what nobody can take.
    pub trouble: bool,
}

/// What is done in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The clients.
    pub crowd: Crowd,
    /// Padding of each event's `data`, bytes.
    pub pad: usize,
    /// Pace. The first phase warms up and is not measured.
    pub phases: Vec<Phase>,
    /// Only what followers of teams from this one on get is timed.
    pub timed_team_first: u32,
    /// What happens meanwhile, in order of time.
    pub acts: Vec<Act>,
    /// Where only the way in is asked about.
    pub flood: Option<Flood>,
    /// How long after the last event deliveries are waited for, seconds.
    pub drain_s_max: f64,
    /// Settings of Touchline that aren't its defaults, as `--set` takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// What keeps Touchline's events.
    #[serde(default)]
    pub log: Log,
    /// What Touchline asks and listens to.
    #[serde(default)]
    pub sources: Sources,
    /// Threads of server and floor, if not as few as hold the sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
}

/// Something that happens to everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// When, in seconds after the first phase began.
    pub at_s: f64,
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Deed {
    /// The server is killed as by a power cut and started again.
    Kill,
    /// The server is stopped for a while (SIGSTOP).
    Stop {
        /// For how long.
        seconds: f64,
    },
    /// The server is asked to end (SIGTERM) and sends everybody away. The last act of a run.
    Drain,
    /// All clients leave and come back.
    Leave {
        /// Within so many seconds.
        within_s: f64,
    },
}

/// Webhooks of many events, many under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// Events of a webhook.
    pub batch: u32,
    /// Webhooks under way at most.
    pub flights_max: usize,
}

impl Deed {
    /// The same, its seconds multiplied by `time`.
    pub fn stretched(&self, time: f64) -> Self {
        match self {
            Self::Kill => Self::Kill,
            Self::Drain => Self::Drain,
            Self::Stop { seconds } => Self::Stop { seconds: seconds * time },
            Self::Leave { within_s } => Self::Leave { within_s: within_s * time },
        }
    }
}

impl Sources {
    /// Whether there are any.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

impl Setup {
    /// `sockets` clients over `teams` teams, and nothing but `phases`.
    pub fn even(sockets: usize, teams: u32, phases: Vec<Phase>) -> Self {
        Self {
            crowd: Crowd::even(sockets, teams),
            pad: 0,
            phases,
            timed_team_first: 0,
            acts: Vec::new(),
            flood: None,
            drain_s_max: 30.0,
            settings: Vec::new(),
            log: Log::default(),
            sources: Sources::default(),
            shards: None,
        }
    }

    /// Whether its measured phases are many different loads.
    pub fn is_ramp(&self) -> bool {
        let mut rates: Vec<f64> =
            self.phases.iter().skip(1).map(|phase| phase.rate(self.crowd.teams)).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup_by(|a, b| (*a - *b).abs() < *b * 0.01);
        rates.len() >= RAMP_LOADS_MIN
    }

    /// Streams that its clients follow: those by which its events come, and the crowd's where that
    /// is wanted.
    pub fn streams(&self) -> Vec<Stream> {
        let mut streams = self.schedule(0).streams();
        if self.sources.crowd_is_followed && !streams.contains(&Stream::Social) {
            streams.push(Stream::Social);
        }
        streams
    }

    /// The schedule of a run that begins at `start_ns`.
    pub fn schedule(&self, start_ns: u64) -> Schedule {
        let (teams, pad, phases) = (self.crowd.teams, self.pad, self.phases.clone());
        Schedule { start_ns, teams, pad, phases }
    }

    /// What is measured together: each phase after the first.
    pub fn windows(&self, schedule: &Schedule) -> Vec<Window> {
        let window = |index| Window { team_first: self.timed_team_first, ..schedule.window(index) };
        (1..schedule.phases.len()).map(window).collect()
    }
}
