//! Keys of broadcast partners.

use super::{Key, Kind, MIB, own_key};

/// In the order of the reference. None has a default that shows here: a partner that leaves a key
/// out gets what its purpose says.
pub(super) const KEYS: &[Key] = &[
    partner(
        "sources.broadcast.*.secrets_file",
        Kind::Path,
        "a partner's secrets, one a line, any of them verifies; relative to the \
         configuration's folder, and read again at each reload",
        "none",
    ),
    partner(
        "sources.broadcast.*.secrets",
        Kind::Secrets,
        "the same, where a file is too much",
        "whoever reads the configuration can sign",
    ),
    partner(
        "sources.broadcast.*.secret_encoding",
        Kind::Choice(&["whsec", "text", "hex", "base64"]),
        "how secrets are written: `whsec` is `whsec_<base64>`, `text` is the key itself; \
         `whsec` unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.signature",
        Kind::Choice(&["standard", "hmac"]),
        "how the partner signs: as Standard Webhooks say, or as the keys below describe; \
         `standard` unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.signature_header",
        Kind::Text,
        "the header with the signature, or with several separated by `,` or spaces",
        "none",
    ),
    partner(
        "sources.broadcast.*.signature_algorithm",
        Kind::Choice(&["sha1", "sha256", "sha512"]),
        "the HMAC's hash; `sha256` unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.signature_encoding",
        Kind::Choice(&["hex", "base64", "base64url"]),
        "how a signature is written; `hex` unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.signature_prefix",
        Kind::Text,
        "what stands before each signature, as in `sha256=`",
        "none",
    ),
    partner(
        "sources.broadcast.*.signature_element",
        Kind::Text,
        "which of the header's `name=value` are signatures, as in `v1`",
        "none",
    ),
    partner(
        "sources.broadcast.*.signed",
        Kind::Text,
        "what is signed, over `{body}`, `{timestamp}`, `{id}` and `{header:NAME}`; `{body}` \
         unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.timestamp_header",
        Kind::Text,
        "the header that says when it was signed: Unix seconds or milliseconds, or RFC 3339; \
         without it and `timestamp_element` no age is judged",
        "none",
    ),
    partner(
        "sources.broadcast.*.timestamp_element",
        Kind::Text,
        "the same as one of the signature header's `name=value`, as in `t`",
        "none",
    ),
    partner(
        "sources.broadcast.*.tolerance_s",
        Kind::Seconds(1.0, 86_400.0),
        "how far that may lie from this clock, either way; 300 unless it says otherwise",
        "how long a copied delivery can be sent again",
    ),
    partner(
        "sources.broadcast.*.id_header",
        Kind::Text,
        "the header that names the delivery, for our log",
        "none",
    ),
    partner(
        "sources.broadcast.*.events_per_s_max",
        Kind::Count(1, 10_000_000),
        "events of this partner, over a while; `ingest.events_per_s_max` unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.events_burst_max",
        Kind::Count(1_000, 100_000_000),
        "events it may send at once after silence; `ingest.events_burst_max` unless it says \
         otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.requests_in_flight_max",
        Kind::Count(1, 8_192),
        "signed requests of this partner at once; beyond it 429; 256 unless it says otherwise",
        "memory: a body each",
    ),
    partner(
        "sources.broadcast.*.schema_file",
        Kind::Path,
        "a JSON Schema that each item must fit as the partner sends it; relative to the \
         configuration's folder, and read again at each reload",
        "CPU of each item",
    ),
    partner(
        "sources.broadcast.*.items",
        Kind::Text,
        "where the partner has a shape of its own: JSON pointer (RFC 6901) to the array of \
         items, or to the one; the whole body unless it says otherwise",
        "none",
    ),
    partner(
        "sources.broadcast.*.team",
        Kind::Text,
        "an item's team or array of teams: a pointer into the item, or a team (`ars`, `ars+che`)",
        "none",
    ),
    partner(
        "sources.broadcast.*.type",
        Kind::Text,
        "what the event is called: a pointer, or a type",
        "none",
    ),
    partner(
        "sources.broadcast.*.id",
        Kind::Text,
        "pointer to what tells the event from all others of this partner",
        "none",
    ),
    partner(
        "sources.broadcast.*.time",
        Kind::Text,
        "pointer to when it happened: RFC 3339, or seconds, milliseconds or microseconds since \
         1970",
        "none",
    ),
    partner(
        "sources.broadcast.*.value",
        Kind::Text,
        "pointer to what clients get as `data`; what is no object becomes {\"value\":...}; \
         the whole item unless it says otherwise",
        "none",
    ),
    own_key(
        "sources.broadcast.*.poll_url",
        Kind::Url,
        "where the partner is asked, if it doesn't send; it needs no secret then",
        "none",
    ),
    own_key(
        "sources.broadcast.*.poll_interval_s",
        Kind::Seconds(0.1, 3_600.0),
        "how often; 5 unless it says otherwise",
        "requests",
    ),
    own_key(
        "sources.broadcast.*.poll_timeout_s",
        Kind::Seconds(0.01, 30.0),
        "how long one request may take, connecting included; four fifths of the interval \
         unless it says otherwise, and 2 at most then",
        "none",
    ),
    own_key(
        "sources.broadcast.*.poll_body_bytes_max",
        Kind::Size(64, 8 * MIB),
        "size of an answer, unpacked; 1 MiB unless it says otherwise",
        "memory, while it is read",
    ),
    own_key(
        "sources.broadcast.*.poll_headers",
        Kind::List,
        "sent with each request, as in [\"accept-language: en\"]",
        "none",
    ),
    own_key(
        "sources.broadcast.*.poll_secret_header",
        Kind::Text,
        "name of a header that carries what stands in `poll_secret_file`",
        "none",
    ),
    own_key(
        "sources.broadcast.*.poll_secret_file",
        Kind::Path,
        "a file that holds that header's value and nothing else; relative to the \
         configuration's folder",
        "none",
    ),
];

const fn partner(path: &'static str, kind: Kind, purpose: &'static str, cost: &'static str) -> Key {
    own_key(path, kind, purpose, cost).reloads()
}
