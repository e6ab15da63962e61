//! What people and replays ask of the file.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Connection as _, Row as _, Sqlite, query};
use std::time::Duration;
use touchline_core::time::Timestamp;

use super::book::{Book, DeadError, columns};
use super::letter::{Filter, Letter, State};

/// A letter's bytes that were just claimed can't still be under way after so long: every replay
/// gives up earlier.
const UNDER_WAY_MAX: Duration = Duration::from_secs(60);

/// The conditions of a [`Filter`], bound by [`bind`].
macro_rules! meets {
    () => {
        "(?1 is null or desk = ?1) and (?2 is null or stream = ?2) and (?3 is null or source = ?3) \
         and (?4 is null or reason = ?4) and (?5 is null or state = ?5) \
         and (?6 is null or parked_at >= ?6) and (?7 is null or parked_at < ?7) \
         and (?8 is null or id > ?8)"
    };
}

type Asked<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind<'q>(asked: Asked<'q>, filter: &Filter) -> Asked<'q> {
    asked
        .bind(filter.desk.map(|desk| desk.as_str()))
        .bind(filter.stream.map(|stream| stream.as_str()))
        .bind(filter.source.clone())
        .bind(filter.reason.clone())
        .bind(filter.state.map(State::as_str))
        .bind(filter.since.map(|at| at.0))
        .bind(filter.before.map(|at| at.0))
        .bind(filter.after.clone())
}

/// What came of asking for a letter to replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the caller's until it is settled: as it was before, with its bytes.
    Taken(Box<Letter>, Vec<u8>),
    /// There is none of that id.
    Missing,
    /// It was replayed before.
    Replayed(Box<Letter>),
    /// Somebody else replays it at the moment.
    UnderWay,
    /// Some of its bytes are missing.
    Cut(Box<Letter>),
}

/// What came of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// What it holds has gone its way.
    Replayed,
    /// It is at fault itself: one attempt more, and it stays parked.
    Refused,
    /// Somebody else is at fault: it stays parked as it was.
    Parked,
    /// Nobody knows: it stays marked.
    Unknown,
}

impl Book {
    /// The letters that `filter` means, `limit` at most: the newest first, or the oldest.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn list(
        &mut self,
        filter: &Filter,
        limit: usize,
        newest_first: bool,
    ) -> Result<Vec<Letter>, DeadError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(async |connection, _| {
            let asked = match newest_first {
                true => query(concat!(
                    "select ",
                    columns!(),
                    " from letters where ",
                    meets!(),
                    " order by id desc limit ?9"
                )),
                false => query(concat!(
                    "select ",
                    columns!(),
                    " from letters where ",
                    meets!(),
                    " order by id limit ?9"
                )),
            };
            let rows = bind(asked, filter).bind(limit).fetch_all(connection).await?;
            rows.iter().map(Letter::read).collect()
        })
    }

    /// One letter with its bytes.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn show(&mut self, id: &str) -> Result<Option<(Letter, Vec<u8>)>, DeadError> {
        self.run(async |connection, _| find(connection, id).await)
    }

    /// How many letters `filter` means.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn count(&mut self, filter: &Filter) -> Result<u64, DeadError> {
        self.run(async |connection, _| {
            let asked = query(concat!("select count(*) as letters from letters where ", meets!()));
            super::book::count(&bind(asked, filter).fetch_one(connection).await?, "letters")
        })
    }

    /// Lets go of the letters that `filter` means; how many. What is being replayed stays.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn drop_all(&mut self, filter: &Filter, now: Timestamp) -> Result<u64, DeadError> {
        self.run(async |connection, _| {
            let asked = query(concat!(
                "delete from letters where ",
                meets!(),
                " and not (state = 'replaying' and state_at > ?9)"
            ));
            let asked = bind(asked, filter).bind(now.minus(UNDER_WAY_MAX).0);
            Ok(asked.execute(connection).await?.rows_affected())
        })
    }

    /// Lets go of one letter; `false`: there is none of that id, or it is being replayed.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn drop_one(&mut self, id: &str, now: Timestamp) -> Result<bool, DeadError> {
        self.run(async |connection, _| {
            let asked = query(
                "delete from letters where id = ? and not (state = 'replaying' and state_at > ?)",
            );
            let asked = asked.bind(id).bind(now.minus(UNDER_WAY_MAX).0);
            Ok(asked.execute(connection).await?.rows_affected() > 0)
        })
    }

    /// Marks a letter as being replayed, durably, and gives it to the caller. `again`: also if it
    /// was replayed before. `was_left`: also if it is marked already, by somebody who is gone.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn claim(
        &mut self,
        id: &str,
        now: Timestamp,
        again: bool,
        was_left: bool,
    ) -> Result<Claim, DeadError> {
        self.run(async |connection, _| {
            let mut work = connection.begin_with("BEGIN IMMEDIATE").await?;
            let Some((letter, raw)) = find(&mut work, id).await? else {
                return Ok(Claim::Missing);
            };
            let is_left = was_left || letter.state_at < now.minus(UNDER_WAY_MAX);
            match letter.state {
                State::Replayed if !again => return Ok(Claim::Replayed(letter.into())),
                State::Replaying if !is_left => return Ok(Claim::UnderWay),
                _ if letter.is_cut() => return Ok(Claim::Cut(letter.into())),
                _ => {}
            }
            let mark = query("update letters set state = 'replaying', state_at = ? where id = ?");
            mark.bind(now.0).bind(id).execute(&mut *work).await?;
            work.commit().await?;
            Ok(Claim::Taken(letter.into(), raw))
        })
    }

    /// Writes down what came of a replay, in `what` for its history. `before` is the letter as it
    /// was claimed. A letter that was dropped meanwhile stays away.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn settle(
        &mut self,
        before: &Letter,
        settled: Settled,
        what: &str,
        now: Timestamp,
    ) -> Result<(), DeadError> {
        let mut letter = before.clone();
        if !what.is_empty() {
            letter.note(now, what);
        }
        let (state, state_at) = match settled {
            Settled::Replayed => (State::Replayed, now),
            // Replayed once before, it can't become less than that.
            _ if before.state == State::Replayed => (State::Replayed, before.state_at),
            // What an earlier try may have put into the log stays in doubt, and grows old in it.
            Settled::Parked | Settled::Unknown if before.state == State::Replaying => {
                (State::Replaying, before.state_at)
            }
            Settled::Refused | Settled::Parked => (State::Parked, now),
            Settled::Unknown => (State::Replaying, now),
        };
        let attempts = letter.attempts.saturating_add(u32::from(settled == Settled::Refused));
        self.run(async |connection, _| {
            let history = serde_json::to_string(&letter.history);
            let history = history.map_err(|error| sqlx::Error::Encode(error.into()))?;
            query("update letters set state = ?, state_at = ?, attempts = ?, history = ? where id = ?")
                .bind(state.as_str())
                .bind(state_at.0)
                .bind(i64::from(attempts))
                .bind(history)
                .bind(&letter.id)
                .execute(connection)
                .await?;
            Ok(())
        })
    }
}

async fn find(
    connection: &mut SqliteConnection,
    id: &str,
) -> sqlx::Result<Option<(Letter, Vec<u8>)>> {
    let asked = query(concat!("select ", columns!(), ", raw from letters where id = ?"));
    match asked.bind(id).fetch_optional(connection).await? {
        Some(row) => Ok(Some((Letter::read(&row)?, row.try_get("raw")?))),
        None => Ok(None),
    }
}
