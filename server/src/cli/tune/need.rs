//! What the configuration asks of a host, in numbers that the doctor judges by.

use touchline_fanout::limits::{DESCRIPTORS_PERCENT, DESCRIPTORS_RESERVED, SHARDS_MAX};
use touchline_fanout::options::Backend;
use touchline_fanout::plan::Shards;
use touchline_tuning::machine::Need;

use crate::config::Options;

/// What an entry of the dedupe table takes at most, in the journal and with Kafka
/// (docs/capacity.md).
const DEDUPE_ENTRY_BYTES: [u64; 2] = [42, 120];

/// What a configuration asks of a host with so many cores: the arithmetic of
/// [`Plan`](touchline_fanout::plan::Plan), turned round.
pub fn need(options: &Options, cores: u64) -> Need {
    let usable = cores.saturating_sub(u64::from(options.spare_core)).max(1);
    let (most, usual) = match options.shards {
        Shards::Auto => (SHARDS_MAX as u64, usable),
        Shards::Count(count) => (count as u64, count as u64),
    };
    let connections_max = options.connections_max as u64;
    let files_of = |shards: u64| {
        let sockets = connections_max.div_ceil(shards.max(1));
        DESCRIPTORS_RESERVED + (sockets * 100).div_ceil(DESCRIPTORS_PERCENT)
    };
    Need {
        connections_max,
        backlog: u64::try_from(options.sockets.backlog).unwrap_or(0),
        files_needed: files_of(most),
        files_wanted: files_of(usual),
        windows_bytes: windows_bytes(options, usual),
        io_uring_required: options.io == Backend::IoUring,
    }
}

/// A window stands in each shard; the dedupe table stands once.
fn windows_bytes(options: &Options, shards: u64) -> u64 {
    let entry_bytes = DEDUPE_ENTRY_BYTES[usize::from(options.kafka.is_some())];
    let dedupe = options.journal.dedupe_entries_max as u64 * entry_bytes;
    options.rules.hub.windows_bytes_max as u64 * shards + dedupe
}

#[cfg(test)]
mod tests {
    use touchline_fanout::plan::{Plan, PlanInput};

    use super::*;
    use crate::config::{LoadRequest, load};

    fn options(connections: usize, shards: &str) -> Options {
        let request = LoadRequest::default()
            .with("node.connections_max", &connections.to_string())
            .with("node.shards", shards);
        load(request).unwrap().options
    }

    /// The doctor and the plan of shards agree about every limit, one file more or less.
    #[test]
    fn files_that_are_needed_are_those_without_which_there_is_no_plan() {
        for (connections, shards) in
            [(50_000, "auto"), (50_000, "3"), (7, "1"), (1_000_000, "auto")]
        {
            let options = options(connections, shards);
            let need = need(&options, 4);
            let plan = |nofile_hard| {
                Plan::make(&PlanInput {
                    connections_max: connections,
                    shards: options.shards,
                    cores: (0..4).collect(),
                    last_core_is_left: options.spare_core,
                    nofile_hard,
                })
            };
            assert!(plan(need.files_needed).is_ok(), "{connections} {shards}");
            assert!(plan(need.files_needed - 1).is_err(), "{connections} {shards}");
            let usual = plan(need.files_wanted).unwrap().shards();
            assert_eq!(usual, if shards == "auto" { 3 } else { shards.parse().unwrap() });
        }
    }
}
