//! Every metric, once: name, kind, labels, meaning. The page of `/metrics` and
//! `docs/reference/metrics.md` come from it.
//!
//! Labels are bounded: a shard, a close code, a configured partner, a word of a fixed list. Never a
//! team, a user, or anything else that a client chooses (FAULTS 45).

use std::fmt::Write as _;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One family.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// With the prefix.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in one line.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: concat!("touchline_", $name),
                kind: Kind::$kind,
                labels: &$labels,
                help: $help,
            };
        )*
        /// All of them, in the order of the page.
        pub const METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    BUILD_INFO: Gauge "build_info" ["version"] "Always 1; its label names the build";
    UP_SECONDS: Gauge "up_seconds" [] "How long the process has been running";
    READY: Gauge "ready" [] "1 while /readyz answers 200";
    IO_BACKEND_INFO: Gauge "io_backend_info" ["backend"] "Always 1; its label says how shards \
     talk to the kernel";
    MEMORY_USED_BYTES: Gauge "memory_used_bytes" [] "Used of the memory that this host, or the \
     process's control group, has; the tighter of them";
    MEMORY_LIMIT_BYTES: Gauge "memory_limit_bytes" [] "How much of it there is";
    CONFIG_LAST_RELOAD_SUCCESSFUL: Gauge "config_last_reload_successful" [] "0 after a reload \
     that was refused";
    CONFIG_RELOADS: Counter "config_reloads_total" ["result"] "Reloads asked for by SIGHUP";

    CONNECTIONS: Gauge "connections" ["shard"] "Open sessions";
    CONNECTIONS_OPENED: Counter "connections_opened_total" [] "Sessions opened";
    CONNECTIONS_CLOSED: Counter "connections_closed_total" ["code"] "Sessions closed, by the \
     close code that ended them";
    HANDSHAKE_FAILURES: Counter "handshake_failures_total" ["reason"] "Connections that never \
     became a session";
    SHARD_BUSY_RATIO: Gauge "shard_busy_ratio" ["shard"] "Share of the last second that a shard's \
     thread worked";
    SHARD_HEARTBEAT_AGE_SECONDS: Gauge "shard_heartbeat_age_seconds" ["shard"] "Since a shard \
     last said that it lives";

    DELIVERIES: Counter "deliveries_total" [] "Events handed to the kernel, once for each socket";
    SENDS: Counter "sends_total" [] "Sends; each carries one or more events";
    SENDS_BLOCKED: Counter "sends_blocked_total" [] "Sends that found the socket full";
    SENT_BYTES: Counter "sent_bytes_total" [] "Bytes handed to the kernel";
    DELIVERY_LATENCY_SECONDS: Histogram "delivery_latency_seconds" [] "From durable to handed to \
     the kernel; of each send, its oldest event";
    BROADCAST_SPREAD_SECONDS: Histogram "broadcast_spread_seconds" [] "From the first to the last \
     socket of one event on one shard";
    EVENT_AGE_SECONDS: Histogram "event_age_seconds" ["stream"] "From occurred to handed to the \
     kernel; of each send, its oldest event";
    GAPS: Counter "gaps_total" ["reason"] "Holes that sessions were told of";
    CONFLATED: Counter "conflated_total" [] "Events that a newer one replaced before they were \
     sent";
    SLOW_CLOSED: Counter "slow_closed_total" [] "Sessions closed because they took too little";
    RESUMES: Counter "resume_total" ["result"] "Sessions that asked to go on from a mark";
    CATCHING_UP: Gauge "catching_up_sessions" [] "Sessions that wait for the log";
    MAILBOX_OVERFLOWS: Counter "mailbox_overflows_total" [] "Times a shard's mailbox was full";
    LOG_REREADS: Counter "log_rereads_total" [] "Batches a shard missed and reread from the log";
    LOG_READS_FAILED: Counter "log_reads_failed_total" [] "Reads of the log by shards that failed, \
     or gave nothing where something was announced; each is tried again";
    POISON: Counter "poison_total" [] "Records in a lane that isn't theirs";
    TOPICS: Gauge "topics" [] "Topics in memory, over all shards";
    WINDOW_BYTES: Gauge "window_bytes" [] "Bytes of all windows, over all shards";
    CLIENT_ERRORS: Counter "client_errors_total" [] "Client messages that were answered by an \
     error";
    SESSION_PANICS: Counter "session_panics_total" [] "Panics that cost one session each";
    ACCEPT_SHORTAGES: Counter "accept_shortages_total" [] "Times that accepting paused for want \
     of descriptors or memory";
    PIN_FAILURES: Counter "pin_failures_total" [] "Shards that could not be pinned to their core";
    RING_FAILURES: Counter "ring_failures_total" [] "Rings that failed and were replaced";
    SENDS_RETRIED: Counter "sends_retried_total" [] "Sends that the kernel put off for reasons of \
     its own";

    EVENTS_INGESTED: Counter "events_ingested_total" ["source"] "Events that a source was told \
     202 for, once each";
    EVENTS_DUPLICATE: Counter "events_duplicate_total" ["source"] "Events that were known already";
    EVENTS_TOO_OLD: Counter "events_too_old_total" ["source"] "Events acknowledged and not shown, \
     being older than the dedupe window";
    INGEST_ERRORS: Counter "ingest_errors_total" ["source", "reason"] "Bodies refused whole, \
     readings and posts dropped, requests and streams that failed";
    INGEST_LETTERS_KEPT_BACK: Counter "ingest_letters_kept_back_total" ["source"] "Refused bodies \
     beyond those of a minute that are kept as dead letters";
    SOURCE_STALENESS_SECONDS: Gauge "source_staleness_seconds" ["source"] "Since a source's last \
     accepted event; where it is asked, its last good answer; of a stream, its last post. 0 where \
     another node asks it";
    SOURCE_POLLS: Counter "source_polls_total" ["source"] "Requests to a source that is polled";
    SOURCE_TICKS_MISSED: Counter "source_ticks_missed_total" ["source"] "Ticks that passed while an \
     earlier answer was awaited";
    SOURCE_TICKS_SKIPPED: Counter "source_ticks_skipped_total" ["source"] "Ticks at which its \
     breaker let nothing out";
    SOURCE_UNCHANGED: Counter "source_unchanged_total" ["source"] "Values that said nothing new";
    SOURCE_SEQUENCE_RESTARTS: Counter "source_sequence_restarts_total" ["source"] "Devices behind \
     it that began to count anew";
    SOURCE_CLOCK_SKEW_SECONDS: Gauge "source_clock_skew_seconds" ["source"] "What a source's clock \
     is behind ours";
    SOURCE_SEQUENCE_STILL_SECONDS: Gauge "source_sequence_still_seconds" ["source"] "How long the \
     sequence of some key of its last answer has stood still; 0 without sequences";
    BREAKER_STATE: Gauge "breaker_state" ["name"] "0 closed, 1 half-open, 2 open";
    SOURCE_ASSIGNED: Gauge "source_assigned" ["source"] "1 where it is this node that asks it; of \
     several nodes one does";
    SOURCE_CONNECTED: Gauge "source_connected" ["source"] "1 while a stream of posts is open";
    SOURCE_CONNECTS: Counter "source_connects_total" ["source"] "Attempts to open a stream of posts";
    SOCIAL_POSTS: Counter "social_posts_total" ["source", "result"] "Posts of a stream, each once, \
     by what became of it";
    INGEST_IN_FLIGHT_BYTES: Gauge "ingest_in_flight_bytes" [] "Bodies being read or waiting for \
     the log";

    LOG_APPEND_SECONDS: Histogram "log_append_seconds" [] "From handing a batch to the log to its \
     answer";
    LOG_FSYNC_SECONDS: Histogram "log_fsync_seconds" [] "How long each sync took";
    LOG_SIZE_BYTES: Gauge "log_size_bytes" [] "The journal's files";
    LOG_SEGMENTS: Gauge "log_segments" [] "How many there are";
    LOG_RECORDS: Counter "log_records_total" [] "Events made durable";
    LOG_WRITTEN_BYTES: Counter "log_written_bytes_total" [] "Bytes written to segments, padding \
     included";
    LOG_PENDING_BYTES: Gauge "log_pending_bytes" [] "Events that wait for the disk";
    LOG_PENDING_SECONDS: Gauge "log_pending_seconds" [] "How long the oldest of them has waited";
    LOG_WRITABLE: Gauge "log_writable" [] "1 while the log takes events";
    DEDUPE_ENTRIES: Gauge "dedupe_entries" [] "Events whose ids are remembered";
    DEDUPE_BYTES: Gauge "dedupe_bytes" [] "Memory that takes";

    KAFKA_READ: Counter "kafka_records_read_total" [] "Records read from all partitions";
    KAFKA_SUPPRESSED: Counter "kafka_duplicates_suppressed_total" [] "Of these, repeats that are \
     not shown";
    KAFKA_REUSED: Counter "kafka_ids_reused_total" [] "Of these, such as said something else: two \
     nodes took one id in the same moment";
    KAFKA_OWED_LOST: Counter "kafka_ids_reused_lost_total" [] "Of these, such as this node had \
     acknowledged and could not keep as dead letters";
    KAFKA_POISON: Counter "kafka_poison_total" [] "Of the records read, passed by \
     because they can't be shown";
    KAFKA_UNACKNOWLEDGED: Counter "kafka_unacknowledged_total" [] "Events that brokers did not \
     acknowledge in time, or refused";
    KAFKA_REPLACED: Counter "kafka_producers_replaced_total" [] "Producers that had failed for good, \
     and others took their places";
    KAFKA_JUMPS: Counter "kafka_jumps_total" [] "Times that retention had overtaken this node's \
     reading";
    KAFKA_SCOUTED: Counter "kafka_records_scouted_total" [] "Records read once more to judge what \
     follows them, for clients that resume far back";
    KAFKA_LAG: Gauge "kafka_lag_records" ["topic", "partition"] "Records that brokers have and \
     this node has not read";

    SPOOL_EVENTS: Gauge "spool_events" [] "Events that wait on this host's disk for Kafka to come \
     back";
    SPOOL_BYTES: Gauge "spool_bytes" [] "Their bytes";
    SPOOL_OLDEST: Gauge "spool_oldest_seconds" [] "Age of the oldest of them";
    SPOOL_TAKEN: Counter "spool_events_taken_total" [] "Events taken into the spool";
    SPOOL_DRAINED: Counter "spool_events_drained_total" [] "Events handed on to Kafka";
    SPOOL_DUPLICATES: Counter "spool_duplicates_total" [] "Of these, events that Kafka had already";
    SPOOL_PARKED: Counter "spool_events_parked_total" [] "Events that Kafka refused for their own \
     fault: dead letters";
    SPOOL_REFUSED: Counter "spool_events_refused_total" [] "Events refused because the spool was \
     full, or its oldest event too old";

    DLQ_MESSAGES: Gauge "dlq_messages" ["stream"] "Dead letters that wait: docs/dead-letters.md";
    DLQ_OLDEST_SECONDS: Gauge "dlq_oldest_seconds" ["stream"] "Since the oldest of them was parked";
    DLQ_BYTES: Gauge "dlq_bytes" [] "What all dead letters take, replayed ones included";
    DLQ_PARKED: Counter "dlq_parked_total" ["stream", "reason"] "Dead letters kept; the same one \
     again counts as well";
    DLQ_UNPUBLISHED: Gauge "dlq_unpublished" [] "Dead letters of which the topics of dead letters \
     don't show the latest yet";
    DLQ_LOST: Counter "dlq_lost_total" [] "Dead letters that could not be kept";
    DLQ_DROPPED: Counter "dlq_dropped_total" [] "Dead letters let go for age or room that nobody \
     had replayed";
}

/// `docs/reference/metrics.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Generated from `server/src/metrics/table.rs`; a test fails where the two differ.\n\n\
         `GET /metrics` on the admin port. Shards own their counters; a scrape adds them up and \
         stops nobody.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for Metric { name, kind, labels, help } in METRICS {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(out, "| `{name}` | {} | {} | {help} |", kind.as_str(), labels.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_prometheus_expects_of_them() {
        for (n, metric) in METRICS.iter().enumerate() {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == Kind::Counter, "{}", metric.name);
            assert!(METRICS[..n].iter().all(|earlier| earlier.name != metric.name));
            assert!(!metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']));
        }
    }

    #[test]
    fn the_reference_is_what_the_table_says() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        let have = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            have == markdown(),
            "docs/reference/metrics.md is stale: run `cargo run -p touchline -- reference metrics \
             > docs/reference/metrics.md`"
        );
    }
}
