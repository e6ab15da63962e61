//! Reads matches and teams as the openfootball project publishes them.
//!
//! Both spellings of a minute are understood: a number with the stoppage minutes in `offset`
//! (2022), and a text such as `"45+3"` (2026). Every refusal names file, match and field, because
//! whoever reads it has the file open in an editor.
//!
//! # What it leaves out
//! Lists of stadiums, groups and standings; and what the goals can't tell, which
//! [`replay`](super::replay) makes up.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use touchline_core::event::Team;
use touchline_core::limits::NAME_BYTES_MAX;

use super::day::{Club, Side};
use super::play::KnownGoal;
use crate::limits::demo::{FILE_BYTES_MAX, MATCH_GOALS_MAX};

/// Minutes added to a half, at most.
const STOPPAGE_MAX: u16 = 20;

/// Why a file can't be played.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It isn't there, or may not be read.
    #[error("{file}: {cause}: give --matches a file of openfootball's format")]
    Read {
        /// Which file.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is no JSON.
    #[error("{file}: is no JSON: {cause}")]
    Json {
        /// Which file.
        file: String,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// A field isn't what the format says.
    #[error("{file}: {game}: `{field}` {reason}")]
    Field {
        /// Which file.
        file: String,
        /// Which match: number, date and sides.
        game: String,
        /// Which field.
        field: String,
        /// What it should be.
        reason: String,
    },
    /// It has no match on that day.
    #[error("{file}: has no match on {date}: it has {known}")]
    NoSuchDate {
        /// Which file.
        file: String,
        /// What was asked for.
        date: String,
        /// What there is.
        known: String,
    },
}

/// One match of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Game {
    /// The home side.
    pub home: Club,
    /// The away side.
    pub away: Club,
    /// `Matchday 3`, with the group where there is one.
    pub round: String,
    /// Where.
    pub ground: String,
    /// Minutes since midnight UTC, or local where the file names no offset; `None` without a time.
    pub kickoff_min: Option<i32>,
    /// `None`: not played yet.
    pub result: Option<Played>,
}

/// What is known of a match that was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// Of both sides, in no order.
    pub goals: Vec<KnownGoal>,
    /// Whether there was extra time.
    pub extra_time: bool,
    /// Of the shoot-out.
    pub penalties: Option<(u16, u16)>,
}

/// The matches of one date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Games {
    /// The file's own name: `World Cup 2026`.
    pub competition: String,
    /// At least one.
    pub games: Vec<Game>,
}

/// Reads the matches of `date` from `file`, and team ids from the team file beside it if there is
/// one.
///
/// # Errors
/// See [`FileError`].
pub fn read_games(file: &Path, date: &str) -> Result<Games, FileError> {
    let root = read_json(file)?;
    let ids = read_team_ids(file)?;
    let reader = Reader { file: file.display().to_string(), ids, game: "the file".into() };
    let Some(matches) = root.get("matches").and_then(Value::as_array) else {
        return Err(reader.field("matches", "must be an array of matches"));
    };
    let name = root.get("name").and_then(Value::as_str).unwrap_or("Matches").to_owned();
    let mut games = Vec::new();
    for (n, game) in matches.iter().enumerate() {
        if game.get("date").and_then(Value::as_str) == Some(date) {
            games.push(reader.at(n, game).game(game)?);
        }
    }
    if games.is_empty() {
        let known = known_dates(matches);
        return Err(FileError::NoSuchDate { file: reader.file, date: date.to_owned(), known });
    }
    Ok(Games { competition: name, games })
}

fn known_dates(matches: &[Value]) -> String {
    let date = |game: &Value| game.get("date").and_then(Value::as_str).map(str::to_owned);
    let mut dates: Vec<String> = matches.iter().filter_map(date).collect();
    dates.sort();
    dates.dedup();
    match (dates.first(), dates.last()) {
        (Some(first), Some(last)) => format!("{} days from {first} to {last}", dates.len()),
        _ => String::from("no dates at all"),
    }
}

fn read_json(file: &Path) -> Result<Value, FileError> {
    let name = || file.display().to_string();
    let read = |cause| FileError::Read { file: name(), cause };
    let size = std::fs::metadata(file).map_err(read)?.len();
    if size > FILE_BYTES_MAX {
        let reason = format!("{size} bytes are more than the {FILE_BYTES_MAX} that are read");
        return Err(read(std::io::Error::other(reason)));
    }
    let text = std::fs::read(file).map_err(read)?;
    serde_json::from_slice(&text).map_err(|cause| FileError::Json { file: name(), cause })
}

