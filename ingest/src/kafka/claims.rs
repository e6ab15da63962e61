//! Keeping nodes and a journal that is being moved in out of each other's way.
//!
//! No node may run on a log that holds half a journal, and nobody must be shown a journal as if it
//! happened now. Both may begin in the same second, so neither goes by what it has read before:
//! whoever wants in writes that down in `touchline-meta`, a node its [`Note`] and an import its
//! [`Progress`], and then reads what stands there. The topic is one partition, so of two that write
//! before they read one at least sees the other.
//!
//! Who finds the other's word before its own gives way: it takes its own back and says why. Who
//! finds it behind its own waits until the other has given way, for [`YIELD_MAX`] at most, and goes
//! on only then. So both may end, but never do both go on.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Reader, unreachable};
use super::clock::millis;
use super::import::{ImportError, Progress};
use super::life::Life;
use super::meta::{Meta, Noted, Placed, Writer};
use super::notes::Note;
use super::options::{KafkaOptions, OpenError};

/// How long the other one is given to give way.
const YIELD_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const YIELD_LOOK: Duration = Duration::from_millis(200);
/// A node whose note is younger still runs: it writes one a minute. So does an import.
pub(super) const SILENCE: Duration = Duration::from_secs(90);

/// What has become of a node that wants in.
#[derive(Debug)]
pub(super) enum Entry {
    /// It may go on; its word stands there.
    In(Placed),
    /// Another life has begun meanwhile: it has to begin again.
    Outlived,
    /// Its word could not be written: it may read, and append nothing before it is.
    Unheard,
}

/// A node wants to go on in `life`, from `next` in each lane.
pub(super) fn enter(
    options: &KafkaOptions,
    asking: &Reader,
    writer: &Writer,
    life: &Life,
    next: Vec<u64>,
) -> Result<Entry, OpenError> {
    let note = Note { generation: life.generation, epoch: life.epoch().0, next, is_open: true };
    match writer.put(&Note::key(&options.node), &note) {
        Ok(placed) => await_clear(options, asking, writer, life, note, placed),
        Err(error) => {
            tracing::warn!(%error, "that this node runs can't be noted: it takes nothing yet");
            Ok(Entry::Unheard)
        }
    }
}

/// A node has said that it runs: `note`, and where that stands.
fn await_clear(
    options: &KafkaOptions,
    asking: &Reader,
    writer: &Writer,
    life: &Life,
    note: Note,
    placed: Placed,
) -> Result<Entry, OpenError> {
    let began = Instant::now();
    loop {
        let meta = Meta::read(options, asking)?;
        let is_patient = began.elapsed() < YIELD_MAX;
        match meta.moving(life, Some(placed.at_ms)) {
            _ if meta.next <= placed.offset && is_patient => {}
            _ if meta.next <= placed.offset => return Err(unheard(options)),
            None if meta.life.as_ref() == Some(life) => return Ok(Entry::In(placed)),
            None => return Ok(Entry::Outlived),
            Some(moving) if moving.offset < placed.offset || !is_patient => {
                let left = Note { is_open: false, ..note };
                let left = writer.put(&Note::key(&options.node), &left);
                left.map_err(unreachable(options, "be written to"))?;
                return Err(OpenError::Misfit(vec![moving.progress.told()]));
            }
            Some(_) => {}
        }
        std::thread::sleep(YIELD_LOOK);
    }
}

/// An import wants to go on with `progress`. If it may not, `before` is put back.
pub(super) fn claim(
    options: &KafkaOptions,
    asking: &Reader,
    writer: &Writer,
    progress: &Progress,
    before: Option<&Progress>,
) -> Result<i64, ImportError> {
    let failed = unreachable(options, "note that a journal is moved in");
    let placed = writer.put(&progress.key(), progress).map_err(failed)?;
    let alone = await_alone(options, asking, progress, placed, 0);
    if alone.is_err() {
        withdraw(writer, progress, before);
    }
    alone
}

/// An import that gives way takes its word back.
pub(super) fn withdraw(writer: &Writer, progress: &Progress, before: Option<&Progress>) {
    let withdrawn = match before {
        Some(before) => writer.put(&progress.key(), before),
        None => writer.remove(&progress.key()),
    };
    if let Err(error) = withdrawn {
        tracing::error!(
            %error,
            "that this import has ended can't be noted: no node starts before it is run again"
        );
    }
}

/// Waits until nobody else is there, as far as it stands at `from` and behind; answers where to go
/// on reading. `placed` is the import's latest word.
pub(super) fn await_alone(
    options: &KafkaOptions,
    asking: &Reader,
    own: &Progress,
    placed: Placed,
    from: i64,
) -> Result<i64, ImportError> {
    let began = Instant::now();
    loop {
        let meta = Meta::read_from(options, asking, from)?;
        let is_patient = began.elapsed() < YIELD_MAX;
        if let Some(other) = meta.other_import(own) {
            return Err(ImportError::Twin { journal: other });
        }
        if let Some(life) = meta.life.as_ref().filter(|it| it.generation > own.generation) {
            return Err(ImportError::Outlived { generation: life.generation });
        }
        let running = meta.notes.iter().filter(|(_, noted)| runs(noted, placed.at_ms));
        match running.min_by_key(|(_, noted)| noted.offset) {
            _ if meta.next <= placed.offset && is_patient => {}
            _ if meta.next <= placed.offset => return Err(unheard(options).into()),
            None => return Ok(meta.next),
            Some((node, noted)) if noted.offset < placed.offset || !is_patient => {
                return Err(node_runs(node, noted, placed.at_ms));
            }
            Some(_) => {}
        }
        std::thread::sleep(YIELD_LOOK);
    }
}

/// No node may run on the log, as it stood in `meta` when the brokers' clock said `now_ms`.
pub(super) fn refuse_nodes(meta: &Meta, now_ms: i64) -> Result<(), ImportError> {
    let running = meta.notes.iter().find(|(_, noted)| runs(noted, now_ms));
    running.map_or(Ok(()), |(node, noted)| Err(node_runs(node, noted, now_ms)))
}

/// What brokers have acknowledged, and don't show.
fn unheard(options: &KafkaOptions) -> OpenError {
    let timeout = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
    unreachable(options, "show what was just written")(timeout)
}

fn runs(noted: &Noted, now_ms: i64) -> bool {
    noted.note.is_open && now_ms.saturating_sub(noted.at_ms) < millis(SILENCE)
}

fn node_runs(node: &str, noted: &Noted, now_ms: i64) -> ImportError {
    let ago_s = u64::try_from(now_ms.saturating_sub(noted.at_ms) / 1_000).unwrap_or(0);
    ImportError::NodeRuns { node: node.to_owned(), ago_s }
}

#[cfg(test)]
mod tests;
