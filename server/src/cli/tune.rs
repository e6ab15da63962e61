//! `touchline tune`: the host doctor at a terminal.
//!
//! Knobs, judging and changing are `touchline_tuning`'s. Here is what belongs to a command: which
//! configuration asks for what, which host is meant, the question before an apply, and the code at
//! the end.

mod need;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use rustix::process::geteuid;
use touchline_tuning::apply::apply;
use touchline_tuning::check::{Report, State, check};
use touchline_tuning::knob::{Knob, all, find};
use touchline_tuning::machine::Machine;
use touchline_tuning::plan::{Plan, Wish};
use touchline_tuning::record;
use touchline_tuning::revert::revert;
use touchline_tuning::root::Root;
use touchline_tuning::table::{self, Style};
use touchline_tuning::{explain, script};

use self::need::need;
use super::{Exit, Failure, Given, say, screen};
use crate::config::Options;

/// Columns where nobody tells.
const WIDTH: usize = 100;
/// Records of what was there, below the host's root. Not in the service's own folder: its user
/// could write there what root puts back.
const STATE_DIR: &str = "/var/lib/touchline-tune";

/// What to do about the host.
#[derive(Debug, Subcommand)]
pub enum TuneCommand {
    /// List the knobs
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say how this host stands; ends with 4 where `connections_max` can't be held
    Check {
        #[command(flatten)]
        host: HostArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Also what this host lacks
        #[arg(long)]
        all: bool,
    },
    /// Show what would be set, ask, set it, and read it again (root)
    Apply {
        #[command(flatten)]
        host: HostArgs,
        #[command(flatten)]
        apply: ApplyArgs,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Print a page about a knob
    Explain {
        /// Which: see `tune list`
        knob: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Put back what was there before every apply, also one that ended half-way (root)
    Revert {
        #[command(flatten)]
        state: StateArgs,
        /// Only say what would be put back
        #[arg(long)]
        dry_run: bool,
        /// A tree that stands for a host
        #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
        root: PathBuf,
    },
}

/// Which host is meant, and for how much.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// Judge for so many connections [default: `node.connections_max`]
    #[arg(long, value_name = "COUNT")]
    connections: Option<u64>,
    /// Interface that carries the traffic; may be repeated [default: those with hardware]
    #[arg(long, value_name = "NAME")]
    nic: Vec<String>,
    /// Judge the limits of a process that runs, as the service [default: this one]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// A tree that stands for a host
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    root: PathBuf,
}

/// What to apply, and how.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Only these knobs
    #[arg(long, value_name = "KNOB,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// Only show the plan
    #[arg(long)]
    dry_run: bool,
    /// Until the next boot only: write no files
    #[arg(long)]
    now_only: bool,
    /// Set nothing, write a plain shell script that would (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    output_script: Option<PathBuf>,
    /// Where configuration lies
    #[arg(long, value_name = "FOLDER", default_value = "/etc", hide = true)]
    etc: PathBuf,
}

/// Where records are.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// Where what was there before is recorded [default: /var/lib/touchline-tune]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

impl HostArgs {
    fn root(&self) -> Root {
        let root = Root::below(&self.root);
        match self.pid {
            Some(pid) => root.of_process(pid),
            None => root.of_service(),
        }
    }

    fn judge(&self, given: &Given) -> Result<Report, Failure> {
        let mut request = given.request();
        if let Some(count) = self.connections {
            request = request.with("node.connections_max", &count.to_string());
        }
        let options = crate::config::load(request)?.options;
        let root = self.root();
        if self.pid.is_some() && !root.exists(&root.of_self("limits")) {
            return Err(anyhow!("there is no process {}", self.pid.unwrap_or(0)).into());
        }
        let machine = Machine::read(&root, &self.nic);
        let known: Vec<&str> = machine.nics.iter().map(|nic| nic.name.as_str()).collect();
        if let Some(name) = self.nic.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(anyhow!("there is no network interface {name}").into());
        }
        let need = need(&options, machine.cores);
        Ok(check(&root, machine, &need))
    }
}

impl StateArgs {
    fn folder(&self, root: &Root) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| root.path(STATE_DIR))
    }
}

/// Carries it out.
pub fn tune(given: &Given, command: TuneCommand) -> Result<Exit, Failure> {
    match command {
        TuneCommand::List { json } => list(json),
        TuneCommand::Check { host, json, all } => check_host(&host.judge(given)?, json, all),
        TuneCommand::Explain { knob, host } => {
            let knob = named(&knob)?;
            let report = host.judge(given)?;
            let row = report.row(&knob.id).context("every knob has a row")?;
            say(explain::page(row).as_bytes())
        }
        TuneCommand::Apply { host, apply, state } => apply_to_host(given, &host, &apply, &state),
        TuneCommand::Revert { state, dry_run, root } => {
            revert_host(&Root::below(root), &state, dry_run)
        }
    }
}

fn style(all: bool) -> Style {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style {
        width: screen::width().unwrap_or(WIDTH),
        colour: io::stdout().is_terminal() && !is_plain,
        all,
    }
}

fn named(id: &str) -> Result<&'static Knob, Failure> {
    let ends_so = |knob: &&Knob| knob.id.rsplit('.').next() == Some(id);
    find(id).or_else(|| all().iter().find(ends_so)).ok_or_else(|| {
        let distance = |name: &str| strsim::damerau_levenshtein(name, id);
        let near = |knob: &&Knob| {
            let last = knob.id.rsplit('.').next().unwrap_or_default();
            distance(&knob.id).min(distance(last))
        };
        let nearest = all().iter().min_by_key(near);
        // What has half of its letters wrong was not meant.
        let meant = nearest.filter(|knob| near(knob) * 2 <= id.len());
        let hint = meant.map_or(String::new(), |knob| format!("did you mean `{}`? ", knob.id));
        anyhow!("there is no knob `{id}`; {hint}`touchline tune list` has all").into()
    })
}

