//! Clients of librdkafka: their settings and their log lines.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::clock::millis;
use super::hints::{NO_TOKEN, Trouble};
use super::options::{DenialCause, KafkaOptions, OpenError};
use super::state::lock;
use super::token::TokenFile;

/// A consumer that is assigned partitions by hand.
pub(super) type Reader = BaseConsumer<Context>;

/// How long a request to a broker may take, where nothing else is said.
pub(super) const ASK_MAX: Duration = Duration::from_secs(5);

/// How long a client that reaches nobody may take to tell why.
const TELL_MAX: Duration = Duration::from_millis(500);

/// How long a client may take to ask for its first token.
const TOKEN_MAX: Duration = Duration::from_millis(100);

/// Lines of librdkafka that are logged a second; what it says while brokers are away is much and
/// always the same.
const LINES_PER_S: u64 = 5;

/// Between an assignment and whatever ends it. Stops are answered within the process: in
/// milliseconds, or when a thread of librdkafka gets a core.
const SETTLE: Duration = Duration::from_millis(500);

/// Shared by all clients of one log.
#[derive(Clone)]
pub(super) struct Context {
    voice: Arc<Voice>,
}

type Denial = (DenialCause, Box<str>);

struct Voice {
    begin: Instant,
    second: AtomicU64,
    lines: AtomicU64,
    /// Why brokers don't let us in, as librdkafka told it last.
    denial: Mutex<Option<Denial>>,
    /// What clients have said of what keeps them from the brokers.
    trouble: Mutex<Trouble>,
    token: Option<TokenFile>,
}

impl Context {
    /// For clients that are made from `options`.
    pub fn new(options: &KafkaOptions) -> Self {
        let (second, lines) = (AtomicU64::new(0), AtomicU64::new(0));
        let trouble = Mutex::default();
        let denial = Mutex::default();
        let (begin, token) = (Instant::now(), TokenFile::of(options.security.sasl.as_ref()));
        Self { voice: Arc::new(Voice { begin, second, lines, denial, trouble, token }) }
    }

    /// Why brokers don't let us in, if that is why `reader` reaches none of them: what the
    /// request's own error doesn't tell.
    pub fn denial(&self, options: &KafkaOptions, reader: &Reader) -> Option<OpenError> {
        let begin = Instant::now();
        // What it has to tell stands in its queue, between lines of its log.
        let (cause, reason) = loop {
            let _ = reader.poll(Duration::from_millis(10));
            if let Some(denial) = lock(&self.voice.denial).take() {
                break denial;
            }
            if begin.elapsed() > TELL_MAX {
                return None;
            }
        };
        Some(OpenError::Denied { brokers: options.brokers.as_str().into(), reason, cause })
    }

    /// What keeps us from the brokers, as far as a client has said so, and what that means.
    pub fn trouble(&self) -> String {
        lock(&self.voice.trouble).told()
    }

    /// The same, as far as it was said lately.
    pub fn trouble_lately(&self) -> String {
        lock(&self.voice.trouble).told_lately()
    }

    /// A reason that stands in an answer, where no client can tell it.
    pub fn hear_trouble(&self, why: &str) {
        lock(&self.voice.trouble).hear(why);
    }

    /// Brokers have let us in: what was said is over, and a hang-up means less from now on.
    pub fn end_trouble(&self) {
        *lock(&self.voice.trouble) = Trouble::after_all();
    }

    /// A reason that no client has told yet.
    pub fn set_trouble(&self, why: &str) {
        let mut trouble = lock(&self.voice.trouble);
        if trouble.is_none() {
            trouble.hear(why);
        }
    }

    /// The token of the moment, where that is how we sign in.
    pub fn token(&self) -> Option<Result<OAuthToken, String>> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.voice.token.as_ref().map(|file| file.read(millis(since)))
    }

    fn may_speak(&self) -> bool {
        let second = self.voice.begin.elapsed().as_secs();
        if self.voice.second.swap(second, Ordering::Relaxed) != second {
            self.voice.lines.store(0, Ordering::Relaxed);
        }
        self.voice.lines.fetch_add(1, Ordering::Relaxed) < LINES_PER_S
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = self.token().unwrap_or_else(|| Err("no token file is configured".into()));
        token.map_err(|why| {
            self.hear_trouble(&format!("{NO_TOKEN}{why}"));
            tracing::error!(why, "this node can't sign in to Kafka with a token");
            why.into()
        })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A connection that the other side ends is no error to librdkafka, but it may be to us.
        if facility == "FAIL" {
            lock(&self.voice.trouble).hear(message);
        }
        if !self.may_speak() {
            return;
        }
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug | RDKafkaLogLevel::Notice => {
                tracing::debug!(target: "librdkafka", facility, message);
            }
            _ => tracing::warn!(target: "librdkafka", facility, message),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down says less than why one is.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            lock(&self.voice.trouble).hear(reason);
        }
        let cause = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => Some(DenialCause::Sasl),
            Some(RDKafkaErrorCode::SSL) => Some(DenialCause::Tls),
            _ => None,
        };
        if let Some(cause) = cause {
            *lock(&self.voice.denial) = Some((cause, reason.into()));
        }
        if self.may_speak() {
            tracing::warn!(target: "librdkafka", %error, reason);
        }
    }
}

