//! What librdkafka says of a broker that it can't use, and what that most likely means.
//!
//! A listener that expects TLS hangs up on whoever speaks in the clear, and the other way round:
//! to a request that is a broker that is away, like one that doesn't run. librdkafka's reasons tell
//! them apart, in words that are its own; here they become a sentence about our configuration.

use std::time::{Duration, Instant};

/// For how long a telling reason stands, whatever else is heard: with several brokers, one of which
/// is down, both are said in turn.
const STANDS: Duration = Duration::from_secs(60);

/// How often a hint is told at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How a reason of ours begins, where there is no token to sign in with.
pub(super) const NO_TOKEN: &str = "no token: ";

/// How a reason of ours begins, where nothing that is sent is acknowledged.
pub(super) const NO_COPY: &str = "nothing is acknowledged: ";

/// By what stands in a reason: how much more it tells than others, and what is likely.
type Hint = (&'static str, u8, &'static str);

/// What hang-ups of brokers that have never let us in mean. Of those that have, a hang-up says no
/// more than that: whoever kills a broker ends young connections as well.
const GUESSES: [Hint; 5] = [
    (
        "connecting to a SSL listener?",
        2,
        "a security mismatch: the listener at `log.kafka.brokers` most likely expects TLS, which \
         `log.kafka.tls` doesn't say; set it, or name the port of a plaintext listener",
    ),
    (
        "PLAINTEXT broker listener",
        2,
        "a security mismatch: the listener at `log.kafka.brokers` most likely speaks no TLS, which \
         `log.kafka.tls` asks for; take that out, or name the port of a TLS listener",
    ),
    (
        "might require SASL authentication",
        2,
        "a security mismatch: the brokers most likely ask who we are; set `log.kafka.sasl_mechanism`, \
         `sasl_user` and `sasl_password_file`",
    ),
    (
        "client SSL authentication might be required",
        2,
        "the brokers most likely ask for a certificate of ours: set `log.kafka.cert_file` and \
         `key_file`",
    ),
    ("Disconnected", 1, "the other side hangs up: are these brokers of Kafka?"),
];

/// What brokers, the system or librdkafka say outright.
const HINTS: [Hint; 13] = [
    (
        "alert certificate expired",
        2,
        "our certificate has expired: renew what `log.kafka.cert_file` and `key_file` hold, and \
         restart this node",
    ),
    ("certificate has expired", 2, "a certificate of the brokers has expired: renew it there"),
    (
        "certificate could not be verified",
        2,
        "an unknown signer, or a certificate that has expired: let `log.kafka.ca_file` hold who has \
         signed the brokers' certificates, and see how long those are good for",
    ),
    (
        NO_TOKEN,
        2,
        "this node can't sign in: let `log.kafka.sasl_token_file` hold a token that is good",
    ),
    (
        "authorization failed",
        2,
        "the brokers let us in and don't allow it: give this node's user the rights that \
         docs/kafka.md names",
    ),
    (
        "SASL authentication error",
        2,
        "we are not let in: check `log.kafka.sasl_user`, `sasl_mechanism` and what \
         `sasl_password_file` (or `sasl_token_file`) holds",
    ),
    (
        "SSL handshake failed",
        2,
        "the TLS handshake fails: compare `log.kafka.ca_file`, `cert_file` and `key_file` with what \
         the brokers expect",
    ),
    (
        "copies are in sync",
        1,
        "too few brokers run: start those that are missing; it goes on by itself then",
    ),
    (
        "a partition has no leader",
        1,
        "who has that partition doesn't run: start the brokers that are missing",
    ),
    (
        NO_COPY,
        1,
        "brokers answer and take nothing, as a cluster does that has lost most of its brokers or \
         controllers: start those that are missing",
    ),
    ("Connection refused", 1, "nothing listens there: start the brokers, or mend the port"),
    ("Failed to resolve", 1, "no such name: mend `log.kafka.brokers`, or the host's resolver"),
    ("timed out", 1, "nothing answers there: a firewall, or brokers that hang"),
];

/// Why the brokers can't be used, as it was heard last, or most tellingly.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    reason: String,
    weight: u8,
    at: Option<Instant>,
    was_let_in: bool,
}

impl Trouble {
    /// Of a client that brokers have let in.
    pub fn after_all() -> Self {
        Self { was_let_in: true, ..Self::default() }
    }

    /// A client has said so.
    pub fn hear(&mut self, reason: &str) {
        let weight = hint(reason, self.was_let_in).map_or(0, |(weight, _)| weight);
        let stands = self.at.is_some_and(|at| at.elapsed() < STANDS);
        if weight >= self.weight || !stands {
            reason.clone_into(&mut self.reason);
            (self.weight, self.at) = (weight, Some(Instant::now()));
        }
    }

    /// Whether nothing has been heard.
    pub fn is_none(&self) -> bool {
        self.reason.is_empty()
    }

    /// What it is, and what that means; empty where nothing is known.
    pub fn told(&self) -> String {
        explained(&self.reason, self.was_let_in)
    }

    /// The same, if it was heard lately: who has long been let in knows old troubles as well.
    pub fn told_lately(&self) -> String {
        let is_fresh = self.at.is_some_and(|at| at.elapsed() < STANDS);
        if is_fresh { self.told() } else { String::new() }
    }
}

/// `reason`, and what it means where that is known. `was_let_in`: brokers have let us in before.
pub(super) fn explained(reason: &str, was_let_in: bool) -> String {
    match hint(reason, was_let_in) {
        Some((_, likely)) => format!("{likely} ({reason})"),
        None => reason.to_owned(),
    }
}

