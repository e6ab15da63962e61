//! The lab: what the kernel could do better for us, tried on a server that does nothing but send.
//!
//! An experiment compares variants of the [`floor`](crate::floor) with its default under one load.
//! All are run in turn, each time beginning with another one, and a variant's figure is divided by
//! that of the default which was run in the same turn: a host that is busy for a while troubles
//! both alike. Where only the CPU of a send is asked for, they can also run [`together`], which
//! tells much smaller differences. What helps here may help a shard; what doesn't help here can't.
//!
//! | module | what it holds |
//! |---|---|
//! | [`experiments`] | the questions |
//! | [`together`] | variants in one process |

mod experiments;
mod together;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::floor::Variant;
use crate::place::Place;
use crate::probe::Host;
use crate::report::Sink;
use crate::run::Run;
use crate::stage::Stage;
use crate::stats::Figure;
use crate::sys;
use crate::target::Subject;
use experiments::{CASES, Case, EXPERIMENTS, Scale};

/// What is tried.
#[derive(Args)]
pub struct LabArgs {
    /// Only this experiment; may be given several times.
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    /// Options of a floor to compare with the default one, such as "--batch 16 --order fixed", in
    /// place of the experiments; may be given several times.
    #[arg(long, value_name = "OPTIONS", conflicts_with = "experiment", allow_hyphen_values = true)]
    variant: Vec<String>,
    /// Under which load those are compared.
    #[arg(long, value_name = "NAME", default_value = "hot", conflicts_with = "experiment")]
    case: String,
    /// Sockets, if not those of the load.
    #[arg(long, value_name = "COUNT")]
    sockets: Option<usize>,
    /// Seconds of the load are multiplied by it.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time: f64,
    /// All variants in one process at once, each for a share of the sockets: the CPU of a send
    /// alone, but to a percent or two.
    #[arg(long)]
    together: bool,
}

impl LabArgs {
    fn scale(&self) -> Scale {
        Scale { sockets: self.sockets, time: self.time }
    }
}

/// An experiment as it is run.
struct Plan {
    name: String,
    question: String,
    case: &'static Case,
    /// The first is the default.
    variants: Vec<Variant>,
}

impl Plan {
    fn new(name: &str, question: &str, case: &str, variants: &[&str]) -> Result<Self> {
        let known = || CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
        let case = CASES.iter().find(|known| known.name == case);
        let case = case.with_context(|| format!("no such load; there are {}", known()))?;
        let flags = std::iter::once(&"").chain(variants);
        let variants = flags.map(|flags| Variant::parse(flags)).collect::<Result<_>>()?;
        Ok(Self { name: name.into(), question: question.into(), case, variants })
    }
}

/// Runs experiments and prints a table for each.
pub fn experiment(args: &LabArgs, place: &Place, out: &Path) -> Result<bool> {
    let plans = plans(args)?;
    let host = Host::read();
    sys::pin(place.client_core).context("pin the controller to the clients' core")?;
    let mut sink = Sink::new(out, &host, plans.len())?;
    let mut all_whole = true;
    for plan in &plans {
        let (table, is_whole) = if args.together {
            let found = together::run(args, place, &mut sink, plan)?;
            (together::table(plan, &found), found.runs.iter().all(Run::is_whole))
        } else {
            let runs = run(args, place, &mut sink, plan)?;
            (table(plan, &runs), runs.iter().flatten().all(Run::is_whole))
        };
        all_whole &= is_whole;
        sink.finish_scenario(&plan.question);
        println!("{table}");
    }
    Ok(all_whole)
}

fn plans(args: &LabArgs) -> Result<Vec<Plan>> {
    if !args.variant.is_empty() {
        let flags: Vec<&str> = args.variant.iter().map(String::as_str).collect();
        return Ok(vec![Plan::new("lab", "What do these options give?", &args.case, &flags)?]);
    }
    let is_known = |name: &&String| EXPERIMENTS.iter().any(|known| known.name == **name);
    if let Some(name) = args.experiment.iter().find(|name| !is_known(name)) {
        let names: Vec<&str> = EXPERIMENTS.iter().map(|known| known.name).collect();
        bail!("there is no experiment {name}; there are {}", names.join(", "));
    }
    EXPERIMENTS
        .iter()
        .filter(|known| {
            args.experiment.is_empty() || args.experiment.iter().any(|name| name == known.name)
        })
        .map(|known| Plan::new(known.name, known.question, known.case, known.variants))
        .collect()
}

/// The runs of each variant, in the order of the turns.
fn run(args: &LabArgs, place: &Place, sink: &mut Sink, plan: &Plan) -> Result<Vec<Vec<Run>>> {
    sink.begin_row(&plan.name, &plan.question);
    let setup = plan.case.setup(args.scale());
    let mut runs: Vec<Vec<Run>> = plan.variants.iter().map(|_| Vec::new()).collect();
    for turn in 0..place.pairs {
        for step in 0..plan.variants.len() {
            let index = (turn + step) % plan.variants.len();
            let subject = Subject::Variant(plan.variants[index].clone());
            sink.begin_run(turn, place.pairs, &subject, &setup);
            let run = Stage::set(place, &subject, &setup)?.play(place, &mut sink.watcher())?;
            sink.keep_run(turn, &setup, &run)?;
            runs[index].push(run);
        }
    }
    Ok(runs)
}

/// A row for each variant.
fn table(plan: &Plan, runs: &[Vec<Run>]) -> String {
    let p99_ms = |run: &Run| run.harvest.windows[0].latency.p99 as f64 / 1e3;
    let last_ms = |run: &Run| run.harvest.windows[0].last_us[1] as f64 / 1e3;
    let turns = runs.first().map_or(0, Vec::len);
    let mut text =
        format!("**{}** ({}, {turns} turns): {}\n\n", plan.name, plan.case.name, plan.question);
    text.push_str(
        "| floor | CPU us a delivery | of the default | p99 ms | of the default | last socket ms \
         | all sent after s | |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (variant, own) in plan.variants.iter().zip(runs) {
        let figure = |of: &dyn Fn(&Run) -> f64| Figure::of(own.iter().map(of));
        let ratio = |of: &dyn Fn(&Run) -> f64| ratio(own, &runs[0], of);
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| {variant} | {} | {} | {} | {} | {} | {} | {} |",
            figure(&|run| run.cpu_us),
            ratio(&|run| run.cpu_us),
            figure(&p99_ms),
            ratio(&p99_ms),
            figure(&last_ms),
            figure(&|run| run.harvest.windows[0].took_s),
            doubts(own),
        );
    }
    text
}

/// A figure against that of the default in the same turn.
fn ratio(own: &[Run], default: &[Run], of: &dyn Fn(&Run) -> f64) -> Figure {
    Figure::of(own.iter().zip(default).map(|(own, default)| of(own) / of(default).max(1e-9)))
}

/// As a figure is written, with a digit more.
fn three_digits(figure: &Figure) -> String {
    format!("{:.3} ({:.3} to {:.3})", figure.median, figure.low, figure.high)
}

/// What keeps these runs from being believed.
fn doubts(runs: &[Run]) -> String {
    let count = |is: &dyn Fn(&Run) -> bool| runs.iter().filter(|run| is(run)).count();
    let doubts = [
        (count(&|run| !run.is_whole()), "not whole"),
        (count(&Run::is_limited), "limited by the clients"),
        (count(&Run::is_disturbed), "disturbed"),
    ];
    let told = doubts.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
