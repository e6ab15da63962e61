//! A coordinator that moves and a group that can't settle concern no append, and share sources out
//! to one node each all the same (FAULTS 35, R20).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use touchline_ingest::kafka::KafkaLog;
use touchline_ingest::roster::Roster;

use crate::{Fixture, PATIENCE, fixture, open};

/// How long two nodes may take one source for theirs: as long as a request to it may take.
const MOMENT: Duration = Duration::from_millis(500);
/// How long a source may be nobody's, or two nodes', after the last trouble: a session, and what it
/// takes to share out anew.
const SETTLED_MAX: Duration = Duration::from_secs(10);
const SAMPLE: Duration = Duration::from_millis(5);

/// The rosters of two nodes, and since when each source has been on both.
struct Sharing {
    rosters: [Arc<dyn Roster>; 2],
    sources: Vec<String>,
    on_both: Vec<Option<Instant>>,
}

impl Sharing {
    fn new(rosters: [Arc<dyn Roster>; 2]) -> Self {
        let sources: Vec<String> = (0..20).map(|n| format!("venue-{n}")).collect();
        let on_both = vec![None; sources.len()];
        Self { rosters, sources, on_both }
    }

    /// Whose each source is now. No source may have been on both for more than a moment.
    fn look(&mut self) -> Vec<[bool; 2]> {
        let now = Instant::now();
        let mut held = Vec::new();
        for (source, since) in self.sources.iter().zip(&mut self.on_both) {
            let mine = [0, 1].map(|node| self.rosters[node].is_mine(source));
            *since = (mine == [true; 2]).then(|| since.unwrap_or(now));
            let both = since.map_or(Duration::ZERO, |since| now - since);
            assert!(both <= MOMENT, "{source} is asked by both for {both:?}");
            held.push(mine);
        }
        held
    }

    fn looks_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.look();
            std::thread::sleep(SAMPLE);
        }
    }

    /// From now on that is the other node.
    fn has_second(&mut self, log: Option<&KafkaLog>) {
        if let Some(log) = log {
            self.rosters[1] = log.roster();
            self.on_both.fill(None);
        }
    }

    /// All are the first node's, soon.
    fn falls_to_the_first(&self) {
        let begin = Instant::now();
        while !self.sources.iter().all(|source| self.rosters[0].is_mine(source)) {
            assert!(begin.elapsed() < SETTLED_MAX, "some are nobody's");
            std::thread::sleep(SAMPLE);
        }
    }

    /// Each source is on one node, and each node has some, within `time`; and it stays so.
    fn settles(&mut self, time: Duration) {
        let is_settled = |held: &[[bool; 2]]| {
            let nodes = [0, 1].map(|node| held.iter().any(|mine| mine[node]));
            held.iter().all(|mine| mine[0] != mine[1]) && nodes == [true; 2]
        };
        let begin = Instant::now();
        loop {
            let held = self.look();
            if is_settled(&held) {
                break;
            }
            assert!(begin.elapsed() < time, "after {time:?}: {held:?}");
            std::thread::sleep(SAMPLE);
        }
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            assert!(is_settled(&self.look()), "it stays so");
            std::thread::sleep(SAMPLE);
        }
    }
}

impl Fixture {
    fn moves_the_coordinator(&self, broker: i32) {
        let group = MockCoordinator::Group("touchline-sources".into());
        self.cluster.coordinator(group, broker).expect("a broker");
        let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
        self.errors(RDKafkaApiKey::FindCoordinator, moved, 2);
        self.errors(RDKafkaApiKey::Heartbeat, moved, 2);
    }

    fn ends_the_storm(&self) {
        for key in [
            RDKafkaApiKey::FindCoordinator,
            RDKafkaApiKey::JoinGroup,
            RDKafkaApiKey::SyncGroup,
            RDKafkaApiKey::Heartbeat,
        ] {
            self.cluster.clear_request_errors(key);
        }
    }
}

#[test]
fn fault_35_a_coordinator_that_moves_and_a_rebalance_storm_leave_each_source_with_one_node() {
    use RDKafkaRespErr as Said;
    let it = fixture();
    let mut sharing = Sharing::new([it.log.roster(), it.log.roster()]);
    sharing.falls_to_the_first();
    let mut other = Some(open(&it.cluster));
    sharing.has_second(other.as_deref());
    sharing.settles(PATIENCE);
    let ids: Vec<String> = (0..8).map(|n| format!("e{n}")).collect();
    let storm = [
        Said::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        Said::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        Said::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        Said::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
    ];
    for (n, id) in ids.iter().enumerate() {
        it.moves_the_coordinator(1 + n as i32 % 3);
        for key in [RDKafkaApiKey::JoinGroup, RDKafkaApiKey::SyncGroup, RDKafkaApiKey::Heartbeat] {
            it.errors(key, storm[n % storm.len()], 2);
        }
        assert!(it.append(id).is_ok(), "{id}: an append needs no group");
        match n {
            2 => drop(other.take()),
            4 => sharing.has_second(Some(other.insert(open(&it.cluster)))),
            _ => {}
        }
        sharing.looks_for(Duration::from_secs(2));
    }
    it.ends_the_storm();
    sharing.settles(SETTLED_MAX);
    it.shows(&ids.iter().map(String::as_str).collect::<Vec<_>>());

    // Who ends hands over at once, and who comes gets its part of what another had.
    drop(other);
    sharing.falls_to_the_first();
    let newcomer = open(&it.cluster);
    sharing.has_second(Some(&newcomer));
    sharing.settles(PATIENCE);
}
