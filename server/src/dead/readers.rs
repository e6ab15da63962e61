//! From a letter's bytes to events, as the adapter that gave up on it reads them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use touchline_core::dead::Desk;
use touchline_core::event::Event;
use touchline_core::log::record;
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::BroadcastState;
use touchline_ingest::problem::Problem;
use touchline_ingest::sensor::SensorSource;
use touchline_ingest::social::SocialSource;
use touchline_store::dead::Letter;

/// Errors of one body that a refusal repeats.
const ERRORS_TOLD: usize = 5;

/// Whoever reads bytes of letters.
pub struct Readers {
    /// Partners, as it is agreed with them at the time.
    pub webhooks: BroadcastState,
    /// Devices, by configuration.
    pub sensors: Vec<SensorSource>,
    /// Streams of posts, by configuration.
    pub social: Vec<SocialSource>,
}

/// What a letter holds.
pub struct Held {
    /// Its events.
    pub events: Vec<Event>,
    /// When they first came.
    pub received_at: Timestamp,
}

impl Readers {
    /// What `letter` holds.
    ///
    /// # Errors
    /// Why it still can't be accepted.
    pub fn read(&self, letter: &Letter, raw: Vec<u8>) -> Result<Held, String> {
        // A letter may be one because reading it panics. Then it is refused like any other, and
        // neither this replay nor the next start ends by it.
        let read = catch_unwind(AssertUnwindSafe(|| self.events_of(letter, raw)));
        read.unwrap_or_else(|_| Err("panicked: reading it still fails, which is a bug".into()))
    }

    fn events_of(&self, letter: &Letter, raw: Vec<u8>) -> Result<Held, String> {
        let received_at = letter.received_at;
        let events = match letter.desk {
            Desk::Webhook => {
                let (source, correlation) = (&letter.source, &letter.correlation);
                let read = self.webhooks.events_of(source, &raw, received_at, correlation);
                read.map_err(|problem| sentence(&problem))?
            }
            Desk::Sensor => {
                let source = self.sensors.iter().find(|it| *it.ask.name == *letter.source);
                let source = source.ok_or_else(|| unknown("sensor source", &letter.source))?;
                let read = source.events_of(&raw, received_at, &letter.correlation);
                read.map_err(|failure| format!("{}: {}", failure.trouble.as_str(), failure.why))?
            }
            Desk::Social => {
                let source = self.social.iter().find(|it| *it.name == *letter.source);
                let source = source.ok_or_else(|| unknown("social source", &letter.source))?;
                let reader = source.reader().map_err(|error| error.to_string())?;
                let read = reader.events_of(&raw, received_at, &letter.correlation);
                read.map_err(|error| format!("{}: {error}", error.trouble().as_str()))?
            }
            Desk::Log => {
                let read = record::decode(Bytes::from(raw));
                let (event, received_at) = read.map_err(|error| error.to_string())?;
                return Ok(Held { events: vec![event], received_at });
            }
        };
        // Of a sensor's answer every value may be too old by its own time.
        if events.is_empty() && letter.desk != Desk::Sensor {
            return Err("it holds nothing that concerns a team".into());
        }
        Ok(Held { events, received_at })
    }
}

fn unknown(what: &str, name: &str) -> String {
    format!("no {what} is called {:?} in the configuration", name)
}

fn sentence(problem: &Problem) -> String {
    let mut text = format!("{}: {}", problem.code.as_str(), problem.detail);
    for error in problem.errors.iter().take(ERRORS_TOLD) {
        let field = if error.field.is_empty() { "it" } else { &error.field };
        text.push_str(&format!(
            "; item {}: {field} ({}) {}",
            error.index, error.reason, error.detail
        ));
    }
    text
}
