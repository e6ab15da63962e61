//! Who gives way when there is no more room.
//!
//! Letters go by groups: what was replayed first, then what waits, last what is being replayed; in
//! each, what was acknowledged and stands nowhere else comes after all others. Within a group room
//! is made where most of it is taken: the source that holds the most loses its oldest, until it
//! holds no more than the next. So a source that is noisy flushes out nobody's letters but its own.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row as _, query};
use touchline_core::time::Timestamp;

use super::book::{DeadOptions, count};
use super::letter::State;
use crate::limits::DEAD_LETTERS_MAX;

/// Letters that are looked at when room is wanted, at a time.
const TRIM_STEP: i64 = 256;
/// What goes first.
const ORDER: [State; 3] = [State::Replayed, State::Parked, State::Replaying];

/// The two that hold the most bytes of a group.
const BY_BYTES: &str = "select source, bytes as held from shares \
     where state = ? and goes_last = ? order by bytes desc limit 2";
/// The two that hold the most letters of it.
const BY_LETTERS: &str = "select source, letters as held from shares \
     where state = ? and goes_last = ? order by letters desc limit 2";
/// A source's oldest in a group.
const OLDEST: &str = "select id, size from letters \
     where state = ? and (desk = 'log') = ? and source = ? order by id limit ?";

/// Lets go of what is too old, and of what has no room; how many of those were not replayed.
pub(super) async fn trim(
    work: &mut SqliteConnection,
    now: Timestamp,
    options: &DeadOptions,
) -> sqlx::Result<u64> {
    let horizon = now.minus(options.age_max).0;
    let mut dropped = 0;
    let old = query("delete from letters where last_at < ? returning state = 'replayed' as done");
    for row in old.bind(horizon).fetch_all(&mut *work).await? {
        dropped += u64::from(!row.try_get::<bool, _>("done")?);
    }
    Ok(dropped + make_room(work, DEAD_LETTERS_MAX, options.bytes_max).await?)
}

/// What is too much.
struct Over {
    letters: u64,
    bytes: u64,
}

impl Over {
    fn is_none(&self) -> bool {
        self.letters == 0 && self.bytes == 0
    }
}

async fn make_room(
    work: &mut SqliteConnection,
    letters_max: u64,
    bytes_max: u64,
) -> sqlx::Result<u64> {
    let mut dropped = 0;
    loop {
        let totals = query("select letters, bytes from totals").fetch_one(&mut *work).await?;
        let over = Over {
            letters: count(&totals, "letters")?.saturating_sub(letters_max),
            bytes: count(&totals, "bytes")?.saturating_sub(bytes_max),
        };
        if over.is_none() {
            return Ok(dropped);
        }
        match step(work, over).await? {
            Some((State::Replayed, _)) => {}
            Some((_, letters)) => dropped += letters,
            None => return Ok(dropped),
        }
    }
}

/// Makes room in the first group that holds anything, at the expense of one source.
async fn step(work: &mut SqliteConnection, over: Over) -> sqlx::Result<Option<(State, u64)>> {
    for (state, goes_last) in ORDER.into_iter().flat_map(|state| [(state, false), (state, true)]) {
        let by_bytes = over.bytes > 0;
        let most = query(if by_bytes { BY_BYTES } else { BY_LETTERS });
        let most = most.bind(state.as_str()).bind(goes_last).fetch_all(&mut *work).await?;
        let Some(first) = most.first() else { continue };
        let next = most.get(1).map_or(Ok(0), |row| count(row, "held"))?;
        let share = Share {
            state,
            goes_last,
            source: first.try_get("source")?,
            held: count(first, "held")?,
            next,
            by_bytes,
        };
        return Ok(Some((state, share.shrink(work, over).await?)));
    }
    Ok(None)
}

/// What one source holds of a group.
struct Share {
    state: State,
    goes_last: bool,
    source: String,
    /// Bytes or letters.
    held: u64,
    /// The same of the source that holds most after it.
    next: u64,
    by_bytes: bool,
}

