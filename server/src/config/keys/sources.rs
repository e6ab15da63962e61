//! Keys of the sources that are polled.

use super::{Key, Kind, MIB, own_key};

/// In the order of the reference. None has a default that shows here: a source that leaves a key
/// out gets what its purpose says.
pub(super) const KEYS: &[Key] = &[
    own_key("sources.sensor.*.url", Kind::Url, "where the device is asked", "none"),
    own_key(
        "sources.sensor.*.interval_s",
        Kind::Seconds(0.01, 3_600.0),
        "how often; 0.1 unless it says otherwise",
        "requests",
    ),
    own_key(
        "sources.sensor.*.timeout_s",
        Kind::Seconds(0.005, 2.0),
        "how long one request may take, connecting included; four fifths of the interval unless it \
         says otherwise, and 2 at most",
        "ticks that are missed behind a slow answer",
    ),
    own_key(
        "sources.sensor.*.age_max_s",
        Kind::Seconds(0.1, 86_400.0),
        "values measured longer ago are dropped; 10 unless it says otherwise",
        "none",
    ),
    own_key(
        "sources.sensor.*.heartbeat_s",
        Kind::Seconds(0.1, 86_400.0),
        "a value that doesn't change is published again so often; half of \
         `streams.sensor.age_max_s` unless it says otherwise",
        "events",
    ),
    own_key(
        "sources.sensor.*.routes_max",
        Kind::Count(1, 4_096),
        "different sets of teams within half an hour to an hour; a reading with one more is \
         dropped (`too_many_routes`); 64 unless it says otherwise",
        "a window on every shard for each; a device whose `team` is a pointer chooses them",
    ),
    own_key(
        "sources.sensor.*.body_bytes_max",
        Kind::Size(64, 8 * MIB),
        "size of an answer, unpacked; 256 KiB unless it says otherwise",
        "memory, while it is read",
    ),
    own_key(
        "sources.sensor.*.headers",
        Kind::List,
        "sent with each request, as in [\"accept-language: en\"]",
        "none",
    ),
    own_key(
        "sources.sensor.*.secret_header",
        Kind::Text,
        "name of a header that carries what stands in `secret_file`",
        "none",
    ),
    own_key(
        "sources.sensor.*.secret_file",
        Kind::Path,
        "a file that holds that header's value and nothing else; relative to the configuration's \
         folder",
        "none",
    ),
    own_key(
        "sources.sensor.*.items",
        Kind::Text,
        "JSON pointer (RFC 6901) to the array of readings, or to the one; the whole answer unless \
         it says otherwise",
        "none",
    ),
    own_key(
        "sources.sensor.*.team",
        Kind::Text,
        "a reading's team or array of teams: a pointer into the reading, or a team (`ars`, \
         `ars+che`)",
        "none",
    ),
    own_key(
        "sources.sensor.*.type",
        Kind::Text,
        "what the event is called: a pointer, or a type",
        "none",
    ),
    own_key(
        "sources.sensor.*.key",
        Kind::Text,
        "what a value replaces: a pointer, or a key",
        "memory: the last value of each",
    ),
    own_key(
        "sources.sensor.*.sequence",
        Kind::Text,
        "pointer to the device's own sequence, where it has one",
        "none",
    ),
    own_key(
        "sources.sensor.*.time",
        Kind::Text,
        "pointer to when it was measured (RFC 3339, or seconds or milliseconds since 1970), where it \
         says so",
        "none",
    ),
    own_key(
        "sources.sensor.*.value",
        Kind::Text,
        "pointer to what clients get as `data`; what is no object becomes {\"value\":...}; the \
         whole reading unless it says otherwise",
        "none",
    ),
];
