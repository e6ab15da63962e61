//! What becomes of results: JSON Lines that can be kept and compared, a table for people, progress
//! while it runs.
//!
//! | module | what it is |
//! |---|---|
//! | [`kept`] | results that were kept, read back |
//! | [`table`] | the table of rows |
//! | [`telling`] | runs in words, while they are made |

pub mod kept;
pub mod table;
pub mod telling;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::child;
use crate::probe::Host;
use crate::receive::Standing;
use crate::rows::Row;
use crate::run::Run;
use crate::scenario::expect::mib_per_hour;
use crate::setup::Setup;
use crate::target::Subject;

/// Takes results as they come.
pub struct Sink {
    out: BufWriter<File>,
    bar: ProgressBar,
    plain: bool,
    row: String,
    question: String,
    products: HashMap<String, String>,
    shared: HashMap<&'static str, Vec<Vec<Run>>>,
    started: Instant,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Host(&'a Host),
    Run {
        #[serde(flatten)]
        about: About,
        setup: &'a Setup,
        run: &'a Run,
    },
    Failure {
        #[serde(flatten)]
        about: About,
        subject: &'a Subject,
        why: &'a str,
    },
    Row(&'a Row),
}

/// What a line says of itself, so that it can be understood far from the tree.
#[derive(Serialize)]
struct About {
    row: String,
    question: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    pair: usize,
    /// When it was over, on the host's clock.
    at_ms: u64,
}

impl Sink {
    /// Writes to `path`, beginning with the host.
    pub fn new(path: &Path, host: &Host, rows: usize) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let file = File::create(path).with_context(|| format!("write {}", path.display()))?;
        let bar = ProgressBar::new(rows as u64);
        let style = "{spinner} {pos}/{len} rows, {elapsed}  {wide_msg}";
        bar.set_style(ProgressStyle::with_template(style)?);
        bar.enable_steady_tick(Duration::from_millis(200));
        let plain = !std::io::stderr().is_terminal();
        let mut sink = Self {
            out: BufWriter::new(file),
            bar,
            plain,
            row: String::new(),
            question: String::new(),
            products: HashMap::new(),
            shared: HashMap::new(),
            started: Instant::now(),
        };
        sink.write(&Line::Host(host))?;
        Ok(sink)
    }

    /// Says what the product `name` is.
    pub fn introduce(&mut self, name: &str, what: &str) {
        self.products.insert(name.into(), what.into());
    }

    /// A row or a scenario begins, which asks `question`.
    pub fn begin_row(&mut self, name: &str, question: &str) {
        name.clone_into(&mut self.row);
        question.clone_into(&mut self.question);
    }

    /// A run begins.
    pub fn begin_run(&mut self, pair: usize, pairs: usize, subject: &Subject, setup: &Setup) {
        let (row, sockets) = (&self.row, setup.crowd.sockets);
        let text = format!("{row}: {subject}, run {} of {pairs}, {sockets} sockets", pair + 1);
        self.bar.set_message(text.clone());
        if self.plain {
            eprintln!("{:>6.0} s  {text}", self.started.elapsed().as_secs_f64());
        }
    }

    /// Whoever shows how a run goes: the clients' percentiles of the last second, on a terminal.
    pub fn watcher(&self) -> impl FnMut(f64, f64, &Standing) + use<> {
        let (bar, plain) = (self.bar.clone(), self.plain);
        let what = bar.message();
        move |at_s, of_s, standing: &Standing| {
            if plain || at_s <= 0.0 {
                return;
            }
            bar.set_message(telling::progress(&what, at_s, of_s, standing));
        }
    }

    /// A run is done.
    pub fn keep_run(&mut self, pair: usize, setup: &Setup, run: &Run) -> Result<()> {
        let about = self.about(pair, &run.subject);
        self.write(&Line::Run { about, setup, run })?;
        self.say(&telling::run(setup, run));
        if let Some(slope) = run.memory_slope(setup) {
            let [grows, error] = [slope.per_s, slope.error].map(mib_per_hour);
            self.say(&format!(
                "          memory grows by {grows:.2} \u{b1} {error:.2} MiB an hour (95 %)"
            ));
        }
        Ok(())
    }

    /// A run that came to nothing.
    pub fn keep_failure(&mut self, pair: usize, subject: &Subject, why: &str) -> Result<()> {
        if child::is_ending() {
            // It failed because it was ended.
            return Ok(());
        }
        let about = self.about(pair, subject);
        self.write(&Line::Failure { about, subject, why })?;
        self.say(&format!("          gave up: {why:.300}"));
        Ok(())
    }

    /// A scenario is done.
    pub fn finish_scenario(&self, title: &str) {
        self.bar.inc(1);
        self.say(title);
    }

    /// A row is done.
    pub fn keep_row(&mut self, row: &Row) -> Result<()> {
        self.write(&Line::Row(row))?;
        self.bar.inc(1);
        let met = row.findings.said();
        self.say(&format!("{}: {met} (target {})", row.question, row.target));
        for named in &row.findings.figures {
            self.say(&format!("    {} {}", named.figure, named.name));
        }
        for doubt in &row.findings.doubts {
            self.say(&format!("    ! {doubt}"));
        }
        Ok(())
    }

    /// Prints a line above the progress bar.
    pub fn say(&self, text: &str) {
        if self.plain { eprintln!("{text}") } else { self.bar.println(text) }
    }

    /// Runs that two rows look at are made once.
    pub fn shared(
        &mut self,
        key: &'static str,
        make: impl FnOnce(&mut Self) -> Result<Vec<Vec<Run>>>,
    ) -> Result<Vec<Vec<Run>>> {
        if !self.shared.contains_key(key) {
            let runs = make(self)?;
            self.shared.insert(key, runs);
        }
        Ok(self.shared[key].clone())
    }

    fn about(&self, pair: usize, subject: &Subject) -> About {
        let product = match subject {
            Subject::Peer(name) => self.products.get(name).cloned(),
            _ => None,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (row, question) = (self.row.clone(), self.question.clone());
        About { row, question, product, pair, at_ms: now.as_millis() as u64 }
    }

    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")?;
        self.out.flush().context("write the results")
    }
}