fn list(json: bool) -> Result<Exit, Failure> {
    let text = match json {
        true => {
            let row = |knob: &Knob| serde_json::json!({ "knob": knob.id, "group": knob.group, "title": knob.title });
            format!("{:#}\n", serde_json::Value::from_iter(all().iter().map(row)))
        }
        false => {
            let width = all().iter().map(|knob| knob.id.len()).max().unwrap_or(0);
            all().iter().map(|knob| format!("{:width$}  {}\n", knob.id, knob.title)).collect()
        }
    };
    say(text.as_bytes())
}

fn check_host(report: &Report, json: bool, all: bool) -> Result<Exit, Failure> {
    let text = match json {
        true => format!("{:#}\n", report.to_json()),
        false => table::report(report, style(all)),
    };
    say(text.as_bytes())?;
    Ok(if report.count(State::Problem) > 0 { Exit::Host } else { Exit::Fine })
}

fn apply_to_host(
    given: &Given,
    host: &HostArgs,
    args: &ApplyArgs,
    state: &StateArgs,
) -> Result<Exit, Failure> {
    let only = args.only.iter().map(|id| Ok(named(id)?.id.clone()));
    let only = only.collect::<Result<Vec<_>, Failure>>()?;
    let report = host.judge(given)?;
    let root = host.root();
    let folder = state.folder(&root);
    let etc = if root.is_host() { args.etc.clone() } else { root.path("/etc") };
    let wish = Wish { only, keep: !args.now_only, etc };
    let plan = Plan::make(&root, &report, &wish, &earlier(&folder)?);
    if let Some(file) = &args.output_script {
        return write_script(file, &script::script(&plan, report.need.connections_max));
    }
    say(table::plan(&plan, &folder.display().to_string(), style(false)).as_bytes())?;
    if plan.is_empty() {
        return say(b"There is nothing to set.\n");
    }
    if args.dry_run {
        return Ok(Exit::Fine);
    }
    check_rights(&root)?;
    if !args.yes && !ask()? {
        say(b"Nothing was changed.\n")?;
        return Ok(Exit::Failed);
    }
    let outcomes = apply(&root, &plan, &wish, &folder)
        .with_context(|| format!("recording what is there in {}", folder.display()))?;
    say(table::outcomes(&outcomes, style(false)).as_bytes())?;
    let bad = outcomes.iter().filter(|outcome| outcome.is_bad()).count();
    if bad > 0 {
        return Err(anyhow!("{bad} of {} did not take; the rest holds", outcomes.len()).into());
    }
    Ok(Exit::Fine)
}

fn earlier(folder: &Path) -> Result<Vec<record::Record>, Failure> {
    match record::list(folder).and_then(record::Listing::whole) {
        Ok(records) => Ok(records.into_iter().map(|(_, record)| record).collect()),
        // Root's own; who may not read them may not apply either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        Err(error) => Err(anyhow!(error).context("reading the records").into()),
    }
}

fn write_script(file: &Path, text: &str) -> Result<Exit, Failure> {
    if file == Path::new("-") {
        return say(text.as_bytes());
    }
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    say(format!("{}: `sh FILE` applies it, `sh FILE undo` takes it back\n", file.display())
        .as_bytes())
}

fn check_rights(root: &Root) -> Result<(), Failure> {
    match root.is_host() && !geteuid().is_root() {
        true => Err(anyhow!(
            "this needs root: use sudo, or take the script of `tune apply --output-script FILE`"
        )
        .into()),
        false => Ok(()),
    }
}

fn ask() -> Result<bool, Failure> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(anyhow!("nobody can be asked here: say --yes, or --dry-run").into());
    }
    let mut out = io::stdout();
    write!(out, "Apply? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn revert_host(root: &Root, state: &StateArgs, dry_run: bool) -> Result<Exit, Failure> {
    if !dry_run {
        check_rights(root)?;
    }
    let folder = state.folder(root);
    let reverted = revert(root, &folder, dry_run)
        .with_context(|| format!("reverting what {} records", folder.display()))?;
    if reverted.records == 0 {
        return say(b"Nothing is recorded: there is nothing to revert.\n");
    }
    say(table::reverted(&reverted, dry_run, style(false)).as_bytes())?;
    if reverted.is_bad() {
        let left = reverted.undone.iter().filter(|one| one.is_bad()).count();
        let (all, folder) = (reverted.undone.len(), folder.display());
        return Err(anyhow!(
            "{left} of {all} not back, and why stands beside them; the rest is. What is left is \
             recorded in {folder}, for another `touchline tune revert`"
        )
        .into());
    }
    Ok(Exit::Fine)
}

/// At the start of a server: problems are worth a line each, advice is worth a number. Neither
/// keeps it from starting.
pub fn tell_at_start(options: &Options) {
    let root = Root::host();
    let machine = Machine::read(&root, &[]);
    let need = need(options, machine.cores);
    let report = check(&root, machine, &need);
    for row in report.all(State::Problem) {
        let knob = row.knob.id.as_str();
        let (now, wanted, cost) = (row.now.as_str(), row.wanted.as_str(), row.knob.cost.as_str());
        tracing::warn!(
            knob,
            now,
            wanted,
            cost,
            "the host can't hold `connections_max`: see `touchline tune explain`"
        );
    }
    let advice = report.count(State::Advice);
    if advice > 0 {
        tracing::info!(advice, "the host could be better: see `touchline tune check`");
    }
}
