//! What Touchline counts of its sources, as its `/metrics` says it.

use std::collections::BTreeMap;

/// Counters by name, over all sources; those with a `reason` or `result` by that too, as in
/// `touchline_social_posts_total:thinned`.
pub type Counters = BTreeMap<String, f64>;

/// Those that are kept.
const KEPT: [&str; 5] = [
    "touchline_source_polls_total",
    "touchline_source_ticks_missed_total",
    "touchline_source_ticks_skipped_total",
    "touchline_social_posts_total",
    "touchline_ingest_errors_total",
];

/// The counters in a text of the Prometheus format.
pub fn of(text: &str) -> Counters {
    let mut counters = Counters::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let (true, Ok(value)) = (KEPT.contains(&name), value.parse::<f64>()) else { continue };
        let by = ["result=\"", "reason=\""].iter().find_map(|label| {
            let (_, rest) = labels.split_once(label)?;
            rest.split_once('"').map(|(value, _)| value)
        });
        let key = by.map_or_else(|| name.to_owned(), |by| format!("{name}:{by}"));
        *counters.entry(key).or_default() += value;
    }
    counters
}

/// The connections of each shard in a text of the Prometheus format.
pub fn by_shard(text: &str) -> Vec<u64> {
    let of_shard = |line: &str| {
        let rest = line.strip_prefix("touchline_connections{shard=\"")?;
        rest.split_once("\"} ")?.1.parse().ok()
    };
    text.lines().filter_map(of_shard).collect()
}

/// What was counted between two looks.
pub fn since(after: &Counters, before: &Counters) -> Counters {
    let passed = |(key, value): (&String, &f64)| {
        (key.clone(), (value - before.get(key).copied().unwrap_or(0.0)).max(0.0))
    };
    after.iter().map(passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up_over_sources() {
        let text = "# HELP x y\n\
            touchline_source_polls_total{source=\"a\"} 3\n\
            touchline_source_polls_total{source=\"b\"} 4\n\
            touchline_social_posts_total{source=\"a\",result=\"thinned\"} 5\n\
            touchline_other_total 9\n";
        let counters = of(text);
        assert_eq!(counters["touchline_source_polls_total"], 7.0);
        assert_eq!(counters["touchline_social_posts_total:thinned"], 5.0);
        assert_eq!(counters.len(), 2);
        let before = Counters::from([("touchline_source_polls_total".into(), 2.0)]);
        assert_eq!(since(&counters, &before)["touchline_source_polls_total"], 5.0);
    }

    #[test]
    fn connections_are_told_by_shard() {
        let text = "touchline_connections{shard=\"0\"} 3\ntouchline_connections{shard=\"1\"} 5\n\
            touchline_connections_max 9\n";
        assert_eq!(by_shard(text), [3, 5]);
    }
}
