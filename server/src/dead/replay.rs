//! Replays: one letter at a time, each marked before the log is asked and settled after.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use touchline_core::event::{Event, Stream};
use touchline_core::log::{AppendError, EventLog, Outcome as Taken};
use touchline_core::retry::Backoff;
use touchline_core::time::Timestamp;
use touchline_ingest::clock::system_clock;
use touchline_ingest::limits::TOO_OLD_MARGIN;
use touchline_store::dead::{Book, Claim, DeadError, DeadOptions, Filter, Letter, Settled, State};

use super::answer::{Answer, Ask, Outcome, ReplayError, Run, Wanted};
use super::readers::{Held, Readers};
use crate::config::Options;
use crate::limits::{REPLAY_APPEND_MAX, REPLAY_LETTERS_MAX, REPLAY_RUN_MAX};
use crate::start_error::StartError;

/// Why a letter's replay came to nothing that is its own fault.
enum Halt {
    Log(String),
    Store(DeadError),
}

impl From<DeadError> for Halt {
    fn from(error: DeadError) -> Self {
        Self::Store(error)
    }
}

type LogAnswer = Result<Vec<Taken>, AppendError>;

/// How soon a wait for the log sees that the node stops.
const STOP_LOOK: Duration = Duration::from_millis(100);

struct Inner {
    store: DeadOptions,
    log: Arc<dyn EventLog>,
    readers: Readers,
    /// Dedupe windows, by stream.
    windows: [Duration; 4],
    turn: Mutex<()>,
    is_stopping: AtomicBool,
}

/// Replays letters into the log.
pub struct Replayer {
    inner: Arc<Inner>,
    settling: Mutex<Option<JoinHandle<()>>>,
}

impl Replayer {
    /// Replays into `log`; begins with what the last life of this node has left half done.
    pub(crate) fn start(
        options: &Options,
        log: Arc<dyn EventLog>,
        readers: Readers,
    ) -> Result<Self, StartError> {
        let windows = match &options.kafka {
            Some(kafka) => kafka.windows,
            None => options.journal.dedupe_windows,
        };
        let inner = Arc::new(Inner {
            store: options.dead.clone(),
            log,
            readers,
            windows,
            turn: Mutex::new(()),
            is_stopping: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&inner);
        let settling = Builder::new().name("dead-settle".into()).spawn(move || of_thread.settle());
        let settling = settling.map_err(StartError::Thread)?;
        Ok(Self { inner, settling: Mutex::new(Some(settling)) })
    }

    /// Replays what is wanted, for so long as a request may take. Blocks.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn run(&self, wanted: &Wanted, ask: Ask) -> Result<Run, ReplayError> {
        self.inner.run(wanted, ask)
    }

    /// Ends what is under way after the letter at hand.
    pub(crate) fn stop(&self) {
        self.inner.is_stopping.store(true, Relaxed);
        let settling = self.settling.lock().map(|mut it| it.take()).ok().flatten();
        if let Some(settling) = settling {
            settling.thread().unpark();
            let _ = settling.join();
        }
    }
}

