//! `[sources.sensor.NAME]` as the adapter wants it.

use std::time::Duration;

use touchline_core::event::check_source;
use touchline_ingest::breaker::BreakerRules;
use touchline_ingest::mapping::From;
use touchline_ingest::poll::Ask;
use touchline_ingest::sensor::{Mapping, SensorSource, ValueRules};

use super::headers::{self, Given};
use super::options::FolderOf;
use super::raw::{Raw, Sensor};
use super::sections::{needed, pointer};
use super::units::seconds;
use super::{Problem, sections};
use crate::limits::SENSOR_SOURCES_MAX;

/// The breaker of each: half a second's failures open it.
const BREAKER: BreakerRules = BreakerRules {
    failures: 5,
    open_first: Duration::from_millis(500),
    open_max: Duration::from_secs(30),
};

/// Resolves all of them. `folder_of` tells what a key's file is relative to, by the key's path.
pub(super) fn build(
    raw: &Raw,
    folder_of: FolderOf<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<SensorSource> {
    let one = |name: &str, section: &_| source(raw, name, section, folder_of);
    sections::resolve("sensor", &raw.sources.sensor, SENSOR_SOURCES_MAX, problems, one)
}

fn source(
    raw: &Raw,
    name: &str,
    it: &Sensor,
    folder_of: FolderOf<'_>,
) -> Result<SensorSource, String> {
    check_source(name).map_err(|expects| format!("its name {expects}"))?;
    if raw.sources.broadcast.contains_key(name) {
        return Err("a partner has that name: events tell their source by it".into());
    }
    let stale_s = raw.streams.sensor.age_max_s;
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
            name: name.into(),
            url: needed(&it.url, "url")?.into(),
            interval: seconds(interval_s),
            timeout: seconds(it.timeout_s.unwrap_or((interval_s * 0.8).min(2.0))),
            headers: headers::read(
                &Given {
                    plain: &it.headers,
                    secret_header: it.secret_header.as_deref(),
                    secret_file: it.secret_file.as_ref(),
                },
                &folder_of(&format!("sources.sensor.{name}.secret_file")),
            )?,
            body_bytes_max: it.body_bytes_max.map_or(256 << 10, super::raw::Size::as_usize),
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
    })
}
