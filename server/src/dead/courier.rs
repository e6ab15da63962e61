//! Takes word of this node's dead letters to the topics `<topic>-dlq`, where the log is Kafka.
//!
//! The file is what counts; what others see follows it. A thread of its own looks what has become
//! of letters since it looked last, publishes that, and marks it once brokers have it. Nothing
//! waits for it, and while the cluster ails it does nothing but wait: what is left over the next
//! start finds in the file. A topic that takes nothing (it is missing, or forbidden) keeps the
//! letters of the others from nobody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use touchline_core::dead::Desk;
use touchline_core::event::Stream;
use touchline_core::log::EventLog as _;
use touchline_core::retry::Backoff;
use touchline_core::time::Timestamp;
use touchline_ingest::kafka::letters::{LetterTopics, Sheet};
use touchline_ingest::kafka::{KafkaLog, KafkaOptions};
use touchline_store::dead::{Book, DeadOptions, Letter, News, State};

/// How often it is looked whether there is news.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a thread that waits looks whether it is to stop.
const STEP: Duration = Duration::from_millis(50);
/// Letters that are published before they are marked: at most 64 MiB at their default.
const BATCH: usize = 64;

/// The thread. Ended when it is dropped, at the latest.
pub struct Courier {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    is_stopped: AtomicBool,
    untold: AtomicU64,
}