impl Inner {
    fn run(&self, wanted: &Wanted, ask: Ask) -> Result<Run, ReplayError> {
        let _turn = match self.turn.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(ReplayError::UnderWay),
            turn => turn,
        };
        let mut run = Run::default();
        let Some(mut book) = Book::open_existing(self.store.clone())? else {
            return Ok(run);
        };
        let (ids, may_be_more) = match wanted {
            Wanted::Ids(ids) => (ids.clone(), false),
            Wanted::Meeting(filter) => {
                let found = book.list(filter, REPLAY_LETTERS_MAX, false)?;
                let is_full = found.len() >= REPLAY_LETTERS_MAX;
                (found.into_iter().map(|letter| letter.id).collect(), is_full)
            }
        };
        let until = Instant::now() + REPLAY_RUN_MAX;
        for (n, id) in ids.iter().enumerate() {
            if self.is_stopping.load(Relaxed) {
                run.stopped = Some("this node is on its way down".into());
            }
            if n > 0 && (run.stopped.is_some() || Instant::now() >= until) {
                run.next = Some(ids[n - 1].clone());
                break;
            }
            match self.replay(&mut book, id, ask) {
                Ok(answer) => run.results.push(answer),
                Err(Halt::Store(error)) => return Err(error.into()),
                Err(Halt::Log(why)) => {
                    run.stopped = Some(why);
                    break;
                }
            }
        }
        if run.stopped.is_none() && run.next.is_none() && may_be_more {
            run.next = ids.last().cloned();
        }
        book.close();
        Ok(run)
    }

    fn replay(&self, book: &mut Book, id: &str, ask: Ask) -> Result<Answer, Halt> {
        let answer = |result, detail: String| Ok(Answer { id: id.to_owned(), result, detail });
        let (letter, raw) = match book.claim(id, system_clock(), ask.again, ask.was_left)? {
            Claim::Taken(letter, raw) => (letter, raw),
            Claim::Missing => return answer(Outcome::Refused, "no letter has that id".into()),
            Claim::UnderWay => {
                return answer(Outcome::Refused, "it is being replayed at the moment".into());
            }
            Claim::Replayed(letter) => {
                let at = letter.state_at.to_rfc3339();
                let detail = format!("it was replayed at {at}; ask `again` to ask the log again");
                return answer(Outcome::Duplicate, detail);
            }
            Claim::Cut(letter) => {
                let Letter { kept_bytes, raw_bytes, .. } = *letter;
                let detail = format!("only {kept_bytes} of its {raw_bytes} bytes are kept");
                return answer(Outcome::Refused, detail);
            }
        };
        let (result, detail, settled) = match self.readers.read(&letter, raw) {
            Err(why) => (Outcome::Refused, why, Settled::Refused),
            Ok(held) => match self.hand_on(held, ask) {
                Ok(came) => came,
                Err((settled, why)) => {
                    let what = format!("replay stopped: {why}");
                    book.settle(&letter, settled, &what, system_clock())?;
                    return Err(Halt::Log(why));
                }
            },
        };
        // That a person has to say more is nothing that happened to the letter.
        let what = match settled {
            Settled::Parked => String::new(),
            _ => format!("replay: {}: {detail}", result.as_str()),
        };
        book.settle(&letter, settled, &what, system_clock())?;
        let (source, letter) = (&*letter.source, &*letter.id);
        tracing::info!(
            letter,
            source,
            result = result.as_str(),
            detail,
            "a dead letter was replayed"
        );
        answer(result, detail)
    }

    /// Gives events to the log, and waits. `Err`: the log is at fault, and what that makes of the
    /// letter.
    fn hand_on(
        &self,
        held: Held,
        ask: Ask,
    ) -> Result<(Outcome, String, Settled), (Settled, String)> {
        let Held { mut events, received_at } = held;
        let now = system_clock();
        let count = events.len();
        // A value that clients would take for stale is worth nothing to them now.
        events.retain(|event| event.stream != Stream::Sensor || !self.is_stale(event, now));
        let stale = count - events.len();
        if events.is_empty() {
            let detail = format!("{stale} value(s) are older than their `age_max_s`");
            return Ok((Outcome::TooOld, detail, Settled::Replayed));
        }
        // Also of a replay that a stop has cut off: nobody knows whether `late` was said then.
        if !ask.late && events.iter().any(|it| self.is_late(it, received_at, now)) {
            let detail = "what happened lies so far back that the log can't tell whether it was \
                          taken by another way: look, then replay it with `late`";
            return Ok((Outcome::Refused, detail.into(), Settled::Parked));
        }
        let (tell, told) = sync_channel(1);
        let reply = move |result| drop(tell.try_send(result));
        self.log.append_again(events, received_at, Box::new(reply));
        match self.wait(&told) {
            Ok(outcomes) => Ok(sum_up(&outcomes, stale)),
            Err(error @ (AppendError::IdReused(_) | AppendError::Refused(_))) => {
                Ok((Outcome::Refused, error.to_string(), Settled::Refused))
            }
            Err(error @ AppendError::Unknown(_)) => Err((Settled::Unknown, error.to_string())),
            Err(error) => Err((Settled::Parked, error.to_string())),
        }
    }

    /// The log's answer, as long as it is waited for: a stop waits for nobody, and the next start
    /// asks again.
    fn wait(&self, told: &Receiver<LogAnswer>) -> LogAnswer {
        let until = Instant::now() + REPLAY_APPEND_MAX;
        loop {
            match told.recv_timeout(STOP_LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(AppendError::Unknown("it dropped the batch".into()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= until || self.is_stopping.load(Relaxed) {
                return Err(AppendError::Unknown("it did not answer in time".into()));
            }
        }
    }

    fn is_stale(&self, event: &Event, now: Timestamp) -> bool {
        let source = self.readers.sensors.iter().find(|it| it.ask.name == event.source);
        source.is_none_or(|source| event.occurred_at < now.minus(source.rules.age_max))
    }

    /// Whether it would be shown, and a twin may have left the dedupe window: one that was taken
    /// earlier is at least as young as when it happened.
    fn is_late(&self, event: &Event, received_at: Timestamp, now: Timestamp) -> bool {
        let window = self.windows[event.stream as usize].saturating_sub(TOO_OLD_MARGIN);
        let is_shown = event.occurred_at >= received_at.minus(window);
        event.stream != Stream::Sensor && is_shown && event.occurred_at < now.minus(window)
    }

    /// Asks the log again about what an earlier life of this node has left marked. Within the
    /// dedupe window it knows; beyond that a person has to look.
    fn settle(&self) {
        let (mut backoff, mut is_told) = (Backoff::new(), false);
        while !self.is_stopping.load(Relaxed) {
            match self.settle_all() {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) if is_told => {}
                Err(error) => {
                    is_told = true;
                    tracing::warn!(%error, "replays left half done can't be settled yet");
                }
            }
            std::thread::park_timeout(backoff.next(rand::random()));
        }
    }

    /// `false`: not all of them yet.
    fn settle_all(&self) -> Result<bool, DeadError> {
        let Ok(_turn) = self.turn.lock() else { return Ok(true) };
        let Some(mut book) = Book::open_existing(self.store.clone())? else { return Ok(true) };
        let left = Filter { state: Some(State::Replaying), ..Filter::default() };
        let ask = Ask { was_left: true, ..Ask::default() };
        for letter in book.list(&left, REPLAY_LETTERS_MAX, false)? {
            if self.is_stopping.load(Relaxed) {
                return Ok(false);
            }
            let window = self.windows[letter.stream as usize].saturating_sub(TOO_OLD_MARGIN);
            if letter.state_at < system_clock().minus(window) {
                let what = "a replay was cut off by a stop, and the log can't tell any more what \
                            came of it: look whether its events were shown";
                let parked = Letter { state: State::Parked, ..letter };
                book.settle(&parked, Settled::Parked, what, system_clock())?;
                continue;
            }
            match self.replay(&mut book, &letter.id, ask) {
                Ok(_) => {}
                Err(Halt::Store(error)) => return Err(error),
                Err(Halt::Log(_)) => return Ok(false),
            }
        }
        book.close();
        Ok(true)
    }
}

fn sum_up(outcomes: &[Taken], stale: usize) -> (Outcome, String, Settled) {
    let of = |is: fn(&Taken) -> bool| outcomes.iter().filter(|it| is(it)).count();
    let accepted = of(|it| matches!(it, Taken::Accepted(_) | Taken::Spooled));
    let duplicates = of(|it| *it == Taken::Duplicate);
    let too_old = of(|it| *it == Taken::TooOld) + stale;
    let result = match (accepted, duplicates) {
        (0, 0) => Outcome::TooOld,
        (0, _) => Outcome::Duplicate,
        _ => Outcome::Accepted,
    };
    let detail = format!("{accepted} accepted, {duplicates} duplicate(s), {too_old} too old");
    (result, detail, Settled::Replayed)
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
