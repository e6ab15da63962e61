//! What librdkafka says of a broker that it can't use, and what that most likely means.
//!
//! A listener that expects TLS hangs up on whoever speaks in the clear, and the other way round:
//! to a request that is a broker that is away, like one that doesn't run. librdkafka's reasons tell
//! them apart, in words that are its own; here they become a sentence about our configuration.

use std::time::{Duration, Instant};

/// For how long a telling reason stands, whatever else is heard: with several brokers, one of which
/// is down, both are said in turn.
const STANDS: Duration = Duration::from_secs(60);

/// By what stands in a reason: what is likely, and how much more that tells than others.
const HINTS: [(&str, u8, &str); 11] = [
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
    (
        "certificate could not be verified",
        2,
        "an unknown signer: let `log.kafka.ca_file` hold who has signed the brokers' certificates",
    ),
    (
        "SASL authentication error",
        2,
        "we are not let in: check `log.kafka.sasl_user`, `sasl_mechanism` and what \
         `sasl_password_file` holds",
    ),
    (
        "SSL handshake failed",
        2,
        "the TLS handshake fails: compare `log.kafka.ca_file`, `cert_file` and `key_file` with what \
         the brokers expect",
    ),
    ("Connection refused", 1, "nothing listens there: start the brokers, or mend the port"),
    ("Failed to resolve", 1, "no such name: mend `log.kafka.brokers`, or the host's resolver"),
    ("timed out", 1, "nothing answers there: a firewall, or brokers that hang"),
    ("Disconnected", 1, "the other side hangs up: are these brokers of Kafka?"),
];

/// Why the brokers can't be used, as it was heard last, or most tellingly.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    reason: String,
    weight: u8,
    at: Option<Instant>,
}

impl Trouble {
    /// A client has said so.
    pub fn hear(&mut self, reason: &str) {
        let weight = hint(reason).map_or(0, |(weight, _)| weight);
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
        match hint(&self.reason) {
            Some((_, likely)) => format!("{likely} ({})", self.reason),
            None => self.reason.clone(),
        }
    }
}

fn hint(reason: &str) -> Option<(u8, &'static str)> {
    let means = |sign: &str| HINTS.iter().find(|(part, ..)| sign.contains(part));
    let known = hung_up(reason).and_then(means).or_else(|| means(reason));
    known.map(|(_, weight, likely)| (*weight, *likely))
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
            let told = hint(reason).map_or("", |(_, likely)| likely);
            assert!(told.contains(likely), "{reason}: {told}");
        }
    }
}
