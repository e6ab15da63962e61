//! The match-day simulator: tells a day to the appliance as a partner does, and the next one after
//! it.
//!
//! Each match has a teller, a task of its own: it waits until its next moment has come, delivers
//! it, and only then looks at the one after. So the events of a match keep their order whatever
//! fails, and a match whose delivery is stuck holds up no other. The keeper moves the horizon and
//! writes the day's file (see [`day_file`](super::day_file)).
//!
//! # Invariants
//! - No teller sends a moment beyond the horizon that is on disk.
//! - A moment that is sent again, now or after a restart, is byte for byte the same event.
//!
//! # What it leaves out
//! Whom the events reach: it is a partner and knows nothing but the API's door.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use touchline_core::event::{NameError, Team};
use touchline_core::time::Timestamp;

use super::day::{Day, match_id};
use super::day_file::{DayFile, DayFileError, DayState, Script};
use super::league::{league_day, troubled_day};
use super::meter::Meter;
use super::openfootball::FileError;
use super::partner::{Partner, Verdict};
use super::replay::replayed_day;
use super::world::World;
use super::{Stop, now};
use crate::limits::demo::{DAY_BREAK, HORIZON};

/// One event in so many is sent again,
const AGAIN_ONE_IN: u64 = 20;
/// and with trouble one in so many,
const AGAIN_ONE_IN_TROUBLE: u64 = 4;
/// of which one in so many is sent
const FLOOD_ONE_IN: u64 = 3;
/// so often at once.
const FLOOD: usize = 20;

/// What to play, and how.
#[derive(Clone, Debug)]
pub struct SimulatorOptions {
    /// Where `demo.json` lies.
    pub data_dir: PathBuf,
    /// Same seed, same days. `None`: whatever day is under way, else one of today's date.
    pub seed: Option<u64>,
    /// Replay this date of this file instead of a league day.
    pub matches: Option<(PathBuf, String)>,
    /// In thousandths: 60,000 makes a minute pass in a second.
    pub speed_milli: u64,
    /// Begin a new day even if one is under way.
    pub fresh: bool,
    /// Repeat oneself more than partners should, and take many goals back.
    pub trouble: bool,
}

