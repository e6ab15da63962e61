//! Scenarios on subjects: one subject alone, or products side by side, every scenario on every
//! subject in turn, several times over, each time in another order.
//!
//! One host, one run, the same clients and the same schedule: what differs is the server. The floor
//! takes part as a subject of its own. A subject that can't do what is asked (it ends, throws
//! clients out, or takes far longer than the run) is kept with what became of it, and the others go
//! on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::floor::Kind;
use crate::limits::EVENTS_MAX;
use crate::place::Place;
use crate::probe::Host;
use crate::report::{Sink, telling};
use crate::run::Run;
use crate::scenario::{self, Scale, Scenario};
use crate::setup::{Act, Deed, Setup};
use crate::stage::Stage;
use crate::sys;
use crate::target::file::Target;
use crate::target::{Subject, peer};
use crate::turns;

/// All that is compared where nothing is named.
const PEERS: [&str; 7] = ["uwebsockets", "bun", "axum", "centrifuge", "nchan", "nats", "socketio"];

/// How scenarios are played.
#[derive(Args)]
pub struct PlayArgs {
    /// Sockets, if not the scenario's; with several numbers, separated by commas, it is played with
    /// each.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = scenario::sockets)]
    sockets: Vec<usize>,
    /// Seconds of the scenarios are multiplied by it.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = scenario::time_factor)]
    time: f64,
    /// Judge by what arrived and not by when: for hosts that aren't worth timing.
    #[arg(long)]
    any_speed: bool,
    /// Matches of a match day: a file as the openfootball project publishes them.
    #[arg(long, value_name = "FILE", requires = "date")]
    day: Option<PathBuf>,
    /// Which day of that file, as YYYY-MM-DD.
    #[arg(long, requires = "day")]
    date: Option<String>,
}

/// Who is compared, and by what.
#[derive(Args)]
pub struct CompareArgs {
    /// A scenario: a name of `bench/scenarios` or a file; may be given several times.
    #[arg(long, value_name = "NAME", default_values = ["hot-topic", "full-core", "idle"])]
    scenario: Vec<String>,
    /// Products, separated by commas: names of `bench/targets` or files; `all`; or `none`.
    #[arg(long, value_name = "NAMES", default_value = "all", value_delimiter = ',')]
    peers: Vec<String>,
    /// Without the floor that is a plain loop of `send(2)`.
    #[arg(long)]
    one_floor: bool,
    #[command(flatten)]
    play: PlayArgs,
}

/// A subject in a scenario.
struct Entry {
    subject: Subject,
    runs: Vec<Run>,
    failures: Vec<String>,
}

/// A scenario and what is done in each of its runs.
struct Piece {
    scenario: Scenario,
    setup: Setup,
}

/// Compares; whether server and floors did what they must.
pub fn compare(args: &CompareArgs, place: &Place, out: &Path) -> Result<bool> {
    let pieces = args.play.load(&args.scenario, place)?;
    let subjects = subjects(args, place)?;
    let kills = |piece: &&Piece| piece.setup.acts.iter().any(|act| act.deed == Deed::Kill);
    if let Some(piece) = pieces.iter().find(kills)
        && subjects.iter().any(|subject| *subject != Subject::Touchline)
    {
        let name = &piece.scenario.name;
        bail!(
            "scenario {name} kills the server; only Touchline is started again: play it by `run`"
        );
    }
    let mut sink = open(place, out, pieces.len(), &subjects)?;
    let mut all_well = true;
    for piece in &pieces {
        let entries = play(piece, place, &mut sink, &subjects)?;
        for why in entries.iter().filter_map(|entry| blame(entry, &piece.setup)) {
            all_well = false;
            sink.say(&format!("    FAILED: {why}"));
        }
    }
    Ok(all_well)
}

/// What this project is to blame for: that the server or a floor gave up, lost, repeated, or threw
/// out who read promptly. What other products do is data.
fn blame(entry: &Entry, setup: &Setup) -> Option<String> {
    let Entry { subject, runs, failures } = entry;
    if matches!(subject, Subject::Peer(_)) {
        return None;
    }
    let may_close = may_close(setup);
    let untrue = |run: &&Run| telling::is_false(run);
    let closed = |run: &&Run| !may_close && run.harvest.counts.prompt_closed > 0;
    let of = |is_bad: &dyn Fn(&&Run) -> bool| runs.iter().filter(is_bad).count();
    let (bad, what) = match [of(&untrue), of(&closed), failures.len()] {
        [0, 0, 0] => return None,
        [0, 0, gave_up] => (gave_up, "gave up"),
        [0, closed, _] => (closed, "threw out clients that read promptly"),
        [untrue, ..] => (untrue, "lost or repeated events without a word"),
    };
    let all = runs.len() + failures.len();
    Some(format!("{subject} {what} in {bad} of {all} runs"))
}

