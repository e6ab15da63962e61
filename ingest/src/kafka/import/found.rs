//! What an import finds in the log before it begins, or goes on.

use std::time::Duration;

use touchline_core::event::Identity;
use touchline_core::log::Position;

use super::super::client::Reader;
use super::super::lanes::Lanes;
use super::super::meta::Meta;
use super::super::options::KafkaOptions;
use super::super::outside::Outside;
use super::super::reach::{Reach, watermarks};
use super::{ImportError, Progress};
use crate::limits::IMPORT_BATCH_MAX;

/// How long lanes must stand still before it is known what an import that was killed had sent.
const STILL: Duration = Duration::from_secs(2);

/// Whether a progress speaks of the log as it is: the life it began is the present one, and no lane
/// is shorter than it was.
pub(super) fn is_alive(progress: &Progress, meta: &Meta, reaches: &[Reach]) -> bool {
    let is_present = meta.life.as_ref().is_some_and(|life| life.generation == progress.generation);
    is_present
        && progress.lanes.len() == reaches.len()
        && progress.lanes.iter().zip(reaches).all(|(end, reach)| *end <= reach.high)
}

/// A log into which a journal may be moved is empty.
pub(super) fn refuse_events(lanes: &Lanes, reaches: &[Reach]) -> Result<(), ImportError> {
    let mut all = lanes.all().zip(reaches);
    let taken = all.find(|(_, reach)| reach.low < reach.high);
    taken.map_or(Ok(()), |((_, topic, partition), _)| {
        Err(ImportError::NotEmpty { topic: topic.to_owned(), partition })
    })
}

/// Something that has come behind what is known to be in.
pub(super) struct Sent {
    pub identity: Identity,
    pub at: Position,
}

/// What an import that was killed has sent of its last batch. Waits until nothing comes any more:
/// what it had handed to its kernel may still be under way.
pub(super) fn sent_already(
    options: &KafkaOptions,
    lanes: &Lanes,
    asking: &Reader,
    progress: &Progress,
) -> Result<Vec<Sent>, ImportError> {
    let mut reaches = watermarks(options, lanes, asking)?;
    loop {
        std::thread::sleep(STILL);
        let again = watermarks(options, lanes, asking)?;
        if std::mem::replace(&mut reaches, again) == reaches {
            break;
        }
    }
    let outside = Outside::open(options)?;
    let mut sent = Vec::new();
    for (lane, topic, partition) in lanes.all() {
        let n = usize::from(lane.0);
        let mut foreign = None;
        outside.read(lane, progress.lanes[n], reaches[n].high, |found| match found.record {
            Ok(record) if sent.len() < IMPORT_BATCH_MAX => {
                sent.push(Sent { identity: record.event.identity(), at: record.position });
                true
            }
            _ => {
                foreign = Some(found.position.seq);
                false
            }
        })?;
        if let Some(offset) = foreign {
            let topic = topic.to_owned();
            return Err(ImportError::Foreign { topic, partition, offset });
        }
    }
    Ok(sent)
}
