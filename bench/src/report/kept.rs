//! Results that were kept, read back line by line.
//!
//! A file may have been cut short by a kill, edited, or named twice. So a last line without an end
//! is left out and said; numbers that no run can have are refused with their file and line, before
//! anybody counts with them; and what was read already counts once.
//!
//! Each line says of itself when it was measured, what was asked and what the product is: whoever
//! reads it needs neither the tree nor the other lines. Older files lack that.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::limits::{EVENTS_MAX, WINDOWS_MAX};
use crate::probe::Host;
use crate::run::Run;
use crate::schedule::{Phase, Track};
use crate::setup::{Log, Setup};
use crate::target::Subject;

/// Greater numbers than this can't have been counted in a run, and sums of them are safe.
const NUMBER_MAX: f64 = 9_007_199_254_740_992.0; // 2^53, as exact as JSON's numbers are everywhere
/// More clients or teams than this no host holds.
const CROWD_MAX: usize = 10_000_000;
/// Longer phases than this, four months, nobody has waited for.
const PHASE_S_MAX: f64 = 1e7;

/// What was kept in one line.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Where all that follows was measured.
    Host(Host),
    /// A run.
    Run(Box<KeptRun>),
    /// A run that came to nothing.
    Failure(Failure),
    /// A row of the table.
    Row(Value),
}

/// A run and what it was about.
#[derive(Deserialize)]
pub struct KeptRun {
    /// Scenario or row.
    pub row: String,
    /// What it asks, in its own words.
    #[serde(default)]
    pub question: Option<String>,
    /// What the product is, in a line.
    #[serde(default)]
    pub product: Option<String>,
    /// What was done.
    pub setup: Setup,
    /// What came of it.
    pub run: Run,
}

/// A run that came to nothing.
#[derive(Deserialize)]
pub struct Failure {
    /// Scenario or row.
    pub row: String,
    /// What it asks.
    #[serde(default)]
    pub question: Option<String>,
    /// What the product is.
    #[serde(default)]
    pub product: Option<String>,
    /// Whose run it was.
    pub subject: Subject,
    /// Why.
    pub why: String,
}

/// What files hold.
#[derive(Default)]
pub struct Kept {
    /// Of each file that isn't there twice, its lines.
    pub files: Vec<Vec<Line>>,
    /// What was left out.
    pub warnings: Vec<String>,
    seen: HashSet<[u8; 32]>,
}

/// Reads `paths`.
///
/// # Errors
/// When one can't be read, or a line is none that the bench has written: its number is told.
pub fn read(paths: &[PathBuf]) -> Result<Kept> {
    let mut kept = Kept::default();
    for path in paths {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        kept.add(path, &bytes)?;
    }
    Ok(kept)
}

impl Kept {
    /// Adds what the file `path` holds.
    ///
    /// # Errors
    /// As of [`read`].
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let name = path.display();
        if !self.seen.insert(digest(bytes)) && !bytes.is_empty() {
            self.warnings.push(format!("{name}: the same file again, counted once"));
            return Ok(());
        }
        let (mut lines, mut again) = (Vec::new(), 0);
        let pieces: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for (index, piece) in pieces.iter().enumerate() {
            let number = index + 1;
            let is_torn = number == pieces.len() && !piece.ends_with(b"\n");
            let value: Value = match serde_json::from_slice(piece) {
                Ok(value) => value,
                Err(_) if is_torn => {
                    let said = "it has no end (was the run killed?) and is left out";
                    self.warnings.push(format!("{name}, line {number}: {said}"));
                    continue;
                }
                Err(error) => bail!("{name}, line {number} is no line of results: {error}"),
            };
            // A run tells its own time, so two that are the same are one. Failures and rows of
            // older files don't.
            let is_own = value.get("run").is_some() || value.pointer("/failure/at_ms").is_some();
            if is_own && !self.seen.insert(digest(piece.trim_ascii())) {
                again += 1;
                continue;
            }
            let line = line(value).with_context(|| format!("{name}, line {number}"))?;
            lines.push(line);
        }
        if again > 0 {
            let runs = if again == 1 { "run" } else { "runs" };
            self.warnings.push(format!("{name}: {again} {runs} of another file, counted once"));
        }
        self.files.push(lines);
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn line(value: Value) -> Result<Line> {
    // What a host's limits are its kernel says: some are "no limit", as a number.
    if value.get("host").is_none() {
        check_numbers(&value, &mut String::new())?;
    }
    let mut line = serde_json::from_value(value).context("it is no line of results")?;
    if let Line::Run(kept) = &mut line {
        check_setup(&kept.setup).context("its setup can't have been run: was it edited?")?;
        // Older runs don't say it themselves.
        kept.run.beside_brokers |= kept.setup.log == Log::Kafka;
    }
    Ok(line)
}

/// Whether all numbers below `at` are such as can be counted with.
fn check_numbers(value: &Value, at: &mut String) -> Result<()> {
    let length = at.len();
    let mut below = |name: &str, value: &Value| {
        at.push('/');
        at.push_str(name);
        let checked = check_numbers(value, at);
        at.truncate(length);
        checked
    };
    match value {
        Value::Number(number) => {
            let size = number.as_f64().map_or(f64::INFINITY, f64::abs);
            let said = "which no run can have counted: was it edited?";
            ensure!(size <= NUMBER_MAX, "{at} is {number}, {said}");
            Ok(())
        }
        Value::Array(values) => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| below(&index.to_string(), value)),
        Value::Object(values) => values.iter().try_for_each(|(name, value)| below(name, value)),
        _ => Ok(()),
    }
}

