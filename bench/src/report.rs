//! What becomes of results: JSON Lines that can be kept and compared, a table for people, progress
//! while it runs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::child;
use crate::console;
use crate::probe::Host;
use crate::receive::Standing;
use crate::rows::{PLANS, Row};
use crate::run::Run;
use crate::scenario::expect::mib_per_hour;
use crate::setup::Setup;
use crate::target::Subject;

/// Where the generated part of a page begins.
const BEGIN: &str = "<!-- bench:begin (written by `make bench`) -->";
/// Where it ends.
const END: &str = "<!-- bench:end -->";

/// Takes results as they come.
pub struct Sink {
    out: BufWriter<File>,
    bar: ProgressBar,
    plain: bool,
    row: String,
    shared: HashMap<&'static str, Vec<Vec<Run>>>,
    started: Instant,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Host(&'a Host),
    Run { row: &'a str, pair: usize, setup: &'a Setup, run: &'a Run },
    Failure { row: &'a str, pair: usize, subject: &'a Subject, why: &'a str },
    Row(&'a Row),
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
        let row = String::new();
        let shared = HashMap::new();
        let out = BufWriter::new(file);
        let mut sink = Self { out, bar, plain, row, shared, started: Instant::now() };
        sink.write(&Line::Host(host))?;
        Ok(sink)
    }

    /// A row begins.
    pub fn begin_row(&mut self, name: &str) {
        name.clone_into(&mut self.row);
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
            bar.set_message(console::progress(&what, at_s, of_s, standing));
        }
    }

    /// A run is done.
    pub fn keep_run(&mut self, pair: usize, setup: &Setup, run: &Run) -> Result<()> {
        let row = self.row.clone();
        self.write(&Line::Run { row: &row, pair, setup, run })?;
        self.say(&format!("          {}", console::of_run(run)));
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
        let row = self.row.clone();
        self.write(&Line::Failure { row: &row, pair, subject, why })?;
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
        let met = verdict(row);
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

    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")?;
        self.out.flush().context("write the results")
    }
}

fn verdict(row: &Row) -> &'static str {
    match row.findings.met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "floor only",
    }
}

/// Host and rows of earlier runs: the first host, and of each row the last one, in the table's
/// order.
pub fn read(paths: &[PathBuf]) -> Result<(Host, Vec<Row>)> {
    let (mut host, mut rows) = (None, HashMap::new());
    for path in paths {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        for line in text.lines() {
            let mut line: serde_json::Value = serde_json::from_str(line)
                .with_context(|| format!("{} is no results file", path.display()))?;
            if let Some(found) = line.get_mut("host") {
                host.get_or_insert(serde_json::from_value(found.take())?);
            }
            if let Some(found) = line.get_mut("row").filter(|row| row.is_object()) {
                let row: Row = serde_json::from_value(found.take())?;
                rows.insert(row.name.clone(), row);
            }
        }
    }
    let rows = PLANS.iter().filter_map(|plan| rows.remove(plan.name)).collect();
    Ok((host.context("these files name no host")?, rows))
}

/// The table in Markdown, with the host above it.
pub fn table(host: &Host, rows: &[Row]) -> String {
    let mut text = String::new();
    let gib = host.memory_bytes as f64 / f64::from(1 << 30);
    let commit = host.commit.as_deref().unwrap_or("unknown");
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "{}, {} cores, {gib:.0} GiB, Linux {}, {} open files a table, commit {commit}. Server on one core, \
         clients on the other, over loopback. Each figure: median (least to greatest) of the runs.\n",
        host.cpu, host.cores, host.kernel, host.files_max
    );
    text.push_str("| what | target | measured | |\n|---|---|---|---|\n");
    for row in rows {
        let figures: Vec<String> = row
            .findings
            .figures
            .iter()
            .map(|named| format!("{} {}", named.figure, named.name))
            .chain(row.findings.doubts.iter().map(|doubt| format!("*{doubt}*")))
            .collect();
        let (figures, met) = (figures.join("<br>"), verdict(row));
        let _ = writeln!(text, "| {} | {} | {figures} | {met} |", row.question, row.target);
    }
    text
}

/// Puts `table` between the markers of the page at `path`; makes the page if there is none.
pub fn update_page(path: &Path, table: &str) -> Result<()> {
    let page = match fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# Performance\n\n{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let page = replace(&page, table)
        .with_context(|| format!("{} lacks the lines {BEGIN} and {END}", path.display()))?;
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn replace(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let page = replace(&page, "new\n").unwrap();
        assert_eq!(page, format!("above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"));
        assert_eq!(replace(&page, "new\n").unwrap(), page, "twice is once");
        assert_eq!(replace("no markers", "new"), None);
    }
}
