//! `[sources.sensor.NAME]` as the adapter wants it.

use std::time::Duration;

use touchline_ingest::breaker::BreakerRules;
use touchline_ingest::limits::SENSOR_ROUTES_MAX;
use touchline_ingest::mapping::From;
use touchline_ingest::poll::Ask;
use touchline_ingest::sensor::{Mapping, SensorSource, ValueRules};

use super::Problem;
use super::options::FolderOf;
use super::raw::{Raw, Sensor, Size};
use super::sections::{self, Section, needed, pointer};
use super::units::seconds;
use crate::limits::SENSOR_SOURCES_MAX;

/// The breaker of each: half a second's failures open it.
const BREAKER: BreakerRules = BreakerRules {
    failures: 5,
    open_first: Duration::from_millis(500),
    open_max: Duration::from_secs(30),
};

/// Resolves all of them.
pub(super) fn build(
    raw: &Raw,
    folder_of: FolderOf<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<SensorSource> {
    let all = sections::all(raw, "sensor", &raw.sources.sensor, folder_of);
    sections::resolve(all, SENSOR_SOURCES_MAX, problems, source)
}

fn source(section: &Section<'_, Sensor>) -> Result<SensorSource, String> {
    let it = section.it;
    let stale_s = section.raw.streams.sensor.age_max_s;
    let interval_s = it.interval_s.unwrap_or(0.1);
    let heartbeat_s = it.heartbeat_s.unwrap_or(stale_s / 2.0);
    if heartbeat_s >= stale_s {
        return Err(format!(
            "`heartbeat_s` ({heartbeat_s}) must be below `streams.sensor.age_max_s` ({stale_s}): \
             else clients take what doesn't change for stale"
        ));
    }
    Ok(SensorSource {
        ask: Ask {
            name: section.name.into(),
            url: needed(&it.url, "url")?.into(),
            interval: seconds(interval_s),
            timeout: sections::timeout(it.timeout_s, interval_s),
            headers: section.headers(
                &it.headers,
                &it.secret_header,
                ("secret_file", &it.secret_file),
            )?,
            body_bytes_max: it.body_bytes_max.map_or(256 << 10, Size::as_usize),
            breaker: BREAKER,
        },
        rules: ValueRules {
            age_max: seconds(it.age_max_s.unwrap_or(10.0)),
            heartbeat: seconds(heartbeat_s),
        },
        mapping: Mapping {
            items: it.items.clone().unwrap_or_default().into(),
            team: From::parse(&needed(&it.team, "team")?),
            kind: From::parse(&needed(&it.kind, "type")?),
            key: From::parse(&needed(&it.key, "key")?),
            sequence: pointer(&it.sequence),
            time: pointer(&it.time),
            value: From::parse(it.value.as_deref().unwrap_or("")),
        },
        routes_max: it.routes_max.unwrap_or(SENSOR_ROUTES_MAX),
    })
}