impl ConsumerContext for Context {}

/// What every client of the cluster is told.
pub(super) fn config(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.brokers)
        .set("client.id", format!("touchline-{}", options.node))
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        // A broker that is back is noticed within a second or two.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set_log_level(RDKafkaLogLevel::Info);
    secure(&mut config, options);
    config
}

fn secure(config: &mut ClientConfig, options: &KafkaOptions) {
    let security = &options.security;
    let protocol = match (&security.tls, &security.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        let files = [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.cert_file),
            ("ssl.key.location", &tls.key_file),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                config.set(key, file.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &security.sasl {
        config.set("sasl.mechanism", &sasl.mechanism);
        if sasl.token_file.is_none() {
            config.set("sasl.username", &sasl.user).set("sasl.password", &sasl.password);
        }
    }
}

/// A consumer without a group: it commits nothing, and reads what it is assigned. It may see
/// everything below the high watermark: nobody writes transactions to these topics.
pub(super) fn reader(options: &KafkaOptions, context: &Context) -> Result<Reader, OpenError> {
    made(&reading(options), options, context)
}

/// The same, and it says so where a partition ends.
pub(super) fn reader_to_ends(
    options: &KafkaOptions,
    context: &Context,
) -> Result<Reader, OpenError> {
    let mut config = reading(options);
    config.set("enable.partition.eof", "true");
    made(&config, options, context)
}

/// A reader that can be asked at once: one that signs in by token has to be polled for it first.
fn made(
    config: &ClientConfig,
    options: &KafkaOptions,
    context: &Context,
) -> Result<Reader, OpenError> {
    let reader: Reader = config.create_with_context(context.clone()).map_err(OpenError::Client)?;
    if options.security.sasl.as_ref().is_some_and(|sasl| sasl.token_file.is_some()) {
        let _ = reader.poll(TOKEN_MAX);
    }
    Ok(reader)
}

fn reading(options: &KafkaOptions) -> ClientConfig {
    let mut config = config(options);
    config
        .set("group.id", format!("touchline-{}-reader", options.node))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_uncommitted")
        .set("allow.auto.create.topics", "false")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "50")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "1048576")
        .set("queued.max.messages.kbytes", "65536")
        .set("check.crcs", "true");
    config
}

/// The next message of what is assigned, or an error that concerns the reading itself. What else a
/// client queues (a broker that is gone for a moment, a coordinator it may not ask) is passed by:
/// it is tried again by itself.
pub(super) fn poll(reader: &Reader, wait: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    use RDKafkaErrorCode::{
        AutoOffsetReset, Fatal, OffsetOutOfRange, TopicAuthorizationFailed, UnknownPartition,
        UnknownTopicOrPartition,
    };
    let begin = Instant::now();
    loop {
        match reader.poll(wait.saturating_sub(begin.elapsed())) {
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(
                    AutoOffsetReset
                    | Fatal
                    | OffsetOutOfRange
                    | TopicAuthorizationFailed
                    | UnknownPartition
                    | UnknownTopicOrPartition,
                ) => return Some(Err(error)),
                _ => tracing::debug!(%error, "a client of Kafka has trouble; it goes on"),
            },
            other => return other,
        }
    }
}

/// Gives librdkafka the time to stop what it read before the assignment at `assigned_at` (`None`:
/// there is nothing to wait for). Where the next one, or the end, comes before its threads have, it
/// stops a partition twice and aborts the process (2.12, `rd_kafka_assignment_partition_stopped`:
/// `rktp_started`). Not needed once a message of that assignment has come: nothing is started
/// before all that is to be is stopped.
pub(super) fn settle(assigned_at: Option<Instant>) {
    let since = assigned_at.map_or(SETTLE, |at| at.elapsed());
    std::thread::sleep(SETTLE.saturating_sub(since));
}

/// Takes what a client that is assigned nothing has queued: else it grows while nobody asks.
pub(super) fn drain(reader: &Reader) {
    while reader.poll(Duration::ZERO).is_some() {}
}

/// What went wrong when `what` was asked of the brokers.
pub(super) fn unreachable(
    options: &KafkaOptions,
    what: &'static str,
) -> impl Fn(KafkaError) -> OpenError {
    let brokers: Box<str> = options.brokers.as_str().into();
    move |error| OpenError::Brokers { brokers: brokers.clone(), what, error }
}
