//! Noting how far this node has read, and looking whether the life it reads is still the one that
//! counts (R8).

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::client::Reader;
use super::life::Life;
use super::meta::{Meta, Placed, Writer};
use super::notes::Note;
use super::options::KafkaOptions;
use super::state::Shared;

/// How often the file is written, if anything has come.
const FILE_EVERY: Duration = Duration::from_secs(10);
/// How often the topic is written to, whether anything has come or not: so that everybody sees who
/// runs, and this node what time it is by the brokers' clocks. A day of ten nodes is 14,400 short
/// messages, of which compaction leaves ten.
const TOPIC_EVERY: Duration = Duration::from_secs(60);
/// How often a node tries to be heard that wasn't when it began.
const UNHEARD_EVERY: Duration = Duration::from_secs(2);
/// How soon a note is written again that has failed: others take a node for dead after 90 s without
/// one.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a note may take: whoever writes it also looks whether brokers are there.
const NOTE_MAX: Duration = Duration::from_secs(2);
/// How long a node that ends waits for its last note.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Tells others what this node has seen, and notices what others have done.
pub(super) struct Witness {
    life: Life,
    writer: Writer,
    options: KafkaOptions,
    meta_next: i64,
    in_file: Option<Note>,
    filed_at: Instant,
    topic_at: Instant,
    has_failed: bool,
    has_told_loss: bool,
    /// The first note of a node that wasn't heard when it began.
    heard: Option<Placed>,
}

impl Witness {
    /// Of a node that has just read `touchline-meta` up to `meta_next`, and noted its place.
    pub fn new(life: Life, writer: Writer, options: KafkaOptions, meta_next: i64) -> Self {
        let now = Instant::now();
        Self {
            life,
            writer,
            options,
            meta_next,
            in_file: None,
            filed_at: now.checked_sub(FILE_EVERY).unwrap_or(now),
            topic_at: now,
            has_failed: false,
            has_told_loss: false,
            heard: None,
        }
    }

    /// Notes what is due. A loss is noted at once: whoever starts next must know of it.
    pub fn note(&mut self, shared: &Shared) {
        let is_loss = shared.is_over() && !self.has_told_loss;
        self.has_told_loss |= is_loss;
        if is_loss || self.filed_at.elapsed() >= FILE_EVERY {
            self.filed_at = Instant::now();
            self.put_file(shared, true);
        }
        let every = match self.has_failed {
            _ if shared.is_unheard() => UNHEARD_EVERY,
            true => AGAIN_AFTER,
            false => TOPIC_EVERY,
        };
        let is_due = self.topic_at.elapsed() >= every && shared.down_for().is_none();
        if (is_loss || is_due)
            && let Err(error) = self.try_note(shared)
        {
            tracing::debug!(%error, "how far we have read isn't noted");
        }
    }

    /// Whether brokers acknowledge a note now.
    ///
    /// # Errors
    /// Why they don't.
    pub fn try_note(&mut self, shared: &Shared) -> Result<(), KafkaError> {
        self.topic_at = Instant::now();
        let (key, note) = (Note::key(&self.options.node), self.present(shared, true));
        let noted = self.writer.put_within(NOTE_MAX, &key, &note);
        self.has_failed = noted.is_err();
        let placed = noted?;
        shared.saw_stamp(placed.at_ms);
        self.heard = self.heard.or(Some(placed));
        Ok(())
    }

    /// The last note.
    pub fn close(&mut self, shared: &Shared) {
        self.put_file(shared, false);
        if shared.down_for().is_none() {
            let note = self.present(shared, false);
            let _ = self.writer.put_within(CLOSE_MAX, &Note::key(&self.options.node), &note);
        }
    }

    fn present(&self, shared: &Shared, is_open: bool) -> Note {
        let next = shared.lanes.all().map(|(lane, ..)| shared.next(lane)).collect();
        Note { generation: self.life.generation, epoch: self.life.epoch().0, next, is_open }
    }

    fn put_file(&mut self, shared: &Shared, is_open: bool) {
        let Some(file) = &self.options.notes_file else { return };
        let note = self.present(shared, is_open);
        if self.in_file.as_ref() == Some(&note) {
            return;
        }
        match note.store(file) {
            Ok(()) => self.in_file = Some(note),
            Err(error) => tracing::warn!(
                file = %file.display(),
                %error,
                "how far this node has read can't be noted on its disk"
            ),
        }
    }

    /// A node that has been heard only now has to look before it appends anything.
    fn look_for_import(&self, shared: &Shared, meta: &Meta) {
        let Some(placed) = self.heard.filter(|placed| meta.next > placed.offset) else { return };
        match meta.moving(&self.life, Some(placed.at_ms)) {
            Some(moving) => shared.set_over(&moving.progress.told()),
            None => shared.set_unheard(false),
        }
    }

    /// Whether another node has begun another life: this one's positions mean nothing any more.
    pub fn look_for_successor(&mut self, shared: &Shared, reader: &Reader) {
        match Meta::read_from(&self.options, reader, self.meta_next) {
            Ok(meta) => {
                if shared.is_unheard() {
                    self.look_for_import(shared, &meta);
                }
                if !shared.is_unheard() {
                    self.meta_next = self.meta_next.max(meta.next);
                }
                let is_newer = |it: &Life| it.generation > self.life.generation;
                if let Some(life) = meta.life.filter(is_newer) {
                    shared.set_over(&format!(
                        "life {} of the log has begun, and this node reads life {}",
                        life.generation, self.life.generation
                    ));
                }
            }
            Err(error) => tracing::debug!(%error, "the lives of the log can't be read"),
        }
        let _ = reader.unassign();
    }
}
