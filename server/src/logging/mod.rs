//! What the process writes about itself: one line for each thing that happened, on standard error.
//!
//! JSON for machines, `key=value` for a terminal. What comes from outside (ids, names, addresses)
//! is text in a line and nothing else: control characters are escaped and long fields cut, so that
//! no source can write a line of its own, move a cursor or forge a field (FAULTS 45). A kind of
//! line that comes too often is counted instead; the next line of its kind says how many were left
//! out.
//!
//! The level can be changed while the process runs ([`set_level`]); the format can't.

mod line;
mod rate;

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::options::LoggingSettings;
use line::Line;
pub use line::{escape_rest, put_visible};
use rate::Rates;

type LevelHandle = reload::Handle<Targets, Registry>;

static LEVEL: OnceLock<LevelHandle> = OnceLock::new();

/// Begins to write. Later calls in one process only change the level: its first caller has chosen
/// the format.
pub fn init(settings: &LoggingSettings) {
    let json = settings.json.unwrap_or_else(|| !std::io::stderr().is_terminal());
    let (filter, handle) = reload::Layer::new(targets(&settings.level));
    let writer = Writer { json, rates: Mutex::new(Rates::default()) };
    // A filter of the whole, not of the layer: with one of the layer, a question whether something
    // would be written (rdkafka asks it through `log`) makes that thread's next line disappear.
    if tracing_subscriber::registry().with(filter).with(writer).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    } else {
        set_level(&settings.level);
    }
}

/// Writes lines of `level` and above from now on.
pub fn set_level(level: &str) {
    if let Some(handle) = LEVEL.get() {
        // Fails only once the subscriber is gone, with the process.
        let _ = handle.reload(targets(level));
    }
}

/// Our own crates at `level`; what we stand on only when it is serious.
fn targets(level: &str) -> Targets {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // Calls its probes' expected failures errors; the journal says itself which disk it uses.
        .with_target("glommio", LevelFilter::OFF)
        .with_target("touchline", level)
}

/// Formats and writes one line an event.
struct Writer {
    json: bool,
    rates: Mutex<Rates>,
}

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = std::time::Instant::now();
        let verdict = match self.rates.lock() {
            Ok(mut rates) => rates.judge(event.metadata().callsite(), now),
            Err(poisoned) => poisoned.into_inner().judge(event.metadata().callsite(), now),
        };
        let Some(left_out) = verdict else { return };
        let line = Line::of(event, left_out);
        let mut text = if self.json { line.to_json() } else { line.to_text() };
        text.push('\n');
        // One write, so that lines of several threads don't mix. A closed standard error is
        // nobody's fault.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}
