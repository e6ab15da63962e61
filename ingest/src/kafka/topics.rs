//! The topics: made where they are missing, refused where they couldn't keep what we acknowledge.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use touchline_core::event::Stream;

use super::client::{ASK_MAX, Context, Reader, config, unreachable};
use super::lanes::Lanes;
use super::options::{KafkaOptions, OpenError};
use super::token::give;
use crate::limits::LETTER_CUT_BYTES;

/// How long a new topic may take to be seen by everybody.
const APPEAR_MAX: Duration = Duration::from_secs(15);

/// What a topic must take: an event of 64 KiB, and what stands around it.
const MESSAGE_BYTES_MIN: i64 = 128 << 10;

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
    let topics = wanted(options, lanes);
    let present = layout(options, reader)?;
    let missing: Vec<(&str, Kind)> = topics
        .iter()
        .filter(|(name, _)| !present.contains_key(name))
        .map(|(name, kind)| (name.as_str(), *kind))
        .collect();
    let mut made = Vec::new();
    if !missing.is_empty() {
        if !options.creates_topics {
            let lack = |(name, kind): &(&str, Kind)| match kind {
                Kind::Letters => format!(
                    "topic {name} doesn't exist: make it, or set log.kafka.dead_letter_topics = false"
                ),
                _ => format!("topic {name} doesn't exist: make it"),
            };
            return Err(OpenError::Misfit(missing.iter().map(lack).collect()));
        }
        made = create(options, &admin, &missing)?;
        await_topics(options, reader, &missing)?;
    }
    if options.checks_topics {
        let begin = Instant::now();
        while let Some(misfits) = misfits(options, lanes, reader, &admin, &topics)? {
            // A broker may not have heard of topics that another has just made.
            if missing.is_empty() || begin.elapsed() > APPEAR_MAX {
                return Err(OpenError::Misfit(misfits));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let is_event = |name: &String| topics.iter().any(|it| it == &(name.clone(), Kind::Events));
    Ok(made.iter().any(is_event))
}

/// Replicas of each partition, by topic.
type Layout = BTreeMap<String, Vec<usize>>;

fn layout(options: &KafkaOptions, reader: &Reader) -> Result<Layout, OpenError> {
    let asked = unreachable(options, "list its topics");
    let metadata = reader.client().fetch_metadata(None, ASK_MAX).map_err(asked)?;
    let of = |topic: &rdkafka::metadata::MetadataTopic| {
        let replicas = topic.partitions().iter().map(|it| it.replicas().len()).collect();
        (topic.name().to_owned(), replicas)
    };
    Ok(metadata.topics().iter().filter(|topic| topic.error().is_none()).map(of).collect())
}

/// Answers the names of those that were made: another node may be quicker.
fn create(
    options: &KafkaOptions,
    admin: &AdminClient<Context>,
    missing: &[(&str, Kind)],
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
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(name) => made.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, RDKafkaErrorCode::InvalidReplicationFactor)) => refused.push(format!(
                "topic {name} needs {} brokers, which the cluster hasn't: add brokers, or set \
                 log.kafka.replication and log.kafka.in_sync_min lower and know that less copies \
                 are kept",
                options.replication
            )),
            Err((name, code)) => refused.push(format!("topic {name} can't be made: {code}")),
        }
    }
    if refused.is_empty() { Ok(made) } else { Err(OpenError::Misfit(refused)) }
}