/// When a hint is told, beside where it can be asked for: once a minute, whatever outages come.
#[derive(Debug, Default)]
pub(super) struct Telling {
    told_at: Option<Instant>,
}

impl Telling {
    /// Whether `likely` is to be told `now`.
    pub fn is_due(&mut self, likely: &str, now: Instant) -> bool {
        let is_due = !likely.is_empty()
            && self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TELL_EVERY);
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }
}

fn hint(reason: &str, was_let_in: bool) -> Option<(u8, &'static str)> {
    let guesses = if was_let_in { &[][..] } else { &GUESSES };
    let known = || guesses.iter().chain(&HINTS);
    let means = |sign: &str| known().find(|(part, ..)| sign.contains(part));
    let found = hung_up(reason).and_then(means).or_else(|| means(reason));
    found.map(|(_, weight, likely)| (*weight, *likely))
}

/// What a disconnect means by how far the connection had got. librdkafka knows as well, and says so
/// of some disconnects only: of those that it fails with a format, not with a text (2.12).
fn hung_up(reason: &str) -> Option<&'static str> {
    let (before, state) = reason.rsplit_once("ms in state ")?;
    let after_ms = before.rsplit_once("(after ")?.1.parse::<u64>().ok()?;
    if !before.contains("Disconnected") && !before.contains("Connection reset") {
        return None;
    }
    let speaks = |protocol: &str| before.contains(protocol);
    match state {
        it if it.starts_with("APIVERSION_QUERY") && !speaks("ssl://") => {
            Some("connecting to a SSL listener?")
        }
        it if it.starts_with("UP") && after_ms < 2_000 && !speaks("sasl_") => {
            Some("might require SASL authentication")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_more_is_not_covered_by_what_tells_less() {
        let mut trouble = Trouble::default();
        assert!(trouble.is_none() && trouble.told().is_empty());
        trouble.hear("a:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused");
        assert!(trouble.told().starts_with("nothing listens there"), "{}", trouble.told());
        trouble.hear(
            "b:9092: Disconnected: requesting ApiVersion: might be caused by incorrect \
                      security.protocol configuration (connecting to a SSL listener?) or so",
        );
        trouble.hear("a:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused");
        trouble.hear("something new");
        let told = trouble.told();
        assert!(told.contains("expects TLS") && told.contains("b:9092"), "{told}");
        trouble.hear(
            "ssl://b:9092: SSL handshake failed: Disconnected: connecting to a PLAINTEXT \
                      broker listener? (after 2ms in state SSL_HANDSHAKE)",
        );
        assert!(trouble.told().contains("speaks no TLS"), "{}", trouble.told());
    }

    #[test]
    fn how_far_a_connection_had_got_tells_what_the_other_side_expects() {
        for (reason, likely) in [
            ("a:9092/bootstrap: Disconnected (after 2ms in state APIVERSION_QUERY)", "expects TLS"),
            (
                "a:9092: Connection reset by peer (after 0ms in state APIVERSION_QUERY, 3 identical \
                 error(s) suppressed)",
                "expects TLS",
            ),
            ("ssl://a:9092: Disconnected (after 2ms in state APIVERSION_QUERY)", "hangs up"),
            ("a:9092/1: Disconnected (after 12ms in state UP)", "ask who we are"),
            ("a:9092/1: Disconnected (after 51200ms in state UP)", "hangs up"),
            ("sasl_plaintext://a:9092/1: Disconnected (after 12ms in state UP)", "hangs up"),
        ] {
            let told = |was_let_in| hint(reason, was_let_in).map_or("", |(_, likely)| likely);
            assert!(told(false).contains(likely), "{reason}: {}", told(false));
            assert_eq!(told(true), "", "{reason}: a broker that was killed hangs up as well");
        }
    }

    #[test]
    fn what_ends_a_session_that_ran_is_told_by_whose_turn_it_is() {
        for (reason, likely) in [
            ("b:9092: SSL handshake failed: ssl/tls alert certificate expired", "our certificate"),
            ("b:9092: ... certificate verify failed: certificate has expired", "of the brokers"),
            ("b:9092: certificate could not be verified, verify ssl.ca.location", "how long those"),
            ("b:9092: SASL authentication error: Authentication failed", "`sasl_password_file`"),
            ("t, partition 1: 1 of 3 copies are in sync, and it takes 2", "too few brokers run"),
            ("nothing is acknowledged: Message consumption error: timed out", "lost most of"),
            ("no token: /t: No such file or directory", "`log.kafka.sasl_token_file`"),
            ("broadcast-events: Broker: Topic authorization failed", "docs/kafka.md"),
        ] {
            let told = explained(reason, true);
            assert!(told.contains(likely), "{told}");
            assert!(told.ends_with(&format!("({reason})")), "librdkafka's own words: {told}");
        }
    }

    #[test]
    fn a_hint_is_told_once_a_minute_at_most_and_only_one_that_says_something() {
        let (mut telling, begin) = (Telling::default(), Instant::now());
        let mut at = |s: u64, likely: &str| telling.is_due(likely, begin + Duration::from_secs(s));
        let told = [at(0, ""), at(1, "a"), at(2, "a"), at(59, "b"), at(61, ""), at(62, "b")];
        assert_eq!(told, [false, true, false, false, false, true]);
    }

    #[test]
    fn what_was_heard_long_ago_says_nothing_of_an_outage_of_now() {
        let mut trouble = Trouble::default();
        trouble.hear("a:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused");
        assert!(trouble.told_lately().starts_with("nothing listens there"));
        trouble.at = Instant::now().checked_sub(STANDS);
        assert_eq!(trouble.told_lately(), "");
    }
}