impl Share {
    /// Lets its oldest go, one at least, until there is room or another source holds more.
    async fn shrink(mut self, work: &mut SqliteConnection, mut over: Over) -> sqlx::Result<u64> {
        let oldest = query(OLDEST).bind(self.state.as_str()).bind(self.goes_last);
        let oldest = oldest.bind(&self.source).bind(TRIM_STEP).fetch_all(&mut *work).await?;
        let mut gone = 0;
        for row in oldest {
            if over.is_none() || self.held < self.next {
                break;
            }
            let delete = query("delete from letters where id = ?");
            delete.bind(row.try_get::<String, _>("id")?).execute(&mut *work).await?;
            let size = count(&row, "size")?;
            over.letters = over.letters.saturating_sub(1);
            over.bytes = over.bytes.saturating_sub(size);
            self.held = self.held.saturating_sub(if self.by_bytes { size } else { 1 });
            gone += 1;
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::raw_sql;
    use sqlx::{Connection as _, SqliteConnection};

    fn with_letters(look: impl AsyncFnOnce(&mut SqliteConnection)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut work = SqliteConnection::connect("sqlite::memory:").await.unwrap();
            for schema in [include_str!("schema.sql"), include_str!("shares.sql")] {
                raw_sql(schema).execute(&mut work).await.unwrap();
            }
            look(&mut work).await;
        });
    }

    async fn put(work: &mut SqliteConnection, source: &str, n: u32, desk: &str, state: &str) {
        let put = query(
            "insert into letters (id, twin, desk, stream, source, reason, detail, attempts, times, \
             correlation, received_at, parked_at, last_at, state, state_at, history, raw_bytes, \
             size, raw) values (?1, cast(?1 as blob), ?2, 'broadcast', ?3, '', '', 1, 1, '', 0, 0, \
             0, ?4, 0, '[]', 1, 100, x'00')",
        );
        let id = format!("{n:03}");
        put.bind(&id).bind(desk).bind(source).bind(state).execute(work).await.unwrap();
    }

    async fn left(work: &mut SqliteConnection) -> String {
        let rows = query("select source || id as it from letters order by id");
        let rows = rows.fetch_all(work).await.unwrap();
        rows.iter().map(|row| row.get("it")).collect::<Vec<String>>().join(" ")
    }

    #[test]
    fn who_holds_the_most_gives_way_by_count_as_by_bytes() {
        for (letters_max, bytes_max) in [(4, u64::MAX), (u64::MAX, 400)] {
            with_letters(async |work| {
                for (n, source) in ["quiet", "b", "a", "a", "a", "b", "a", "b"].iter().enumerate() {
                    put(work, source, n as u32, "webhook", "parked").await;
                }
                assert_eq!(make_room(work, letters_max, bytes_max).await.unwrap(), 4);
                let left = left(work).await;
                assert!(left.starts_with("quiet000 ") && left.ends_with("a006 b007"), "{left}");
            });
        }
    }

    #[test]
    fn what_was_acknowledged_goes_last_of_its_state_and_what_was_replayed_first_of_all() {
        with_letters(async |work| {
            for n in 0..3 {
                put(work, "log", n, "log", "parked").await;
            }
            put(work, "web", 3, "webhook", "parked").await;
            put(work, "web", 4, "webhook", "replayed").await;
            put(work, "web", 5, "webhook", "replaying").await;
            assert_eq!(make_room(work, 5, u64::MAX).await.unwrap(), 0, "nobody waits for it");
            assert_eq!(make_room(work, 4, u64::MAX).await.unwrap(), 1);
            assert_eq!(left(work).await, "log000 log001 log002 web005");
            let back = "update letters set state = 'parked' where id = '005'";
            raw_sql(back).execute(&mut *work).await.unwrap();
            assert_eq!(make_room(work, 2, u64::MAX).await.unwrap(), 2);
            assert_eq!(left(work).await, "log001 log002");
            assert_eq!(make_room(work, 0, 0).await.unwrap(), 2);
            let shares = query("select count(*) as n from shares").fetch_one(&mut *work).await;
            assert_eq!(count(&shares.unwrap(), "n").unwrap(), 0, "no share of nothing");
        });
    }

    #[test]
    fn each_question_of_a_trim_is_answered_by_an_index_without_a_sort() {
        with_letters(async |work| {
            for (asked, index) in [
                (concat_plan(BY_BYTES), "shares_by_bytes"),
                (concat_plan(BY_LETTERS), "shares_by_letters"),
                (concat_plan(OLDEST), "letters_by_share"),
            ] {
                let rows = raw_sql(sqlx::AssertSqlSafe(asked)).fetch_all(&mut *work).await.unwrap();
                let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
                let plan = plan.join("; ");
                assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
            }
        });
    }

    /// What asks how a question would be answered.
    fn concat_plan(question: &str) -> String {
        format!("explain query plan {}", question.replace('?', "1"))
    }
}
