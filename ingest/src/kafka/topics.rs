//! The topics: made where they are missing, refused where they couldn't keep what we acknowledge.
//!
//! Brokers hear of a topic one after the other. One that hasn't yet says that there is none, or
//! none of its partitions, and a cluster that has just begun lacks brokers for a while. So what may
//! only be young is looked at again, for [`APPEAR_MAX`]; what is surely wrong is said at once.

mod settings;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use touchline_core::event::Stream;
use touchline_core::retry::Backoff;

use super::client::{ASK_MAX, Context, Reader, config, unreachable};
use super::lanes::Lanes;
use super::options::{KafkaOptions, OpenError};
use super::token::give;
use crate::limits::LETTER_CUT_BYTES;
use settings::wrong_settings;

/// How long a new topic may take to be seen by everybody, and a new cluster to be whole.
pub(super) const APPEAR_MAX: Duration = Duration::from_secs(15);
/// The longest wait between two looks.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Name of the compacted topic that holds the epochs.
pub(super) fn meta_topic(options: &KafkaOptions) -> String {
    format!("{}touchline-meta", options.prefix)
}

/// Name of the topic that holds the dead letters of what was meant for `topic`.
pub(super) fn letters_topic(topic: &str) -> String {
    format!("{topic}-dlq")
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Events,
    Meta,
    Letters,
}

/// All topics that the log needs.
fn wanted(options: &KafkaOptions, lanes: &Lanes) -> Vec<(String, Kind)> {
    let events = Stream::ALL.iter().map(|it| (lanes.topic(*it).to_owned(), Kind::Events));
    let letters = Stream::ALL.iter().map(|it| (letters_topic(lanes.topic(*it)), Kind::Letters));
    let letters = letters.filter(|_| options.letters);
    events.chain([(meta_topic(options), Kind::Meta)]).chain(letters).collect()
}

/// Why the topics don't fit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Misfits {
    /// What stays so until somebody mends it.
    wrong: Vec<String>,
    /// What may be so only because a topic, or the cluster, is young.
    young: Vec<String>,
}

impl Misfits {
    fn is_empty(&self) -> bool {
        self.wrong.is_empty() && self.young.is_empty()
    }

    /// Files `line` by what a broker has said.
    fn add(&mut self, said: RDKafkaErrorCode, line: String) {
        use RDKafkaErrorCode as Said;
        match said {
            Said::BrokerNotAvailable
            | Said::InvalidReplicationFactor
            | Said::LeaderNotAvailable
            | Said::NetworkException
            | Said::NotController
            | Said::OperationTimedOut
            | Said::RequestTimedOut
            | Said::UnknownTopicOrPartition => self.young.push(line),
            _ => self.wrong.push(line),
        }
    }

    /// What to tell: not what is probably young, where something is surely wrong.
    fn into_lines(self) -> Vec<String> {
        if self.wrong.is_empty() { self.young } else { self.wrong }
    }
}

/// Makes what is missing and checks the rest; whether a topic of events had to be made, by us: a
/// broker that has yet to hear of topics must not begin a new life.
pub(super) fn ensure(
    options: &KafkaOptions,
    lanes: &Lanes,
    reader: &Reader,
    context: &Context,
) -> Result<bool, OpenError> {
    let admin: AdminClient<Context> =
        config(options).create_with_context(context.clone()).map_err(OpenError::Client)?;
    if let Some(token) = context.token() {
        let given = token.and_then(|token| give(&admin, &token));
        given.map_err(|why| OpenError::Options(why.into()))?;
    }
    let wanted = wanted(options, lanes);
    let (fresh, made) = (Vec::new(), Vec::new());
    let mut look = Look { options, lanes, reader, admin: &admin, wanted, fresh, made };
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    loop {
        let misfits = look.once()?;
        if misfits.is_empty() {
            break;
        }
        if !misfits.wrong.is_empty() || begin.elapsed() > APPEAR_MAX {
            return Err(OpenError::Misfit(misfits.into_lines()));
        }
        tracing::debug!(?misfits, "the topics are looked at again: brokers may yet hear of them");
        std::thread::sleep(backoff.next(rand::random()).min(LOOK_MAX));
    }
    let is_event = |name: &String| look.wanted.contains(&(name.clone(), Kind::Events));
    Ok(look.made.iter().any(is_event))
}

