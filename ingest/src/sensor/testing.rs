//! A source for tests of what is made of its answers.

use std::time::Duration;

use super::{Mapping, SensorSource, ValueRules};
use crate::breaker::BreakerRules;
use crate::mapping::From;
use crate::poll::Ask;

/// One whose answers list readings below `/r`, each with its team, key, sequence and value.
pub(super) fn source() -> SensorSource {
    let second = Duration::from_secs(1);
    SensorSource {
        ask: Ask {
            name: "emirates".into(),
            url: "http://127.0.0.1/".into(),
            interval: second,
            timeout: second,
            headers: Vec::new(),
            body_bytes_max: 1 << 20,
            breaker: BreakerRules { failures: 5, open_first: second, open_max: second },
        },
        rules: ValueRules { age_max: 10 * second, heartbeat: 5 * second },
        mapping: Mapping {
            items: "/r".into(),
            team: From::parse("/team"),
            kind: From::parse("wind"),
            key: From::parse("/key"),
            sequence: Some(From::parse("/n")),
            time: None,
            value: From::parse("/v"),
        },
        routes_max: 64,
    }
}