impl Courier {
    /// Begins to publish the letters of the file that `dead` names.
    ///
    /// # Errors
    /// The system gives us no thread.
    pub fn start(
        dead: DeadOptions,
        kafka: KafkaOptions,
        log: Arc<KafkaLog>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let round = Round { dead, kafka, log, shared: Arc::clone(&shared), ails: false };
        let thread = Builder::new().name("dead-courier".into()).spawn(move || round.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Letters of which others don't know the latest yet.
    pub fn untold(&self) -> u64 {
        self.shared.untold.load(Relaxed)
    }

    /// Ends the thread; what is left waits for the next start.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that publishes dead letters panicked");
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Round {
    dead: DeadOptions,
    kafka: KafkaOptions,
    log: Arc<KafkaLog>,
    shared: Arc<Shared>,
    ails: bool,
}

impl Round {
    fn run(mut self) {
        let mut backoff = Backoff::new();
        let (mut book, mut topics) = (None, None);
        while !self.is_stopped() {
            // A cluster that ails is not asked for more.
            if self.log.health().is_err() {
                self.rest(LOOK_EVERY);
                continue;
            }
            match self.turn(&mut book, &mut topics) {
                Ok(()) => {
                    if std::mem::take(&mut self.ails) {
                        tracing::info!("dead letters are published again");
                    }
                    backoff.reset();
                    self.rest(LOOK_EVERY);
                }
                Err(why) => {
                    if !self.is_stopped() && !std::mem::replace(&mut self.ails, true) {
                        tracing::warn!(
                            why,
                            "dead letters can't be published; they are kept here, and it is tried \
                             again"
                        );
                    }
                    (book, topics) = (None, None);
                    self.rest(backoff.next(rand::random()));
                }
            }
        }
    }

    /// Publishes what there is, in all topics that take it.
    fn turn(
        &self,
        book: &mut Option<Book>,
        topics: &mut Option<LetterTopics>,
    ) -> Result<(), String> {
        if book.is_none() {
            *book = Book::open_existing(self.dead.clone()).map_err(text)?;
        }
        // Nobody has parked anything yet.
        let Some(book) = book else { return Ok(()) };
        let untold = book.untold().map_err(text)?;
        self.shared.untold.store(untold, Relaxed);
        if untold == 0 {
            return Ok(());
        }
        tell_all(book, |news| {
            self.log.health().map_err(text)?;
            // What a client that has failed still has under way must not pass for what comes next.
            let publisher = match topics.take() {
                Some(topics) => topics,
                None => LetterTopics::open(&self.kafka).map_err(text)?,
            };
            let sheets: Vec<Sheet> = news.iter().map(|it| sheet(it, &self.kafka.node)).collect();
            publisher.publish(&sheets, &|| self.is_stopped()).map_err(text)?;
            *topics = Some(publisher);
            // More may have come since they were counted.
            let left = self.shared.untold.load(Relaxed).saturating_sub(news.len() as u64);
            self.shared.untold.store(left, Relaxed);
            Ok(())
        })
    }

    fn is_stopped(&self) -> bool {
        self.shared.is_stopped.load(Relaxed)
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopped() && Instant::now() < until {
            std::thread::sleep(STEP.min(time));
        }
    }
}

/// Tells what there is through `publish`, the streams by turns; one that fails is left for another
/// time.
///
/// # Errors
/// The first of them.
fn tell_all(
    book: &mut Book,
    mut publish: impl FnMut(&[News]) -> Result<(), String>,
) -> Result<(), String> {
    let (mut left, mut failure) = (Stream::ALL.to_vec(), None);
    while !left.is_empty() {
        left.retain(|stream| match tell_some(book, *stream, &mut publish) {
            Ok(is_all) => !is_all,
            Err(why) => {
                failure.get_or_insert(why);
                false
            }
        });
    }
    failure.map_or(Ok(()), Err)
}

/// One batch of one stream; whether that was all.
fn tell_some(
    book: &mut Book,
    stream: Stream,
    publish: &mut impl FnMut(&[News]) -> Result<(), String>,
) -> Result<bool, String> {
    let news = book.news(stream, BATCH).map_err(text)?;
    if news.is_empty() {
        return Ok(true);
    }
    publish(&news)?;
    book.told(&news).map_err(text)?;
    Ok(news.len() < BATCH)
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

fn sheet(news: &News, node: &str) -> Sheet {
    let letter = news.letter.as_ref().map(|(letter, raw)| (fields(letter, node), raw.clone()));
    Sheet { id: news.id.clone(), stream: news.stream, letter }
}

/// What a message's headers say of a letter.
fn fields(letter: &Letter, node: &str) -> BTreeMap<String, String> {
    let time = |at: Timestamp| at.to_rfc3339();
    let fields = [
        ("node", node.to_owned()),
        ("desk", letter.desk.as_str().into()),
        ("source", letter.source.clone()),
        ("reason", letter.reason.clone()),
        ("detail", letter.detail.clone()),
        ("attempts", letter.attempts.to_string()),
        ("times", letter.times.to_string()),
        ("correlation", letter.correlation.clone()),
        ("received_at", time(letter.received_at)),
        ("first_at", time(letter.parked_at)),
        ("last_at", time(letter.last_at)),
        ("state", letter.state.as_str().into()),
        ("state_at", time(letter.state_at)),
        ("raw_bytes", letter.raw_bytes.to_string()),
        ("kept_bytes", letter.kept_bytes.to_string()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A letter as the topics tell of it, and whose it is; `None` where something is missing: a later
/// build's, or nobody's.
pub fn read(sheet: &Sheet) -> Option<(String, Letter)> {
    let (fields, _) = sheet.letter.as_ref()?;
    let text = |key: &str| fields.get(key).cloned();
    let time = |key: &str| fields.get(key).and_then(|text| Timestamp::parse(text));
    let count = |key: &str| fields.get(key).and_then(|text| text.parse::<u64>().ok());
    let letter = Letter {
        id: sheet.id.clone(),
        desk: Desk::parse(fields.get("desk")?)?,
        stream: sheet.stream,
        source: text("source")?,
        reason: text("reason")?,
        detail: text("detail")?,
        attempts: u32::try_from(count("attempts")?).ok()?,
        times: count("times")?,
        correlation: text("correlation")?,
        received_at: time("received_at")?,
        parked_at: time("first_at")?,
        last_at: time("last_at")?,
        state: State::parse(fields.get("state")?)?,
        state_at: time("state_at")?,
        history: Vec::new(),
        raw_bytes: count("raw_bytes")?,
        kept_bytes: count("kept_bytes")?,
    };
    Some((text("node")?, letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::dead::DeadLetter;

    #[test]
    fn a_topic_that_takes_nothing_keeps_the_letters_of_the_others_from_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(DeadOptions::new(folder.path().join("dead.db"))).unwrap();
        let letter = |stream, n: usize| DeadLetter {
            desk: Desk::Webhook,
            stream,
            source: "skyline".into(),
            reason: "invalid_events",
            detail: "item 0".into(),
            attempts: 1,
            correlation: "c".into(),
            received_at: Timestamp(1),
            raw: format!("{stream:?} {n}").into(),
        };
        // More than a batch of those that come first and can't be published.
        let of = |stream, count| (0..count).map(move |n| letter(stream, n));
        let letters: Vec<_> = of(Stream::Broadcast, BATCH + 5)
            .chain(of(Stream::Update, 1))
            .chain(of(Stream::Sensor, BATCH + 6))
            .collect();
        book.put(&letters, Timestamp(1)).unwrap();
        let mut told = [0; 4];
        let mut publish = |news: &[News], missing: Option<Stream>| {
            let stream = news[0].stream;
            assert!(news.iter().all(|it| it.stream == stream));
            if missing == Some(stream) {
                return Err(format!("no topic of {stream:?}"));
            }
            told[stream as usize] += news.len();
            Ok(())
        };
        let outcome = tell_all(&mut book, |news| publish(news, Some(Stream::Broadcast)));
        assert_eq!(outcome, Err("no topic of Broadcast".into()), "it is said");
        assert_eq!(book.untold().unwrap(), BATCH as u64 + 5, "what wasn't published is not marked");
        assert_eq!(tell_all(&mut book, |news| publish(news, None)), Ok(()));
        assert_eq!((told, book.untold().unwrap()), ([BATCH + 5, 1, 0, BATCH + 6], 0));
    }

    #[test]
    fn a_letter_that_was_published_is_read_as_it_was_but_for_its_history() {
        let letter = Letter {
            id: "0198".into(),
            desk: Desk::Webhook,
            stream: Stream::Social,
            source: "skyline".into(),
            reason: "invalid_events".into(),
            detail: "item 0: \u{e9}".into(),
            attempts: 2,
            times: 3,
            correlation: "c-1".into(),
            received_at: Timestamp(1_000_000),
            parked_at: Timestamp(2_000_000),
            last_at: Timestamp(9_000_000),
            state: State::Parked,
            state_at: Timestamp(2_000_000),
            history: Vec::new(),
            raw_bytes: 9,
            kept_bytes: 4,
        };
        let (id, stream) = (letter.id.clone(), letter.stream);
        let mut sheet = Sheet { id, stream, letter: Some((fields(&letter, "a"), Vec::new())) };
        assert_eq!(read(&sheet), Some(("a".into(), letter)));
        if let Some((fields, _)) = &mut sheet.letter {
            fields.insert("desk".into(), "of tomorrow".into());
        }
        assert_eq!(read(&sheet), None);
    }
}
