//! The file of dead letters: how it is opened, how letters come and go.
//!
//! SQLite in WAL mode, so that a command reads while the server writes. `synchronous = FULL`: a
//! letter itself could bear to lose a second to a power cut (its source knows that nothing was
//! taken), but the mark `replaying` must be on the disk before the log is asked, or a letter might
//! be replayed twice and nobody would know. Letters are rare and come in batches, each one
//! transaction: a sync of a batch holds up nobody but the thread that keeps them.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, query, raw_sql};
use tokio::runtime::Runtime;
use touchline_core::dead::DeadLetter;
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::Xxh3;

use super::letter::Step;
use super::trim::trim;
use crate::limits::DEAD_ROW_BYTES;

/// How long another writer (a command) may hold the file.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// What this build reads and writes.
const SCHEMA: i64 = 2;

/// Columns of a letter, without its bytes.
macro_rules! columns {
    () => {
        "id, desk, stream, source, reason, detail, attempts, times, correlation, received_at, \
         parked_at, last_at, state, state_at, history, raw_bytes, length(raw) as kept_bytes"
    };
}
pub(super) use columns;

/// How much is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadOptions {
    /// The file.
    pub file: PathBuf,
    /// Of all letters. Default 256 MiB.
    pub bytes_max: u64,
    /// Since the letter came last. Default 14 days.
    pub age_max: Duration,
    /// Of one letter; what is longer is kept cut. Default 1 MiB.
    pub letter_bytes_max: usize,
}

impl DeadOptions {
    /// The defaults, for this file.
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            bytes_max: 256 << 20,
            age_max: Duration::from_secs(14 * 86_400),
            letter_bytes_max: 1 << 20,
        }
    }
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// Another build's.
    #[error(
        "{}: its letters are of schema {found}, and this build knows {SCHEMA}: use the build that \
         wrote it, or move the file away", file.display()
    )]
    Version {
        /// Which.
        file: PathBuf,
        /// What stands in it.
        found: i64,
    },
    /// The file, its disk, or the database.
    #[error("{}: {error}", file.display())]
    Sql {
        /// Which.
        file: PathBuf,
        /// The database's word.
        error: sqlx::Error,
    },
    /// The folder.
    #[error("{}: {error}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
}

/// Letters of one stream that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// How many.
    pub letters: u64,
    /// When the oldest was parked.
    pub oldest: Option<Timestamp>,
}

/// What the file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// By stream: what wasn't replayed.
    pub streams: [Depth; Stream::ALL.len()],
    /// Bytes of all letters, replayed ones included.
    pub bytes: u64,
}

/// The open file. Every call blocks until the database has answered.
pub struct Book {
    runtime: Runtime,
    pub(super) connection: SqliteConnection,
    options: DeadOptions,
}