/// Ids by name, from `x.teams.json` beside `x.json`. None is fine: names then make slugs.
fn read_team_ids(file: &Path) -> Result<HashMap<String, Team>, FileError> {
    let beside = PathBuf::from(file).with_extension("teams.json");
    let mut ids = HashMap::new();
    if !beside.exists() {
        return Ok(ids);
    }
    let root = read_json(&beside)?;
    let list = root.get("teams").unwrap_or(&root);
    for team in list.as_array().into_iter().flatten() {
        let code = team.get("fifa_code").and_then(Value::as_str).map(str::to_lowercase);
        let Some(id) = code.and_then(|code| Team::new(&code).ok()) else { continue };
        for field in ["name", "name_normalised"] {
            if let Some(name) = team.get(field).and_then(Value::as_str) {
                ids.insert(name.to_owned(), id.clone());
            }
        }
    }
    Ok(ids)
}

/// Knows what to say when something is wrong.
#[derive(Clone)]
struct Reader {
    file: String,
    ids: HashMap<String, Team>,
    game: String,
}

impl Reader {
    fn at(&self, n: usize, game: &Value) -> Self {
        let text = |field: &str| game.get(field).and_then(Value::as_str).unwrap_or("?");
        let (date, home, away) = (text("date"), text("team1"), text("team2"));
        Self { game: format!("match {} ({date}, {home} v {away})", n + 1), ..self.clone() }
    }

    fn field(&self, field: &str, reason: impl Into<String>) -> FileError {
        let (file, game) = (self.file.clone(), self.game.clone());
        FileError::Field { file, game, field: field.to_owned(), reason: reason.into() }
    }

    fn game(&self, game: &Value) -> Result<Game, FileError> {
        let text = |field: &str| game.get(field).and_then(Value::as_str);
        let round = match (text("round"), text("group")) {
            (Some(round), Some(group)) => format!("{round}, {group}"),
            (round, group) => round.or(group).unwrap_or("").to_owned(),
        };
        let kickoff_min = match text("time") {
            Some(time) => Some(kickoff(time).ok_or_else(|| {
                self.field("time", format!("must look like 15:00 or 15:00 UTC-4, not {time:?}"))
            })?),
            None => None,
        };
        let (home, away) = (self.club(game, "team1")?, self.club(game, "team2")?);
        if home.id == away.id {
            return Err(self.field("team2", format!("is the same team as team1 ({})", home.id)));
        }
        let ground = text("ground").unwrap_or("").to_owned();
        let result = self.result(game)?;
        Ok(Game { home, away, round, ground, kickoff_min, result })
    }

