//! Keys of the streams of posts.

use super::{Key, Kind, MIB, own_key};

/// In the order of the reference. None has a default that shows here: a source that leaves a key
/// out gets what its purpose says.
pub(super) const KEYS: &[Key] = &[
    own_key("sources.social.*.url", Kind::Url, "where it streams: http, https, ws or wss", "none"),
    own_key(
        "sources.social.*.kind",
        Kind::Choice(&["lines", "events", "websocket"]),
        "how posts come: a JSON object a line, server-sent events, or WebSocket messages; by the \
         url's scheme unless it says otherwise: websocket, else lines",
        "none",
    ),
    own_key(
        "sources.social.*.headers",
        Kind::List,
        "sent with each request, as in [\"accept-language: en\"]",
        "none",
    ),
    own_key(
        "sources.social.*.secret_header",
        Kind::Text,
        "name of a header that carries what stands in `secret_file`",
        "none",
    ),
    own_key(
        "sources.social.*.secret_file",
        Kind::Path,
        "a file that holds that header's value and nothing else; relative to the configuration's \
         folder",
        "none",
    ),
    own_key(
        "sources.social.*.event",
        Kind::Text,
        "of server-sent events, those of this name are posts; all of them unless it says otherwise",
        "none",
    ),
    own_key(
        "sources.social.*.subscribe",
        Kind::Secret,
        "the first message to a WebSocket; none unless it says so",
        "none",
    ),
    own_key(
        "sources.social.*.subscribe_file",
        Kind::Path,
        "a file that holds that message and nothing else; relative to the configuration's folder",
        "none",
    ),
    own_key(
        "sources.social.*.id",
        Kind::Text,
        "JSON pointer (RFC 6901) to a post's id: what tells it from all others of its source",
        "none",
    ),
    own_key(
        "sources.social.*.text",
        Kind::Text,
        "pointer to what it says: terms are looked for here",
        "none",
    ),
    own_key(
        "sources.social.*.time",
        Kind::Text,
        "pointer to when it was written (RFC 3339, or seconds, milliseconds or microseconds since \
         1970); when it came unless it says otherwise",
        "none",
    ),
    own_key(
        "sources.social.*.type",
        Kind::Text,
        "what the event is called: a pointer, or a type; `post` unless it says otherwise",
        "none",
    ),
    own_key(
        "sources.social.*.author",
        Kind::Text,
        "pointer to who wrote it, where clients are to know",
        "none",
    ),
    own_key(
        "sources.social.*.value",
        Kind::Text,
        "pointer to what clients get as `data`, empty for the whole post; what is no object becomes \
         {\"value\":...}; {\"text\":...,\"author\":...} unless it says otherwise",
        "bytes to every follower",
    ),
    own_key(
        "sources.social.*.terms",
        Kind::List,
        "which posts concern which team, as in [\"ars: arsenal, gunners, #afc\"]: whole words, in \
         any case; a post without any is dropped",
        "about 100 bytes of memory a term",
    ),
    own_key(
        "sources.social.*.posts_per_s_max",
        Kind::Count(1, 10_000),
        "posts a second for each team; what is more is dropped; 10 unless it says otherwise",
        "deliveries to every follower",
    ),
    own_key(
        "sources.social.*.routes_max",
        Kind::Count(1, 65_536),
        "different sets of several teams within half an hour to an hour; a post with one more is \
         dropped (`too_many_routes`), one of a single team never is; 512 unless it says otherwise",
        "a window on every shard for each; whoever writes posts chooses them",
    ),
    own_key(
        "sources.social.*.post_bytes_max",
        Kind::Size(1_024, 2 * MIB),
        "size of one post as it comes; 256 KiB unless it says otherwise",
        "memory, while it is read",
    ),
    own_key(
        "sources.social.*.stall_s",
        Kind::Seconds(1.0, 3_600.0),
        "a stream of which no byte comes for so long, not even a keep-alive, is opened again; 30 \
         unless it says otherwise",
        "posts that are missed until then",
    ),
    own_key(
        "sources.social.*.rewind",
        Kind::Choice(&["none", "last_event_id", "since_id", "backfill_minutes"]),
        "how a stream is asked to go on from where it was lost; none unless it says otherwise",
        "posts that come twice; they are swallowed",
    ),
    own_key(
        "sources.social.*.rewind_parameter",
        Kind::Text,
        "name of the query's parameter for that; `since_id` or `backfill_minutes` unless it says \
         otherwise",
        "none",
    ),
];
