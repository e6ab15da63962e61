//! Which letters are meant, as flags of a command and as JSON of the admin port say it.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use touchline_core::dead::Desk;
use touchline_core::event::Stream;
use touchline_core::time::Timestamp;
use touchline_store::dead::{Filter, State};

/// What isn't said, any letter meets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// Only letters of this source
    #[arg(long, value_name = "SOURCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only letters meant for this stream: broadcast, update, social, sensor
    #[arg(long, value_name = "STREAM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only letters parked for this reason, e.g. invalid_events
    #[arg(long, value_name = "REASON")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only letters given up on there: webhook, sensor, social, log
    #[arg(long, value_name = "DESK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desk: Option<String>,
    /// Only letters in this state: parked, replaying, replayed
    #[arg(long, value_name = "STATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only letters parked then or later: a time (RFC 3339) or an age (15m, 2h, 7d)
    #[arg(long, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only letters parked earlier: a time (RFC 3339) or an age (15m, 2h, 7d)
    #[arg(long, value_name = "WHEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Which {
    /// Whether it says nothing.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// As the store wants it; ages count back from `now`.
    ///
    /// # Errors
    /// What can't be understood, as a sentence.
    pub fn read(&self, now: Timestamp) -> Result<Filter, String> {
        let when = |text: &Option<String>| text.as_deref().map(|it| time(it, now)).transpose();
        Ok(Filter {
            desk: word(&self.desk, "desk", Desk::parse, &Desk::ALL.map(|(_, name)| name))?,
            stream: word(&self.stream, "stream", Stream::parse, &Stream::ALL.map(Stream::as_str))?,
            source: self.source.clone(),
            reason: self.reason.clone(),
            state: word(&self.state, "state", State::parse, &State::ALL.map(|(_, name)| name))?,
            since: when(&self.since)?,
            before: when(&self.before)?,
            after: None,
        })
    }

    /// The same, with times instead of ages: for whoever reads it later.
    ///
    /// # Errors
    /// As [`Which::read`].
    pub fn fixed(&self, now: Timestamp) -> Result<Self, String> {
        let filter = self.read(now)?;
        let [since, before] = [filter.since, filter.before].map(|at| at.map(Timestamp::to_rfc3339));
        Ok(Self { since, before, ..self.clone() })
    }
}

fn word<T>(
    text: &Option<String>,
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
    known: &[&str],
) -> Result<Option<T>, String> {
    let Some(text) = text else { return Ok(None) };
    let unknown = || format!("no {what} is called {text:?}: there are {}", known.join(", "));
    parse(text).map(Some).ok_or_else(unknown)
}

fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    let unknown = || format!("{text:?} is neither RFC 3339 nor an age such as 15m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(unknown)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(unknown()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| unknown())?;
    Ok(now.minus(Duration::from_secs(u64::from(count) * seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    #[test]
    fn times_are_rfc_3339_or_ages() {
        let hours = |count: i64| Some(Timestamp(NOW.0 - count * 3_600_000_000));
        for (text, want) in [
            ("2h", hours(2)),
            ("120m", hours(2)),
            ("1d", hours(24)),
            ("7200s", hours(2)),
            ("1970-01-01T00:00:01Z", Some(Timestamp(1_000_000))),
            ("h", None),
            ("", None),
            ("-2h", None),
            ("2 h", None),
            ("2\u{e9}", None),
        ] {
            assert_eq!(time(text, NOW).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_misspelt_is_told_with_what_there_is() {
        let which = Which { stream: Some("boradcast".into()), ..Which::default() };
        let error = which.read(NOW).unwrap_err();
        assert_eq!(
            error,
            "no stream is called \"boradcast\": there are broadcast, update, social, sensor"
        );
        assert!(Which::default().read(NOW).unwrap().is_any());
        let ages = Which { before: Some("2h".into()), ..Which::default() };
        assert_eq!(ages.fixed(NOW).unwrap().read(NOW), ages.read(NOW));
    }
}