/// What a look at the topics needs, and what it has made.
struct Look<'a> {
    options: &'a KafkaOptions,
    lanes: &'a Lanes,
    reader: &'a Reader,
    admin: &'a AdminClient<Context>,
    wanted: Vec<(String, Kind)>,
    /// Topics that weren't there when they were first looked for: brokers may yet hear of all that
    /// is to be known of them.
    fresh: Vec<String>,
    /// Those that were made here, not by another node.
    made: Vec<String>,
}

impl Look<'_> {
    /// Makes what is missing, and tells what doesn't fit.
    fn once(&mut self) -> Result<Misfits, OpenError> {
        let layout = layout(self.options, self.reader)?;
        let mut misfits = Misfits::default();
        let missing = self.wanted.iter().filter(|(name, _)| !layout.contains_key(name));
        let missing: Vec<(&str, Kind)> =
            missing.map(|(name, kind)| (name.as_str(), *kind)).collect();
        if missing.is_empty() {
            let is_leaderless = |name: &&String| !layout.get(*name).is_some_and(|it| it.is_led);
            let leaderless = self.fresh.iter().filter(is_leaderless);
            let line = |name| format!("topic {name} was just made, and has no leaders");
            misfits.young.extend(leaderless.map(line));
            let is_through = !misfits.is_empty() || !self.options.checks_topics;
            return if is_through { Ok(misfits) } else { self.check(&layout) };
        }
        if self.options.creates_topics {
            self.made.extend(create(self.options, self.admin, &missing, &mut misfits)?);
        }
        for topic in &missing {
            if !self.options.creates_topics {
                misfits.young.push(lack(topic));
            } else if misfits.is_empty() {
                misfits.young.push(format!("topic {} was just made, and isn't there", topic.0));
            }
        }
        self.fresh.extend(missing.iter().map(|(name, _)| (*name).to_owned()));
        Ok(misfits)
    }

    fn check(&self, layout: &Layout) -> Result<Misfits, OpenError> {
        let names = self.wanted.iter().map(|(name, _)| ResourceSpecifier::Topic(name));
        let timeouts = AdminOptions::new().request_timeout(Some(ASK_MAX * 2));
        let described =
            block_on(self.admin.describe_configs(&names.collect::<Vec<_>>(), &timeouts))
                .map_err(unreachable(self.options, "describe its topics"))?;
        let mut all = Misfits::default();
        for ((name, kind), described) in self.wanted.iter().zip(described) {
            let replicas = layout.get(name).map_or(&[][..], |it| &it.replicas);
            let mut misfits = Misfits::default();
            self.check_layout(name, *kind, replicas, &mut misfits);
            match described {
                Ok(config) => {
                    let value = |key: &str| config.get(key).and_then(|entry| entry.value.clone());
                    misfits.wrong.extend(wrong_settings(self.options, name, *kind, value));
                }
                Err(code) => misfits.add(
                    code,
                    format!(
                        "topic {name}: its settings can't be read ({code}): allow us \
                         DescribeConfigs"
                    ),
                ),
            }
            let is_fresh = self.fresh.contains(name);
            let wrong = if is_fresh { &mut all.young } else { &mut all.wrong };
            wrong.append(&mut misfits.wrong);
            all.young.append(&mut misfits.young);
        }
        Ok(all)
    }

    fn check_layout(&self, name: &str, kind: Kind, replicas: &[usize], misfits: &mut Misfits) {
        let partitions = match kind {
            Kind::Events => usize::from(self.lanes.partitions()),
            Kind::Meta => 1,
            // Each letter has its own order.
            Kind::Letters => replicas.len().max(1),
        };
        let Some(fewest) = replicas.iter().min() else {
            misfits.young.push(format!(
                "the brokers know no partition of topic {name}: see whether they are well"
            ));
            return;
        };
        if replicas.len() != partitions {
            misfits.wrong.push(format!(
                "topic {name} has {} partitions, not {partitions}: set log.kafka.partitions to \
                 what it has (the count is fixed for an epoch)",
                replicas.len()
            ));
        }
        if *fewest < usize::from(self.options.replication) {
            misfits.wrong.push(format!(
                "topic {name} keeps {fewest} copies, not {}: reassign its partitions",
                self.options.replication
            ));
        }
    }
}

