//! What the Kafka log is told at its start, and why it may not start.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::error::KafkaError;

use crate::limits::PARTITIONS_MAX;

/// How to reach a cluster, and what its topics must be like.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port` of some brokers, with commas between them; the others are learned.
    pub brokers: String,
    /// What the names of all topics begin with. Default none.
    pub prefix: String,
    /// Name of this node: part of the client's id, which brokers log.
    pub node: String,
    /// Partitions of each stream's topic, 1 to 64; fixed for an epoch (R1). Default 8.
    pub partitions: u16,
    /// Copies of each partition. Default 3.
    pub replication: u16,
    /// Copies that must have a record before it is acknowledged. Default 2.
    pub in_sync_min: u16,
    /// How long topics keep records, where we make them. Default 7 days.
    pub retention: Duration,
    /// Whether topics that don't exist are made. Default true.
    pub creates_topics: bool,
    /// Whether dead letters are published to topics of their own. Default false.
    pub letters: bool,
    /// How long those keep a letter, where we make them. Default 14 days.
    pub letters_retention: Duration,
    /// The largest letter. Default 1 MiB.
    pub letter_bytes_max: usize,
    /// Whether the topics' settings are checked. Only tests leave it out: librdkafka's mock cluster
    /// has no settings.
    pub checks_topics: bool,
    /// Dedupe window by stream (R16, R17). Default 1 h, 1 h, 10 min, 1 min.
    pub windows: [Duration; 4],
    /// Entries of the dedupe windows, about 60 bytes each. Default 8 million.
    pub dedupe_entries_max: usize,
    /// Bytes of events that may wait for brokers; past it sources get 503. Default 16 MiB.
    pub pending_bytes_max: usize,
    /// How long an event may take until it is acknowledged. Three quarters are the brokers'; past
    /// them the outcome is unknown (R14). A quarter is for waiting until what came before it is
    /// acknowledged; past it the event was surely not sent. Default 4 s.
    pub deliver_max: Duration,
    /// Records of one lane that brokers may have and this node not have read, for longer than a few
    /// seconds; past it [`KafkaLog::keeps_up`](super::KafkaLog::keeps_up) says so.
    /// Default 10,000.
    pub lag_records_max: u64,
    /// Where this node notes how far it has read, besides `touchline-meta` (R8). Default nowhere.
    pub notes_file: Option<PathBuf>,
    /// How the connection is protected.
    pub security: Security,
}

/// How connections to brokers are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Whether it is TLS.
    pub tls: Option<Tls>,
    /// How we sign in.
    pub sasl: Option<Sasl>,
}

/// Files of TLS, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who signs the brokers' certificates. `None`: whom the host trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, where brokers ask for one.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// How we sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// `SCRAM-SHA-256`, `SCRAM-SHA-512`, `PLAIN` or `OAUTHBEARER`.
    pub mechanism: String,
    /// Who we are.
    pub user: String,
    /// And the proof.
    pub password: String,
    /// With `OAUTHBEARER`, instead of a password: a file that holds a token, which somebody else
    /// replaces before it expires.
    pub token_file: Option<PathBuf>,
}

impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sasl({} as {}, password hidden)", self.mechanism, self.user)
    }
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            prefix: String::new(),
            node: "touchline".into(),
            partitions: 8,
            replication: 3,
            in_sync_min: 2,
            retention: Duration::from_secs(7 * 24 * 3600),
            creates_topics: true,
            letters: false,
            letters_retention: Duration::from_secs(14 * 24 * 3600),
            letter_bytes_max: 1 << 20,
            checks_topics: true,
            windows: [3600, 3600, 600, 60].map(Duration::from_secs),
            dedupe_entries_max: 8_000_000,
            pending_bytes_max: 16 << 20,
            deliver_max: Duration::from_secs(4),
            lag_records_max: 10_000,
            notes_file: None,
            security: Security::default(),
        }
    }
}

impl KafkaOptions {
    /// Checks what can be checked without a broker.
    pub fn check(&self) -> Result<(), OpenError> {
        let refuse = |text: String| Err(OpenError::Options(text.into()));
        if self.brokers.trim().is_empty() {
            return refuse("`brokers` is empty: name at least one `host:port`".into());
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return refuse(format!("`partitions` must be 1 to {PARTITIONS_MAX}"));
        }
        if self.in_sync_min == 0 || self.in_sync_min > self.replication {
            return refuse("`in_sync_min` must be 1 to `replication`".into());
        }
        if self.retention < self.window_max() * 2 {
            return refuse("`retention` must be twice the longest dedupe window at least".into());
        }
        Ok(())
    }

    /// The longest dedupe window.
    pub fn window_max(&self) -> Duration {
        self.windows.into_iter().max().unwrap_or_default()
    }
}

/// Why the log can't be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict themselves.
    #[error("{0}")]
    Options(Box<str>),
    /// librdkafka refuses a setting, or can't read a file that one names.
    #[error("the Kafka client can't be made: {0}; check `log.kafka`")]
    Client(KafkaError),
    /// Brokers are there, and don't let us in.
    #[error("no broker of {brokers} lets us in: {reason}; {}", .cause.advice())]
    Denied {
        /// As configured.
        brokers: Box<str>,
        /// librdkafka's word.
        reason: Box<str>,
        /// Whose turn it is.
        cause: DenialCause,
    },
    /// No broker answers.
    #[error(
        "no broker of {brokers} can {what}: {error}; check that they run, can be reached, and \
         expect what `log.kafka.tls` and `log.kafka.sasl_mechanism` say"
    )]
    Brokers {
        /// As configured.
        brokers: Box<str>,
        /// What was asked of them.
        what: &'static str,
        /// What came of it.
        error: KafkaError,
    },
    /// The cluster isn't one that could keep what we acknowledge.
    #[error("the cluster doesn't fit:\n  {}", .0.join("\n  "))]
    Misfit(Vec<String>),
    /// The topic of epochs can't be understood.
    #[error("topic {topic} holds something that is none of our epochs: {why}")]
    Life {
        /// Its name.
        topic: Box<str>,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// It was told to stop before it was ready.
    #[error("stopped while the log was being read")]
    Stopped,
    /// A thread can't be started.
    #[error("{what}: {error}")]
    Host {
        /// What failed.
        what: Box<str>,
        /// Why.
        error: std::io::Error,
    },
}

/// What brokers don't like of us, or we of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialCause {
    /// User, password or mechanism.
    Sasl,
    /// The TLS handshake.
    Tls,
}

impl DenialCause {
    const fn advice(self) -> &'static str {
        match self {
            Self::Sasl => {
                "check `log.kafka.sasl_user`, `sasl_mechanism` and what `sasl_password_file` (or \
                 `sasl_token_file`) holds, or make the user known to the brokers"
            }
            Self::Tls => {
                "check that `log.kafka.ca_file` holds who has signed the brokers' certificates, \
                 and that `log.kafka.brokers` names them as their certificates do"
            }
        }
    }
}