/// Whether a run of `setup` may end somebody's connection: by its acts, or where whoever is thrown
/// out comes back and must get everything after all.
fn may_close(setup: &Setup) -> bool {
    let ends = |act: &Act| matches!(act.deed, Deed::Drain | Deed::Kill);
    setup.crowd.returns || setup.acts.iter().any(ends)
}

/// Plays `scenarios` on one subject; whether what they expect came of every run.
pub fn run(
    scenarios: &[String],
    args: &PlayArgs,
    subject: &Subject,
    place: &Place,
    out: &Path,
) -> Result<bool> {
    let pieces = args.load(scenarios, place)?;
    let subjects = std::slice::from_ref(subject);
    let mut sink = open(place, out, pieces.len(), subjects)?;
    let mut all_well = true;
    for piece in &pieces {
        let entries = play(piece, place, &mut sink, subjects)?;
        for entry in &entries {
            all_well &= entry.failures.is_empty();
            for run in &entry.runs {
                let failures = piece.scenario.expect.failures(&piece.setup, run, args.any_speed);
                all_well &= failures.is_empty();
                failures.iter().for_each(|why| sink.say(&format!("    FAILED: {why}")));
                if let Some(what) = piece.scenario.expect.unproven(&piece.setup, run) {
                    all_well = false;
                    sink.say(&format!("    NOT PROVEN: {what}"));
                }
            }
        }
    }
    Ok(all_well)
}

fn open(place: &Place, out: &Path, scenarios: usize, subjects: &[Subject]) -> Result<Sink> {
    let mut host = Host::read();
    host.versions.extend(subjects.iter().filter_map(|subject| subject.version(place)));
    sys::pin(place.client_core).context("pin the controller to the clients' core")?;
    let mut sink = Sink::new(out, &host, scenarios)?;
    for subject in subjects {
        if let Subject::Peer(name) = subject {
            sink.introduce(name, &product(place, name)?);
        }
    }
    Ok(sink)
}

/// What the product `name` is, in a line.
fn product(place: &Place, name: &str) -> Result<String> {
    match &place.running {
        Some(running) if running.name == name => Ok(running.what.clone()),
        _ => Ok(Target::load(name)?.what),
    }
}

impl PlayArgs {
    /// Refuses what only a scenario could obey, where there is none.
    ///
    /// # Errors
    /// When there is something.
    pub fn check_unused(&self) -> Result<()> {
        let is_given = !self.sockets.is_empty()
            || self.time.to_bits() != 1.0_f64.to_bits()
            || self.any_speed
            || self.day.is_some();
        ensure!(
            !is_given,
            "--sockets, --time, --any-speed and --day are of scenarios: name one with --scenario"
        );
        Ok(())
    }

    fn load(&self, names: &[String], place: &Place) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for name in names {
            let scenario = self.scenario(name)?;
            for sockets in each(&self.sockets) {
                for shards in each(&place.shards) {
                    pieces.push(self.piece(&scenario, place, sockets, shards)?);
                }
            }
        }
        Ok(pieces)
    }

    fn scenario(&self, name: &str) -> Result<Scenario> {
        let mut scenario = Scenario::load(name)?;
        if let (Some(file), Some(date)) = (&self.day, &self.date) {
            let day = scenario.day.take();
            let day = day.with_context(|| format!("scenario {name} plays no match day"))?;
            scenario.day = Some(day.with_matches_of(file, date)?);
        }
        Ok(scenario)
    }

    fn piece(
        &self,
        scenario: &Scenario,
        place: &Place,
        sockets: Option<usize>,
        shards: Option<usize>,
    ) -> Result<Piece> {
        let warm_up = if place.quick { self.time } else { 1.0 };
        let scale = Scale { sockets, time: self.time, warm_up };
        let setup = Setup { shards, ..scenario.setup(scale) };
        let events = setup.schedule(0).events();
        ensure!(
            events <= EVENTS_MAX as u64,
            "scenario {} comes to {events} events, {EVENTS_MAX} at most can be kept: make it \
             shorter (`--time`)",
            scenario.name
        );
        Ok(Piece { scenario: scenario.clone(), setup })
    }
}

/// Each of them, or none where none is named.
fn each(counts: &[usize]) -> Vec<Option<usize>> {
    match counts {
        [] => vec![None],
        counts => counts.iter().copied().map(Some).collect(),
    }
}