fn lack((name, kind): &(&str, Kind)) -> String {
    match kind {
        Kind::Letters => format!(
            "topic {name} doesn't exist: make it, or set log.kafka.dead_letter_topics = false"
        ),
        _ => format!("topic {name} doesn't exist: make it"),
    }
}

/// What brokers tell of a topic.
struct Told {
    /// Of each partition.
    replicas: Vec<usize>,
    /// Whether there are partitions, and each has a leader.
    is_led: bool,
}

type Layout = BTreeMap<String, Told>;

fn layout(options: &KafkaOptions, reader: &Reader) -> Result<Layout, OpenError> {
    let asked = unreachable(options, "list its topics");
    let metadata = reader.client().fetch_metadata(None, ASK_MAX).map_err(asked)?;
    let of = |topic: &rdkafka::metadata::MetadataTopic| {
        let partitions = topic.partitions();
        let replicas = partitions.iter().map(|it| it.replicas().len()).collect();
        let is_led = !partitions.is_empty() && partitions.iter().all(|it| it.leader() >= 0);
        (topic.name().to_owned(), Told { replicas, is_led })
    };
    Ok(metadata.topics().iter().filter(|topic| topic.error().is_none()).map(of).collect())
}

/// Answers the names of those that were made: another node may be quicker.
fn create(
    options: &KafkaOptions,
    admin: &AdminClient<Context>,
    missing: &[(&str, Kind)],
    misfits: &mut Misfits,
) -> Result<Vec<String>, OpenError> {
    let in_sync = options.in_sync_min.to_string();
    let retention = options.retention.as_millis().to_string();
    let copies = i32::from(options.replication);
    let letters_retention = options.letters_retention.as_millis().to_string();
    let letter_bytes = (options.letter_bytes_max + LETTER_CUT_BYTES).to_string();
    let topics = missing.iter().map(|(name, kind)| {
        let partitions = match kind {
            Kind::Events => i32::from(options.partitions),
            Kind::Meta | Kind::Letters => 1,
        };
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies))
            .set("min.insync.replicas", &in_sync)
            .set("unclean.leader.election.enable", "false")
            .set("message.timestamp.type", "LogAppendTime");
        match kind {
            // Notes come every minute: compaction gets at what is older than an hour.
            Kind::Meta => topic.set("cleanup.policy", "compact").set("segment.ms", "3600000"),
            Kind::Events => topic.set("cleanup.policy", "delete").set("retention.ms", &retention),
            Kind::Letters => topic
                .set("cleanup.policy", "compact,delete")
                .set("retention.ms", &letters_retention)
                .set("max.message.bytes", &letter_bytes),
        }
    });
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let timeouts =
        AdminOptions::new().request_timeout(Some(ASK_MAX * 2)).operation_timeout(Some(ASK_MAX * 2));
    let results = block_on(admin.create_topics(&topics, &timeouts))
        .map_err(unreachable(options, "make topics"))?;
    let mut made = Vec::new();
    for result in results {
        match result {
            Ok(name) => made.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code @ RDKafkaErrorCode::InvalidReplicationFactor)) => misfits.add(
                code,
                format!(
                    "topic {name} needs {} brokers, which the cluster hasn't: add brokers, or set \
                     log.kafka.replication and log.kafka.in_sync_min lower and know that less \
                     copies are kept",
                    options.replication
                ),
            ),
            Err((name, code)) => misfits.add(code, format!("topic {name} can't be made: {code}")),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_young_is_told_only_where_nothing_is_surely_wrong() {
        use RDKafkaErrorCode as Said;
        let mut misfits = Misfits::default();
        misfits.add(Said::UnknownTopicOrPartition, "unheard of".into());
        misfits.add(Said::InvalidReplicationFactor, "too few".into());
        assert!(misfits.wrong.is_empty(), "{misfits:?}");
        misfits.add(Said::TopicAuthorizationFailed, "forbidden".into());
        assert_eq!(misfits.into_lines(), ["forbidden"]);
    }
}