impl Book {
    /// Opens the file, making it if there is none.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn open(options: DeadOptions) -> Result<Self, DeadError> {
        if let Some(folder) = options.file.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| DeadError::Io { file: folder.to_owned(), error })?;
        }
        Self::connect(options, true)
    }

    /// Opens the file if there is one.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn open_existing(options: DeadOptions) -> Result<Option<Self>, DeadError> {
        match options.file.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Self::connect(options, false).map(Some),
            Err(error) => Err(DeadError::Io { file: options.file, error }),
        }
    }

    fn connect(options: DeadOptions, creates: bool) -> Result<Self, DeadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| DeadError::Io { file: options.file.clone(), error })?;
        let wanted = SqliteConnectOptions::new()
            .filename(&options.file)
            .create_if_missing(creates)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_MAX)
            // After a burst the WAL file gives its room back.
            .pragma("journal_size_limit", "16777216")
            .disable_statement_logging();
        let file = |error| DeadError::Sql { file: options.file.clone(), error };
        let connection = runtime.block_on(wanted.connect()).map_err(file)?;
        let mut book = Self { runtime, connection, options };
        book.migrate()?;
        Ok(book)
    }

    fn migrate(&mut self) -> Result<(), DeadError> {
        let found = self.run(async |connection, _| {
            let mut work = connection.begin_with("BEGIN IMMEDIATE").await?;
            let found: i64 =
                query("pragma user_version").fetch_one(&mut *work).await?.try_get(0)?;
            if found == 0 {
                raw_sql(include_str!("schema.sql")).execute(&mut *work).await?;
            }
            let shares = query("select 1 from sqlite_master where name = 'shares'");
            let has_shares = shares.fetch_optional(&mut *work).await?.is_some();
            if found <= SCHEMA && !has_shares {
                raw_sql(include_str!("shares.sql")).execute(&mut *work).await?;
            }
            if found == 0 || found == 1 {
                raw_sql(include_str!("schema_2.sql")).execute(&mut *work).await?;
            }
            work.commit().await?;
            Ok(found)
        })?;
        match found {
            0..=SCHEMA => Ok(()),
            found => Err(DeadError::Version { file: self.options.file.clone(), found }),
        }
    }

    /// Waits for what `work` does with the connection.
    pub(super) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection, &DeadOptions) -> sqlx::Result<T>,
    ) -> Result<T, DeadError> {
        let Self { runtime, connection, options } = self;
        let done: std::pin::Pin<Box<dyn Future<Output = sqlx::Result<T>> + '_>> =
            Box::pin(work(connection, options));
        runtime.block_on(done).map_err(|error| DeadError::Sql { file: options.file.clone(), error })
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.options.file
    }

    /// Keeps `letters`, all or none, and lets go of what has no room any more; how many that are
    /// which were not replayed. A letter that is there already is counted there.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn put(&mut self, letters: &[DeadLetter], now: Timestamp) -> Result<u64, DeadError> {
        self.run(async |connection, options| {
            let mut work = connection.begin_with("BEGIN IMMEDIATE").await?;
            for letter in letters {
                put_one(&mut work, letter, now, options.letter_bytes_max).await?;
            }
            let dropped = trim(&mut work, now, options).await?;
            work.commit().await?;
            Ok(dropped)
        })
    }

    /// What it holds.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn depths(&mut self) -> Result<Depths, DeadError> {
        self.run(async |connection, _| {
            let mut depths = Depths::default();
            let rows = query(
                "select stream, count(*) as letters, min(parked_at) as oldest from letters \
                 where state <> 'replayed' group by stream",
            );
            for row in rows.fetch_all(&mut *connection).await? {
                let Some(stream) = Stream::parse(row.try_get("stream")?) else { continue };
                let oldest = Some(Timestamp(row.try_get("oldest")?));
                depths.streams[stream as usize] =
                    Depth { letters: count(&row, "letters")?, oldest };
            }
            let totals = query("select bytes from totals").fetch_one(&mut *connection).await?;
            depths.bytes = count(&totals, "bytes")?;
            Ok(depths)
        })
    }

    /// Changes whenever somebody else has changed the file.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn version(&mut self) -> Result<i64, DeadError> {
        self.run(async |connection, _| {
            query("pragma data_version").fetch_one(&mut *connection).await?.try_get(0)
        })
    }

    /// Closes it; the last one to do so leaves one file.
    pub fn close(self) {
        let Self { runtime, connection, .. } = self;
        // What was committed is on the disk, whatever becomes of this.
        let _ = runtime.block_on(connection.close());
    }
}

pub(super) fn count(row: &sqlx::sqlite::SqliteRow, column: &str) -> sqlx::Result<u64> {
    row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or(0))
}

async fn put_one(
    work: &mut SqliteConnection,
    letter: &DeadLetter,
    now: Timestamp,
    bytes_max: usize,
) -> sqlx::Result<()> {
    let what = match letter.attempts {
        0 | 1 => format!("parked: {}", letter.detail),
        attempts => format!("parked after {attempts} attempts: {}", letter.detail),
    };
    let history = serde_json::to_string(&[Step { at: now.0, what }]);
    let history = history.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let kept = &letter.raw[..letter.raw.len().min(bytes_max)];
    // Of a replayed letter nothing is left to be done, also when it comes again.
    query(
        "insert into letters (id, twin, desk, stream, source, reason, detail, attempts, times, \
         correlation, received_at, parked_at, last_at, state, state_at, history, raw_bytes, size, \
         raw) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10, ?11, ?11, 'parked', ?11, ?12, \
         ?13, ?14, ?15) \
         on conflict (twin) do update set times = times + 1, last_at = excluded.last_at",
    )
    .bind(uuid::Uuid::now_v7().to_string())
    .bind(twin(letter).to_vec())
    .bind(letter.desk.as_str())
    .bind(letter.stream.as_str())
    .bind(&*letter.source)
    .bind(letter.reason)
    .bind(&*letter.detail)
    .bind(i64::from(letter.attempts))
    .bind(&*letter.correlation)
    .bind(letter.received_at.0)
    .bind(now.0)
    .bind(history)
    .bind(signed(letter.raw.len()))
    .bind(signed(kept.len() + DEAD_ROW_BYTES))
    .bind(kept.to_vec())
    .execute(work)
    .await?;
    Ok(())
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// What tells a letter from others.
fn twin(letter: &DeadLetter) -> [u8; 16] {
    let mut hash = Xxh3::new();
    let fields =
        [letter.desk.as_str().as_bytes(), letter.source.as_bytes(), letter.reason.as_bytes()];
    for field in fields {
        hash.update(&(field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.update(&letter.raw);
    hash.digest128().to_le_bytes()
}