/// Waits until brokers know the leaders of all partitions of `names`.
fn await_topics(
    options: &KafkaOptions,
    reader: &Reader,
    names: &[(&str, Kind)],
) -> Result<(), OpenError> {
    let begin = Instant::now();
    loop {
        let asked = unreachable(options, "list its topics");
        let metadata = reader.client().fetch_metadata(None, ASK_MAX).map_err(asked)?;
        let has_leaders = |(name, _): &(&str, Kind)| {
            metadata.topics().iter().any(|topic| {
                topic.name() == *name
                    && topic.error().is_none()
                    && !topic.partitions().is_empty()
                    && topic.partitions().iter().all(|it| it.leader() >= 0)
            })
        };
        if names.iter().all(has_leaders) {
            return Ok(());
        }
        if begin.elapsed() > APPEAR_MAX {
            let text = format!("topics that were just made have no leaders after {APPEAR_MAX:?}");
            return Err(OpenError::Misfit(vec![text]));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn misfits(
    options: &KafkaOptions,
    lanes: &Lanes,
    reader: &Reader,
    admin: &AdminClient<Context>,
    topics: &[(String, Kind)],
) -> Result<Option<Vec<String>>, OpenError> {
    let mut misfits = Vec::new();
    let layout = layout(options, reader)?;
    let asked: Vec<_> = topics.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
    let timeouts = AdminOptions::new().request_timeout(Some(ASK_MAX * 2));
    let described = block_on(admin.describe_configs(&asked, &timeouts))
        .map_err(unreachable(options, "describe its topics"))?;
    for ((name, kind), described) in topics.iter().zip(described) {
        let replicas = layout.get(name).map(Vec::as_slice).unwrap_or_default();
        let partitions = match kind {
            Kind::Events => usize::from(lanes.partitions()),
            Kind::Meta => 1,
            // Each letter has its own order.
            Kind::Letters => replicas.len().max(1),
        };
        if replicas.len() != partitions {
            misfits.push(format!(
                "topic {name} has {} partitions, not {partitions}: set log.kafka.partitions to \
                 what it has (the count is fixed for an epoch)",
                replicas.len()
            ));
        }
        let fewest = replicas.iter().min().copied().unwrap_or(0);
        if fewest < usize::from(options.replication) {
            misfits.push(format!(
                "topic {name} keeps {fewest} copies, not {}: reassign its partitions",
                options.replication
            ));
        }
        match described {
            Ok(config) => {
                let value = |key: &str| config.get(key).and_then(|entry| entry.value.clone());
                misfits.extend(wrong_settings(options, name, *kind, value));
            }
            Err(code) => misfits.push(format!(
                "topic {name}: its settings can't be read ({code}): allow us DescribeConfigs"
            )),
        }
    }
    Ok((!misfits.is_empty()).then_some(misfits))
}

/// What of a topic's settings would lose or hide what we acknowledge. `value` gives a setting.
fn wrong_settings(
    options: &KafkaOptions,
    name: &str,
    kind: Kind,
    value: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let number = |key: &str| value(key).and_then(|text| text.parse::<i64>().ok());
    let mut expect = |is_right: bool, key: &str, wanted: String| {
        if !is_right {
            let now = value(key).unwrap_or_else(|| "unknown".into());
            wrong.push(format!("topic {name}: {key} is {now}, must be {wanted}"));
        }
    };
    let in_sync = i64::from(options.in_sync_min);
    expect(
        number("min.insync.replicas").is_some_and(|it| it >= in_sync),
        "min.insync.replicas",
        format!("{in_sync} or more"),
    );
    let is = |key: &str, wanted: &str| value(key).as_deref() == Some(wanted);
    let key = "unclean.leader.election.enable";
    expect(is(key, "false"), key, "false".into());
    let key = "cleanup.policy";
    let compacts = || value(key).is_some_and(|it| it.split(',').any(|it| it.trim() == "compact"));
    match kind {
        Kind::Events => expect(is(key, "delete"), key, "delete".into()),
        Kind::Meta => expect(is(key, "compact"), key, "compact".into()),
        Kind::Letters => expect(compacts(), key, "compact,delete".into()),
    }
    if kind != Kind::Events {
        return wrong;
    }
    let key = "message.timestamp.type";
    expect(is(key, "LogAppendTime"), key, "LogAppendTime (all nodes judge repeats by it)".into());
    let least = i64::try_from(options.window_max().as_millis() * 2).unwrap_or(i64::MAX);
    let is_long = number("retention.ms").is_some_and(|it| it == -1 || it >= least);
    expect(is_long, "retention.ms", format!("{least} or more, twice the longest dedupe window"));
    let key = "retention.bytes";
    expect(is(key, "-1"), key, "-1 (a size would cut into the dedupe window)".into());
    let key = "max.message.bytes";
    let is_large = number(key).is_some_and(|it| it >= MESSAGE_BYTES_MIN);
    expect(is_large, key, format!("{MESSAGE_BYTES_MIN} or more, the largest event"));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(changes: &[(&str, &str)], kind: Kind) -> Vec<String> {
        let mut settings = BTreeMap::from([
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
            ("cleanup.policy", if kind == Kind::Events { "delete" } else { "compact" }),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "1048588"),
        ]);
        settings.extend(changes.iter().copied());
        let value = |key: &str| settings.get(key).map(|value| (*value).to_owned());
        wrong_settings(&KafkaOptions::default(), "broadcast-events", kind, value)
    }

    #[test]
    fn each_setting_that_could_lose_an_event_is_named_with_what_it_must_be() {
        assert!(
            [Kind::Events, Kind::Meta, Kind::Letters].iter().all(|it| judged(&[], *it).is_empty())
        );
        assert!(judged(&[("retention.ms", "-1")], Kind::Events).is_empty());
        for (key, bad) in [
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "true"),
            ("cleanup.policy", "compact"),
            ("message.timestamp.type", "CreateTime"),
            ("retention.ms", "3600000"),
            ("retention.bytes", "1000000"),
            ("max.message.bytes", "65536"),
        ] {
            let [line] = &judged(&[(key, bad)], Kind::Events)[..] else { panic!("{key}") };
            assert!(line.contains(&format!("{key} is {bad}, must be ")), "{line}");
        }
        assert_eq!(judged(&[("cleanup.policy", "delete")], Kind::Meta).len(), 1);
        assert_eq!(judged(&[("cleanup.policy", "delete")], Kind::Letters).len(), 1);
        assert!(judged(&[("cleanup.policy", "compact,delete")], Kind::Letters).is_empty());
    }
}
