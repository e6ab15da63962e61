//! How each source does, for the board: read from what the adapters count.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use touchline_ingest::social::Fate;

use crate::live::sources::{Breaker, Kind, SourceFigures};
use crate::running::Appliance;

/// A partner says nothing for as long as nothing happens: only after this is it called silent.
const PARTNER_QUIET_MAX: Duration = Duration::from_secs(300);
/// Polls of a sensor that may come to nothing before its values are called stale.
const POLLS_MISSED_MAX: u32 = 4;
/// Below it a wait of the network's would be called stale.
const STALE_MIN: Duration = Duration::from_secs(2);

/// The appliance, once it is there: whoever asks is started before it.
pub type Place = Arc<OnceLock<Weak<Appliance>>>;

/// What is known of every source now.
pub fn sources(place: &Place) -> Vec<SourceFigures> {
    let Some(appliance) = place.get().and_then(Weak::upgrade) else { return Vec::new() };
    let mut sources = partners(&appliance);
    sources.extend(sensors(&appliance));
    sources.extend(social(&appliance));
    sources
}

fn partners(appliance: &Appliance) -> Vec<SourceFigures> {
    let now = appliance.webhooks.now();
    let stats = appliance.webhooks.stats();
    let known = stats.iter().filter(|stats| !stats.source().starts_with('('));
    let figures = known.map(|stats| SourceFigures {
        name: stats.source().into(),
        kind: Kind::Broadcast,
        is_failing: false,
        heard: stats.accepted() + stats.duplicates() > 0,
        staleness: stats.staleness(now),
        quiet_max: PARTNER_QUIET_MAX,
        events_total: stats.accepted(),
        breaker: None,
    });
    figures.collect()
}

fn sensors(appliance: &Appliance) -> Vec<SourceFigures> {
    let now = appliance.webhooks.now();
    let loaded = appliance.loaded.load();
    let interval = |name: &str| {
        let source = loaded.options.sensors.iter().find(|source| &*source.name == name);
        source.map_or(Duration::ZERO, |source| source.interval)
    };
    let figures = appliance.followed.sensors().iter().map(|stats| SourceFigures {
        name: stats.source().into(),
        kind: Kind::Sensor,
        is_failing: stats.breaker() > 0,
        heard: stats.published() + stats.unchanged() > 0,
        staleness: stats.staleness(now),
        quiet_max: (interval(stats.source()) * POLLS_MISSED_MAX).max(STALE_MIN),
        events_total: stats.published(),
        breaker: Some(Breaker::of(stats.breaker())),
    });
    figures.collect()
}

fn social(appliance: &Appliance) -> Vec<SourceFigures> {
    let loaded = appliance.loaded.load();
    let stall = |name: &str| {
        let source = loaded.options.social.iter().find(|source| &*source.name == name);
        source.map_or(Duration::MAX, |source| source.stall)
    };
    let figures = appliance.followed.social().iter().map(|stats| SourceFigures {
        name: stats.source().into(),
        kind: Kind::Social,
        is_failing: !stats.is_connected(),
        heard: stats.fates().any(|(_, posts)| posts > 0),
        staleness: stats.staleness(),
        quiet_max: stall(stats.source()),
        events_total: stats.posts(Fate::Published),
        breaker: None,
    });
    figures.collect()
}
