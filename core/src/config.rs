//! What shards read: plain values, built and checked once by whoever read the configuration.

use std::time::Duration;

use crate::event::Stream;

/// What one stream may cost, and each socket in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// A topic's window in memory. Default 16 MiB: at 217-byte frames and 1,000 events/s a minute.
    pub window_bytes: usize,
    /// What one session may have unsent in this stream before the stream's policy acts. Default 8
    /// MiB.
    pub queue_bytes_max: usize,
    /// Sensor values older than this are stale and dropped; counts from ingest (R20). Default 30 s.
    pub age_max: Duration,
}

/// What the hub obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// By [`Stream`] as a number.
    pub streams: [StreamLimits; 4],
    /// All windows of a shard; the longest idle give way first (R6). Default 512 MiB.
    pub windows_bytes_max: usize,
    /// Teams one session may follow. Default 20.
    pub teams_max: usize,
    /// Bytes a session may be handed in one visit, so that none holds up the others. Default 256
    /// KiB.
    pub visit_bytes_max: usize,
    /// Bytes of one read from the log. Default 1 MiB.
    pub read_bytes_max: usize,
    /// Chunks of the log kept for sessions that catch up (R7). Default 8.
    pub chunks_max: usize,
    /// How long a socket may take nothing while it has something to get. Default 30 s.
    pub stall_max: Duration,
    /// Answers and control frames that may wait for one session. Default 64 KiB.
    pub control_bytes_max: usize,
}

impl HubConfig {
    /// The limits of `stream`.
    pub fn stream(&self, stream: Stream) -> &StreamLimits {
        &self.streams[stream as usize]
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        let stream = StreamLimits {
            window_bytes: 16 << 20,
            queue_bytes_max: 8 << 20,
            age_max: Duration::from_secs(30),
        };
        Self {
            streams: [stream.clone(), stream.clone(), stream.clone(), stream],
            windows_bytes_max: 512 << 20,
            teams_max: 20,
            visit_bytes_max: 256 << 10,
            read_bytes_max: 1 << 20,
            chunks_max: 8,
            stall_max: Duration::from_secs(30),
            control_bytes_max: 64 << 10,
        }
    }
}
