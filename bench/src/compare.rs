//! Products side by side: every scenario on every subject in turn, several times over, each time
//! beginning with another one.
//!
//! One host, one run, the same clients and the same schedule: what differs is the server. The floor
//! takes part as a subject of its own. A subject that can't do what is asked (it ends, throws
//! clients out, or takes far longer than the run) is kept with what became of it, and the others go
//! on.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::Place;
use crate::floor::Kind;
use crate::probe::Host;
use crate::report::Sink;
use crate::run::{Run, Stage};
use crate::scenario::{Scale, Scenario};
use crate::stats::Figure;
use crate::sys;
use crate::target::file::Target;
use crate::target::{Subject, peer};

/// All that is compared where nothing is named.
const PEERS: [&str; 7] = ["uwebsockets", "bun", "axum", "centrifuge", "nchan", "nats", "socketio"];

/// What is compared, and how.
#[derive(Args)]
pub struct CompareArgs {
    /// A scenario: a name of `bench/scenarios` or a file; may be given several times.
    #[arg(long, value_name = "NAME", default_values = ["hot-topic", "full-core", "idle"])]
    scenario: Vec<String>,
    /// Products, separated by commas: names of `bench/targets` or files; `all`; or `none`.
    #[arg(long, value_name = "NAMES", default_value = "all", value_delimiter = ',')]
    peers: Vec<String>,
    /// Sockets, if not the scenario's.
    #[arg(long, value_name = "COUNT")]
    sockets: Option<usize>,
    /// Seconds of the scenarios are multiplied by it.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time: f64,
}

/// A subject in a scenario.
struct Entry {
    subject: Subject,
    runs: Vec<Run>,
    failures: Vec<String>,
}

/// Compares; whether every subject could be measured.
pub fn compare(args: &CompareArgs, place: &Place, out: &Path) -> Result<bool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let load = |name: &String| Scenario::load(&folder, name);
    let scenarios: Vec<Scenario> = args.scenario.iter().map(load).collect::<Result<_>>()?;
    let subjects = subjects(args, place)?;
    let host = Host::read();
    sys::pin(place.client_core).context("pin the controller to the clients' core")?;
    let mut sink = Sink::new(out, &host, scenarios.len())?;
    let mut all_well = true;
    for scenario in &scenarios {
        let entries = play(args, place, &mut sink, scenario, &subjects)?;
        all_well &= entries.iter().all(|entry| entry.failures.is_empty());
        sink.finish_scenario(&format!("{}: {}", scenario.name, scenario.question));
        entries.iter().for_each(|entry| sink.say(&summary(entry)));
    }
    Ok(all_well)
}

/// Floors, Touchline and the peers, whose installing is no part of any run.
fn subjects(args: &CompareArgs, place: &Place) -> Result<Vec<Subject>> {
    let mut subjects = vec![Subject::Floor(Kind::Send), Subject::Floor(Kind::Volley)];
    if place.has_server() {
        subjects.push(Subject::Touchline);
    }
    let names: Vec<&str> = match args.peers.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["all"] => PEERS.to_vec(),
        ["none"] => Vec::new(),
        ref names => names.to_vec(),
    };
    for name in names {
        let target = Target::load(&place.targets, name)?;
        eprintln!("installing {name} if need be: {}", target.what);
        peer::install(&target)?;
        subjects.push(Subject::Peer(name.into()));
    }
    if subjects.is_empty() {
        bail!("there is nobody to compare");
    }
    Ok(subjects)
}

fn play(
    args: &CompareArgs,
    place: &Place,
    sink: &mut Sink,
    scenario: &Scenario,
    subjects: &[Subject],
) -> Result<Vec<Entry>> {
    sink.begin_row(&scenario.name);
    let setup = scenario.setup(Scale { sockets: args.sockets, time: args.time });
    let entry = |subject: &Subject| {
        let (runs, failures) = (Vec::new(), Vec::new());
        Entry { subject: subject.clone(), runs, failures }
    };
    let mut entries: Vec<Entry> = subjects.iter().map(entry).collect();
    for pair in 0..place.pairs {
        for step in 0..entries.len() {
            let index = (pair + step) % entries.len();
            let entry = &mut entries[index];
            sink.begin_run(pair, place.pairs, &entry.subject, &setup);
            match Stage::set(place, &entry.subject, &setup).and_then(|stage| stage.play(place)) {
                Ok(run) => {
                    sink.keep_run(pair, &setup, &run)?;
                    entry.runs.push(run);
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    sink.keep_failure(pair, &entry.subject, &why)?;
                    entry.failures.push(why);
                }
            }
        }
    }
    Ok(entries)
}

/// One line about a subject.
fn summary(entry: &Entry) -> String {
    let Entry { subject, runs, failures } = entry;
    let figure = |of: &dyn Fn(&Run) -> f64| Figure::of(runs.iter().map(of));
    let mut text = format!("    {:<16}", subject.to_string());
    if runs.iter().any(|run| !run.harvest.windows.is_empty()) {
        let p99 = |run: &Run| run.harvest.windows[0].latency.p99 as f64 / 1e3;
        let arrived = |run: &Run| run.harvest.counts.delivered as f64 / run.expected.max(1) as f64;
        text += &format!(
            "{} us a delivery, p99 {} ms, {:.1} % arrived",
            figure(&|run| run.cpu_us),
            figure(&p99),
            figure(&arrived).median * 100.0,
        );
    } else if !runs.is_empty() {
        text += &format!(
            "{} B a socket in its process, {} connects/s",
            figure(&Run::user_bytes_per_socket),
            figure(&Run::connects_per_s),
        );
    }
    match failures.last() {
        Some(why) => format!("{text}; gave up {} times: {why}", failures.len()),
        None => text,
    }
}
