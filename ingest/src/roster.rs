//! Which of several nodes asks which source (R20).
//!
//! A source is polled, or its stream followed, by one node at a time. A node that is alone has all
//! of them; nodes that share a log in Kafka are given theirs by a consumer group
//! ([`KafkaLog::roster`](crate::kafka::KafkaLog::roster)), and take over from one that has ended.

/// Tells a follower whether its source is this node's at the moment. Asked at every tick: it must
/// be cheap.
pub trait Roster: Send + Sync {
    /// Whether this node is to ask `source` now.
    fn is_mine(&self, source: &str) -> bool;
}

/// Of a node that shares nothing: all sources are its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Roster for Alone {
    fn is_mine(&self, _: &str) -> bool {
        true
    }
}