    fn club(&self, game: &Value, field: &str) -> Result<Club, FileError> {
        let named = game.get(field).map(|team| team.get("name").unwrap_or(team));
        let Some(name) = named.and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return Err(self.field(field, "must be a team's name"));
        };
        let slug = || Team::new(&slug(name));
        let id = self.ids.get(name).cloned().map_or_else(slug, Ok);
        let id = id.map_err(|_| self.field(field, format!("{name:?} makes no team id")))?;
        Ok(Club { id, name: name.to_owned() })
    }

    fn result(&self, game: &Value) -> Result<Option<Played>, FileError> {
        let Some(score) = game.get("score").filter(|score| !score.is_null()) else {
            return Ok(None);
        };
        let full_time = self.pair(score, "ft")?;
        let extra_time = self.pair(score, "et")?;
        let Some(last) = extra_time.or(full_time) else { return Ok(None) };
        let mut goals = self.goals(game, "goals1", Side::Home)?;
        let home = goals.len();
        goals.extend(self.goals(game, "goals2", Side::Away)?);
        let listed = (home as u16, (goals.len() - home) as u16);
        if listed != last {
            let reason = format!(
                "says {}-{}, but goals1 and goals2 list {} and {}",
                last.0, last.1, listed.0, listed.1
            );
            return Err(self.field("score", reason));
        }
        let penalties = self.pair(score, "p")?;
        if extra_time.is_none() {
            goals.iter_mut().for_each(without_extra_time);
        }
        Ok(Some(Played { goals, extra_time: extra_time.is_some(), penalties }))
    }

    fn pair(&self, score: &Value, field: &str) -> Result<Option<(u16, u16)>, FileError> {
        let Some(pair) = score.get(field) else { return Ok(None) };
        let numbers: Option<Vec<u16>> = pair.as_array().and_then(|pair| {
            pair.iter().map(|n| n.as_u64().and_then(|n| u16::try_from(n).ok())).collect()
        });
        match numbers.as_deref() {
            Some([home, away]) => Ok(Some((*home, *away))),
            _ => Err(self.field(&format!("score.{field}"), "must be a pair such as [2, 1]")),
        }
    }

    fn goals(&self, game: &Value, list: &str, side: Side) -> Result<Vec<KnownGoal>, FileError> {
        let Some(goals) = game.get(list) else { return Ok(Vec::new()) };
        let Some(goals) = goals.as_array() else {
            return Err(self.field(list, "must be an array of goals"));
        };
        if goals.len() > MATCH_GOALS_MAX {
            let reason = format!("has {} goals, more than {MATCH_GOALS_MAX}", goals.len());
            return Err(self.field(list, reason));
        }
        let goal = |(n, goal)| self.goal(&format!("{list}[{n}]"), goal, side);
        goals.iter().enumerate().map(goal).collect()
    }

    fn goal(&self, path: &str, goal: &Value, side: Side) -> Result<KnownGoal, FileError> {
        let Some(player) = goal.get("name").and_then(Value::as_str) else {
            return Err(self.field(&format!("{path}.name"), "must be the scorer's name"));
        };
        let Some((minute, stoppage)) = minute(goal) else {
            let what = goal.get("minute").unwrap_or(&Value::Null);
            let reason = format!("must be 1 to 120, a number or such as \"45+3\", not {what}");
            return Err(self.field(&format!("{path}.minute"), reason));
        };
        let is = |field: &str| goal.get(field).and_then(Value::as_bool) == Some(true);
        let note = match (is("owngoal"), is("penalty")) {
            (true, _) => Some("own_goal".to_owned()),
            (_, true) => Some("penalty".to_owned()),
            _ => None,
        };
        Ok(KnownGoal { side, minute, stoppage, player: player.to_owned(), note })
    }
}

/// `17` with an `offset` of `2`, or `"17+2"`. Only the last minute of a half has stoppage time.
fn minute(goal: &Value) -> Option<(u16, u16)> {
    let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
    let (minute, stoppage) = match goal.get("minute")? {
        Value::String(text) => match text.trim().trim_end_matches('\'').split_once('+') {
            Some((minute, stoppage)) => (minute.parse().ok()?, stoppage.parse().ok()?),
            None => (text.trim().trim_end_matches('\'').parse().ok()?, 0),
        },
        value => (number(value)?, goal.get("offset").map_or(Some(0), number)?),
    };
    let added = stoppage == 0 || [45, 90, 105, 120].contains(&minute);
    ((1..=120).contains(&minute) && stoppage <= STOPPAGE_MAX && added).then_some((minute, stoppage))
}

/// A match without extra time has no minute 92: whoever wrote it meant 90+2.
fn without_extra_time(goal: &mut KnownGoal) {
    if goal.minute > 90 {
        goal.stoppage = (goal.minute - 90 + goal.stoppage).min(STOPPAGE_MAX);
        goal.minute = 90;
    }
}

/// `15:00` or `15:00 UTC-4` as minutes since midnight, UTC where an offset is given.
fn kickoff(text: &str) -> Option<i32> {
    let (time, zone) = text.split_once(' ').map_or((text, ""), |(time, zone)| (time, zone.trim()));
    let clock = |text: &str| -> Option<i32> {
        let (hours, minutes) = text.split_once(':').unwrap_or((text, "0"));
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..=23).contains(&hours) && (0..=59).contains(&minutes)).then_some(hours * 60 + minutes)
    };
    let local = clock(time)?;
    match zone.strip_prefix("UTC") {
        None if zone.is_empty() => Some(local),
        None => None,
        Some("") => Some(local),
        Some(offset) => match offset.split_at_checked(1)? {
            ("+", offset) => Some(local - clock(offset)?),
            ("-", offset) => Some(local + clock(offset)?),
            _ => None,
        },
    }
}

/// A team id out of a name: lower-case ASCII, a hyphen for everything else.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        match plain(letter) {
            Some(plain) => slug.push_str(plain),
            None if letter.is_ascii_alphanumeric() => slug.push(letter),
            None if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            None => {}
        }
    }
    slug.truncate(NAME_BYTES_MAX);
    slug.trim_end_matches('-').to_owned()
}

/// The letters of Latin alphabets that a name of a team may have.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'œ' => "oe",
        'ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
#[path = "openfootball_tests.rs"]
mod tests;
