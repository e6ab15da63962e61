//! How each source and the log do, for the board: read from what they count.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use touchline_core::event::Stream;
use touchline_core::log::LogHealthError;
use touchline_ingest::social::Fate;

use crate::live::Figures;
use crate::live::log::LogFigures;
use crate::live::sources::{Breaker, Kind, SourceFigures};
use crate::node_log::NodeLog;
use crate::running::Appliance;

/// A partner says nothing for as long as nothing happens: only after this is it called silent.
const PARTNER_QUIET_MAX: Duration = Duration::from_secs(300);
/// Polls of a sensor that may come to nothing before its values are called stale.
const POLLS_MISSED_MAX: u32 = 4;
/// Below it a wait of the network's would be called stale.
const STALE_MIN: Duration = Duration::from_secs(2);

/// The appliance, once it is there: whoever asks is started before it.
pub type Place = Arc<OnceLock<Weak<Appliance>>>;

/// What is known now of every source, of the log and of dead letters.
pub fn look(place: &Place) -> Figures {
    let Some(appliance) = place.get().and_then(Weak::upgrade) else { return Figures::default() };
    let mut sources = partners(&appliance);
    sources.extend(sensors(&appliance));
    sources.extend(social(&appliance));
    let depths = appliance.dead.stats().depths();
    let waiting = Stream::ALL.map(|stream| depths.streams[stream as usize].letters);
    let dead_letters = waiting.into_iter().sum();
    Figures { sources, dead_letters, log: log(&appliance.log), ..Figures::default() }
}

fn log(log: &NodeLog) -> LogFigures {
    let spool = match log {
        NodeLog::Spooled(_, spool) => {
            let stats = spool.stats();
            (stats.events, stats.oldest, stats.drained)
        }
        NodeLog::Journal(_) | NodeLog::Kafka(_) => Default::default(),
    };
    let is_closed = log.health().is_err_and(|why| closes(&why));
    LogFigures::judge(log.degraded().is_some(), is_closed, spool)
}

/// Whether nothing is taken for that. A log that is damaged or slow takes events all the same.
fn closes(why: &LogHealthError) -> bool {
    use LogHealthError::{Broken, Clock, DiskFull, Mending, ReadOnly, Unreachable};
    matches!(why, Broken(_) | Clock(_) | DiskFull | Mending(_) | ReadOnly | Unreachable(..))
}

/// Those that send, those that are polled, and those that are both.
fn partners(appliance: &Appliance) -> Vec<SourceFigures> {
    let now = Instant::now();
    let stats = appliance.webhooks.stats();
    let loaded = appliance.loaded.load();
    let known = stats.iter().filter(|stats| !stats.source().starts_with('('));
    let figures = known.map(|sent| {
        let name = sent.source();
        let polled = appliance.followed.polled().iter().find(|it| it.source() == name);
        let ask = loaded.options.polled.iter().find(|ask| &*ask.name == name);
        let polled_events = polled.map_or(0, |it| it.published());
        let of_polls = polled.map(|it| it.staleness(now));
        SourceFigures {
            name: name.into(),
            kind: Kind::Broadcast,
            // One that sends as well is heard by whoever is sent to.
            is_resting: polled.is_some_and(|it| !it.is_assigned())
                && sent.accepted() + sent.duplicates() == 0,
            is_failing: polled.is_some_and(|it| it.breaker() > 0),
            heard: sent.accepted() + sent.duplicates() + polled_events > 0,
            staleness: of_polls.map_or(sent.staleness(now), |age| age.min(sent.staleness(now))),
            quiet_max: ask.map_or(PARTNER_QUIET_MAX, |ask| quiet_max(ask.interval)),
            events_total: sent.accepted() + polled_events,
            breaker: polled.map(|it| Breaker::of(it.breaker())),
        }
    });
    figures.collect()
}

fn sensors(appliance: &Appliance) -> Vec<SourceFigures> {
    let now = Instant::now();
    let loaded = appliance.loaded.load();
    let asked = loaded.options.sensors.iter();
    let followed = asked.filter_map(|source| {
        let mut polled = appliance.followed.polled().iter();
        polled.find(|stats| stats.source() == &*source.ask.name).map(|stats| (source, stats))
    });
    let figures = followed.map(|(source, stats)| SourceFigures {
        name: stats.source().into(),
        kind: Kind::Sensor,
        is_resting: !stats.is_assigned(),
        is_failing: stats.breaker() > 0,
        heard: stats.published() + stats.unchanged() > 0,
        staleness: stats.staleness(now),
        quiet_max: quiet_max(source.ask.interval),
        events_total: stats.published(),
        breaker: Some(Breaker::of(stats.breaker())),
    });
    figures.collect()
}

fn quiet_max(interval: Duration) -> Duration {
    (interval * POLLS_MISSED_MAX).max(STALE_MIN)
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
        is_resting: !stats.is_assigned(),
        is_failing: !stats.is_connected(),
        heard: stats.fates().any(|(_, posts)| posts > 0),
        staleness: stats.staleness(),
        quiet_max: stall(stats.source()),
        events_total: stats.posts(Fate::Published),
        breaker: None,
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_closed_for_whatever_sources_are_answered_503_for() {
        use LogHealthError::{
            Broken, Clock, Damaged, DiskFull, Mending, ReadOnly, Slow, Unreachable,
        };
        let second = Duration::from_secs(1);
        for (why, is_closed) in [
            (DiskFull, true),
            (ReadOnly, true),
            (Damaged { file: "s".into(), offset: 1 }, false),
            (Clock(second), true),
            (Broken("it has ended".into()), true),
            (Mending("a producer has failed".into()), true),
            (Unreachable(second, "".into()), true),
            (Slow(second), false),
        ] {
            assert_eq!(closes(&why), is_closed, "{why}");
        }
    }
}