/// Why there is no day to play.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The file of matches.
    #[error(transparent)]
    Matches(#[from] FileError),
    /// The day's file.
    #[error(transparent)]
    DayFile(#[from] DayFileError),
    /// A club of this build.
    #[error("a club's id {0}")]
    Club(#[from] NameError),
}

/// A day ready to be told, and those after it.
pub struct Simulator {
    options: SimulatorOptions,
    file: DayFile,
    partner: Arc<Partner>,
    meter: Meter,
    world: World,
    day: Arc<Day>,
    state: DayState,
    resumed: bool,
}

impl Simulator {
    /// Goes on with the day under way, or begins one; `world` is told which.
    ///
    /// # Errors
    /// When the matches or the day's file can't be read.
    pub fn open(
        options: SimulatorOptions,
        partner: Partner,
        meter: Meter,
        world: World,
    ) -> Result<Self, SimulatorError> {
        let file = DayFile::new(&options.data_dir);
        let before = if options.fresh { None } else { file.read()? };
        let number = before.as_ref().map_or(0, |state| number_after(&options, state));
        let resumed = before.map(|state| resume(&options, state)).transpose()?.flatten();
        let (partner, is_resumed) = (Arc::new(partner), resumed.is_some());
        let (day, state) = match resumed {
            Some(resumed) => resumed,
            None => begin(&script(&options), number, options.speed_milli)?,
        };
        let day = Arc::new(day);
        Ok(Self { options, file, partner, meter, world, day, state, resumed: is_resumed })
    }

    /// Teams that play today and, in a league, on all other days.
    pub fn teams(&self) -> Vec<Team> {
        self.day.teams()
    }

    /// What is played, for a person.
    pub fn describe(&self) -> String {
        let (day, state) = (&self.day, &self.state);
        let verb = if self.resumed { "goes on with" } else { "plays" };
        let what = match &state.script {
            Script::League { seed, .. } => format!("day {} of seed {seed}", state.number + 1),
            Script::Matches { date, .. } => date.clone(),
        };
        format!("{verb} {} ({what}), {} matches", day.competition, day.fixtures.len())
    }

    /// Tells day after day until told to stop. Ends within a second then.
    ///
    /// # Errors
    /// When the day's file can't be written or the next day can't be made.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), SimulatorError> {
        loop {
            self.tell_day(&mut stop).await?;
            if stop.is_stopped() || stop.sleep(DAY_BREAK).await {
                return Ok(());
            }
            let number = self.state.number + 1;
            let (day, state) = begin(&self.state.script, number, self.options.speed_milli)?;
            (self.day, self.state) = (Arc::new(day), state);
        }
    }

    async fn tell_day(&mut self, stop: &mut Stop) -> Result<(), SimulatorError> {
        let acknowledged = Arc::new(Mutex::new(self.state.acknowledged.clone()));
        let (horizon, _) = watch::channel(self.state.horizon);
        let mut tellers = JoinSet::new();
        self.move_horizon(&horizon, &acknowledged).await?;
        self.world.set(self.day.clone(), self.state.clock.clone());
        for index in 0..self.day.fixtures.len() {
            tellers.spawn(self.teller(index, &horizon, &acknowledged).tell());
        }
        loop {
            tokio::select! {
                ended = tellers.join_next() => if ended.is_none() { break },
                stopped = stop.sleep(HORIZON / 2) => {
                    if stopped {
                        break;
                    }
                    self.move_horizon(&horizon, &acknowledged).await?;
                }
            }
        }
        self.state.finished = tellers.is_empty();
        tellers.shutdown().await;
        self.save(&acknowledged).await
    }

    fn teller(
        &self,
        index: usize,
        horizon: &watch::Sender<Duration>,
        acknowledged: &Arc<Mutex<BTreeMap<String, usize>>>,
    ) -> Teller {
        Teller {
            day: self.day.clone(),
            state: self.state.clone(),
            index,
            partner: self.partner.clone(),
            meter: self.meter.clone(),
            trouble: self.options.trouble,
            horizon: horizon.subscribe(),
            acknowledged: acknowledged.clone(),
        }
    }

    /// Writes down how far tellers may go from now on, then lets them.
    async fn move_horizon(
        &mut self,
        horizon: &watch::Sender<Duration>,
        acknowledged: &Mutex<BTreeMap<String, usize>>,
    ) -> Result<(), SimulatorError> {
        let until = self.state.clock.day_at(now().plus(HORIZON)).min(self.day.end());
        self.state.horizon = self.state.horizon.max(until);
        self.save(acknowledged).await?;
        horizon.send_replace(self.state.horizon);
        Ok(())
    }

    async fn save(
        &mut self,
        acknowledged: &Mutex<BTreeMap<String, usize>>,
    ) -> Result<(), SimulatorError> {
        self.state.acknowledged =
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (file, state) = (self.file.clone(), self.state.clone());
        match tokio::task::spawn_blocking(move || file.write(&state)).await {
            Ok(written) => Ok(written?),
            // The runtime is going down; the file holds what was last written.
            Err(_) => Ok(()),
        }
    }
}

/// Tells one match.
struct Teller {
    day: Arc<Day>,
    state: DayState,
    index: usize,
    partner: Arc<Partner>,
    meter: Meter,
    trouble: bool,
    horizon: watch::Receiver<Duration>,
    acknowledged: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Teller {
    async fn tell(mut self) {
        let fixture = &self.day.fixtures[self.index];
        let game = match_id(&self.state.day, fixture);
        let told = self.state.acknowledged.get(&game).copied().unwrap_or(0);
        for n in told..fixture.moments.len() {
            let at = fixture.moments[n].at;
            if self.horizon.wait_for(|horizon| *horizon >= at).await.is_err() {
                return;
            }
            let occurred_at = self.state.clock.wall_at(at);
            tokio::time::sleep(until(occurred_at)).await;
            let item = self.day.item(&self.state.day, fixture, n, occurred_at);
            let Ok(body) = serde_json::to_vec(&item).map(Bytes::from) else { return };
            let (number, sides) = (n as u64 + 1, item.teams.each_ref().map(String::as_str));
            self.meter.ledger(|ledger| ledger.send(&game, sides, number, Instant::now()));
            if self.deliver(&item.id, &body, occurred_at).await {
                self.meter.ledger(|ledger| ledger.acknowledge(&game, number, Instant::now()));
            }
            let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            acknowledged.insert(game.clone(), n + 1);
        }
    }

    /// Delivers an event; now and then again, at once or one after the other. Whether it is to be
    /// shown.
    async fn deliver(&self, id: &str, body: &Bytes, occurred_at: Timestamp) -> bool {
        let webhook_id = format!("msg_{:016x}", dice(id, 1));
        let once = || {
            let (partner, webhook_id, body) =
                (self.partner.clone(), webhook_id.clone(), body.clone());
            async move { partner.deliver(&webhook_id, &body, occurred_at).await }
        };
        self.meter.sent(id);
        let (copies, at_once) = copies(id, self.trouble);
        let (mut all, mut is_taken) = (JoinSet::new(), false);
        for _ in 0..copies {
            match at_once {
                true => drop(all.spawn(once())),
                false => is_taken |= self.note(id, once().await),
            }
        }
        while let Some(delivered) = all.join_next().await {
            // Fails only while everything ends.
            if let Ok(verdict) = delivered {
                is_taken |= self.note(id, verdict);
            }
        }
        is_taken
    }

    /// Whether it was taken, and is to be shown.
    fn note(&self, id: &str, verdict: Verdict) -> bool {
        let is_taken = matches!(verdict, Verdict::Accepted(tally) if tally.too_old == 0);
        match verdict {
            Verdict::Accepted(tally) => self.meter.count(|totals| {
                totals.events += tally.accepted;
                totals.repeats += tally.duplicates;
                totals.too_old += tally.too_old;
                totals.trouble = None;
            }),
            Verdict::Refused { status, reason } => {
                tracing::error!(id, status, reason, "the simulator's event was refused");
                self.meter.count(|totals| {
                    totals.refused += 1;
                    totals.trouble = Some(format!("{id} was refused ({status}): {reason}"));
                });
            }
        }
        is_taken
    }
}

/// How often event `id` is sent, and whether all at once.
fn copies(id: &str, trouble: bool) -> (usize, bool) {
    let (die, one_in) = (dice(id, 2), if trouble { AGAIN_ONE_IN_TROUBLE } else { AGAIN_ONE_IN });
    let rest = die / one_in;
    match (die.is_multiple_of(one_in), trouble && rest.is_multiple_of(FLOOD_ONE_IN)) {
        (false, _) => (1, false),
        (true, true) => (FLOOD, true),
        (true, false) => (2, rest.is_multiple_of(2)),
    }
}

/// The time until the wall clock shows `wall`.
fn until(wall: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(wall.0 - now().0).unwrap_or(0))
}

fn dice(id: &str, salt: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(id.as_bytes(), salt)
}

/// What is asked for when nothing is under way.
fn script(options: &SimulatorOptions) -> Script {
    let seed = options.seed.unwrap_or_else(|| seed_of(&today()));
    match &options.matches {
        Some((file, date)) => Script::Matches { file: file.clone(), date: date.clone(), seed },
        None => Script::League { seed, trouble: options.trouble },
    }
}

/// Whether the day under way is what was asked for.
fn is_wanted(options: &SimulatorOptions, script: &Script) -> bool {
    let wanted = |seed: &u64| options.seed.is_none_or(|wanted| wanted == *seed);
    match (&options.matches, script) {
        (None, Script::League { seed, trouble }) => wanted(seed) && *trouble == options.trouble,
        (Some((file, date)), Script::Matches { file: f, date: d, seed }) => {
            file == f && date == d && wanted(seed)
        }
        _ => false,
    }
}

/// A day that was told to its end is followed by the next of its script.
fn number_after(options: &SimulatorOptions, state: &DayState) -> u32 {
    let same = state.finished && state.script == script(options);
    if same { state.number + 1 } else { 0 }
}

/// The day under way, if it can be gone on with: the same script must still make the same day.
fn resume(
    options: &SimulatorOptions,
    mut state: DayState,
) -> Result<Option<(Day, DayState)>, SimulatorError> {
    if !state.can_go_on(|script| is_wanted(options, script), now()) {
        return Ok(None);
    }
    let day = make(&state.script, state.number, &state.date)?;
    if day.fingerprint() != state.fingerprint {
        return Ok(None);
    }
    state.clock.go_on(state.horizon, now(), options.speed_milli);
    Ok(Some((day, state)))
}

fn begin(
    script: &Script,
    number: u32,
    speed_milli: u64,
) -> Result<(Day, DayState), SimulatorError> {
    let date = match script {
        Script::League { .. } => today(),
        Script::Matches { date, .. } => date.clone(),
    };
    let day = make(script, number, &date)?;
    let print = day.fingerprint();
    let state = DayState::new(script.clone(), number, date, print, now(), speed_milli);
    Ok((day, state))
}

fn make(script: &Script, number: u32, date: &str) -> Result<Day, SimulatorError> {
    Ok(match script {
        Script::League { seed, trouble: false } => league_day(*seed, number, date)?,
        Script::League { seed, trouble: true } => troubled_day(*seed, number, date)?,
        Script::Matches { file, date, seed } => replayed_day(file, date, *seed)?,
    })
}

/// `2026-11-22`, in UTC.
fn today() -> String {
    now().to_rfc3339().chars().take(10).collect()
}

fn seed_of(date: &str) -> u64 {
    let digits: String = date.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
#[path = "simulator_tests.rs"]
mod tests;
