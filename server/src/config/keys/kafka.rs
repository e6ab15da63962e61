//! Keys of Kafka as the log.

use super::{DAY_S, Key, Kind, MIB, key};

/// In the order of the reference.
pub(super) const KEYS: &[Key] = &[
    key(
        "log.kafka.brokers",
        Kind::Text,
        "127.0.0.1:9092",
        "`host:port` of some brokers, with commas between them; the others are learned",
        "none",
    ),
    key(
        "log.kafka.topic_prefix",
        Kind::Text,
        "",
        "what the names of all topics begin with, where a cluster carries more than one system",
        "none",
    ),
    key(
        "log.kafka.partitions",
        Kind::Count(1, 64),
        "8",
        "partitions of each stream's topic, the same on every node; fixed for an epoch",
        "a longer mark for every client: about 5 bytes a partition",
    ),
    key(
        "log.kafka.replication",
        Kind::Count(1, 16),
        "3",
        "copies of each partition; a cluster that keeps fewer is refused",
        "disks of the brokers",
    ),
    key(
        "log.kafka.in_sync_min",
        Kind::Count(1, 16),
        "2",
        "copies that must have an event before it is acknowledged",
        "more: fewer brokers may be away",
    ),
    key(
        "log.kafka.retention_s",
        Kind::Seconds(7_200.0, 3_650.0 * DAY_S),
        "604800",
        "how long topics that we make keep events; twice the longest dedupe window at least",
        "disks of the brokers",
    ),
    key(
        "log.kafka.dead_letter_topics",
        Kind::Toggle,
        "true",
        "publish this node's dead letters to the topics `<topic>-dlq`, where all nodes' are seen",
        "their bytes on the brokers, for `dead_letters.age_max_s`",
    ),
    key(
        "log.kafka.creates_topics",
        Kind::Toggle,
        "true",
        "whether topics that don't exist are made; otherwise a start names them",
        "none",
    ),
    key(
        "log.kafka.deliver_s_max",
        Kind::Seconds(0.5, 60.0),
        "4",
        "how long an event may take until brokers have acknowledged it: three quarters for them, a \
         quarter for waiting until what came before it is; past it the source is told to send it \
         again",
        "latency of a webhook on a slow cluster",
    ),
    key(
        "log.kafka.lag_records_max",
        Kind::Count(1, 1_000_000_000),
        "10000",
        "records of one partition that brokers may have and this node not have read for 5 seconds; \
         past it `/readyz` is 503 until it has caught up to half of that",
        "lower: bursts turn new clients away from a node that would have caught up; higher: they \
         come to one that shows old events",
    ),
    key(
        "log.kafka.spool",
        Kind::Toggle,
        "false",
        "whether events are taken while brokers are away: onto this host's disk, and from there \
         into Kafka once it is back. It is as durable as that one disk",
        "a disk's worth of trust: a host that is lost meanwhile takes what it acknowledged with it",
    ),
    key(
        "log.kafka.spool_bytes_max",
        Kind::Size(MIB, 1 << 40),
        "1GiB",
        "bytes of events that may wait there; past it sources get 503. On disk a webhook takes a \
         whole block, 4 KiB, at least",
        "disk",
    ),
    key(
        "log.kafka.spool_age_max_s",
        Kind::Seconds(1.0, 3_240.0),
        "1800",
        "while the oldest event there is older, sources get 503; nine tenths of a stream's dedupe \
         window at most",
        "how long ago the oldest event happened that appears when Kafka is back",
    ),
    key("log.kafka.tls", Kind::Toggle, "false", "whether connections to brokers are TLS", "CPU"),
    key(
        "log.kafka.ca_file",
        Kind::Path,
        "",
        "who signs the brokers' certificates (PEM); empty: whom the host trusts",
        "none",
    ),
    key(
        "log.kafka.cert_file",
        Kind::Path,
        "",
        "our own certificate (PEM), where brokers ask for one",
        "none",
    ),
    key("log.kafka.key_file", Kind::Path, "", "its key (PEM)", "none"),
    key(
        "log.kafka.sasl_mechanism",
        Kind::Choice(&["none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
        "none",
        "how we sign in to brokers",
        "none",
    ),
    key("log.kafka.sasl_user", Kind::Text, "", "as whom", "none"),
    key(
        "log.kafka.sasl_password_file",
        Kind::Path,
        "",
        "a file that holds the password and nothing else; relative to the configuration's folder",
        "none",
    ),
    key(
        "log.kafka.sasl_token_file",
        Kind::Path,
        "",
        "with `OAUTHBEARER`: a file that holds a token, which something else replaces before it \
         expires; relative to the configuration's folder",
        "it is read at four fifths of each token's life",
    ),
];
