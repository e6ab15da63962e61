//! What was asked of the kernel: each question with the load that shows its answer and the variants
//! of the floor that are compared.

use crate::schedule::Phase;
use crate::setup::Setup;

/// Events of each team while it warms up: they leave behind the sixteen segments that Linux
/// acknowledges at once on every new connection.
pub const WARM_UP_EVENTS: u32 = 20;

/// A load that fits an experiment.
pub struct Case {
    /// As in `--case NAME`.
    pub name: &'static str,
    /// Clients, all of one team.
    sockets: usize,
    /// Bytes that an event has beside the 217 of the smallest.
    payload_bytes: usize,
    /// Events a second while it warms up.
    warm_up_rate: f64,
    /// Events a second.
    rate: f64,
    /// For so long.
    seconds: f64,
}

/// How much of a case is run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Sockets, if not the case's.
    pub sockets: Option<usize>,
    /// Its seconds are multiplied by it.
    pub time: f64,
}

impl Case {
    /// What is done in a run.
    pub fn setup(&self, scale: Scale) -> Setup {
        self.setup_together(scale, 1)
    }

    /// The same deliveries, spread over `teams`: as many more events, of which each goes to so much
    /// fewer.
    pub fn setup_together(&self, scale: Scale, teams: u32) -> Setup {
        let of_all = |rate: f64| rate * f64::from(teams);
        let warm_up_s = f64::from(WARM_UP_EVENTS) / self.warm_up_rate;
        let phases = vec![
            Phase::even("warm-up", of_all(self.warm_up_rate), warm_up_s, teams),
            Phase::even("steady", of_all(self.rate), self.seconds * scale.time, teams),
        ];
        let sockets = scale.sockets.unwrap_or(self.sockets);
        Setup { pad: self.payload_bytes, ..Setup::even(sockets, teams, phases) }
    }
}

const fn case(
    name: &'static str,
    sockets: usize,
    payload_bytes: usize,
    [warm_up_rate, rate, seconds]: [f64; 3],
) -> Case {
    Case { name, sockets, payload_bytes, warm_up_rate, rate, seconds }
}

/// All loads. Rates of large payloads are those that the clients' core can read.
pub static CASES: [Case; 6] = [
    case("hot", 10_000, 0, [10.0, 10.0, 3.0]),
    case("overload", 10_000, 0, [10.0, 1_000.0, 2.0]),
    case("brisk", 100, 0, [20.0, 400.0, 3.0]),
    case("4k", 10_000, 4_096, [10.0, 5.0, 3.0]),
    case("16k", 5_000, 16_384, [10.0, 5.0, 3.0]),
    case("64k", 2_000, 65_536, [10.0, 4.0, 3.0]),
];

/// A question.
pub struct Experiment {
    /// As in `--experiment NAME`.
    pub name: &'static str,
    /// The question.
    pub question: &'static str,
    /// By its name.
    pub case: &'static str,
    /// Options of the floors that are compared with the default one.
    pub variants: &'static [&'static str],
}

/// All questions.
pub static EXPERIMENTS: [Experiment; 16] = [
    Experiment {
        name: "batch",
        question: "How many sends should one call carry?",
        case: "hot",
        variants: &["--batch 16", "--batch 32", "--batch 64", "--batch 256", "--batch 512"],
    },
    Experiment {
        name: "ring",
        question: "What is a ring worth, and which setting of it?",
        case: "hot",
        variants: &["--kind send", "--defer-taskrun", "--registered-files"],
    },
    Experiment {
        name: "order",
        question: "Does the order of sends matter?",
        case: "hot",
        variants: &["--order fixed", "--order shuffled"],
    },
    Experiment {
        name: "records",
        question: "What do 256 bytes of state a socket cost, and does fetching them ahead help?",
        case: "hot",
        variants: &[
            "--record-bytes 256",
            "--record-bytes 256 --order shuffled",
            "--record-bytes 256 --order shuffled --prefetch",
        ],
    },
    Experiment {
        name: "congestion",
        question: "Which congestion control is cheapest?",
        case: "hot",
        variants: &["--congestion reno", "--congestion cubic", "--congestion bbr"],
    },
    Experiment {
        name: "congestion-overload",
        question: "The same when the core is full?",
        case: "overload",
        variants: &["--congestion reno", "--congestion cubic", "--congestion bbr"],
    },
    Experiment {
        name: "buffers",
        question: "Do bounds on the kernel's queue cost anything?",
        case: "hot",
        variants: &["--sndbuf 16384", "--lowat 4096", "--lowat 0"],
    },
    Experiment {
        name: "buffers-overload",
        question: "The same when the core is full?",
        case: "overload",
        variants: &["--sndbuf 16384", "--lowat 4096", "--lowat 0"],
    },
    Experiment {
        name: "huge-pages",
        question: "Do huge pages under the log of events help under overload?",
        case: "overload",
        variants: &["--huge-pages"],
    },
    Experiment {
        name: "huge-pages-64k",
        question: "Do they help with large events?",
        case: "64k",
        variants: &["--huge-pages"],
    },
    Experiment {
        name: "zero-copy",
        question: "Does zero copy pay at 217 bytes?",
        case: "hot",
        variants: &["--zero-copy"],
    },
    Experiment {
        name: "zero-copy-4k",
        question: "At 4 KiB?",
        case: "4k",
        variants: &["--zero-copy"],
    },
    Experiment {
        name: "zero-copy-16k",
        question: "At 16 KiB?",
        case: "16k",
        variants: &["--zero-copy"],
    },
    Experiment {
        name: "zero-copy-64k",
        question: "At 64 KiB?",
        case: "64k",
        variants: &["--zero-copy"],
    },
    Experiment {
        name: "spin",
        question: "Does it pay to look at the clock before sleeping, where events come quickly?",
        case: "brisk",
        variants: &["--spin-us 50", "--spin-us 500", "--spin-us 5000"],
    },
    Experiment {
        name: "noise",
        question: "How far apart are floors that are the same?",
        case: "hot",
        variants: &["--batch 128", "--order rotating"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::Variant;

    #[test]
    fn every_experiment_can_be_run() {
        for experiment in &EXPERIMENTS {
            assert!(CASES.iter().any(|case| case.name == experiment.case), "{}", experiment.name);
            assert!(experiment.question.ends_with('?'));
            for flags in experiment.variants {
                assert!(!Variant::parse(flags).unwrap().flags.is_empty());
            }
        }
        let setup = CASES[0].setup(Scale { sockets: Some(100), time: 0.1 });
        assert_eq!((setup.crowd.sockets, setup.schedule(0).plan().events()), (100, 20 + 3));
    }
}
