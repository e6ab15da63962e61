//! What settings a topic must have, to keep and to show what we acknowledge.

use super::Kind;
use crate::kafka::options::KafkaOptions;

/// What a topic must take: an event of 64 KiB, and what stands around it.
const MESSAGE_BYTES_MIN: i64 = 128 << 10;

/// What of a topic's settings would lose or hide what we acknowledge. `value` gives a setting.
pub(super) fn wrong_settings(
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
    use std::collections::BTreeMap;

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
