//! Sources shared out among nodes by a consumer group (R20).
//!
//! All nodes join the group `touchline-sources` on the topic of sensor events. Kafka gives each
//! partition to one of them, and a source belongs to whoever has the partition that its name falls
//! on. Nothing is read: the partitions are paused, and only say whose turn it is. A node that ends
//! leaves the group and hands over at once; one that dies is missed after [`SESSION_MAX`].
//!
//! A node that can't reach the brokers asks nothing: others may have been given its sources, and
//! what it learned it could not publish.
//!
//! # What it can't promise
//! For as long as one request takes, two nodes may ask the same source when it changes hands. What
//! both publish has the same id where the device counts or stamps its values, and is shown once.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use touchline_core::event::Stream;
use xxhash_rust::xxh3::xxh3_64;

use super::client::{Context, config};
use super::options::{KafkaOptions, OpenError};
use super::state::Shared;
use crate::limits::PARTITIONS_MAX;
use crate::roster::Roster;

/// A node that was not heard of for so long has ended. Brokers allow no less unless told to.
const SESSION_MAX: Duration = Duration::from_secs(6);
/// How often a node says that it is there, and hears that the others have changed.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
/// Brokers that have been silent for so long may have given our sources to others. The watchman
/// asks them once a second, and counts from a question that was answered.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// Who follows a source looks whether it is still its own, and requests under way end before the
/// source is given up: a stream is looked after every 200 ms, a device has 80 ms at its default.
const HANDOVER: Duration = Duration::from_millis(300);
/// How long the group is listened to at once.
const POLL: Duration = Duration::from_millis(100);

/// The partitions that are this node's, as bits.
struct Held {
    bits: AtomicU64,
    partitions: u16,
    shared: Arc<Shared>,
}

const _: () = assert!(PARTITIONS_MAX <= u64::BITS as u16, "a bit for each partition");

impl Roster for Held {
    fn is_mine(&self, source: &str) -> bool {
        let bits = self.bits.load(Ordering::Acquire);
        bits & bit_of(source, self.partitions) != 0
            && self.shared.pulse.has_heard_within(SILENCE_MAX)
    }
}

/// The bit of the partition that a source falls on: the same on every node.
fn bit_of(source: &str, partitions: u16) -> u64 {
    1 << (xxh3_64(source.as_bytes()) % u64::from(partitions.max(1)))
}

fn bits_of(partitions: &TopicPartitionList) -> u64 {
    let numbers = partitions.elements();
    numbers.iter().filter_map(|it| 1_u64.checked_shl(u32::try_from(it.partition()).ok()?)).sum()
}

/// Told whose turn it is.
struct Member {
    context: Context,
    held: Arc<Held>,
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, of: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.context.generate_oauth_token(of)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(gone) => {
                self.held.bits.fetch_and(!bits_of(gone), Ordering::AcqRel);
                std::thread::sleep(HANDOVER);
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "sources could not be shared out; this node asks none");
                self.held.bits.store(0, Ordering::Release);
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(new) = rebalance {
            // Who has the partitions is all we want to know.
            if let Err(error) = consumer.pause(new) {
                tracing::debug!(%error, "partitions could not be paused: what comes is dropped");
            }
            let bits = self.held.bits.fetch_or(bits_of(new), Ordering::AcqRel) | bits_of(new);
            let parts = bits.count_ones();
            tracing::info!(parts, of = self.held.partitions, "sources are shared out anew");
        }
    }
}

/// This node's place in the group.
pub(super) struct Group {
    consumer: BaseConsumer<Member>,
    held: Arc<Held>,
}

impl Group {
    /// Joins it; who is in it already hears of that within moments.
    pub fn join(
        options: &KafkaOptions,
        context: Context,
        shared: &Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let (bits, partitions) = (AtomicU64::new(0), options.partitions);
        let held = Arc::new(Held { bits, partitions, shared: Arc::clone(shared) });
        let consumer: BaseConsumer<Member> = config(options)
            .set("group.id", format!("{}touchline-sources", options.prefix))
            .set("session.timeout.ms", SESSION_MAX.as_millis().to_string())
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string())
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            .set("allow.auto.create.topics", "false")
            .create_with_context(Member { context, held: Arc::clone(&held) })
            .map_err(OpenError::Client)?;
        let topic = shared.lanes.topic(Stream::Sensor).to_owned();
        consumer.subscribe(&[&topic]).map_err(OpenError::Client)?;
        Ok(Self { consumer, held })
    }

    /// Whose turn it is, for followers.
    pub fn roster(&self) -> Arc<dyn Roster> {
        self.held.clone()
    }

    /// Listens until the log is closed, then leaves.
    pub fn run(self) {
        while !self.held.shared.is_closing() {
            // Errors are told to the context; messages there are none.
            drop(self.consumer.poll(POLL));
        }
        self.held.bits.store(0, Ordering::Release);
        self.consumer.unsubscribe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_falls_on_one_partition_and_they_spread() {
        let mut counts = [0; 8];
        for n in 0..400 {
            let bit = bit_of(&format!("venue-{n}"), 8);
            assert_eq!(bit.count_ones(), 1);
            counts[bit.trailing_zeros() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (25..75).contains(count)), "{counts:?}");
    }

    #[test]
    fn partitions_become_bits() {
        let mut list = TopicPartitionList::new();
        for n in [0, 3, 63] {
            list.add_partition("t", n);
        }
        assert_eq!(bits_of(&list), 1 | 1 << 3 | 1 << 63);
    }
}