/// Floors, Touchline and the peers, whose installing is no part of any run.
fn subjects(args: &CompareArgs, place: &Place) -> Result<Vec<Subject>> {
    let mut subjects = vec![Subject::Floor(Kind::Volley)];
    if !args.one_floor {
        subjects.insert(0, Subject::Floor(Kind::Send));
    }
    if place.has_server() {
        subjects.push(Subject::Touchline);
    }
    let names: Vec<&str> = match args.peers.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["all"] => PEERS.to_vec(),
        ["none"] => Vec::new(),
        ref names if names.contains(&"all") || names.contains(&"none") => {
            bail!("--peers all and --peers none stand alone")
        }
        ref names => names.to_vec(),
    };
    for name in names {
        subjects.push(peer_subject(name)?);
    }
    if subjects.is_empty() {
        bail!("there is nobody to compare");
    }
    Ok(subjects)
}

/// A product by the name of its target, installed.
pub fn peer_subject(name: &str) -> Result<Subject> {
    let target = Target::load(name)?;
    eprintln!("installing {name} if need be: {}", target.what);
    peer::install(&target)?;
    Ok(Subject::Peer(name.into()))
}

fn play(piece: &Piece, place: &Place, sink: &mut Sink, subjects: &[Subject]) -> Result<Vec<Entry>> {
    let Piece { scenario, setup } = piece;
    sink.begin_row(&scenario.name, &scenario.question);
    let entry = |subject: &Subject| {
        let (runs, failures) = (Vec::new(), Vec::new());
        Entry { subject: subject.clone(), runs, failures }
    };
    let mut entries: Vec<Entry> = subjects.iter().map(entry).collect();
    for pair in 0..place.pairs {
        for index in turns::order(pair, entries.len()) {
            let entry = &mut entries[index];
            sink.begin_run(pair, place.pairs, &entry.subject, setup);
            let staged = Stage::set(place, &entry.subject, setup);
            match staged.and_then(|stage| stage.play(place, &mut sink.watcher())) {
                Ok(run) => {
                    sink.keep_run(pair, setup, &run)?;
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
    place.end_brokers();
    sink.finish_scenario(&format!("{}: {}", scenario.name, scenario.question));
    for Entry { subject, runs, failures } in &entries {
        sink.say(&telling::summary(&subject.to_string(), setup, runs, failures));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;

    #[test]
    fn our_own_losses_are_failures_and_those_of_others_are_data() {
        let blamed = |subject: Subject, change: fn(&mut Entry)| {
            let runs = vec![fixture::run(subject.clone(), 5); 3];
            let mut entry = Entry { subject, runs, failures: Vec::new() };
            change(&mut entry);
            blame(&entry, &fixture::setup())
        };
        let repeats = |entry: &mut Entry| entry.runs[1].harvest.counts.repeated = 3_000;
        let loses = |entry: &mut Entry| entry.runs[1].harvest.counts.delivered = 0;
        let gives_up = |entry: &mut Entry| entry.failures.push("no core".into());
        let said = blamed(Subject::Touchline, repeats).unwrap();
        assert_eq!(said, "touchline lost or repeated events without a word in 1 of 3 runs");
        assert!(blamed(Subject::Floor(Kind::Volley), loses).is_some());
        assert!(blamed(Subject::Touchline, gives_up).unwrap().contains("gave up in 1 of 4"));
        for change in [repeats as fn(&mut Entry), loses, gives_up] {
            assert_eq!(blamed(Subject::Peer("bun".into()), change), None);
        }
        let declares = |entry: &mut Entry| {
            let counts = &mut entry.runs[1].harvest.counts;
            (counts.delivered, counts.declared) = (89_000, 1_000);
        };
        assert_eq!(blamed(Subject::Touchline, declares), None, "what is declared is known");
    }

    #[test]
    fn throwing_everybody_out_is_a_failure_unless_the_run_asks_for_it() {
        let blamed = |subject: &Subject, setup: &Setup| {
            let mut run = fixture::run(subject.clone(), 5);
            let counts = &mut run.harvest.counts;
            (counts.delivered, counts.cut_off, counts.prompt_closed) = (0, 90_000, 1_000);
            counts.closed.insert(4008, 1_000);
            let (subject, runs) = (subject.clone(), vec![run]);
            blame(&Entry { subject, runs, failures: Vec::new() }, setup)
        };
        let setup = fixture::setup();
        let said = blamed(&Subject::Touchline, &setup).unwrap();
        assert_eq!(said, "touchline threw out clients that read promptly in 1 of 1 runs");
        assert!(blamed(&Subject::Floor(Kind::Send), &setup).is_some());
        assert_eq!(blamed(&Subject::Peer("bun".into()), &setup), None);
        let mut returns = setup.clone();
        returns.crowd.returns = true;
        let drains = Setup { acts: vec![Act { at_s: 1.0, deed: Deed::Drain }], ..setup };
        for asked in [returns, drains] {
            assert_eq!(blamed(&Subject::Touchline, &asked), None);
        }
    }
}
