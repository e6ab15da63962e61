//! Where a demo that was killed goes on: `demo.json` in the data folder.
//!
//! The file names the day and says two things of it: how many events of each match the server has
//! acknowledged, and the **horizon**, the moment of the day beyond which nothing was sent. It is
//! written before the horizon moves, so after a `kill -9` everything that may have been sent lies
//! below it and keeps its `occurred_at`, whether or not its acknowledgement was still written down:
//! it is sent again and the server knows it (R15). What lies above may be moved to whenever the
//! demo goes on.
//!
//! A file that can't be read is an error that says what to do, never a silent new day.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use touchline_core::time::Timestamp;

use super::clock::DayClock;
use crate::limits::demo::{DAY_PAUSE_MAX, FILE_BYTES_MAX};

const VERSION: u32 = 1;

/// Why the day's file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DayFileError {
    /// The disk or its rights.
    #[error("{file}: {cause}: make the data folder writable")]
    Io {
        /// Which file.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Its content.
    #[error("{file}: {reason}: begin a new day with --fresh")]
    Content {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a day is made from: asked for again, it is the same day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// The league of this seed.
    League {
        /// Its seed.
        seed: u64,
        /// Whether many of its goals are taken back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        trouble: bool,
    },
    /// A day of a file.
    Matches {
        /// Which file, as it was named.
        file: PathBuf,
        /// Which of its dates.
        date: String,
        /// What is made up around it.
        seed: u64,
    },
}

/// A day under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayState {
    version: u32,
    /// When it began, `20261122T231500Z`: stands in all ids.
    pub day: String,
    /// What it is made from.
    pub script: Script,
    /// Days of this script before it.
    pub number: u32,
    /// The matches' own date.
    pub date: String,
    /// Of the script, see [`Day::fingerprint`](super::day::Day::fingerprint).
    pub fingerprint: String,
    /// Its time.
    pub clock: DayClock,
    /// Nothing later than this was sent.
    pub horizon: Duration,
    /// Events acknowledged, by match id.
    pub acknowledged: BTreeMap<String, usize>,
    /// Whether all of it was told.
    pub finished: bool,
}

impl DayState {
    /// Day `number` of `script`, which begins at `now`.
    pub fn new(
        script: Script,
        number: u32,
        date: String,
        fingerprint: String,
        now: Timestamp,
        speed_milli: u64,
    ) -> Self {
        Self {
            version: VERSION,
            day: day_id(now),
            script,
            number,
            date,
            fingerprint,
            clock: DayClock::start(now, speed_milli),
            horizon: Duration::ZERO,
            acknowledged: BTreeMap::new(),
            finished: false,
        }
    }

    /// Whether a demo of `script` (any league day if it names no seed) should go on with it at
    /// `now`.
    pub fn can_go_on(&self, wanted: impl Fn(&Script) -> bool, now: Timestamp) -> bool {
        let paused_us = now.0.saturating_sub(self.clock.wall_at(self.horizon).0);
        !self.finished && wanted(&self.script) && paused_us < DAY_PAUSE_MAX.as_micros() as i64
    }
}

/// The file of one data folder.
#[derive(Clone, Debug)]
pub struct DayFile {
    path: PathBuf,
}

impl DayFile {
    /// The file in `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("demo.json") }
    }

    /// What it holds; `None` if there is none.
    ///
    /// # Errors
    /// When it can't be read, or was written by another version or hand.
    pub fn read(&self) -> Result<Option<DayState>, DayFileError> {
        let text = match fs::metadata(&self.path).and_then(|file| {
            let fits = file.len() <= FILE_BYTES_MAX;
            if fits { fs::read(&self.path) } else { Err(std::io::Error::other("is too large")) }
        }) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(self.io(cause)),
        };
        let state: DayState =
            serde_json::from_slice(&text).map_err(|error| self.content(error.to_string()))?;
        match state.version {
            VERSION if state.clock.is_sound() => Ok(Some(state)),
            VERSION => Err(self.content("its clock makes no sense".into())),
            other => Err(self.content(format!("version {other} is not known to this build"))),
        }
    }

    /// Replaces it whole: whoever reads it finds the old one or the new one.
    ///
    /// # Errors
    /// When the disk is full or the folder can't be written.
    pub fn write(&self, state: &DayState) -> Result<(), DayFileError> {
        let text = serde_json::to_vec(state).map_err(|error| self.content(error.to_string()))?;
        let draft = self.path.with_extension("json.new");
        let write = || {
            let mut file = fs::File::create(&draft)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&draft, &self.path)
        };
        write().map_err(|cause| self.io(cause))
    }

    fn io(&self, cause: std::io::Error) -> DayFileError {
        DayFileError::Io { file: self.path.display().to_string(), cause }
    }

    fn content(&self, reason: String) -> DayFileError {
        DayFileError::Content { file: self.path.display().to_string(), reason }
    }
}

/// `20261122T231500Z`: unique as long as days don't begin within a second of each other.
fn day_id(now: Timestamp) -> String {
    let text = Timestamp(now.0 / 1_000_000 * 1_000_000).to_rfc3339();
    text.chars().filter(|letter| !matches!(letter, '-' | ':')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> DayState {
        let script = Script::League { seed: 7, trouble: false };
        let now = Timestamp::parse("2026-11-22T23:15:00.25Z").unwrap();
        DayState::new(script, 3, "2026-11-22".into(), "f00".into(), now, 60_000)
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = DayFile::new(dir.path());
        assert_eq!(file.read().unwrap(), None);
        let mut state = state();
        assert_eq!(state.day, "20261122T231500Z");
        state.horizon = Duration::new(12, 345_678_000);
        state.acknowledged.insert("m".into(), 4);
        for _ in 0..2 {
            file.write(&state).unwrap();
            assert_eq!(file.read().unwrap(), Some(state.clone()));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_makes_no_sense_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = DayFile::new(dir.path());
        let good = serde_json::to_string(&state()).unwrap();
        for bad in [
            "".to_owned(),
            "{".into(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"finished\"", "\"done\""),
            good.replace("60000", "0"),
        ] {
            fs::write(dir.path().join("demo.json"), bad).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains("demo.json") && error.ends_with("with --fresh"), "{error}");
        }
        let gone = DayFile::new(&dir.path().join("gone")).write(&state()).unwrap_err().to_string();
        assert!(gone.ends_with("make the data folder writable"), "{gone}");
    }

    #[test]
    fn a_day_is_gone_on_with_unless_it_is_over_or_another_was_asked_for() {
        let state = state();
        let soon = state.clock.wall_at(state.horizon).plus(Duration::from_secs(3_600));
        assert!(state.can_go_on(|_| true, soon));
        assert!(
            !state.can_go_on(|script| *script == Script::League { seed: 8, trouble: false }, soon)
        );
        assert!(!state.can_go_on(|_| true, soon.plus(DAY_PAUSE_MAX)));
        assert!(!DayState { finished: true, ..state.clone() }.can_go_on(|_| true, soon));
    }
}