/// Whether `setup` is small enough to be expanded into its events and clients.
fn check_setup(setup: &Setup) -> Result<()> {
    let crowd = &setup.crowd;
    ensure!(crowd.sockets <= CROWD_MAX, "{} sockets", crowd.sockets);
    ensure!(crowd.teams as usize <= CROWD_MAX, "{} teams", crowd.teams);
    ensure!(crowd.stalled + crowd.slow <= crowd.sockets, "more bad readers than sockets");
    ensure!(setup.phases.len() <= 2 * WINDOWS_MAX, "{} phases", setup.phases.len());
    let events: f64 = setup.phases.iter().map(events).sum();
    ensure!(events <= EVENTS_MAX as f64, "{events} events, {EVENTS_MAX} at most");
    for phase in &setup.phases {
        let is_time = (0.0..=PHASE_S_MAX).contains(&phase.seconds);
        ensure!(is_time, "a phase of {} s", phase.seconds);
        let fits = |track: &Track| {
            let end = track.team_first as usize + track.team_count as usize;
            track.team_count > 0 && end <= 2 * CROWD_MAX
        };
        ensure!(phase.tracks.iter().all(fits), "teams of phase {} are none", phase.name);
    }
    Ok(())
}

/// Events of a phase, without expanding it.
fn events(phase: &Phase) -> f64 {
    let moments = |track: &Track| match track.rate > 0.0 {
        true => (track.rate * phase.seconds).max(1.0),
        false => track.at_s.len() as f64,
    };
    phase.tracks.iter().map(|track| moments(track) * f64::from(track.burst)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;

    fn kept(files: &[&str]) -> Result<Kept> {
        let mut kept = Kept::default();
        for (index, text) in files.iter().enumerate() {
            kept.add(Path::new(&format!("{index}.jsonl")), text.as_bytes())?;
        }
        Ok(kept)
    }

    fn runs(kept: &Kept) -> usize {
        let lines = kept.files.iter().flatten();
        lines.filter(|line| matches!(line, Line::Run(_))).count()
    }

    #[test]
    fn a_last_line_without_an_end_is_left_out_and_named() {
        let lines = fixture::flood();
        let torn = &lines[..lines.len() - 40];
        let kept = kept(&[torn]).unwrap();
        assert_eq!(runs(&kept), 2, "of three");
        assert!(kept.warnings[0].contains("0.jsonl, line 4"), "{:?}", kept.warnings);
        // In the middle of a file nothing is torn off.
        let error = self::kept(&[&format!("{torn}\n")]).err().unwrap();
        assert!(format!("{error:#}").contains("0.jsonl, line 4"), "{error:#}");
        let whole = self::kept(&[lines.trim_end()]).unwrap();
        assert_eq!((runs(&whole), whole.warnings.len()), (3, 0), "a lost line end is no loss");
    }

    #[test]
    fn the_same_run_counts_once_whichever_file_it_stands_in() {
        let lines = fixture::flood();
        let five = kept(&[lines.as_str(); 5]).unwrap();
        assert_eq!((runs(&five), five.warnings.len()), (3, 4), "{:?}", five.warnings);
        let first_two: String = lines.split_inclusive('\n').take(2).collect();
        let both = kept(&[&first_two, &lines]).unwrap();
        assert_eq!(runs(&both), 3);
        assert_eq!(both.warnings, ["1.jsonl: 1 run of another file, counted once"]);
    }

    #[test]
    fn a_number_that_no_run_has_is_refused_with_its_line() {
        let lines = fixture::lines();
        let refused = |from: &str, to: &str, why: &str| {
            let edited = lines.replacen(from, to, 1);
            assert_ne!(edited, lines, "{from} is in it");
            let said = format!("{:#}", kept(&[&edited]).err().expect(why));
            assert!(said.contains("0.jsonl, line 2") && said.contains(why), "{said}");
        };
        refused("\"stalled\":0", "\"stalled\":9223372036854775808", "/run/setup/crowd/stalled");
        refused("\"stalled\":0", "\"stalled\":2000", "more bad readers");
        refused("[1000,30000]", "[18446744073709551615,30000]", "/buckets/0/0");
        refused("\"rate\":10.0", "\"rate\":1e308", "/rate");
        refused("\"rate\":10.0", "\"rate\":1e9", "events");
        refused("\"team_count\":1", "\"team_count\":0", "teams of phase");
        refused("\"seconds\":3.0", "\"seconds\":-3.0", "a phase of -3 s");
        refused("\"subject\":", "\"subjects\":", "no line of results");
    }
}
